//! Gate 2: power cuts.

use std::ops::Range;
use std::path::Path;

use cache_testkit::system_calls::Disk;
use rand::Rng;
use tempfile::TempDir;

use crate::gate::{Doing, Gate, GateError};
use crate::recorded::{Beginning, Recorded, Recorder};
use crate::scene::Place;
use crate::signing::{Expected, Said, SigningIn};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 2,
    name: "power-cut",
    title: "Power cuts at random points, from before the creation of the cache to after its closing: what was not forced to the disk is \
            there or not, sector by sector, length by length and name by name, over SQLite, over an MSAL file, and with a key file",
    must: "0 caches unreadable, 0 acknowledged sign-ins lost",
    unit: "cuts",
    full_size: 1_000,
    test_size: 36,
    batch: 150,
    limits: &[
        "The disk is a model: the files are rebuilt from the recorded system calls, under weak rules: of what no fsync has \
         forced, each sector, length and name is there or not. No power was cut, and no drive that lies about what it has written was tried.",
        "Sectors of 512 bytes are old, new or zeros where the file grew, never garbage, and a sector that a write touched in part is not torn.",
        "The cuts of a batch are cuts of the same few recordings, one for each kind of cache, which are made anew for the next batch.",
    ],
    floors: &[("cuts that lost something", 0.2), ("records opened", 0.7)],
    run,
};

const USERS: u32 = 6;
const OPENINGS: u64 = 3;
/// With so many rounds SQLite's log is carried over into the database while users sign in.
const ROUNDS: u64 = 40;
/// Of the tests, which have no time for more.
const FEW_ROUNDS: u64 = 4;

/// A writer that was recorded from the first call to the last.
struct Recording {
    place: Place,
    folder: TempDir,
    recorded: Recorded,
}

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let rounds = if cases.end <= GATE.test_size {
        FEW_ROUNDS
    } else {
        ROUNDS
    };
    let recordings = record(stage, rounds)?;
    let mut tally = stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        let runtime = runtime()?;
        for case in cases {
            let recording = &recordings[(case % recordings.len() as u64) as usize];
            runtime.block_on(recording.cut(stage, case, &mut tally))?;
        }
        Ok(tally)
    })?;
    for recording in recordings {
        tally.add("recordings", 1);
        tally.add("sign-ins recorded", recording.sign_ins());
        tally.add(
            "system calls recorded",
            recording.recorded.trace.calls.len() as u64,
        );
    }
    Ok(tally)
}

fn record(stage: &Stage, rounds: u64) -> Result<Vec<Recording>, GateError> {
    let mut recorders = Vec::new();
    for kind in 0..Place::each(Path::new("")).len() {
        let folder = stage.folder()?;
        let path = folder.path().canonicalize().doing("could not find a folder")?;
        let place = Place::each(&path)[kind].clone();
        // Each writes all of the file, and each is like the other.
        let rounds = match place {
            Place::MsalFile(_) => rounds.min(2 * FEW_ROUNDS),
            _ => rounds,
        };
        let signing = SigningIn {
            place: place.clone(),
            users: USERS,
            rounds,
            openings: OPENINGS,
            after: 0,
            at_once: true,
            umask: None,
        };
        let beside = stage.folder()?;
        let recorder = Recorder::start(stage, &signing, Beginning::Loader, beside.path(), |strace| strace)?;
        recorders.push((place, folder, beside, recorder));
    }
    recorders
        .into_iter()
        .map(|(place, folder, _beside, recorder)| {
            Ok(Recording {
                place,
                folder,
                recorded: recorder.finish()?.succeeded()?,
            })
        })
        .collect()
}

impl Recording {
    async fn cut(&self, stage: &Stage, case: u64, tally: &mut Tally) -> Result<(), GateError> {
        let mut chance = chance(GATE.number, case);
        let lines = self.recorded.trace.lines;
        let first = self
            .recorded
            .said
            .iter()
            .find(|(_, said)| matches!(said, Said::SignedIn(..)));
        let first = first.map_or(lines, |(line, _)| *line);
        // Most of a recording are sign-ins, and its creation is the part that other tests do not see.
        let moment = if case % 12 < 3 {
            chance.random_range(0..=first)
        } else {
            chance.random_range(first..=lines)
        };
        let root = self
            .folder
            .path()
            .canonicalize()
            .doing("could not find a folder")?;
        let disk = Disk::new(root).played(&self.recorded.trace, moment);
        let disk = disk.doing("could not follow a recording")?;
        let image = disk.after_cut(&mut |below| chance.random_range(0..below));
        let folder = stage.folder()?;
        image.write_to(folder.path()).doing("could not write an image")?;

        tally.add(&format!("cuts over {}", self.place.name()), 1);
        tally.add("cuts before the first sign-in", (moment <= first).into());
        tally.add("cuts that lost something", (image != disk.all()).into());
        let said = self.recorded.said_before(moment);
        match Expected::after(USERS, 0, said)
            .check(&self.place.in_folder(folder.path()))
            .await
        {
            Ok(records) => tally.add("records opened", records),
            Err(error) => tally.violation(format_args!(
                "case {case}: over {}, cut before line {moment} of {lines}: {error}",
                self.place.name()
            )),
        }
        Ok(())
    }

    fn sign_ins(&self) -> u64 {
        let said = self.recorded.said.iter();
        said.filter(|(_, said)| matches!(said, Said::SignedIn(..)))
            .count() as u64
    }
}
