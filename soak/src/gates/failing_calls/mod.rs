//! Gate 3: system calls that fail, and kills at each of them.

mod attempt;
mod site;

use std::ops::Range;
use std::path::Path;

use cache_testkit::system_calls::Image;
use tempfile::TempDir;

use self::attempt::Attempt;
use self::site::{Site, WATCHED};
use crate::gate::{Doing, Gate, GateError};
use crate::recorded::{Beginning, Recorder};
use crate::scene::{Place, User};
use crate::signing::SigningIn;
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 3,
    name: "failing-calls",
    title: "Every call on the files of a cache, the n-th for every n: EIO, ENOSPC, EINTR, a write of nothing, EIO from then on, and a kill; \
            over SQLite, over an MSAL file, and with a key file; while the cache is created and when it is old",
    must: "0 false acknowledgements, also if the power fails afterwards; 0 panics; the cache opens and has its old tokens; an error of a kind that \
           fits the failure, never one of permissions or of a newer program",
    unit: "runs with a call to fail",
    full_size: CASES,
    test_size: 24,
    batch: 240,
    limits: &[
        "A write that fails or is short writes nothing here: the file-size limit of the gate `starved` tears writes.",
        "What an fsync could not write is taken to be tried again by the next, and over an MSAL file also to be forgotten, as Linux may. Over \
         SQLite that is not promised: a log that is opened anew after its fsync failed is believed as the memory of the system shows it, and \
         what is committed after it can be lost with it when the power fails.",
        "SQLite takes EIO at a read for damage, as it may be, and so does the error; a disk that is full for SQLite alone is an error of no kind.",
        "`strace` counts calls thread by thread, from the program's first own call on, and the first thread to make its n-th is hit. Where that \
         call is on no file of the cache, such as one that wakes another thread, or none came, the run is made again, twice at the most. What was \
         missed then, too, is counted as missed, and so is a lock that is let go, which never fails in truth. Such a run proves no more than that \
         nothing was lost. For lack of another way to it, the first write of a key file is missed so.",
        "The calls of each cache are recorded anew for each batch; where a cache has fewer than there are runs for it, some are made twice.",
    ],
    floors: &[
        ("calls failed", 0.6),
        ("sign-ins acknowledged", 1.0),
        ("power cuts afterwards", 0.4),
    ],
    run,
};

/// How many runs there are for each cache: a few more than it has sites, whose number differs by some from system to system.
const RUNS: [u64; 6] = [800, 530, 1_340, 1_411, 850, 540];
/// All of them; a prime number, so that a part of the cases is spread over all.
const CASES: u64 = 5_471;
const STRIDE: u64 = 2_081;
const USERS: u32 = 2;
/// The sign-in that is there before, in an old cache.
const OLD: u64 = 1_000;

/// A cache, and where calls on it can fail.
struct Subject {
    place: Place,
    /// The sign-in that each user has in it.
    after: u64,
    image: Image,
    sites: Vec<Site>,
}

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let mut subjects = Vec::new();
    for (number, runs) in RUNS.into_iter().enumerate() {
        let after = if number % 2 == 0 { 0 } else { OLD };
        let subject = Subject::new(stage, number / 2, after)?;
        let sites = subject.sites.len() as u64;
        if sites == 0 || sites > runs {
            let name = subject.name();
            return Err(GateError::new(format!("{sites} sites over {name}: correct RUNS")));
        }
        subjects.push(subject);
    }
    let mut tally = stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        let runtime = runtime()?;
        for case in cases {
            let (subject, run) = chosen(case * STRIDE % CASES);
            let subject = &subjects[subject];
            let attempt = Attempt {
                case,
                subject,
                site: subject.sites[run as usize % subject.sites.len()],
            };
            runtime.block_on(attempt.make_until_hit(stage, &mut tally))?;
        }
        Ok(tally)
    })?;
    for subject in subjects {
        tally.at_most(
            &format!("sites over {}", subject.name()),
            subject.sites.len() as u64,
        );
    }
    Ok(tally)
}

/// The cache of a case, and which of the runs for it this is.
fn chosen(mut case: u64) -> (usize, u64) {
    for (subject, runs) in RUNS.into_iter().enumerate() {
        match case.checked_sub(runs) {
            Some(rest) => case = rest,
            None => return (subject, case),
        }
    }
    (0, case)
}

impl Subject {
    /// Records what is called when nothing fails.
    fn new(stage: &Stage, kind: usize, after: u64) -> Result<Self, GateError> {
        let (folder, path) = new_folder(stage)?;
        let place = Place::each(&path)[kind].clone();
        if after > 0 {
            runtime()?.block_on(async {
                let opened = place.open().await.doing("could not open a new cache")?;
                for user in (0..USERS).map(User) {
                    user.sign_in(&opened.cache, after)
                        .await
                        .doing("could not sign in")?;
                }
                opened.close().await;
                Ok::<(), GateError>(())
            })?;
        }
        let mut subject = Self {
            place,
            after,
            image: Image::of(folder.path()).doing("could not read a cache")?,
            sites: Vec::new(),
        };
        let beside = stage.folder()?;
        let recorder = Recorder::start(
            stage,
            &subject.signing(&path),
            Beginning::OwnCalls,
            beside.path(),
            |strace| strace.watch(WATCHED),
        )?;
        subject.sites = site::all(&recorder.finish()?.succeeded()?.trace, &path);
        Ok(subject)
    }

    fn signing(&self, folder: &Path) -> SigningIn {
        SigningIn {
            place: self.place.in_folder(folder),
            users: USERS,
            rounds: 2,
            openings: 2,
            after: self.after,
            at_once: false,
            umask: None,
        }
    }

    fn name(&self) -> String {
        let age = if self.after == 0 { "new" } else { "old" };
        format!("{}, {age}", self.place.name())
    }
}

/// A folder, and its path as the kernel knows it.
fn new_folder(stage: &Stage) -> Result<(TempDir, std::path::PathBuf), GateError> {
    let folder = stage.folder()?;
    let path = folder.path().canonicalize().doing("could not find a folder")?;
    Ok((folder, path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_cases_are_all_runs_of_all_caches() {
        assert_eq!(RUNS.iter().sum::<u64>(), CASES);
        let all: BTreeSet<_> = (0..CASES).map(|case| chosen(case * STRIDE % CASES)).collect();
        assert_eq!(all.len() as u64, CASES);
        assert_eq!(all.last().unwrap(), &(5, RUNS[5] - 1));
    }
}
