//! The process that is starved.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::child::report;
use crate::gate::{Doing, GateError};
use crate::scene::{Opened, Place, ReadError, User};
use crate::signing::{Expected, Refusal, Said};
use crate::stage::{chance, runtime};
use crate::tally::Tally;

const USERS: u32 = 4;
/// The sign-in of each user before.
const OLD: u64 = 1;
/// With these a tmpfs of 1 MiB is full, however large its pages are.
const MOST_SIGN_INS: u64 = 400;

/// What a process is left without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Want {
    Space,
    Growth,
    WritableMount,
    Descriptors,
}

/// What the child does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ordeal {
    pub(super) case: u64,
    pub(super) place: Place,
    pub(super) folder: PathBuf,
    pub(super) want: Want,
}

impl Want {
    pub(super) const ALL: [Self; 4] = [Self::Space, Self::Growth, Self::WritableMount, Self::Descriptors];

    fn name(self) -> &'static str {
        match self {
            Self::Space => "space",
            Self::Growth => "growth",
            Self::WritableMount => "a writable mount",
            Self::Descriptors => "descriptors",
        }
    }
}

impl Ordeal {
    pub(crate) fn perform(self) -> Result<(), GateError> {
        let mut tally = Tally::default();
        runtime()?.block_on(self.suffer(&mut tally))?;
        report(&tally)
    }

    async fn suffer(&self, tally: &mut Tally) -> Result<(), GateError> {
        let opened = self.place.open().await.doing("could not open a new cache")?;
        let mut said = Vec::new();
        for user in (0..USERS).map(User) {
            user.sign_in(&opened.cache, OLD)
                .await
                .doing("could not sign in")?;
            said.push(Said::SignedIn(user, OLD));
        }
        // It has read one user, so that it has what it reads by, and must read the others from the store.
        let reader = self.place.open().await.doing("could not open the cache again")?;
        let first = User(0).serial(&reader.cache).await;
        first.doing("could not read what was written")?;
        // Every other one is opened when the want is there already.
        let is_open = (self.case / 12).is_multiple_of(2) && self.want != Want::WritableMount;
        if !is_open {
            opened.close().await;
            reader.close().await;
        }
        let starvation = Starvation::begin(self)?;
        tally.add(&format!("without {}", self.want.name()), 1);
        let opened = if is_open {
            Some(opened)
        } else {
            self.opened_in_want(&said, tally).await
        };
        if is_open {
            // Before anything is signed in, which would be announced to it.
            self.old_tokens_in_want(&reader, tally).await;
        }
        if let Some(opened) = &opened {
            self.sign_in_in_want(opened, &mut said, tally).await;
            self.read_in_want(opened, &said, tally).await;
        }
        starvation.end()?;
        if is_open {
            reader.close().await;
        }

        // Both the process that was starved and another one go on as if nothing had been.
        let (opened, first) = match opened {
            Some(opened) => (opened, "the process that was starved"),
            None => (
                self.place
                    .open()
                    .await
                    .doing("could not open the cache afterwards")?,
                "a new cache",
            ),
        };
        let serial = MOST_SIGN_INS + OLD + 1;
        for user in (0..USERS).map(User) {
            match user.sign_in(&opened.cache, serial).await {
                Ok(()) => said.push(Said::SignedIn(user, serial)),
                Err(error) => self.violated(
                    tally,
                    format_args!("{first} does not recover: {}", Refusal::of(&error).text),
                ),
            }
        }
        tally.add("ordeals recovered from", 1);
        opened.close().await;
        if let Err(error) = Expected::after(USERS, 0, &said).check(&self.place).await {
            self.violated(tally, format_args!("afterwards: {error}"));
        }
        Ok(())
    }

    async fn opened_in_want(&self, said: &[Said], tally: &mut Tally) -> Option<Opened> {
        match self.place.open().await {
            Ok(opened) => {
                tally.add("opened in want", 1);
                match Expected::after(USERS, 0, said).check(&self.place).await {
                    Ok(_) => tally.add("caches read in want", 1),
                    Err(_) if self.cannot_be_read() => {
                        tally.add("caches that no descriptor was left to read", 1)
                    }
                    Err(error) => self.violated(tally, format_args!("opened in want: {error}")),
                }
                Some(opened)
            }
            Err(error) => {
                // The files are the proof that nothing was lost.
                self.refused(&Refusal::of(&error), "an opening", tally);
                None
            }
        }
    }

    /// Through a cache that was open before, whose memory has none of them.
    async fn old_tokens_in_want(&self, reader: &Opened, tally: &mut Tally) {
        for user in (1..USERS).map(User) {
            match user.serial(&reader.cache).await {
                Ok(OLD) => tally.add("old tokens read from the store in want", 1),
                Err(ReadError::Cache(error)) if self.cannot_be_read() => {
                    self.refused(&Refusal::of(&error), "a read", tally);
                }
                found => self.violated(
                    tally,
                    format_args!("user {}'s old token in want: {found:?}", user.0),
                ),
            }
        }
    }

    /// Signs users in until one is refused.
    async fn sign_in_in_want(&self, opened: &Opened, said: &mut Vec<Said>, tally: &mut Tally) {
        let mut refusals = 0;
        for serial in OLD + 1..=OLD + MOST_SIGN_INS {
            for user in (0..USERS).map(User) {
                match user.sign_in(&opened.cache, serial).await {
                    Ok(()) => {
                        tally.add("sign-ins in want", 1);
                        said.push(Said::SignedIn(user, serial));
                    }
                    Err(error) => {
                        refusals += 1;
                        let refusal = Refusal::of(&error);
                        self.refused(&refusal, "a sign-in", tally);
                        said.push(Said::NotSignedIn(user, serial, refusal));
                    }
                }
            }
            // Without descriptors, an open database can do all that it does.
            if refusals > 2 || (self.want == Want::Descriptors && serial > OLD + 3) {
                return;
            }
        }
        self.violated(tally, "nothing was refused");
    }

