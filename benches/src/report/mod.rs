//! What was measured, as a page for people and as JSON for programs.

mod charts;
mod page;
mod tables;
pub mod units;

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

/// Where a report was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// The numbers.
    pub numbers: PathBuf,
}

impl Findings {
    /// The page: one HTML document that needs nothing but itself.
    ///
    /// # Errors
    /// That a chart could not be drawn.
    pub fn page(&self) -> Result<String, BenchError> {
        page::page(self)
    }

    /// Writes the page to `path` and the numbers beside it; into `path` if that is a folder, or is named as one.
    ///
    /// # Errors
    /// That a chart could not be drawn, or a file could not be written.
    pub fn write(&self, path: &Path) -> Result<Written, BenchError> {
        let written = places(path);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| BenchError::Write { path, source }
        };
        if let Some(folder) = written.page.parent() {
            std::fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        let page = self.page()?;
        std::fs::write(&written.page, page).map_err(failed(&written.page))?;
        let numbers = serde_json::to_string_pretty(self).map_err(BenchError::Protocol)?;
        std::fs::write(&written.numbers, numbers).map_err(failed(&written.numbers))?;
        Ok(written)
    }
}

/// Where a page and its numbers go.
fn places(path: &Path) -> Written {
    let is_page = path
        .extension()
        .is_some_and(|extension| extension == "html" || extension == "htm");
    let page = if is_page {
        path.to_owned()
    } else {
        path.join("report.html")
    };
    Written {
        numbers: page.with_extension("json"),
        page,
    }
}

#[cfg(test)]
mod tests;
