//! One attempt to take one lock file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use cache_core::time::UnixMillis;
use rustix::fs::{FlockOperation, OFlags, fcntl_lock, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::guard::{Held, is_at};
use super::{LockError, LockLimits, holder};
use crate::msal_file::temporary;

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

/// Takes the file at `path`, which must be this task's turn. `tag` is random.
pub(super) fn attempt(
    path: &Path,
    limits: &LockLimits,
    now: UnixMillis,
    tag: u64,
    observation: &mut Observation,
) -> Result<Attempt, LockError> {
    let taken = match open(path, false) {
        Ok(file) => match is_anothers(&file) {
            // Whoever put it there may want to see it written to, or never let go.
            Ok(true) => {
                let path = path.to_owned();
                let why = "belongs to another user; remove it";
                return Err(LockError::Refused { path, why });
            }
            Ok(false) => existing(file, path, limits, now, observation),
            Err(error) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path, tag),
        // Another user's program has it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.exists() => {
            Ok(Attempt::Busy(None))
        }
        Err(error) => Err(error),
    };
    taken.map_err(|source| {
        let path = path.to_owned();
        if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            let why = "is a symbolic link; remove it";
            return LockError::Refused { path, why };
        }
        LockError::Io { path, source }
    })
}

/// Root may lock, as it may keep, a file of another user.
fn is_anothers(file: &File) -> io::Result<bool> {
    let me = geteuid();
    Ok(!me.is_root() && file.metadata()?.uid() != me.as_raw())
}

/// Makes the file, which is not there: elsewhere at first, so that it never is without its locks and its content. One that is empty
/// because its maker was killed would bar others for long, and one without locks could be locked by another before its maker.
fn make(path: &Path, tag: u64) -> io::Result<Attempt> {
    let temporary = temporary::beside(path, tag);
    let file = open(&temporary, true)?;
    let linked = lock(&file, &temporary, None).and_then(|_| {
        sign(&file);
        fs::hard_link(&temporary, path)
    });
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => Ok(Attempt::Taken(Held::new(path.to_owned(), file))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Attempt::Busy(None)),
        // Not all file systems have links.
        Err(_) => match open(path, true) {
            Ok(file) => take(file, path, None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Attempt::Busy(None)),
            Err(error) => Err(error),
        },
    }
}

fn existing(
    file: File,
    path: &Path,
    limits: &LockLimits,
    now: UnixMillis,
    observation: &mut Observation,
) -> io::Result<Attempt> {
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
    // The kernel's locks are tried only now, because a program could fail for having met us trying.
    let taken = take(file, path, Some(&look))?;
    if matches!(taken, Attempt::Taken(_)) {
        tracing::info!(
            path = %path.display(),
            holder = pid,
            "took over the lock file of a program that ended without removing it"
        );
        if let Some(directory) = path.parent() {
            temporary::sweep(directory, now);
        }
    }
    Ok(taken)
}

/// Makes an open file ours: a new one, or one that is abandoned and still as it was `seen`.
fn take(file: File, path: &Path, seen: Option<&Look>) -> io::Result<Attempt> {
    if !lock(&file, path, seen)? {
        return Ok(Attempt::Busy(None));
    }
    if file.metadata()?.nlink() > 1 {
        // By its other name it may be somebody's document, which is not to be written. Or its maker was killed between two names.
        fs::remove_file(path)?;
        return Ok(Attempt::Busy(None));
    }
    sign(&file);
    Ok(Attempt::Taken(Held::new(path.to_owned(), file)))
}

/// Whether both locks of the kernel could be had, on the file that `path` leads to, and that nobody changed since it was `seen`.
fn lock(file: &File, path: &Path, seen: Option<&Look>) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(false),
        outcome => outcome?,
    }
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN | Errno::ACCESS) => return Ok(false),
        outcome => outcome?,
    }
    // Since it was opened it may have been removed, and made anew by another.
    if !is_at(file, path) {
        return Ok(false);
    }
    match seen {
        Some(seen) => Ok(Look::at(file)? == *seen),
        None => Ok(true),
    }
}

/// Says whose it is. Where that fails, on a disk that is full for instance, the lock holds as well, and others only wait longer should
/// this process be killed.
fn sign(file: &File) {
    let content = format!("{} tokenkeep", std::process::id());
    // In this order it never names nobody.
    let _ = file
        .write_all_at(content.as_bytes(), 0)
        .and_then(|()| file.set_len(content.len() as u64));
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
