//! What a keychain failed with, and what its user can do.

use std::error::Error;

use cache_keychain::{KeychainError, KeychainErrorKind};

use crate::exit::Exit;
use crate::failure::Failure;

impl From<KeychainError> for Failure {
    fn from(error: KeychainError) -> Self {
        let kind = error.kind();
        let failure = Self::new(word(kind), Exit::Storage, error);
        match next(kind) {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

/// What the keychain said, if one is the cause.
pub(crate) fn find(error: &(dyn Error + 'static)) -> Option<KeychainErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(keychain) = error.downcast_ref::<KeychainError>() {
            return Some(keychain.kind());
        }
        cause = error.source();
    }
    None
}

/// A word for scripts.
pub(crate) fn word(kind: KeychainErrorKind) -> &'static str {
    match kind {
        KeychainErrorKind::Absent => "keychain_absent",
        KeychainErrorKind::Locked => "keychain_locked",
        KeychainErrorKind::TimedOut => "keychain_not_answering",
        KeychainErrorKind::Disconnected => "keychain_disconnected",
        KeychainErrorKind::Denied => "keychain_denied",
        KeychainErrorKind::Missing => "keychain_item_missing",
        KeychainErrorKind::TooLarge => "keychain_full",
        KeychainErrorKind::Unsupported => "keychain_unsupported",
        _ => "keychain",
    }
}

/// What to do next. A cache whose key is in the keychain opens with nothing else, so another `--key` is for one that begins.
pub(crate) fn next(kind: KeychainErrorKind) -> Option<&'static str> {
    Some(match kind {
        KeychainErrorKind::Locked => {
            "unlock your login keyring, or start with `--key file:PATH` and another --store, where nobody unlocks one; `tokenkeep doctor` \
             looks closer"
        }
        KeychainErrorKind::Absent => {
            "run it in a desktop session with a keyring (over SSH and in containers there is none), or start with `--key file:PATH` and \
             another --store; `--key keychain,else=file:PATH` decides that for a new cache; `tokenkeep doctor` looks closer"
        }
        KeychainErrorKind::TimedOut | KeychainErrorKind::Disconnected => {
            "the keyring's program hangs or was ended: start it anew (signing in to the desktop does), and run this again; or start with \
             `--key file:PATH` and another --store; `tokenkeep doctor` looks closer"
        }
        KeychainErrorKind::Denied => {
            "allow this program to use the keychain, or start with `--key file:PATH` and another --store"
        }
        KeychainErrorKind::Ambiguous => {
            "remove all but one of the items of this name in the keychain's program, or give another name: `keychain:NAME`"
        }
        KeychainErrorKind::TooLarge => {
            "make room in the keychain, or use --store sqlite:PATH with `--key keychain`"
        }
        KeychainErrorKind::Unsupported => {
            "start with `--key file:PATH`; on this system no keychain can be used"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cache_keychain::{Keychain, KeychainConfig, KeychainStore, KeychainStoreConfig};

    use super::*;

    #[tokio::test]
    async fn a_keychain_is_found_behind_the_error_of_a_store() {
        let keychain = Keychain::with_store(KeychainConfig::default(), || {
            let cause = "the test's keychain is locked".into();
            Err::<Arc<keyring_core::api::CredentialStore>, _>(keyring_core::Error::NoStorageAccess(cause))
        });
        let error = KeychainStore::open(keychain, KeychainStoreConfig::new())
            .await
            .unwrap_err();
        assert_eq!(find(&error), Some(KeychainErrorKind::Locked));
        let failure = Failure::from(error);
        assert_eq!((failure.kind, failure.exit), ("keychain_locked", Exit::Storage));
        assert!(failure.to_text().contains("unlock your login keyring"));
    }

    #[test]
    fn other_errors_are_of_no_keychain() {
        assert_eq!(find(&std::io::Error::other("no")), None);
    }
}
