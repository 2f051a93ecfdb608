//! The result file of a gate.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use benches::harness::{Machine, date};
use serde::{Deserialize, Serialize};

use crate::gate::{Doing, Gate, GateError};
use crate::run::Plan;
use crate::tally::Tally;

/// What is known of a gate after some or all of its cases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The gate's place in the scorecard.
    pub number: u8,
    /// The gate's name.
    pub name: String,
    /// What was done to tokenkeep.
    pub title: String,
    /// What had to hold.
    pub must: String,
    /// What a case is, in the plural.
    pub unit: String,
    /// What a passed gate does not show.
    pub limits: Vec<String>,
    /// How many cases prove the promise.
    pub full_size: u64,
    /// How many were to be run.
    pub planned: u64,
    /// How many were run.
    pub done: u64,
    /// When the first of them began.
    pub started: String,
    /// When the last of them ended.
    pub updated: String,
    /// How long they took, in seconds.
    pub seconds: f64,
    /// The sources of the product that was put to the proof: results of others are not added to these.
    pub sources: String,
    /// The sources of the gate, likewise.
    #[serde(default)]
    pub harness: String,
    /// Why fewer cases were to be run than prove the promise.
    #[serde(default)]
    pub because: Option<String>,
    /// What was typed.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What the cases came to.
    pub tally: Tally,
    /// What happened too seldom for all of this to show anything.
    #[serde(default)]
    pub too_seldom: Vec<String>,
}

impl Record {
    /// Of a gate of which no case was run.
    #[must_use]
    pub fn new(gate: &Gate, plan: &Plan) -> Self {
        Self {
            number: gate.number,
            name: gate.name.to_owned(),
            title: gate.title.to_owned(),
            must: gate.must.to_owned(),
            unit: gate.unit.to_owned(),
            limits: gate.limits.iter().map(|&limit| limit.to_owned()).collect(),
            full_size: gate.full_size,
            planned: plan.cases,
            done: 0,
            started: date(),
            updated: date(),
            seconds: 0.0,
            sources: plan.sources.clone(),
            harness: plan.harness.clone(),
            because: plan.because.clone(),
            command: plan.command.clone(),
            machine: Machine::this(),
            tally: Tally::default(),
            too_seldom: Vec::new(),
        }
    }

    /// The record at `path`, if there is one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is none of a gate. It is left alone.
    pub fn read(path: &Path) -> Result<Option<Self>, GateError> {
        let json = match fs::read(path) {
            Ok(json) => json,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(GateError::new(format!("could not read {}", path.display())).because(error));
            }
        };
        let record = serde_json::from_slice(&json).doing(format!(
            "{} is not the result of a gate; move it away",
            path.display()
        ))?;
        Ok(Some(record))
    }

    /// Replaces the file at `path` as a whole.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), GateError> {
        let failed = || format!("could not write {}", path.display());
        let mut json = serde_json::to_vec_pretty(self).doing(failed())?;
        json.push(b'\n');
        let beside = path.with_extension("json.new");
        fs::write(&beside, json).doing(failed())?;
        fs::rename(&beside, path).doing(failed())
    }

    /// Removes the file at `path`, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn forget(path: &Path) -> Result<(), GateError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(GateError::new(format!("could not remove {}", path.display())).because(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether all that was planned was run, nothing was violated, and enough happened.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.holds_for(self.planned)
    }

    /// As [`is_passed`](Self::is_passed), when only this many cases are asked for.
    #[must_use]
    pub fn holds_for(&self, cases: u64) -> bool {
        self.done >= cases && self.tally.violations == 0 && self.too_seldom.is_empty()
    }

    /// Whether running on from here is as good as one run.
    #[must_use]
    pub fn is_of(&self, plan: &Plan) -> bool {
        self.sources == plan.sources && self.harness == plan.harness
    }

    /// Whether this tells as much as `earlier`, or worse: a violation is news, however few cases it took. A full run replaces any, also one of
    /// when the gate had more cases.
    #[must_use]
    pub fn replaces(&self, earlier: &Self) -> bool {
        self.tally.violations > 0 || self.done >= earlier.done.min(self.full_size)
    }
}
