//! Gate 20: who else can reach the files.

mod obstacle;

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cache_testkit::system_calls::{Call, Outcome, Trace};

use self::obstacle::{Obstacle, Trap};
use crate::gate::{Doing, Gate, GateError};
use crate::recorded::{Recorded, Recorder};
use crate::scene::Place;
use crate::signing::{Said, SigningIn};
use crate::stage::Stage;
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 20,
    name: "modes",
    title: "Every file that is made under umask 000, at the call that makes it; and in the place of each: links, hard links, files that all may \
            write, folders, pipes, files of another user; folders that all may write",
    must: "0600 and 0700 from the first moment, or a refusal; nobody else's file is written",
    unit: "openings",
    full_size: CASES,
    test_size: 26,
    batch: CASES,
    limits: &[
        "A file of MSAL programs that is there keeps its mode, and a link to one is followed, as those programs need it.",
        "What `tokenkeep` exports and reports is tried in the tests of its own package.",
        "A file of another user is tried when the gate runs as root.",
    ],
    floors: &[],
    run,
};

/// Each name of each place with each obstacle, and three openings without one.
const CASES: u64 = (NAMES * Obstacle::ALL.len() + 3) as u64;
const NAMES: usize = 10;
const MSAL_FILE: &str = "cache.json";
/// Spreads a part of the cases over all; shares no factor with their number.
const STRIDE: u64 = 37;

const OTHERS: u32 = 0o077;

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        for case in cases {
            let folder = stage.folder()?;
            let path = folder.path().canonicalize().doing("could not find a folder")?;
            // Two that are not there yet.
            let cache = path.join("new").join("cache");
            let (place, trap) = chosen((case * STRIDE % CASES) as usize, &cache);
            Opening {
                place,
                trap,
                root: path,
                folder: cache,
            }
            .attempt(stage, &mut tally)?;
        }
        Ok(tally)
    })
}

