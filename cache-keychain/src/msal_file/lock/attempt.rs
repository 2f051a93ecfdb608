//! One attempt to take one lock file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use cache_core::time::UnixMillis;
use rustix::fs::{FlockOperation, OFlags, fcntl_lock, flock};
use rustix::io::Errno;

use super::guard::{Held, is_at};
use super::{LockError, LockLimits, holder};

/// How much of a lock file is looked at.
const CONTENT_BYTES: usize = 64;

/// For how long at least a lock file is watched before it counts as abandoned, however old it says that it is: clocks jump.
const SHORTEST_WATCH: Duration = Duration::from_millis(250);

pub(super) enum Attempt {
    Taken(Held),
    /// Somebody else has it, or may have; who, where the file says so.
    Busy(Option<u32>),
}

/// For how long a lock file has been as it is, as far as one who waits saw it.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    seen: Option<Look>,
    unchanged: Duration,
}

/// What would differ if another holder came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    inode: (u64, u64),
    changed: (i64, i64),
    length: u64,
    content: Vec<u8>,
}

impl Observation {
    /// Time went by. It is counted in waits and not by a clock, which would count the time that everybody was suspended too.
    pub(super) fn waited(&mut self, pause: Duration) {
        self.unchanged += pause;
    }

    /// How long `look` has been what was seen.
    fn note(&mut self, look: &Look) -> Duration {
        if self.seen.as_ref() != Some(look) {
            self.seen = Some(look.clone());
            self.unchanged = Duration::ZERO;
        }
        self.unchanged
    }
}

impl Look {
    fn at(file: &File) -> io::Result<Self> {
        let mut content = vec![0; CONTENT_BYTES];
        let length = file.read_at(&mut content, 0)?;
        content.truncate(length);
        let found = file.metadata()?;
        Ok(Self {
            inode: (found.dev(), found.ino()),
            changed: (found.mtime(), found.mtime_nsec()),
            length: found.len(),
            content,
        })
    }

    /// How old it is by the wall clock; nothing where it is from the future.
    fn age(&self, now: UnixMillis) -> Duration {
        let (seconds, nanoseconds) = self.changed;
        let changed = seconds
            .saturating_mul(1000)
            .saturating_add(nanoseconds / 1_000_000);
        now.duration_since(UnixMillis(changed))
    }
}

/// Takes the file at `path`, which must be this task's turn.
pub(super) fn attempt(
    path: &Path,
    limits: &LockLimits,
    now: UnixMillis,
    observation: &mut Observation,
) -> Result<Attempt, LockError> {
    let taken = match open(path, true) {
        Ok(file) => lock(file, path, None),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            existing(path, limits, now, observation)
        }
        Err(error) => Err(error),
    };
    taken.map_err(|source| {
        if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            let path = path.to_owned();
            return LockError::Refused {
                path,
                why: "is a symbolic link; remove it",
            };
        }
        LockError::Io {
            path: path.to_owned(),
            source,
        }
    })
}

fn existing(
    path: &Path,
    limits: &LockLimits,
    now: UnixMillis,
    observation: &mut Observation,
) -> io::Result<Attempt> {
    let file = match open(path, false) {
        Ok(file) => file,
        // Released just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Busy(None)),
        Err(error) => return Err(error),
    };
    let look = Look::at(&file)?;
    let pid = holder::parse(&look.content);
    let limit = match pid {
        Some(pid) if !holder::exists(pid) => limits.ended_after,
        _ => limits.abandoned_after,
    };
    let unchanged = observation.note(&look);
    let is_old = look.age(now) >= limit && unchanged >= SHORTEST_WATCH.min(limit);
    if unchanged < limit && !is_old {
        return Ok(Attempt::Busy(pid));
    }
    lock(file, path, Some(&look))
}

/// Makes an open file ours by the two locks of the kernel: a new one, or one that is abandoned and still as it was `seen`.
///
/// They are tried only on those, because a program could fail for having met us trying.
fn lock(file: File, path: &Path, seen: Option<&Look>) -> io::Result<Attempt> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(Attempt::Busy(None)),
        outcome => outcome?,
    }
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN | Errno::ACCESS) => return Ok(Attempt::Busy(None)),
        outcome => outcome?,
    }
    // Since it was opened it may have been removed, and made anew by another.
    if !is_at(&file, path) {
        return Ok(Attempt::Busy(None));
    }
    if let Some(seen) = seen {
        if Look::at(&file)? != *seen {
            return Ok(Attempt::Busy(None));
        }
        tracing::info!(
            path = %path.display(),
            holder = holder::parse(&seen.content),
            "took over the lock file of a program that ended without removing it"
        );
    }
    // Without it the lock holds as well, on a disk that is full for instance; should we be killed, others only wait longer.
    let content = format!("{} tokenkeep", std::process::id());
    let _ = file
        .set_len(0)
        .and_then(|()| file.write_all_at(content.as_bytes(), 0));
    Ok(Attempt::Taken(Held::new(path.to_owned(), file)))
}

/// Neither waits (for the other end of a pipe) nor follows a link (which would have us make a file for somebody else).
fn open(path: &Path, new: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(new)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}
