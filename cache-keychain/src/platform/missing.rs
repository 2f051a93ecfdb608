//! A keychain that this program was built without.

use super::Open;
use crate::config::KeychainConfig;
use crate::error::{KeychainError, KeychainErrorKind};

pub(super) fn opener(_: &KeychainConfig) -> Open {
    Box::new(|| {
        Err(KeychainError::new(
            KeychainErrorKind::Unsupported,
            "this program was built without this keychain (features `native` and `keyutils` of cache-keychain)",
        ))
    })
}

pub(super) fn meaning_of(_: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<KeychainErrorKind> {
    None
}
