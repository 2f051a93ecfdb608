//! Which store in a keychain, and who may write to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache_core::random::{OsRandom, Random};

use super::limits::KeychainLimits;

/// What [`KeychainStore::open`](super::KeychainStore::open) opens. Nothing is required; a [`lock_file`](Self::lock_file) is needed wherever
/// more than one process uses the store. Deadlines and the clock are those of the [`Keychain`](crate::Keychain).
///
/// ```
/// use cache_keychain::KeychainStoreConfig;
///
/// let config = KeychainStoreConfig::new().lock_file("/home/alice/.local/share/mytool/keychain.lock");
/// assert!(format!("{config:?}").contains("keychain.lock"));
/// ```
#[derive(Clone)]
pub struct KeychainStoreConfig {
    pub(super) name: String,
    pub(super) lock_file: Option<PathBuf>,
    pub(super) limits: Option<KeychainLimits>,
    pub(super) random: Arc<dyn Random>,
}

impl KeychainStoreConfig {
    /// The name of the store where none is given.
    pub const DEFAULT_NAME: &str = "token-cache";

    /// The store [`DEFAULT_NAME`](Self::DEFAULT_NAME), for this process alone.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: Self::DEFAULT_NAME.to_owned(),
            lock_file: None,
            limits: None,
            random: Arc::new(OsRandom),
        }
    }

    /// Another store of the same application. The name is that of an item, which people see in their keychain's program: it must identify
    /// neither a user nor a tenant.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The file by which processes keep out of each other's writes, made where it is missing. It must be one and the same for all that use
    /// the store, in a directory of the user's on a local file system. Without it the store is for one process: keychains have no
    /// conditional write.
    #[must_use]
    pub fn lock_file(mut self, path: impl AsRef<Path>) -> Self {
        self.lock_file = Some(path.as_ref().to_owned());
        self
    }

    /// How much the keychain takes, where the store does not know it. Stores over one keychain may have different limits.
    #[must_use]
    pub fn limits(mut self, limits: KeychainLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Replaces the system's randomness, which versions and names of items are made of.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }
}

impl Default for KeychainStoreConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for KeychainStoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeychainStoreConfig")
            .field("name", &self.name)
            .field("lock_file", &self.lock_file)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
