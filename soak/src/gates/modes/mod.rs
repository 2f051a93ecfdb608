//! Gate 20: who else can reach the files.

mod obstacle;

use std::fs::{self, Permissions};
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use cache_testkit::system_calls::{Call, Outcome, Trace};

use self::obstacle::{Obstacle, Trap};
use crate::child::Task;
use crate::gate::{Doing, Gate, GateError};
use crate::recorded::{Beginning, Recorded, Recorder};
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
    must: "0600 and 0700 from the first moment, or a refusal; nobody else's file is used or changed, no folder that all may write to is used, and \
           what is refused is left as it was",
    unit: "openings",
    full_size: CASES,
    test_size: 26,
    batch: CASES,
    limits: &[
        "A file of MSAL programs that is there keeps its mode, and a link to one is followed, as those programs need it.",
        "What `tokenkeep` exports and reports is tried in the tests of its own package.",
        "A file of another user is tried when the gate runs as root, which can make one, and by a process of `nobody`. Root itself keeps up an MSAL \
         file of another user, and that user's lock file, in a folder of its own.",
        "A folder of one other user, that only they may write to, is refused for files of MSAL programs only: over SQLite, whoever owns the folder \
         is trusted.",
    ],
    floors: &[
        ("calls that make files or folders", 1.0),
        ("refused as PermissionDenied", 0.2),
        ("sign-ins", 0.2),
    ],
    run,
};

/// Three openings without an obstacle, each of the seven files with each obstacle, and each of the three folders with each that can be in its place.
const CASES: u64 = 3 + 7 * 9 + 3 * 5;
const MSAL_FILE: &str = "cache.json";
/// Spreads a part of the cases over all, with some of each in the first; shares no factor with their number.
const STRIDE: u64 = 73;

const OTHERS: u32 = 0o077;
/// A user who is not root, and the number that this one has nearly everywhere.
const USER: (&str, u32) = ("nobody", 65_534);

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let users = users_stage(stage)?;
    stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        for case in cases {
            let folder = users.folder()?;
            let path = folder.path().canonicalize().doing("could not find a folder")?;
            // Two that are not there yet.
            let cache = path.join("new").join("cache");
            let openings = openings(&cache);
            if openings.len() as u64 != CASES {
                return Err(GateError::new(format!(
                    "{} openings: correct CASES",
                    openings.len()
                )));
            }
            let (place, trap) = openings[(case * STRIDE % CASES) as usize].clone();
            Opening {
                place,
                trap,
                root: path,
                folder: cache,
            }
            .attempt(&users, &mut tally)?;
        }
        Ok(tally)
    })
}

/// A stage that all can reach, with a program that all can run.
fn users_stage(stage: &Stage) -> Result<Stage, GateError> {
    let own = stage.command(&Task::SignIn(signing(&Place::Sqlite(PathBuf::new()))))?;
    let program = stage.root().join("soak");
    if !program.exists() {
        fs::hard_link(own.get_program(), &program)
            .or_else(|_| fs::copy(own.get_program(), &program).map(drop))
            .doing("could not copy a program")?;
    }
    let users = Stage::new(&program)?;
    for folder in [stage.root(), users.root()] {
        fs::set_permissions(folder, Permissions::from_mode(0o711)).doing("could not open a folder")?;
    }
    Ok(users)
}

fn signing(place: &Place) -> SigningIn {
    SigningIn {
        place: place.clone(),
        users: 1,
        rounds: 1,
        openings: 2,
        after: 0,
        at_once: false,
        umask: Some(0),
    }
}

/// What is opened, and what is in its way.
fn openings(folder: &Path) -> Vec<(Place, Option<(&'static str, Obstacle)>)> {
    let [sqlite, msal_file, key_file] = Place::each(folder);
    let names = [
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
    let free = [&sqlite, &msal_file, &key_file].map(|place| (place.clone(), None));
    let barred = names.iter().flat_map(|(place, name)| {
        let obstacles = Obstacle::ALL.into_iter();
        let obstacles = obstacles.filter(|obstacle| !name.is_empty() || obstacle.is_for_folders());
        obstacles.map(|obstacle| (Place::clone(place), Some((*name, obstacle))))
    });
    free.into_iter().chain(barred).collect()
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
                        tally.add("obstacles that only root could put there", 1);
                        return Ok(());
                    }
                    Err(error) => {
                        return Err(GateError::new("could not put something in the way").because(error));
                    }
                }
            }
            None => None,
        };
        let must_be_refused_as = self
            .trap
            .and_then(|(name, obstacle)| obstacle.must_be_refused_as(name));
        // Root keeps other users' files up; what is to be refused is refused by everybody else.
        let is_users = self
            .trap
            .is_some_and(|(name, obstacle)| obstacle == Obstacle::OthersFile && !name.is_empty());
        if is_users {
            for folder in [&self.root, &self.root.join("new"), &self.folder] {
                chown(folder, Some(USER.1), Some(USER.1)).doing("could not give a folder away")?;
            }
        }
        let beside = stage.folder()?;
        let recorded = Recorder::start(
            stage,
            &signing(&self.place),
            Beginning::Loader,
            beside.path(),
            |strace| {
                let strace = strace.watch(&["fchmod", "chmod"]);
                if is_users { strace.as_user(USER.0) } else { strace }
            },
        )?;
        let recorded = recorded.finish()?;
        if !recorded.status.success() {
            self.violated(
                tally,
                format_args!("it ended ({}): {}", recorded.status, recorded.errors),
            );
        }
        self.judge_calls(&recorded.trace, tally);
        self.judge_words(&recorded, tally);
        let is_used = recorded
            .said
            .iter()
            .any(|(_, said)| matches!(said, Said::SignedIn(..)));
        if let Some(trap) = &trap {
            for changed in trap.changed(is_used) {
                self.violated(tally, changed);
            }
        }
        if let Some(what) = must_be_refused_as {
            self.judge_refusal(&recorded, what, tally);
        }
        self.judge_files(is_used, tally)
    }

    /// For what it is, and not because something in it could not be understood.
    fn judge_refusal(&self, recorded: &Recorded, what: &str, tally: &mut Tally) {
        let mut refusals = 0;
        for (_, said) in &recorded.said {
            match said {
                Said::NotOpened(refusal) | Said::NotSignedIn(_, _, refusal)
                    if refusal.text.contains(what) =>
                {
                    refusals += 1;
                }
                // A lock file is looked at when something is to be written.
                Said::Opened | Said::Knows(_, 0) => {}
                said => self.violated(tally, format_args!("it was not refused for what it is: {said:?}")),
            }
        }
        if refusals == 2 {
            tally.add(
                "openings over links, and what others own or may write to, refused as such",
                1,
            );
        } else {
            self.violated(
                tally,
                format_args!("{refusals} refusals of 2: {:?}", recorded.said),
            );
        }
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
            // A folder that was there is the user's own choice. (One that all may write to must be refused.)
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
