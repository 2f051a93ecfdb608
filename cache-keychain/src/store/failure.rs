//! Why a piece of work on the keychain failed.

use std::io;
use std::path::{Path, PathBuf};

use cache_core::random::RandomError;
use cache_core::store::StoreError;
use cache_core::store::error::{ErrorKind, Operation, Retry};

use super::wire::Damage;
use crate::error::{KeychainError, KeychainErrorKind};

/// Why a piece of work failed, before it is known whose operation it was.
#[derive(Debug)]
pub(crate) enum Failure {
    Keychain(KeychainError),
    /// The manifest is none of this program's.
    Manifest(Damage),
    /// An item that the manifest names is not there, or not whole.
    ChunkMissing,
    /// The same, of the list of records.
    IndexMissing,
    /// The condition of a write does not hold.
    Conflict,
    /// There are too many records for the keychain's items.
    TooManyRecords,
    /// Others changed the store during each of many attempts to read it.
    Busy,
    /// The caller gave up before the write was made.
    Abandoned,
    /// The lock was not to be had in time.
    LockHeld,
    /// Somebody removed the lock file while it was held.
    LockLost,
    /// The lock file cannot be used.
    LockFile {
        path: PathBuf,
        source: io::Error,
    },
    /// The lock file's place is refused.
    LockRefused(String),
    Random(RandomError),
}

impl From<KeychainError> for Failure {
    fn from(error: KeychainError) -> Self {
        Self::Keychain(error)
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Manifest(damage)
    }
}

impl From<RandomError> for Failure {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl Failure {
    pub(super) fn lock_file(path: &Path, source: io::Error) -> Self {
        Self::LockFile {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether another attempt on the same connection would fail as well.
    pub(super) fn is_of_the_connection(&self) -> bool {
        matches!(self, Self::Keychain(error) if error.is_unavailable())
    }

    /// Whether a write that was on its way when this happened was certainly refused.
    pub(super) fn is_refusal(&self) -> bool {
        use KeychainErrorKind::{Ambiguous, Denied, Locked, TooLarge, Unsupported};
        match self {
            Self::Keychain(error) => {
                matches!(error.kind(), Locked | Denied | Ambiguous | TooLarge | Unsupported)
            }
            _ => true,
        }
    }

    /// The error of the operation, of which nothing was applied.
    pub(super) fn during(self, operation: Operation) -> StoreError {
        let new = |kind, context: &str| StoreError::new(kind, operation, context);
        match self {
            Self::Keychain(error) => of_keychain(operation, error),
            Self::Manifest(Damage::Newer) => new(
                ErrorKind::NewerSchema,
                "a newer version of this program wrote the keychain's items; use that one",
            ),
            Self::Manifest(_) => new(
                ErrorKind::Corrupt,
                "the keychain's item of the store's name is not a store; remove the item, or choose another name",
            ),
            Self::ChunkMissing => new(
                ErrorKind::Corrupt,
                "the keychain has lost an item of the record; write the record anew, or delete it",
            ),
            Self::IndexMissing => new(
                ErrorKind::Corrupt,
                "the keychain has lost a part of the store's list of records; remove the item of the store's name to start anew",
            ),
            Self::Conflict => StoreError::conflict(operation),
            Self::TooManyRecords => new(
                ErrorKind::TooLarge,
                "there are too many records for a keychain; delete some, or use another store",
            ),
            Self::Busy => new(
                ErrorKind::Unavailable,
                "the store changed during each attempt to read it; try again",
            ),
            Self::Abandoned => new(
                ErrorKind::Unavailable,
                "the write was given up before it was made; try again",
            ),
            Self::LockHeld => new(
                ErrorKind::Unavailable,
                "another writer held the lock of the store until the deadline; try again, or see whether its keychain hangs",
            ),
            Self::LockLost => new(
                ErrorKind::Unavailable,
                "the lock file of the store was removed while the lock was held; nothing was written, try again",
            ),
            Self::LockFile { path, source } => {
                let kind = match source.kind() {
                    io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                    io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
                    _ => ErrorKind::Other,
                };
                let context = format!(
                    "the lock file of the store, {}, cannot be used; check its permissions, or name another to all that use the store",
                    path.display()
                );
                StoreError::new(kind, operation, context).with_source(source)
            }
            Self::LockRefused(why) => new(ErrorKind::PermissionDenied, &why),
            Self::Random(error) => new(ErrorKind::Other, "no random bytes").with_source(error),
        }
    }
}

/// What the keychain's error means for a store; a write was certainly not applied.
pub(crate) fn of_keychain(operation: Operation, error: KeychainError) -> StoreError {
    use KeychainErrorKind as Keychain;
    let (kind, retry) = match error.kind() {
        Keychain::Absent | Keychain::Locked | Keychain::Disconnected => (ErrorKind::Unavailable, Retry::Yes),
        Keychain::TimedOut => (ErrorKind::Timeout, Retry::Yes),
        Keychain::Denied => (ErrorKind::PermissionDenied, Retry::No),
        // No item is longer than the keychain takes, so it is the keychain that is full.
        Keychain::TooLarge => (ErrorKind::Full, Retry::No),
        Keychain::Missing | Keychain::Ambiguous | Keychain::Malformed => (ErrorKind::Corrupt, Retry::No),
        Keychain::Unsupported => (ErrorKind::Unsupported, Retry::No),
        Keychain::Other => (ErrorKind::Other, Retry::No),
    };
    StoreError::new(kind, operation, "in the keychain")
        .with_retry(retry)
        .with_source(error)
}
