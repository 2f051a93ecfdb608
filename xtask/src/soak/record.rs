//! The result files of the program `soak`, as far as the document tells of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use crate::bench::Machine;
use crate::command::Failure;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Record {
    pub(super) title: String,
    pub(super) must: String,
    pub(super) unit: String,
    pub(super) full_size: u64,
    pub(super) planned: u64,
    pub(super) done: u64,
    pub(super) started: String,
    pub(super) updated: String,
    pub(super) seconds: f64,
    pub(super) sources: String,
    #[serde(default)]
    pub(super) because: Option<String>,
    #[serde(default)]
    pub(super) too_seldom: Vec<String>,
    pub(super) command: String,
    pub(super) machine: Machine,
    pub(super) limits: Vec<String>,
    pub(super) tally: Tally,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Tally {
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) largest: BTreeMap<String, u64>,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) violations: u64,
    pub(super) examples: Vec<String>,
}

impl Record {
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let json = match fs::read(path) {
            Ok(json) => json,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::new(format!(
                    "could not read {}: {error}",
                    path.display()
                )));
            }
        };
        let record = serde_json::from_slice(&json).map_err(|error| {
            Failure::new(format!("{} is not the result of a gate: {error}", path.display()))
        })?;
        Ok(Some(record))
    }

    pub(super) fn result(&self) -> &'static str {
        match (self.tally.violations, self.done >= self.planned) {
            (1.., _) => "**broken**",
            (0, false) => "held so far",
            (0, true) if !self.too_seldom.is_empty() => "**not shown**",
            (0, true) => "held",
        }
    }
}
