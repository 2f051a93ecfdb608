//! Keychain Services of macOS: the user's login keychain.

use apple_native_keyring_store::keychain::Store;

use super::{Connection, Open};
use crate::config::KeychainConfig;
use crate::error::{KeychainError, KeychainErrorKind};

/// Its library neither tells whether the keychain is locked without asking the user, nor needs a connection.
pub(super) fn opener(_: &KeychainConfig) -> Open {
    Box::new(|| {
        let store = Store::new().map_err(KeychainError::of_keyring)?;
        Ok(Connection::injected(store))
    })
}

/// Its library sorts what can go wrong by itself.
pub(super) fn meaning_of(_: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<KeychainErrorKind> {
    None
}
