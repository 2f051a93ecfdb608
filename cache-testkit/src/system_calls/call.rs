//! A recorded call.

use std::path::{Path, PathBuf};

/// One call of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread, by the kernel's number.
    pub thread: u32,
    /// The name of the call: `pwrite64`.
    pub name: String,
    /// The line of the record where it begins.
    pub entered: usize,
    /// The line where it returned, which is the same one when nothing else happened meanwhile. `None` when it never did.
    pub returned: Option<usize>,
    /// What it was given.
    pub arguments: Vec<Argument>,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether the outcome was put there by [`Strace::inject`](super::Strace::inject).
    pub is_injected: bool,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded with this.
    Returned(i64),
    /// It failed with the error of this name.
    Failed(String),
    /// The process ended meanwhile.
    Never,
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Data, or a path as the program gave it.
    Bytes(Vec<u8>),
    /// A descriptor, and the path by which its file was known at that moment; `None` once that was unlinked. The current directory is -100.
    Descriptor(i64, Option<PathBuf>),
    /// Anything else, as `strace` prints it: numbers, flags, structures.
    Other(String),
}

impl Call {
    /// The descriptor at this place among the arguments.
    #[must_use]
    pub fn descriptor(&self, place: usize) -> Option<i64> {
        match self.arguments.get(place)? {
            Argument::Descriptor(number, _) => Some(*number),
            Argument::Other(text) => text.parse().ok(),
            Argument::Bytes(_) => None,
        }
    }

    /// The path of the descriptor at this place among the arguments.
    #[must_use]
    pub fn file(&self, place: usize) -> Option<&Path> {
        match self.arguments.get(place)? {
            Argument::Descriptor(_, path) => path.as_deref(),
            _ => None,
        }
    }

    /// The data at this place among the arguments.
    #[must_use]
    pub fn bytes(&self, place: usize) -> Option<&[u8]> {
        match self.arguments.get(place)? {
            Argument::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The path at this place among the arguments, below the directory that is the argument before it if it is relative.
    #[must_use]
    pub fn path(&self, place: usize) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt;

        let path = Path::new(std::ffi::OsStr::from_bytes(self.bytes(place)?));
        match place.checked_sub(1).and_then(|before| self.file(before)) {
            Some(directory) => Some(directory.join(path)),
            None => Some(path.to_owned()),
        }
    }

    /// The first path that it is given, or that of the first descriptor.
    #[must_use]
    pub fn path_or_file(&self) -> Option<PathBuf> {
        let places = 0..self.arguments.len();
        let path = places.clone().find_map(|place| self.path(place));
        path.or_else(|| {
            places
                .into_iter()
                .find_map(|place| self.file(place).map(Path::to_owned))
        })
    }

    /// The number at this place among the arguments.
    #[must_use]
    pub fn number(&self, place: usize) -> Option<u64> {
        match self.arguments.get(place)? {
            Argument::Other(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether the flags at this place among the arguments have one of this name.
    #[must_use]
    pub fn has_flag(&self, place: usize, flag: &str) -> bool {
        matches!(self.arguments.get(place), Some(Argument::Other(flags)) if flags.split('|').any(|one| one == flag))
    }

    /// Whether one of its paths or descriptors is `directory`, or in it.
    #[must_use]
    pub fn is_within(&self, directory: &Path) -> bool {
        (0..self.arguments.len()).any(|place| {
            self.file(place).is_some_and(|path| path.starts_with(directory))
                || self.path(place).is_some_and(|path| path.starts_with(directory))
        })
    }
}
