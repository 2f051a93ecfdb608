//! A lock that is held.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::turns::Turn;

/// The lock, until it is dropped.
pub(crate) struct Guard {
    held: Vec<Held>,
    /// Dropped last: only then may another task of this process touch the files.
    _turn: Arc<Turn>,
}

/// One lock file that is ours.
pub(super) struct Held {
    path: PathBuf,
    file: File,
}

impl Guard {
    pub(super) fn new(turn: Arc<Turn>) -> Self {
        Self {
            held: Vec::new(),
            _turn: turn,
        }
    }

    pub(super) fn add(&mut self, held: Held) {
        self.held.push(held);
    }

    /// Whether nobody removed or replaced the lock files meanwhile, as a program may that holds us for dead, or that removes at its
    /// end whatever is at the path.
    pub(crate) fn is_held(&self) -> bool {
        self.held.iter().all(|held| is_at(&held.file, &held.path))
    }
}

impl Held {
    pub(super) fn new(path: PathBuf, file: File) -> Self {
        Self { path, file }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Removed while it is locked: whoever waits for the file's locks and finds it unlinked tries anew, whereas one who got
        // them first would have his own lock file removed.
        if is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
        // Said, not left to the closing: a child that is being started has a copy of the descriptor until it runs its program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Whether `path` leads to `file`.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
