//! The result file of a gate, and running on from it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use benches::harness::{Machine, Stopwatch, date};
use serde::{Deserialize, Serialize};

use crate::gate::{Doing, Gate, GateError};
use crate::stage::Stage;
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
    /// Which sources were run: results of others are not added to these.
    pub sources: String,
    /// What was typed.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What the cases came to.
    pub tally: Tally,
}

/// How much of a gate is to be run, and of which sources.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of cases.
    pub cases: u64,
    /// Names the sources that are run.
    pub sources: String,
    /// What was typed.
    pub command: String,
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
            command: plan.command.clone(),
            machine: Machine::this(),
            tally: Tally::default(),
        }
    }

    /// Where the result of a run is to be written: in the folder `published`, or in `smaller` when a larger run is recorded there. Makes the
    /// folder.
    ///
    /// # Errors
    ///
    /// When the earlier result cannot be read, or the folder cannot be made.
    pub fn place(gate: &Gate, plan: &Plan, published: &Path, smaller: &Path) -> Result<PathBuf, GateError> {
        let earlier = Self::read(&published.join(gate.file_name()))?;
        let is_smaller = earlier.is_some_and(|earlier| earlier.planned > plan.cases);
        let folder = if is_smaller { smaller } else { published };
        fs::create_dir_all(folder).doing(format!("could not make {}", folder.display()))?;
        Ok(folder.join(gate.file_name()))
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

    /// Whether all that was planned was run and nothing was violated.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.done >= self.planned && self.tally.violations == 0
    }

    /// Whether running on from here is as good as one run.
    fn goes_on(&self, plan: &Plan) -> bool {
        self.sources == plan.sources && self.done < plan.cases && self.tally.violations == 0
    }
}

/// Runs a gate's cases, from where the record at `path` was left if it is of the same sources, and writes the record after each batch. Ends
/// early when something was violated.
///
/// # Errors
///
/// When a case could not be put to the proof; what was done before is in the file.
pub fn run(
    gate: &Gate,
    plan: &Plan,
    stage: &Stage,
    path: &Path,
    mut progress: impl FnMut(&Record),
) -> Result<Record, GateError> {
    let mut record = match Record::read(path)? {
        Some(earlier) if earlier.goes_on(plan) => Record {
            planned: plan.cases,
            command: plan.command.clone(),
            ..earlier
        },
        _ => Record::new(gate, plan),
    };
    while record.done < plan.cases && record.tally.violations == 0 {
        let until = plan.cases.min(record.done + gate.batch);
        let watch = Stopwatch::start();
        record.tally.merge((gate.run)(stage, record.done..until)?);
        record.seconds += watch.elapsed().as_secs_f64();
        record.done = until;
        record.updated = date();
        record.write(path)?;
        progress(&record);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::ops::Range;

    use super::*;

    fn counts(_: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
        let mut tally = Tally::default();
        tally.add("cases", cases.end - cases.start);
        tally.check(!cases.contains(&25), || "the 25th".to_owned());
        Ok(tally)
    }

    const GATE: Gate = Gate {
        number: 1,
        name: "counts",
        title: "",
        must: "",
        unit: "cases",
        full_size: 20,
        test_size: 1,
        batch: 6,
        limits: &[],
        run: counts,
    };

    fn plan(cases: u64, sources: &str) -> Plan {
        Plan {
            cases,
            sources: sources.to_owned(),
            command: String::new(),
        }
    }

    #[test]
    fn a_gate_goes_on_where_it_was_stopped_unless_the_sources_changed() {
        let stage = Stage::new("unused").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(GATE.file_name());
        let mut batches = 0;
        run(&GATE, &plan(12, "a"), &stage, &path, |_| batches += 1).unwrap();
        assert_eq!(batches, 2);
        run(&GATE, &plan(20, "a"), &stage, &path, |_| batches += 1).unwrap();
        assert_eq!(batches, 4, "only the other eight cases");
        let record = Record::read(&path).unwrap().unwrap();
        assert!(record.is_passed());
        assert_eq!((record.done, record.tally.count("cases")), (20, 20));

        let anew = run(&GATE, &plan(1, "b"), &stage, &path, |_| ()).unwrap();
        assert_eq!((anew.done, anew.tally.count("cases")), (1, 1));
    }

    #[test]
    fn a_violation_ends_the_run_and_is_not_run_on_from() {
        let stage = Stage::new("unused").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(GATE.file_name());
        let failed = run(&GATE, &plan(40, "a"), &stage, &path, |_| ()).unwrap();
        assert!(!failed.is_passed());
        assert_eq!((failed.done, failed.tally.violations), (30, 1));
        let again = run(&GATE, &plan(40, "a"), &stage, &path, |_| ()).unwrap();
        assert_eq!((again.done, again.tally.violations), (30, 1), "from the start");
    }

    #[test]
    fn a_smaller_run_does_not_replace_the_result_of_a_larger_one() {
        let stage = Stage::new("unused").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (published, smaller) = (folder.path().join("published"), folder.path().join("smaller"));
        let place = |cases| Record::place(&GATE, &plan(cases, "a"), &published, &smaller).unwrap();
        let path = place(12);
        run(&GATE, &plan(12, "a"), &stage, &path, |_| ()).unwrap();
        assert_eq!(path, published.join(GATE.file_name()));
        assert_eq!(place(12), path);
        assert_eq!(place(20), path);
        assert_eq!(place(11), smaller.join(GATE.file_name()));
        Record::forget(&path).unwrap();
        Record::forget(&path).unwrap();
        assert_eq!(place(11), path);
    }

    #[test]
    fn a_foreign_file_is_left_alone() {
        let stage = Stage::new("unused").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(GATE.file_name());
        fs::write(&path, "{}").unwrap();
        assert!(run(&GATE, &plan(1, "a"), &stage, &path, |_| ()).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }
}
