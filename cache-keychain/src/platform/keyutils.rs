//! The keyrings of the Linux kernel.

use linux_keyutils::{KeyError, KeyRing, KeyRingIdentifier};
use linux_keyutils_keyring_store::Store;

use super::{Connection, KeychainPersistence, Look, Open};
use crate::config::KeychainConfig;
use crate::error::{KeychainError, KeychainErrorKind};

/// A name that no key has: what the search for it says is about the keyring.
const NO_KEY: &str = "tokenkeep: looked for, never made";

/// How many links of a keyring are read: as many as root may have keys by default. The kernel takes 200 of a user.
const MAX_LINKS: usize = 1_000_000;

/// The library asks the kernel for as many bytes, not links, and takes what lies in its memory for links where they do not fit.
const BUFFER: usize = MAX_LINKS * size_of::<i32>();

pub(super) fn opener(_: &KeychainConfig) -> Open {
    Box::new(|| {
        session()?;
        Ok(Connection {
            store: Store::new().map_err(KeychainError::of_keyring)?,
            look: Box::new(SessionLook),
            modifiers: Vec::new(),
        })
    })
}

struct SessionLook;

impl Look for SessionLook {
    fn check(&self) -> Result<(), KeychainError> {
        match session()?.search(NO_KEY) {
            // ENOKEY is the answer; the rest is about the keyring, which the library's store would report as a missing key.
            Ok(_) | Err(KeyError::KeyDoesNotExist) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn persistence(&self) -> Option<KeychainPersistence> {
        let persistent = KeyRing::get_persistent(KeyRingIdentifier::Session);
        Some(match persistent {
            Ok(_) => KeychainPersistence::UntilRestart,
            Err(_) => KeychainPersistence::Session,
        })
    }

    fn names(&self, service: &str) -> Option<Result<Vec<String>, KeychainError>> {
        Some(names(service))
    }
}

fn session() -> Result<KeyRing, KeychainError> {
    KeyRing::from_special_id(KeyRingIdentifier::Session, false).map_err(failed)
}

fn names(service: &str) -> Result<Vec<String>, KeychainError> {
    let session = session()?;
    let persistent = KeyRing::get_persistent(KeyRingIdentifier::Session).ok();
    let mut names = Vec::new();
    for keyring in std::iter::once(session).chain(persistent) {
        let links = keyring.get_links(BUFFER).map_err(failed)?;
        for key in links.iter().filter_map(linux_keyutils::LinkNode::as_key) {
            // One that ended meanwhile, or that others own.
            let Ok(description) = key.metadata() else {
                continue;
            };
            names.extend(name_of(description.get_description(), service));
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The name of an item by how the library's store describes it.
fn name_of(description: &str, service: &str) -> Option<String> {
    let name = description
        .strip_prefix("keyring:")?
        .strip_suffix(service)?
        .strip_suffix('@')?;
    Some(name.to_owned())
}

fn failed(error: KeyError) -> KeychainError {
    let (kind, what) = match error {
        // ENOSYS.
        KeyError::Unknown(38) | KeyError::OperationNotSupported => (
            KeychainErrorKind::Absent,
            "this kernel has no keyrings, or this container hides them",
        ),
        KeyError::PermissionDenied => (
            KeychainErrorKind::Denied,
            "the system does not allow the kernel's keyrings here, as most containers do not",
        ),
        KeyError::AccessDenied => (
            KeychainErrorKind::Denied,
            "the keyring of this session may not be used by this process",
        ),
        KeyError::KeyRevoked | KeyError::KeyExpired | KeyError::KeyringDoesNotExist => (
            KeychainErrorKind::Disconnected,
            "the keyring of this session was revoked or has expired; sign in to a new session",
        ),
        other => return KeychainError::of_library(Box::new(other), KeychainErrorKind::Other),
    };
    KeychainError::new(kind, what).with_source(error)
}

pub(super) fn meaning_of(
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> Option<KeychainErrorKind> {
    match error.downcast_ref()? {
        KeyError::AccessDenied | KeyError::PermissionDenied => Some(KeychainErrorKind::Denied),
        KeyError::QuotaExceeded | KeyError::OutOfMemory => Some(KeychainErrorKind::TooLarge),
        KeyError::OperationNotSupported | KeyError::Unknown(38) => Some(KeychainErrorKind::Absent),
        KeyError::KeyRevoked | KeyError::KeyExpired => Some(KeychainErrorKind::Disconnected),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_named_by_their_descriptions() {
        assert_eq!(name_of("keyring:a1@app", "app").as_deref(), Some("a1"));
        assert_eq!(name_of("keyring:a@b@app", "app").as_deref(), Some("a@b"));
        assert_eq!(name_of("keyring:a1@other", "app"), None);
        assert_eq!(name_of("keyring:a1app", "app"), None);
        assert_eq!(name_of("user:a1@app", "app"), None);
    }
}
