//! Which item, and whose.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::{OsRandom, Random};
use cache_core::time::{Clock, SystemClock};
use sha2::{Digest, Sha256};

use super::encoding::ItemEncoding;
use crate::config::KeychainConfig;
use crate::msal_file::LockLimits;

/// The attribute in which libsecret keeps the name of an item's schema.
const SCHEMA: &str = "xdg:schema";

/// The schema of keytar, which MSAL Node uses.
const KEYTAR_SCHEMA: &str = "org.freedesktop.Secret.Generic";

/// What [`MsalSecretServiceStore::open`](super::MsalSecretServiceStore::open) opens: which item, as the program that keeps it names it.
///
/// ```
/// use cache_keychain::MsalSecretServiceConfig;
///
/// // `PersistenceCreator.createPersistence({ cachePath, serviceName: "mytool", accountName: "cache", … })`
/// let node = MsalSecretServiceConfig::node("mytool", "cache").cache_path("/home/alice/.mytool/cache.json");
/// // `LibsecretPersistence("/home/alice/.mytool/cache.bin", schema_name="mytool", attributes={"kind": "cache"})`
/// let python = MsalSecretServiceConfig::python("mytool", [("kind", "cache")])
///     .cache_path("/home/alice/.mytool/cache.bin");
/// // `build_encrypted_persistence("/home/alice/.mytool/cache.bin")`
/// let python = MsalSecretServiceConfig::python_at("/home/alice/.mytool/cache.bin");
/// ```
#[derive(Clone)]
pub struct MsalSecretServiceConfig {
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) label: String,
    pub(super) encoding: ItemEncoding,
    pub(super) cache_path: Option<PathBuf>,
    pub(super) deadline: Duration,
    pub(super) lock_limits: LockLimits,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl MsalSecretServiceConfig {
    /// The item of MSAL Node's extensions, by the `serviceName` and `accountName` of the program
    /// (msal-node-extensions 5.6, `LibSecretPersistence`).
    pub fn node(service: impl Into<String>, account: impl Into<String>) -> Self {
        let (service, account) = (service.into(), account.into());
        let label = format!("{service}/{account}");
        let attributes = [("service".to_owned(), service), ("account".to_owned(), account)];
        Self::of_schema(KEYTAR_SCHEMA, attributes).label(label)
    }

    /// The item of MSAL Python's extensions, by the `schema_name` and `attributes` of the program (msal-extensions 1.3,
    /// `LibsecretPersistence`), and of any other program that names a schema of libsecret's.
    pub fn python<K: Into<String>, V: Into<String>>(
        schema: impl Into<String>,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let attributes = attributes
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self::of_schema(schema, attributes)
    }

    /// The item of a program with MSAL Python's extensions that names only the `location` of its cache: the schema is the hash of that text, to
    /// the letter as the program gives it, and there are no attributes (`build_encrypted_persistence`).
    pub fn python_at(location: impl AsRef<str>) -> Self {
        let location = location.as_ref();
        let hash: [u8; 32] = Sha256::digest(location.as_bytes()).into();
        let schema: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::of_schema(schema, []).cache_path(location)
    }

    fn of_schema(schema: impl Into<String>, attributes: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut attributes: BTreeMap<_, _> = attributes.into_iter().collect();
        attributes.insert(SCHEMA.to_owned(), schema.into());
        Self {
            attributes,
            label: String::new(),
            encoding: ItemEncoding::Json,
            cache_path: None,
            deadline: KeychainConfig::DEFAULT_DEADLINE,
            lock_limits: LockLimits::default(),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
        }
    }

    /// The label that a new item gets, which people see in their keychain's program. That of an item which is there stays.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// How a new item is written; [`ItemEncoding::Json`] by default. One which is there is written as it is read.
    #[must_use]
    pub fn encoding(mut self, encoding: ItemEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The path that the program gives beside the item (`cachePath`, `signal_location`). Programs take their lock beside it, and look at
    /// its time of change to see whether to read the item again; both are done here too. **Without it writes are safe between the
    /// tasks of this process only**, and running programs do not notice them.
    #[must_use]
    pub fn cache_path(mut self, path: impl AsRef<Path>) -> Self {
        self.cache_path = Some(path.as_ref().to_owned());
        self
    }

    /// How long to wait for other programs' locks, and when such a lock counts as abandoned.
    #[must_use]
    pub fn lock_limits(mut self, limits: LockLimits) -> Self {
        self.lock_limits = limits;
        self
    }

    /// How long the Secret Service may take for an operation; 5 s by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Replaces the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the system's randomness, which spreads the attempts at a lock.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }
}

impl fmt::Debug for MsalSecretServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsalSecretServiceConfig")
            .field("attributes", &self.attributes)
            .field("label", &self.label)
            .field("encoding", &self.encoding)
            .field("cache_path", &self.cache_path)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_named_as_msal_names_them() {
        let node = MsalSecretServiceConfig::node("s", "a");
        let expected = [
            ("account", "a"),
            ("service", "s"),
            ("xdg:schema", "org.freedesktop.Secret.Generic"),
        ];
        let attributes: Vec<_> = node
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(attributes, expected);
        assert_eq!(node.label, "s/a");

        let python = MsalSecretServiceConfig::python_at("cache.bin");
        assert_eq!(python.attributes.len(), 1);
        assert_eq!(
            python.attributes["xdg:schema"],
            "0af7bc578cb6d178a3f4dbbf2884dc9109e92079558f43cdf13df87bcce8b306"
        );
        assert_eq!(python.cache_path.as_deref(), Some(Path::new("cache.bin")));
    }
}
