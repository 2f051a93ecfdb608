//! Running a gate, from where it was left.

use std::fs;
use std::path::{Path, PathBuf};

use benches::harness::{Stopwatch, date};

use crate::gate::{Doing, Gate, GateError};
use crate::record::Record;
use crate::stage::Stage;

/// How much of a gate is to be run, and of which sources.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of cases.
    pub cases: u64,
    /// Names the sources of the product.
    pub sources: String,
    /// Names the sources of the gate.
    pub harness: String,
    /// Why these are fewer cases than the gate has.
    pub because: Option<String>,
    /// What was typed.
    pub command: String,
}

/// Where the result files of a gate are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The one to be read by others: only a run of as many cases replaces it, or one that was violated.
    pub published: PathBuf,
    /// The one of the run that goes on.
    pub running: PathBuf,
}

impl Files {
    /// Those of `gate` in two folders, which are made.
    ///
    /// # Errors
    ///
    /// When they cannot be made.
    pub fn of(gate: &Gate, published: &Path, running: &Path) -> Result<Self, GateError> {
        for folder in [published, running] {
            fs::create_dir_all(folder).doing(format!("could not make {}", folder.display()))?;
        }
        Ok(Self {
            published: published.join(gate.file_name()),
            running: running.join(gate.file_name()),
        })
    }

    /// Forgets what earlier runs came to.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub fn forget(&self) -> Result<(), GateError> {
        Record::forget(&self.running)?;
        Record::forget(&self.published)
    }

    /// The record to run on from: the longest of the same sources, or a new one. `published` is what was read of that file.
    fn standing(&self, published: Option<&Record>, gate: &Gate, plan: &Plan) -> Result<Record, GateError> {
        let records = [published.cloned(), Record::read(&self.running)?];
        let same = records.into_iter().flatten().filter(|record| record.is_of(plan));
        let longest = same.max_by_key(|record| (record.tally.violations, record.done));
        Ok(longest.unwrap_or_else(|| Record::new(gate, plan)))
    }

    fn write(&self, record: &Record, earlier: Option<&Record>) -> Result<(), GateError> {
        record.write(&self.running)?;
        if earlier.is_none_or(|earlier| record.replaces(earlier)) {
            record.write(&self.published)?;
        }
        Ok(())
    }
}

