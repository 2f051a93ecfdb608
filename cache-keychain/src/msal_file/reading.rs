//! Reads without a lock, of a file that others may be writing in place.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cache_core::secret::SecretBytes;
use cache_core::store::Version;
use cache_core::store::error::ErrorKind;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::error::Failure;
use super::json::Shape;
use super::place::check_file;

/// What a deleted record leaves: a cache without anything, because programs that find no file go on with what they have in memory.
pub(crate) const DELETED: &[u8] = b"{}\n";

/// The longest file, in bytes.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// How far apart two writes must be for their times to differ: the kernel's tick, and more.
const TICK: Duration = Duration::from_millis(20);

/// The same where the file system seems to keep whole seconds only.
const COARSE_TICK: Duration = Duration::from_millis(2_100);

/// What the file system says of a file, which differs after each write that is not within one tick of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(found: &Metadata) -> Self {
        Self {
            inode: (found.dev(), found.ino()),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// The file at `path`, whatever links lead there.
    pub(super) fn at(path: &Path) -> Result<Option<Self>, Failure> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(Self::of(&found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io(path, "look at", error)),
        }
    }

    fn tick(&self) -> Duration {
        if self.modified.1 == 0 && self.changed.1 == 0 {
            COARSE_TICK
        } else {
            TICK
        }
    }
}

/// What a file holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// No cache: there is no file, or nothing in it.
    Absent,
    Whole(Document),
    /// Something else, which is not ours to touch.
    Foreign,
}

/// A whole cache.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) payload: Bytes,
    pub(super) version: Version,
}

impl Content {
    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::Whole(document) => Some(document.version),
            Self::Absent | Self::Foreign => None,
        }
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What one look at a file gave.
#[derive(Debug)]
pub(super) enum Reading {
    Missing,
    /// Not written to meanwhile, and not in the middle of being written.
    Settled(Stamp, Content),
    /// Nothing, or the beginning of something: what it means depends on whether somebody is writing it.
    Unsettled {
        stamp: Stamp,
        is_empty: bool,
    },
    /// Changed during the look.
    Moving,
}

impl Reading {
    /// What it means once it is known that nobody is writing.
    pub(super) fn verdict(self) -> Option<(Option<Stamp>, Content)> {
        match self {
            Self::Missing => Some((None, Content::Absent)),
            Self::Settled(stamp, content) => Some((Some(stamp), content)),
            Self::Unsettled {
                stamp,
                is_empty: true,
            } => Some((Some(stamp), Content::Absent)),
            Self::Unsettled { stamp, .. } => Some((Some(stamp), Content::Foreign)),
            Self::Moving => None,
        }
    }
}

/// Reads the file once. What has the version `known` was read whole before, so it is not looked through again.
pub(super) fn read(path: &Path, known: Option<Version>) -> Result<Reading, Failure> {
    // A pipe in its place must not make the open wait.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Missing),
        Err(error) => return Err(Failure::io(path, "open", error)),
    };
    let before = stat(&file, path)?;
    check_file(path, &before)?;
    let length = usize::try_from(before.len()).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        let context = format!("{} has {length} bytes, and no cache has", path.display());
        return Err(Failure::new(ErrorKind::Corrupt, context));
    }
    // Of its final size at once: a buffer that grows leaves copies of tokens behind. One more, to see whether it grew.
    let mut content = Vec::with_capacity(length + 1);
    let taken = (&mut file).take(length as u64 + 1).read_to_end(&mut content);
    let content = SecretBytes::new(content);
    taken.map_err(|error| Failure::io(path, "read", error))?;
    let stamp = Stamp::of(&before);
    if content.len() != length || Stamp::of(&stat(&file, path)?) != stamp {
        return Ok(Reading::Moving);
    }
    let version = version_of(content.expose());
    let shape = match known {
        Some(known) if known == version => Shape::Whole,
        _ => Shape::of(content.expose()),
    };
    Ok(match shape {
        Shape::Whole if content.expose() == DELETED => Reading::Settled(stamp, Content::Absent),
        Shape::Whole => Reading::Settled(
            stamp,
            Content::Whole(Document {
                payload: wiped(content),
                version,
            }),
        ),
        Shape::Foreign => Reading::Settled(stamp, Content::Foreign),
        shape => Reading::Unsettled {
            stamp,
            is_empty: shape == Shape::Empty,
        },
    })
}

fn stat(file: &File, path: &Path) -> Result<Metadata, Failure> {
    file.metadata()
        .map_err(|error| Failure::io(path, "look at", error))
}

/// The version of a document: the beginning of its SHA-256.
pub(crate) fn version_of(payload: &[u8]) -> Version {
    let mut version = [0; 16];
    version.copy_from_slice(&Sha256::digest(payload)[..16]);
    Version::from_bytes(version)
}

/// Bytes that are wiped when the last who reads them is done.
pub(crate) fn wiped(content: SecretBytes) -> Bytes {
    struct Wiped(SecretBytes);
    impl AsRef<[u8]> for Wiped {
        fn as_ref(&self) -> &[u8] {
            self.0.expose()
        }
    }
    Bytes::from_owner(Wiped(content))
}

/// What was read last, and whether a file that looks as it did then still holds it.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// The stamp that was seen last, and since when.
    seen: Option<(Stamp, Duration)>,
    content: Option<(Stamp, Content)>,
}

impl Memory {
    /// What a file of this stamp holds, if that is certain.
    pub(super) fn recall(&self, stamp: &Stamp) -> Option<Content> {
        let remembered = self.lock();
        let (known, content) = remembered.content.as_ref()?;
        (known == stamp).then(|| content.clone())
    }

    /// A look that began at `began` and ended at `ended` (on the monotonic clock) found `content` under `stamp`.
    ///
    /// It is kept only where the same stamp had been seen a tick before the look began. Any later write then has another time; one
    /// within the tick of the first need not.
    pub(super) fn note(&self, stamp: Stamp, content: &Content, began: Duration, ended: Duration) {
        let mut remembered = self.lock();
        match remembered.seen {
            Some((seen, since)) if seen == stamp => {
                if began >= since.saturating_add(stamp.tick()) {
                    remembered.content = Some((stamp, content.clone()));
                }
            }
            _ => remembered.seen = Some((stamp, ended)),
        }
    }

    /// A look that ended at `ended` found `stamp`, and nothing that means anything yet.
    pub(super) fn saw(&self, stamp: Stamp, ended: Duration) {
        let mut remembered = self.lock();
        if remembered.seen.is_none_or(|(seen, _)| seen != stamp) {
            remembered.seen = Some((stamp, ended));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
