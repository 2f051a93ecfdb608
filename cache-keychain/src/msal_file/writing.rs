//! Replaces the file in one step.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache_core::random::{Random, random_bytes};
use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{Durability, PutMode, Version, sync_names};
use cache_core::time::UnixMillis;
use rustix::fs::{Timestamps, fchown, futimens};
use rustix::process::{Gid, Uid};

use super::error::Failure;
use super::lock::Guard;
use super::place::{Place, check_file};
use super::reading::{self, Content, Reading};
use super::temporary;

/// The new content, in a file of its own beside the old one; removed when dropped.
#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    path: PathBuf,
    version: Version,
}

/// On what condition to replace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    Put(PutMode),
    Delete(Option<Version>),
}

/// What became of a replacement.
#[derive(Debug)]
pub(super) enum Outcome {
    Replaced(Version),
    /// There was nothing to delete.
    Nothing,
    Conflict,
    /// Nothing was changed: a program that takes no lock is writing, or somebody took the lock from us.
    Again(Staged),
    /// Nothing was changed: somebody to whom this process does not exist removed the temporary file.
    Swept,
}

impl Staged {
    /// Writes `content` to the disk, where nobody reads it yet. Without the lock: that is what takes its time.
    pub(super) fn new(place: &Place, content: &[u8], random: &dyn Random) -> Result<Self, Failure> {
        let tag: [u8; 8] = random_bytes(random).map_err(|source| {
            Failure::new(ErrorKind::Other, "no name for a temporary file").with_source(source)
        })?;
        let path = temporary::beside(place.target(), u64::from_be_bytes(tag));
        let failed = |error| Failure::io(&path, "write", error);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let mut staged = Self {
            file,
            path: path.clone(),
            version: reading::version_of(content),
        };
        // Forced to the disk even where durability is not asked for: else a crash could leave the new name with none of the content.
        staged.file.write_all(content).map_err(failed)?;
        staged.file.sync_all().map_err(failed)?;
        Ok(staged)
    }

    /// Puts it in the place of the file, if `condition` holds. Under the lock, which is released before the directory is forced to the
    /// disk. A file of the version `known` is known to be a cache.
    pub(super) fn replace(
        self,
        place: &Place,
        known: Option<Version>,
        condition: Condition,
        durability: Durability,
        now: UnixMillis,
        guard: Guard,
    ) -> Result<Outcome, Failure> {
        place.check()?;
        let found = match reading::read(place.target(), known)? {
            Reading::Missing => Content::Absent,
            Reading::Settled(_, content) => content,
            // MSAL programs make their file and write to it later.
            Reading::Unsettled { is_empty: true, .. } => Content::Absent,
            Reading::Unsettled { .. } | Reading::Moving => return Ok(Outcome::Again(self)),
        };
        if matches!(found, Content::Foreign) {
            return Err(not_a_cache(place.named()));
        }
        if let Some(outcome) = condition.decide(found.version()) {
            return Ok(outcome);
        }
        self.adopt(place.target())?;
        self.date(now)?;
        if !guard.is_held() {
            return Ok(Outcome::Again(self));
        }
        match fs::rename(&self.path, place.target()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Swept),
            renamed => renamed.map_err(|error| Failure::io(place.target(), "replace", error))?,
        }
        drop(guard);
        if durability == Durability::Durable {
            sync_directory(place.directory())?;
        }
        Ok(Outcome::Replaced(self.version))
    }

    /// Takes over mode and owner of the file that is there.
    fn adopt(&self, target: &Path) -> Result<(), Failure> {
        let found = match fs::metadata(target) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::io(target, "look at", error)),
        };
        check_file(target, &found)?;
        let ours = self
            .file
            .metadata()
            .map_err(|error| Failure::io(&self.path, "look at", error))?;
        let mut mode = found.mode() & 0o777;
        if (ours.uid(), ours.gid()) != (found.uid(), found.gid()) {
            let owner = (ours.uid() != found.uid()).then(|| Uid::from_raw(found.uid()));
            let given = fchown(&self.file, owner, Some(Gid::from_raw(found.gid())));
            match given {
                Ok(()) => {}
                // What one group might is not for another.
                Err(_) if owner.is_none() => mode &= !0o070,
                Err(error) => return Err(Failure::io(target, "keep the owner of", error.into())),
            }
        }
        if mode != ours.mode() & 0o777 {
            self.file
                .set_permissions(Permissions::from_mode(mode))
                .map_err(|error| Failure::io(target, "keep the mode of", error))?;
        }
        Ok(())
    }

    /// Dates it now, rounded up. MSAL Python and Node read the file anew only if it is younger than their last look, by a clock that
    /// is finer than the kernel's for files; the content was written before that look, perhaps.
    fn date(&self, now: UnixMillis) -> Result<(), Failure> {
        let moment = now.saturating_add(Duration::from_millis(1));
        let moment = rustix::fs::Timespec {
            tv_sec: moment.0.div_euclid(1000),
            tv_nsec: moment.0.rem_euclid(1000) * 1_000_000,
        };
        let times = Timestamps {
            last_access: moment,
            last_modification: moment,
        };
        futimens(&self.file, &times).map_err(|error| Failure::io(&self.path, "date", error.into()))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After it was renamed there is nothing of the name.
        let _ = fs::remove_file(&self.path);
    }
}

