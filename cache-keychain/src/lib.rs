//! The operating system's keychain for the token cache: the key that seals it, small caches themselves, and the files and items that
//! MSAL programs keep.

mod config;
mod error;
mod key_policy;
mod key_source;
mod keychain;
#[cfg(all(unix, feature = "msal-file"))]
pub mod msal_file;
#[cfg(all(
    any(
        target_os = "linux",
        target_os = "freebsd",
        target_os = "openbsd",
        target_os = "netbsd",
        target_os = "dragonfly"
    ),
    feature = "msal-secret-service"
))]
pub mod msal_item;
mod platform;
mod report;
pub mod store;
mod worker;

pub use config::{KeychainConfig, Prompt};
pub use error::{KeychainError, KeychainErrorKind};
pub use key_policy::KeyPolicy;
pub use key_source::KeychainKeySource;
pub use keychain::Keychain;
#[cfg(all(
    any(
        target_os = "linux",
        target_os = "freebsd",
        target_os = "openbsd",
        target_os = "netbsd",
        target_os = "dragonfly"
    ),
    feature = "msal-secret-service"
))]
pub use msal_item::{ItemEncoding, MsalSecretServiceConfig, MsalSecretServiceStore};
pub use platform::{KeychainKind, KeychainPersistence};
pub use report::KeychainReport;
pub use store::{KeychainLimits, KeychainStore, KeychainStoreConfig};

// Tests have a manifest of features that the library alone does not need.
#[cfg(test)]
use {cache_sqlite as _, cache_testkit as _, flows as _, serde_json as _, tempfile as _};
