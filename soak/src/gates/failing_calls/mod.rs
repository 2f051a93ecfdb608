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
use crate::recorded::Recorder;
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
    must: "0 false acknowledgements, also if the power fails afterwards; 0 panics; the cache opens and has its old tokens; a typed error",
    unit: "calls failed",
    full_size: 6 * SLOTS,
    test_size: 24,
    batch: 240,
    limits: &[
        "A write that fails or is short writes nothing here: the file-size limit of the gate `starved` tears writes.",
        "What an fsync could not write is taken to be tried again by the next, and over an MSAL file also to be forgotten, as Linux may. Over \
         SQLite that is not promised: a log that is opened anew after its fsync failed is believed as the memory of the system shows it, and \
         what is committed after it can be lost with it when the power fails.",
        "`strace` counts calls thread by thread; a call that another run makes in another thread is missed, and counted as such.",
    ],
    floors: &[],
    run,
};

/// Room for the sites of each cache; a prime number, so that a part of the cases is spread over all of them.
const SLOTS: u64 = 1_409;
const STRIDE: u64 = 521;
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
    for kind in 0..Place::each(Path::new("")).len() {
        subjects.push(Subject::new(stage, kind, 0)?);
        subjects.push(Subject::new(stage, kind, OLD)?);
    }
    let mut tally = stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        let runtime = runtime()?;
        for case in cases {
            let subject = &subjects[(case % subjects.len() as u64) as usize];
            let slot = (case / subjects.len() as u64 * STRIDE) % SLOTS;
            match subject.sites.get(slot as usize) {
                Some(site) => {
                    let attempt = Attempt {
                        case,
                        subject,
                        site: *site,
                    };
                    runtime.block_on(attempt.make(stage, &mut tally))?;
                }
                None => tally.add("cases beyond the last site", 1),
            }
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
        let recorder = Recorder::start(stage, &subject.signing(&path), beside.path(), |strace| {
            strace.watch(WATCHED)
        })?;
        subject.sites = site::all(&recorder.finish()?.succeeded()?.trace, &path);
        if subject.sites.len() as u64 > SLOTS {
            return Err(GateError::new(format!(
                "{} sites over {}: raise SLOTS",
                subject.sites.len(),
                subject.name()
            )));
        }
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
