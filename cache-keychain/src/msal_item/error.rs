//! Why the item cannot be read or written.

use std::io;

use cache_core::store::StoreError;
use cache_core::store::error::{ErrorKind, Operation};
use secret_service::Error;

use crate::error::{KeychainError, KeychainErrorKind};
use crate::msal_file::lock::LockError;
use crate::store::failure::of_keychain;

/// Why a piece of work failed, before it is known whose operation it was.
#[derive(Debug)]
pub(super) enum Failure {
    Keychain(KeychainError),
    /// The item holds something that is no cache.
    Foreign,
    /// The condition of a write does not hold.
    Conflict,
    /// The caller gave up before the write was made.
    Abandoned,
    /// Another task of this process wrote until the deadline.
    Busy,
    /// Another program holds the lock, or the lock cannot be taken.
    Lock(LockError),
    /// Another program took the lock away.
    LockLost,
    /// The directory of the cache path cannot be used.
    Path(io::Error),
}

impl From<KeychainError> for Failure {
    fn from(error: KeychainError) -> Self {
        Self::Keychain(error)
    }
}

impl Failure {
    /// Whether a write that was on its way when this happened was certainly refused.
    pub(super) fn is_refusal(&self) -> bool {
        use KeychainErrorKind::{Absent, Ambiguous, Denied, Locked};
        match self {
            Self::Keychain(error) => matches!(error.kind(), Absent | Ambiguous | Denied | Locked),
            _ => true,
        }
    }

    /// The error of the operation, of which nothing was applied.
    pub(super) fn during(self, operation: Operation) -> StoreError {
        let new = |kind, context: &str| StoreError::new(kind, operation, context);
        match self {
            Self::Keychain(error) if error.kind() == KeychainErrorKind::Ambiguous => new(
                ErrorKind::InvalidArgument,
                "the attributes do not tell which item it is",
            )
            .with_source(error),
            Self::Keychain(error) => of_keychain(operation, error),
            Self::Foreign => new(
                ErrorKind::Corrupt,
                "the item holds no cache in MSAL's JSON and was left as it is; check its attributes, or remove it",
            ),
            Self::Conflict => StoreError::conflict(operation),
            Self::Abandoned => new(
                ErrorKind::Unavailable,
                "the write was given up before it was made; try again",
            ),
            Self::Busy => new(
                ErrorKind::Unavailable,
                "other tasks of this process were writing the item until the deadline; try again",
            ),
            Self::Lock(error) => crate::msal_file::error::Failure::from(error).during(operation),
            Self::LockLost => new(
                ErrorKind::Unavailable,
                "another program took the lock away before the item was written; try again",
            ),
            Self::Path(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                    io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
                    io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => ErrorKind::InvalidArgument,
                    _ => ErrorKind::Other,
                };
                new(kind, "the directory of the cache path cannot be used").with_source(error)
            }
        }
    }
}

/// What the Secret Service says, with what its user can do.
pub(super) fn of_secret_service(error: Error) -> KeychainError {
    let (kind, advice) = match &error {
        Error::Unavailable => (KeychainErrorKind::Absent, ABSENT),
        Error::NoResult => (
            KeychainErrorKind::Absent,
            "the Secret Service has no default keyring; make one in its program",
        ),
        Error::Locked => (KeychainErrorKind::Locked, LOCKED),
        Error::Prompt => (
            KeychainErrorKind::Denied,
            "the question of the Secret Service was answered with no",
        ),
        Error::PromptDisconnected => (KeychainErrorKind::Disconnected, DISCONNECTED),
        Error::Zbus(error) => of_bus(error),
        Error::ZbusFdo(error) => match error {
            zbus::fdo::Error::ZBus(error) => of_bus(error),
            zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_) => {
                (KeychainErrorKind::Absent, ABSENT)
            }
            zbus::fdo::Error::NoReply(_)
            | zbus::fdo::Error::Disconnected(_)
            | zbus::fdo::Error::UnknownObject(_) => (KeychainErrorKind::Disconnected, DISCONNECTED),
            zbus::fdo::Error::AccessDenied(_) => (KeychainErrorKind::Denied, DENIED),
            _ => (KeychainErrorKind::Other, FAILED),
        },
        _ => (KeychainErrorKind::Other, FAILED),
    };
    KeychainError::new(kind, advice).with_source(error)
}

pub(super) const ABSENT: &str = "no Secret Service answers on the session bus; start one (gnome-keyring, KeePassXC), or keep the cache in a file";
pub(super) const LOCKED: &str =
    "the keyring with the cache is locked; unlock your login keyring, or keep the cache in a file";
const DISCONNECTED: &str = "the Secret Service ended during the call; try again";
const TIMED_OUT: &str = "the Secret Service did not answer in time; it may hang, or wait to be unlocked";
const DENIED: &str = "the Secret Service does not allow it";
const FAILED: &str = "the Secret Service failed";

fn of_bus(error: &zbus::Error) -> (KeychainErrorKind, &'static str) {
    let name = match error {
        zbus::Error::MethodError(name, ..) => name.as_str(),
        zbus::Error::InputOutput(error) if error.kind() == io::ErrorKind::TimedOut => {
            return (KeychainErrorKind::TimedOut, TIMED_OUT);
        }
        zbus::Error::InputOutput(_) => return (KeychainErrorKind::Disconnected, DISCONNECTED),
        zbus::Error::Address(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_) => {
            return (KeychainErrorKind::Absent, ABSENT);
        }
        zbus::Error::FDO(error) => match &**error {
            zbus::fdo::Error::ServiceUnknown(_) => return (KeychainErrorKind::Absent, ABSENT),
            _ => return (KeychainErrorKind::Other, FAILED),
        },
        _ => return (KeychainErrorKind::Other, FAILED),
    };
    match name {
        "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            (KeychainErrorKind::Absent, ABSENT)
        }
        "org.freedesktop.Secret.Error.IsLocked" => (KeychainErrorKind::Locked, LOCKED),
        // A service that was replaced knows neither the session nor the items of the one before.
        "org.freedesktop.DBus.Error.NoReply"
        | "org.freedesktop.DBus.Error.Disconnected"
        | "org.freedesktop.DBus.Error.UnknownObject"
        | "org.freedesktop.DBus.Error.UnknownMethod"
        | "org.freedesktop.Secret.Error.NoSession"
        | "org.freedesktop.Secret.Error.NoSuchObject" => (KeychainErrorKind::Disconnected, DISCONNECTED),
        "org.freedesktop.DBus.Error.AccessDenied" => (KeychainErrorKind::Denied, DENIED),
        _ => (KeychainErrorKind::Other, FAILED),
    }
}
