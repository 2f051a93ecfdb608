//! The operating system's keychain for the token cache: the key that seals it, small caches themselves, and the files and items that
//! MSAL programs keep.

mod config;
mod error;
mod key_policy;
mod key_source;
mod keychain;
mod platform;
mod report;
mod worker;

pub use config::{KeychainConfig, Prompt};
pub use error::{KeychainError, KeychainErrorKind};
pub use key_policy::KeyPolicy;
pub use key_source::KeychainKeySource;
pub use keychain::Keychain;
pub use platform::{KeychainKind, KeychainPersistence};
pub use report::KeychainReport;

// Tests have a manifest of features that the library alone does not need.
#[cfg(test)]
use {cache_sqlite as _, cache_testkit as _, flows as _, serde_json as _, tempfile as _};
