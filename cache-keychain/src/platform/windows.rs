//! The Credential Manager of Windows.

use windows_native_keyring_store::Store;

use super::{Connection, Open};
use crate::config::KeychainConfig;
use crate::error::{KeychainError, KeychainErrorKind};

pub(super) fn opener(_: &KeychainConfig) -> Open {
    Box::new(|| {
        let store = Store::new().map_err(KeychainError::of_keyring)?;
        let mut connection = Connection::injected(store);
        // The library's default follows the user to other machines, where the cache is not.
        connection.modifiers = vec![("persistence", "Local".to_owned())];
        Ok(connection)
    })
}

/// Its library sorts what can go wrong by itself.
pub(super) fn meaning_of(_: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<KeychainErrorKind> {
    None
}