/// Runs a gate's cases, from where its records of the same sources were left, and writes the record after each batch. Ends early when something
/// was violated; such a run is not repeated until the sources change or it is [forgotten](Files::forget).
///
/// # Errors
///
/// When a case could not be put to the proof; what was done before is in the files.
pub fn run(
    gate: &Gate,
    plan: &Plan,
    stage: &Stage,
    files: &Files,
    mut progress: impl FnMut(&Record),
) -> Result<Record, GateError> {
    let earlier = Record::read(&files.published)?;
    let mut record = files.standing(earlier.as_ref(), gate, plan)?;
    if record.done < plan.cases {
        record.planned = plan.cases;
        record.because.clone_from(&plan.because);
        record.command.clone_from(&plan.command);
    }
    while record.done < plan.cases && record.tally.violations == 0 {
        let until = plan.cases.min(record.done + gate.batch);
        let watch = Stopwatch::start();
        record.tally.merge((gate.run)(stage, record.done..until)?);
        record.seconds += watch.elapsed().as_secs_f64();
        record.done = until;
        record.updated = date();
        record.too_seldom = if until < plan.cases {
            Vec::new()
        } else {
            gate.too_seldom(&record.tally, until)
        };
        files.write(&record, earlier.as_ref())?;
        progress(&record);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::ops::Range;

    use tempfile::TempDir;

    use super::*;
    use crate::tally::Tally;

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
        floors: &[("cases", 1.0)],
        run: counts,
    };

    struct Scene {
        stage: Stage,
        folder: TempDir,
        batches: usize,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                stage: Stage::new("unused").unwrap(),
                folder: tempfile::tempdir().unwrap(),
                batches: 0,
            }
        }

        fn files(&self) -> Files {
            let folder = self.folder.path();
            Files::of(&GATE, &folder.join("published"), &folder.join("running")).unwrap()
        }

        fn run(&mut self, cases: u64, sources: &str) -> Record {
            let plan = Plan {
                cases,
                sources: sources.to_owned(),
                harness: String::new(),
                because: None,
                command: String::new(),
            };
            let files = self.files();
            run(&GATE, &plan, &self.stage, &files, |_| self.batches += 1).unwrap()
        }

        fn published(&self) -> (String, u64) {
            let record = Record::read(&self.files().published).unwrap().unwrap();
            (record.sources, record.done)
        }
    }

    #[test]
    fn a_gate_goes_on_where_it_was_stopped_unless_the_sources_changed() {
        let mut scene = Scene::new();
        scene.run(12, "a");
        assert_eq!(scene.batches, 2);
        let record = scene.run(20, "a");
        assert_eq!(scene.batches, 4, "only the other eight cases");
        assert!(record.is_passed());
        assert_eq!((record.done, record.tally.count("cases")), (20, 20));
        assert_eq!(scene.published(), ("a".to_owned(), 20));

        scene.run(20, "a");
        scene.run(5, "a");
        assert_eq!(scene.batches, 4, "it was run already");

        scene.files().forget().unwrap();
        let mut stopped = scene.run(12, "a");
        stopped.planned = 20;
        stopped.write(&scene.files().running).unwrap();
        stopped.write(&scene.files().published).unwrap();
        let smaller = scene.run(5, "a");
        assert_eq!(
            (smaller.is_passed(), smaller.holds_for(5), scene.batches),
            (false, true, 6)
        );
        let anew = scene.run(20, "b");
        assert_eq!(
            (anew.done, anew.tally.count("cases"), scene.batches),
            (20, 20, 10)
        );
        assert_eq!(scene.published(), ("b".to_owned(), 20));
    }

    #[test]
    fn a_smaller_run_does_not_replace_the_result_of_a_larger_one() {
        let mut scene = Scene::new();
        scene.run(20, "a");
        scene.run(12, "b");
        assert_eq!(scene.published(), ("a".to_owned(), 20));
        scene.run(18, "b");
        assert_eq!((scene.published().1, scene.batches), (20, 7), "it went on");
        scene.run(20, "b");
        assert_eq!(scene.published(), ("b".to_owned(), 20));
        scene.files().forget().unwrap();
        scene.files().forget().unwrap();
        scene.run(1, "b");
        assert_eq!(scene.published(), ("b".to_owned(), 1));
    }

    #[test]
    fn a_full_run_replaces_one_of_when_the_gate_was_larger() {
        let mut scene = Scene::new();
        scene.run(24, "a");
        scene.run(19, "b");
        assert_eq!(scene.published(), ("a".to_owned(), 24));
        scene.run(20, "b");
        assert_eq!(scene.published(), ("b".to_owned(), 20));
    }

    #[test]
    fn a_violation_is_published_and_stays() {
        let mut scene = Scene::new();
        scene.run(24, "a");
        let failed = scene.run(40, "b");
        assert!(!failed.is_passed());
        assert_eq!((failed.done, failed.tally.violations), (30, 1));
        let batches = scene.batches;
        let again = scene.run(40, "b");
        assert_eq!((again.done, again.tally.violations), (30, 1));
        assert_eq!(scene.batches, batches, "no second chance");
        scene.run(19, "c");
        assert_eq!(scene.published(), ("b".to_owned(), 30), "until the gate holds");
        scene.run(20, "c");
        assert_eq!(scene.published(), ("c".to_owned(), 20));
    }

    #[test]
    fn a_run_in_which_little_happened_is_not_passed() {
        let scene = Scene::new();
        let gate = Gate {
            floors: &[("cases", 2.0)],
            ..GATE
        };
        let plan = Plan {
            cases: 6,
            sources: String::new(),
            harness: String::new(),
            because: None,
            command: String::new(),
        };
        let record = run(&gate, &plan, &scene.stage, &scene.files(), |_| ()).unwrap();
        assert_eq!((record.too_seldom.len(), record.is_passed()), (1, false));
    }

    #[test]
    fn a_foreign_file_is_left_alone() {
        let mut scene = Scene::new();
        let path = scene.files().published;
        fs::write(&path, "{}").unwrap();
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.run(1, "a"))).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }
}