impl Condition {
    /// What comes of it where `found` is there; `None` to go on.
    pub(super) fn decide(self, found: Option<Version>) -> Option<Outcome> {
        let holds = match self {
            Self::Put(PutMode::Overwrite) => true,
            Self::Put(PutMode::Create) => found.is_none(),
            Self::Put(PutMode::Update(version)) | Self::Delete(Some(version)) => found == Some(version),
            Self::Delete(None) if found.is_none() => return Some(Outcome::Nothing),
            Self::Delete(None) => true,
        };
        (!holds).then_some(Outcome::Conflict)
    }
}

pub(super) fn not_a_cache(path: &Path) -> Failure {
    let context = format!(
        "{} is not a cache in MSAL's JSON, and was left as it is. It may be encrypted by the program that keeps it, which nobody else \
         can read, or that program was stopped while it wrote; let it write the file unencrypted, or move the file away",
        path.display()
    );
    Failure::new(ErrorKind::Corrupt, context)
}

fn sync_directory(path: &Path) -> Result<(), Failure> {
    // It is in effect by now.
    sync_names(path)
        .map_err(|error| Failure::io(path, "force to the disk", error).with_retry(Retry::OutcomeUnknown))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cache_core::random::OsRandom;
    use cache_core::time::{Clock, SystemClock};

    use super::*;
    use crate::msal_file::lock::{LockLimits, PeerLock};

    #[tokio::test]
    async fn nothing_is_written_when_the_lock_was_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache.json");
        fs::write(&path, "{\"a\":1}").unwrap();
        let place = Place::locate(&path, true).unwrap();
        let lock_file = place.lock_files()[0].clone();
        let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
        let lock = PeerLock::new(place.lock_files(), LockLimits::default(), clock, random);
        for taken_by in [None, Some("1 another program"), Some("")] {
            let staged = Staged::new(&place, b"{\"b\":2}", &OsRandom).unwrap();
            let (place, lock_file) = (place.clone(), lock_file.clone());
            let replaced = lock.with(move |guard| {
                fs::remove_file(&lock_file).unwrap();
                if let Some(content) = taken_by {
                    fs::write(&lock_file, content).unwrap();
                }
                let condition = Condition::Put(PutMode::Overwrite);
                let now = SystemClock.now();
                let outcome = staged.replace(&place, None, condition, Durability::Durable, now, guard);
                // What is not ours is left.
                let left = fs::read_to_string(&lock_file).ok();
                let _ = fs::remove_file(&lock_file);
                (outcome, left)
            });
            let (outcome, left) = replaced.await.unwrap();
            assert!(matches!(outcome.unwrap(), Outcome::Again(_)));
            assert_eq!(left.as_deref(), taken_by);
            assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }
}
