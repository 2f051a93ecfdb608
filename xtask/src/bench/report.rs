//! The answers of the questions, as `benches::harness::Report` writes them.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::command::{Failure, root};

#[derive(Clone, Deserialize)]
pub(super) struct Report {
    pub(super) question: String,
    pub(super) title: String,
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) command: String,
    #[serde(default)]
    pub(super) comparisons: Vec<Comparison>,
    #[serde(default)]
    pub(super) counts: Vec<Count>,
    #[serde(default)]
    pub(super) series: Vec<Series>,
    #[serde(default)]
    pub(super) targets: Vec<Target>,
    #[serde(default)]
    pub(super) means: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    memory_mib: u64,
    system: String,
    rustc: String,
}

#[derive(Clone, Deserialize)]
pub(super) struct Comparison {
    pub(super) name: String,
    pub(super) rounds: usize,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) nanoseconds: Estimate,
    #[serde(default)]
    pub(super) ratio: Option<Estimate>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Limit,
    Variant,
    Peer,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Estimate {
    pub(super) median: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

#[derive(Clone, Deserialize)]
pub(super) struct Count {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
}

#[derive(Clone, Deserialize)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) points: Vec<(f64, f64)>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Target {
    /// The `id` of the row of the table that it belongs to.
    pub(super) row: String,
    pub(super) name: String,
    pub(super) criterion: Criterion,
    pub(super) measured: Estimate,
    pub(super) verdict: Verdict,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) next_idea: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Criterion {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Met,
    Missed,
}

/// A row of the table of targets.
#[derive(Clone, Deserialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) what: String,
    pub(super) target: String,
}

impl Report {
    /// The reports in `folder`, sorted by the names of their questions.
    pub(super) fn all(folder: &Path) -> Result<Vec<Self>, Failure> {
        let unreadable = |error| Failure::new(format!("could not read {}: {error}", folder.display()));
        let mut reports = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                reports.push(Self::read(&path)?);
            }
        }
        reports.sort_by(|a, b| a.question.cmp(&b.question));
        Ok(reports)
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let json = fs::read(path)
            .map_err(|error| Failure::new(format!("could not read {}: {error}", path.display())))?;
        serde_json::from_slice(&json)
            .map_err(|error| Failure::new(format!("{} is not a report: {error}", path.display())))
    }
}

impl Row {
    /// The table of targets.
    pub(super) fn all() -> Result<Vec<Self>, Failure> {
        let path = root().join("benches/targets.json");
        let json = fs::read(&path)
            .map_err(|error| Failure::new(format!("could not read {}: {error}", path.display())))?;
        serde_json::from_slice(&json)
            .map_err(|error| Failure::new(format!("{} is not a table of targets: {error}", path.display())))
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            processor,
            processors,
            memory_mib,
            system,
            rustc,
        } = self;
        let gib = *memory_mib as f64 / 1024.0;
        write!(f, "{processors} × {processor}, {gib:.1} GiB, {system}, {rustc}")
    }
}

impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(value) => write!(f, "≤ {value}"),
            Self::AtLeast(value) => write!(f, "≥ {value}"),
            Self::Exactly(value) => write!(f, "= {value}"),
        }
    }
}
