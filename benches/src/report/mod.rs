//! What was measured, as a page for people and as JSON for programs.

mod charts;
mod page;
mod tables;
pub mod units;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::workload::explore::{Candidate, Exploration};
use crate::workload::{BenchError, Measurement, SweepPoint, Workload};

/// Everything that a report tells.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// How it was measured.
    pub made: Made,
    /// What was run.
    pub workload: Workload,
    /// The store and the strategy of `measurement`: what is recommended, where strategies were compared.
    pub candidate: Candidate,
    /// The run that the charts show.
    pub measurement: Measurement,
    /// What a token costs as partitions become many.
    pub sweep: Vec<SweepPoint>,
    /// The strategies, where they were compared.
    pub exploration: Option<Exploration>,
}

/// How, when and where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    /// The moment, RFC 3339.
    pub date: String,
    /// The command, without what is nobody's business.
    pub command: String,
    /// The machine: processor, cores, memory, system.
    pub machine: String,
    /// The version of the program, and how it was built.
    pub version: String,
    /// The seed.
    pub seed: u64,
}

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The page.
    pub page: PathBuf,
    /// The numbers.
    pub numbers: PathBuf,
}

impl Destination {
    /// The page at `path` and the numbers beside it; both in `path` if that is a folder, or is named as one. The folder is made.
    ///
    /// # Errors
    /// That a file could not be written there: better said before everything is measured than after.
    pub fn prepare(path: &Path) -> Result<Self, BenchError> {
        let destination = Self::at(path);
        if let Some(folder) = destination.page.parent() {
            std::fs::create_dir_all(folder).map_err(unwritable(folder))?;
        }
        for file in [&destination.page, &destination.numbers] {
            let is_new = !file.exists();
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(file)
                .map_err(unwritable(file))?;
            if is_new {
                std::fs::remove_file(file).map_err(unwritable(file))?;
            }
        }
        Ok(destination)
    }

    fn at(path: &Path) -> Self {
        let is_page = path
            .extension()
            .is_some_and(|extension| extension == "html" || extension == "htm");
        let page = if is_page {
            path.to_owned()
        } else {
            path.join("report.html")
        };
        Self {
            numbers: page.with_extension("json"),
            page,
        }
    }
}

impl Findings {
    /// The page: one HTML document that needs nothing but itself.
    ///
    /// # Errors
    /// That a chart could not be drawn.
    pub fn page(&self) -> Result<String, BenchError> {
        page::page(self)
    }

    /// Writes the page and the numbers.
    ///
    /// # Errors
    /// That a chart could not be drawn, or a file could not be written.
    pub fn write(&self, to: &Destination) -> Result<(), BenchError> {
        let page = self.page()?;
        std::fs::write(&to.page, page).map_err(unwritable(&to.page))?;
        let numbers = serde_json::to_string_pretty(self).map_err(BenchError::Protocol)?;
        std::fs::write(&to.numbers, numbers).map_err(unwritable(&to.numbers))
    }
}

fn unwritable(path: &Path) -> impl FnOnce(std::io::Error) -> BenchError {
    let path = path.to_owned();
    move |source| BenchError::Write { path, source }
}

#[cfg(test)]
mod tests;