/// What is opened in this case, and what is in its way.
fn chosen(case: usize, folder: &Path) -> (Place, Option<(&'static str, Obstacle)>) {
    let [sqlite, msal_file, key_file] = Place::each(folder);
    let names: [(&Place, &'static str); NAMES] = [
        (&sqlite, "cache.db"),
        (&sqlite, "cache.db-wal"),
        (&sqlite, "cache.db-shm"),
        (&sqlite, "cache.db-journal"),
        (&sqlite, ""),
        (&msal_file, MSAL_FILE),
        (&msal_file, "cache.json.lockfile"),
        (&msal_file, ""),
        (&key_file, "key"),
        (&key_file, ""),
    ];
    match case.checked_sub(3) {
        None => (Place::each(folder)[case].clone(), None),
        Some(case) => {
            let (place, name) = names[case / Obstacle::ALL.len()];
            (
                place.clone(),
                Some((name, Obstacle::ALL[case % Obstacle::ALL.len()])),
            )
        }
    }
}

struct Opening {
    place: Place,
    /// The name in the folder, or none for the folder itself.
    trap: Option<(&'static str, Obstacle)>,
    root: PathBuf,
    folder: PathBuf,
}

impl Opening {
    fn attempt(&self, stage: &Stage, tally: &mut Tally) -> Result<(), GateError> {
        let trap = match self.trap {
            Some((name, obstacle)) => {
                match Trap::set(obstacle, &self.root, &self.folder.join(name), name.is_empty()) {
                    Ok(Some(trap)) => Some(trap),
                    Ok(None) => {
                        tally.add("obstacles that do not apply here", 1);
                        return Ok(());
                    }
                    Err(error) => {
                        return Err(GateError::new("could not put something in the way").because(error));
                    }
                }
            }
            None => None,
        };
        let signing = SigningIn {
            place: self.place.clone(),
            users: 1,
            rounds: 1,
            openings: 2,
            after: 0,
            at_once: false,
            umask: Some(0),
        };
        let beside = stage.folder()?;
        let recorded = Recorder::start(stage, &signing, beside.path(), |strace| {
            strace.watch(&["fchmod", "chmod"])
        })?;
        let recorded = recorded.finish()?;
        if !recorded.status.success() {
            self.violated(
                tally,
                format_args!("it ended ({}): {}", recorded.status, recorded.errors),
            );
        }
        self.judge_calls(&recorded.trace, tally);
        self.judge_words(&recorded, tally);
        if let Some(trap) = &trap {
            for changed in trap.changed() {
                self.violated(tally, changed);
            }
        }
        let is_used = recorded
            .said
            .iter()
            .any(|(_, said)| matches!(said, Said::SignedIn(..)));
        self.judge_files(is_used, tally)
    }

    /// A file that is private a moment later was open to all for a moment.
    fn judge_calls(&self, trace: &Trace, tally: &mut Tally) {
        for call in &trace.calls {
            let Some((mode, allowed)) = made(call) else {
                continue;
            };
            // A shared file that was there keeps its mode.
            let is_adopted = call.name == "fchmod"
                && matches!(self.place, Place::MsalFile(_))
                && self.trap.is_some_and(|(name, _)| name == MSAL_FILE);
            if is_adopted || !call.is_within(&self.root) {
                continue;
            }
            tally.add("calls that make files or folders", 1);
            if mode & !allowed != 0 {
                self.violated(
                    tally,
                    format_args!("{} makes {mode:o}: {:?}", call.name, call.path_or_file()),
                );
            }
        }
    }

    fn judge_words(&self, recorded: &Recorded, tally: &mut Tally) {
        for (_, said) in &recorded.said {
            match said {
                Said::NotOpened(refusal) | Said::NotSignedIn(_, _, refusal) => {
                    tally.add(&format!("refused as {}", refusal.kind), 1);
                    if refusal.text.is_empty() {
                        self.violated(tally, "refused without words");
                    }
                }
                Said::SignedIn(..) => tally.add("sign-ins", 1),
                // What somebody else put there is none of our tokens.
                Said::KnowsNot(..) if self.trap.is_some() => tally.add("reads refused", 1),
                Said::KnowsNot(_, error) => self.violated(tally, format_args!("unreadable: {error}")),
                Said::Opened | Said::Knows(..) => {}
            }
        }
        if self.trap.is_none()
            && !recorded
                .said
                .iter()
                .any(|(_, said)| matches!(said, Said::SignedIn(..)))
        {
            self.violated(tally, format_args!("nothing worked: {:?}", recorded.said));
        }
    }

    /// What a cache that works left must be for its user alone.
    fn judge_files(&self, is_used: bool, tally: &mut Tally) -> Result<(), GateError> {
        if !is_used {
            return Ok(());
        }
        let keeps = matches!(self.place, Place::MsalFile(_))
            .then(|| self.trap.map(|(name, _)| name))
            .flatten();
        let mut found = vec![self.folder.clone()];
        for entry in fs::read_dir(&self.folder).doing("could not list a folder")? {
            found.push(entry.doing("could not list a folder")?.path());
        }
        for path in found {
            let status = fs::symlink_metadata(&path).doing("could not look at a file")?;
            let name = path.strip_prefix(&self.folder).unwrap_or(&path);
            let is_kept = keeps.is_some_and(|kept| Path::new(kept) == name);
            // A folder that was there is the user's own choice, unless all may write to it.
            let is_folder_of_before = name.as_os_str().is_empty() && self.trap.is_some();
            if status.is_symlink() || is_kept || is_folder_of_before {
                continue;
            }
            tally.add("files and folders", 1);
            let mode = status.permissions().mode() & 0o7777;
            if mode & OTHERS != 0 {
                self.violated(tally, format_args!("{} is {mode:o}", path.display()));
            }
        }
        Ok(())
    }

    fn violated(&self, tally: &mut Tally, how: impl std::fmt::Display) {
        match self.trap {
            Some((name, obstacle)) => tally.violation(format_args!(
                "over {}, {} in place of {name:?}: {how}",
                self.place.name(),
                obstacle.name()
            )),
            None => tally.violation(format_args!("over {}: {how}", self.place.name())),
        }
    }
}

/// The mode that a call gives to what it makes, and the most that it may give.
fn made(call: &Call) -> Option<(u32, u32)> {
    if !matches!(call.outcome, Outcome::Returned(_)) {
        return None;
    }
    let (place, allowed) = match &*call.name {
        "open" if call.has_flag(1, "O_CREAT") => (2, 0o600),
        "openat" if call.has_flag(2, "O_CREAT") => (3, 0o600),
        "mkdir" => (1, 0o700),
        "mkdirat" => (2, 0o700),
        "chmod" | "fchmod" => (1, 0o700),
        _ => return None,
    };
    match call.arguments.get(place) {
        Some(cache_testkit::system_calls::Argument::Other(mode)) => {
            Some((u32::from_str_radix(mode, 8).unwrap_or(u32::MAX), allowed))
        }
        _ => None,
    }
}
