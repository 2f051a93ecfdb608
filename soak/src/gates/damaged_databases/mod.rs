//! Gate 18: databases that are damaged, stale or foreign.

mod injury;
mod kept;
mod reading;

use std::collections::VecDeque;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;

use cache_testkit::system_calls::Image;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::injury::{Injury, Patients};
use self::reading::Found;
pub use self::reading::Reading;
use crate::child::Task;
use crate::gate::{Doing, Gate, GateError};
use crate::guarded::Guarded;
use crate::signing::Refusal;
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 18,
    name: "damaged-databases",
    title: "Damaged databases: pages of random bytes, zeroed, swapped; flipped bits; cut short; a log that is stale, foreign or damaged; a \
            damaged index of the log; a schema of the future",
    must: "an error in words or a right answer, never a wrong token; 0 panics, 0 hangs, 0 SIGBUS; a database that is refused is kept byte for \
           byte, and so is one that is read or whose cache is refused, but that SQLite carries its log over into it",
    unit: "databases",
    full_size: 10_000,
    test_size: 104,
    batch: 500,
    limits: &[
        "SQLite keeps no checksums of its pages: a record whose place in an index is lost may be missed without an error, and the user signs in \
         again. Such tokens are counted.",
        "An old log or an old copy may show an old token of the same user: what of a rollback is noticed is for the gate `rollback`.",
        "Where a header names a file format that SQLite does not know, it gives no code for that, and the error is one of no kind (`Other`).",
        "A file that is cut short while it is open is not tried.",
        "Databases are read, and nobody signs in; what a write does to a damaged one is not tried.",
    ],
    floors: &[
        ("refused as Corrupt", 0.1),
        ("refused as NewerSchema", 0.05),
        ("tokens read", 2.0),
    ],
    run,
};

/// How many databases a child reads. It ends early at one that kills it.
const AT_ONCE: usize = 50;

/// A damaged database in a folder.
struct Case {
    number: u64,
    injury: Injury,
    folder: TempDir,
    image: Image,
}

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let patients = Patients::new(stage)?;
    stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        let runtime = runtime()?;
        let mut cases = cases.peekable();
        while cases.peek().is_some() {
            let some: VecDeque<_> = cases
                .by_ref()
                .take(AT_ONCE)
                .map(|number| injured(stage, &patients, number))
                .collect::<Result<_, _>>()?;
            read(stage, &runtime, some, &mut tally)?;
        }
        Ok(tally)
    })
}

fn injured(stage: &Stage, patients: &Patients, number: u64) -> Result<Case, GateError> {
    let injury = Injury::ALL[(number % Injury::ALL.len() as u64) as usize];
    let image = injury.inflict(patients, &mut chance(GATE.number, number));
    let folder = stage.folder()?;
    image
        .write_to(folder.path())
        .doing("could not write a database")?;
    Ok(Case {
        number,
        injury,
        folder,
        image,
    })
}

/// Has children read them, one after the other.
fn read(
    stage: &Stage,
    runtime: &Runtime,
    mut cases: VecDeque<Case>,
    tally: &mut Tally,
) -> Result<(), GateError> {
    while !cases.is_empty() {
        let folders = cases.iter().map(|case| case.folder.path().to_owned()).collect();
        let mut child = Guarded::start(stage.command(&Task::ReadDamaged(Reading { folders }))?)?;
        let mut judged = Vec::new();
        while let Some(line) = child.line()? {
            let found: Found = serde_json::from_str(&line).doing("a child told something else")?;
            let case = cases
                .pop_front()
                .ok_or_else(|| GateError::new("a child read more than it was given"))?;
            judged.push((case, found));
        }
        let ending = child.end()?;
        tally.add("processes that read", 1);
        // A thread that panics is an ordinary error to those that wait for it.
        if ending.has_panicked() {
            let number = |case: Option<&(Case, Found)>| case.map(|(case, _)| case.number);
            tally.violation(format_args!(
                "a panic by one of the cases {:?} to {:?} or the next: {ending}",
                number(judged.first()),
                number(judged.last())
            ));
        }
        // Not before its end: SQLite closes what it refused in a thread of its own.
        for (case, found) in judged {
            case.judge(&found, tally);
            runtime.block_on(kept::check(&case, &found, tally))?;
        }
        if let Some(case) = cases.pop_front() {
            let how = match ending.status.signal() {
                Some(signal) if !ending.is_overdue => format!("signal {signal}; {ending}"),
                _ => ending.to_string(),
            };
            case.violated(tally, format_args!("it ended the process that read it ({how})"));
        } else if !ending.status.success() {
            tally.violation(format_args!("a process that had read all failed: {ending}"));
        }
    }
    Ok(())
}

impl Case {
    fn judge(&self, found: &Found, tally: &mut Tally) {
        tally.add(&format!("databases: {}", self.injury.name()), 1);
        match found {
            Found::Refused(Refusal { kind, text }) => {
                tally.add(&format!("refused as {kind}"), 1);
                if text.is_empty() {
                    self.violated(tally, "refused without words");
                }
                tally.check(!self.injury.is_harmless(), || {
                    format!(
                        "case {}: {}: refused as {kind}: {text}",
                        self.number,
                        self.injury.name()
                    )
                });
            }
            Found::Unusable(Refusal { kind, text }) => {
                tally.add(&format!("unusable: {kind}"), 1);
                if text.is_empty() || self.injury.is_harmless() {
                    self.violated(tally, format_args!("unusable: {kind}: {text}"));
                }
            }
            Found::Read {
                right,
                old,
                missing,
                errors,
                wrong,
            } => {
                tally.add("databases opened", 1);
                tally.add("tokens read", *right);
                tally.add("older tokens of the same user read", *old);
                tally.add("tokens missing without an error", *missing);
                for (kind, times) in errors {
                    tally.add(&format!("reads refused as {kind}"), *times);
                }
                if let Some(wrong) = wrong {
                    self.violated(tally, wrong);
                }
                if self.injury.is_harmless() && (*missing > 0 || !errors.is_empty()) {
                    self.violated(
                        tally,
                        format_args!("{missing} tokens missing, errors: {errors:?}"),
                    );
                }
            }
        }
        if self.injury.is_of_the_future()
            && !matches!(found, Found::Refused(refusal) if refusal.kind == "NewerSchema")
        {
            self.violated(tally, format_args!("not refused as newer: {found:?}"));
        }
    }

    fn violated(&self, tally: &mut Tally, how: impl std::fmt::Display) {
        tally.violation(format_args!(
            "case {}: {}: {how}",
            self.number,
            self.injury.name()
        ));
    }
}