    /// Also what memory does not answer: through another cache over the same place, for which there must be descriptors.
    async fn read_in_want(&self, opened: &Opened, said: &[Said], tally: &mut Tally) {
        let expected = Expected::after(USERS, 0, said);
        for user in (0..USERS).map(User) {
            match user.serial(&opened.cache).await {
                Ok(serial) if expected.includes(user, serial) => tally.add("tokens read in want", 1),
                Err(ReadError::Cache(error)) if self.cannot_be_read() => {
                    self.refused(&Refusal::of(&error), "a read", tally);
                }
                found => self.violated(tally, format_args!("user {} in want: {found:?}", user.0)),
            }
        }
        if self.want == Want::Descriptors {
            return;
        }
        match expected.check(&self.place).await {
            Ok(_) => tally.add("caches read in want", 1),
            Err(error) => self.violated(tally, format_args!("in want: {error}")),
        }
    }

    fn refused(&self, refusal: &Refusal, what: &str, tally: &mut Tally) {
        tally.add(
            &format!("{what} without {} refused as {}", self.want.name(), refusal.kind),
            1,
        );
        // A key file is no part of the store, so what kept it from being read is in words only.
        let is_key = refusal.kind == "Seal" && refusal.text.contains("key file");
        let is_typed = match self.want {
            Want::Space | Want::Growth => refusal.kind == "Full",
            Want::WritableMount => refusal.kind == "ReadOnly",
            Want::Descriptors if is_key => refusal.text.contains("Too many open files"),
            Want::Descriptors => refusal.kind == "Unavailable",
        };
        if !is_typed {
            self.violated(
                tally,
                format_args!("{what} refused as {}: {}", refusal.kind, refusal.text),
            );
        }
    }

    /// Whether nothing can be read but what memory has: a file that is opened for each read, with no descriptor to do so.
    fn cannot_be_read(&self) -> bool {
        self.want == Want::Descriptors && self.replaces()
    }

    /// Whether what is written is a new file each time.
    fn replaces(&self) -> bool {
        matches!(self.place, Place::MsalFile(_))
    }

    fn violated(&self, tally: &mut Tally, how: impl std::fmt::Display) {
        tally.violation(format_args!(
            "case {}: over {} without {}: {how}",
            self.case,
            self.place.name(),
            self.want.name()
        ));
    }
}

/// While it lasts.
enum Starvation {
    Full(PathBuf),
    Limited,
    ReadOnly(PathBuf),
    OutOfDescriptors(Vec<File>),
}

impl Starvation {
    fn begin(ordeal: &Ordeal) -> Result<Self, GateError> {
        let mut chance = chance(super::GATE.number, ordeal.case);
        Ok(match ordeal.want {
            Want::Space => {
                let filler = ordeal.folder.join("filler");
                fill(&filler).doing("could not fill a disk")?;
                // So that another call is the first to fail. A file that is replaced as a whole does not grow here.
                let most = if ordeal.replaces() {
                    (largest(&ordeal.folder, &filler)? / 4096).max(1)
                } else {
                    24
                };
                let free = chance.random_range(0..most) * 4096;
                let length = fs::metadata(&filler).doing("could not look at a file")?.len();
                File::options()
                    .write(true)
                    .open(&filler)
                    .and_then(|file| file.set_len(length.saturating_sub(free)))
                    .doing("could not shorten a file")?;
                Self::Full(filler)
            }
            Want::Growth => {
                let largest = largest(&ordeal.folder, Path::new(""))?;
                let limited = if ordeal.replaces() {
                    chance.random_range(1..largest)
                } else {
                    largest + chance.random_range(0..20_000)
                };
                limit(&limited.to_string())?;
                Self::Limited
            }
            Want::WritableMount => {
                remount("ro", &ordeal.folder)?;
                Self::ReadOnly(ordeal.folder.clone())
            }
            Want::Descriptors => {
                let mut files = Vec::new();
                let free = chance.random_range(0..4);
                while let Ok(file) = File::open("/dev/null") {
                    files.push(file);
                }
                files.truncate(files.len() - free);
                Self::OutOfDescriptors(files)
            }
        })
    }

    fn end(self) -> Result<(), GateError> {
        match self {
            Self::Full(filler) => fs::remove_file(filler).doing("could not remove a file"),
            Self::Limited => limit("unlimited"),
            Self::ReadOnly(folder) => remount("rw", &folder),
            Self::OutOfDescriptors(files) => {
                drop(files);
                Ok(())
            }
        }
    }
}

/// The length of the largest file in a folder but one, in bytes.
fn largest(folder: &Path, but: &Path) -> Result<u64, GateError> {
    let mut largest = 0;
    for entry in fs::read_dir(folder).doing("could not list a folder")? {
        let entry = entry.doing("could not list a folder")?;
        let found = entry.metadata().doing("could not look at a file")?;
        if entry.path() != but {
            largest = largest.max(found.len());
        }
    }
    Ok(largest)
}

fn fill(path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    loop {
        match file.write_all(&[0; 4096]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Only the soft limit, so that it can be raised again.
fn limit(bytes: &str) -> Result<(), GateError> {
    let process = std::process::id().to_string();
    succeeds(Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]))
}

fn remount(how: &str, folder: &Path) -> Result<(), GateError> {
    succeeds(
        Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(folder),
    )
}

fn succeeds(command: &mut Command) -> Result<(), GateError> {
    let status = command.status().doing("could not run a program of the system")?;
    if status.success() {
        return Ok(());
    }
    Err(GateError::new(format!("{command:?} failed")))
}
