//! Whether a cache may be sealed with a key that is not in the keychain.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use cache_core::random::Random;
use cache_core::seal::{KeySource, KeySourceError, SecretKey, SourceDescription};

use crate::error::KeychainError;
use crate::key_source::KeychainKeySource;
use crate::keychain::Keychain;

/// Whether a cache may be sealed with a key that is not in the keychain. It is decided once, when the cache is made; the ring
/// records it.
///
/// ```
/// use std::sync::Arc;
/// use cache_core::seal::FileKeySource;
/// use cache_keychain::{KeyPolicy, Keychain, KeychainConfig};
///
/// let keychain = Keychain::native(KeychainConfig::new("example"));
/// let source = KeyPolicy::PreferKeychain {
///     otherwise: Arc::new(FileKeySource::new("/var/lib/example/key")),
/// }
/// .source(keychain);
/// // TokenCache::builder(store).open_sealed(namespace, source)
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeyPolicy {
    /// The key is in the keychain. Without one there is no cache, but an error.
    RequireKeychain,
    /// A cache that is made where *there is no keychain* is sealed under `otherwise`, with a warning; any other under the keychain.
    ///
    /// No keychain: it is [`Absent`](crate::KeychainErrorKind::Absent), the system denies it ([`Denied`](crate::KeychainErrorKind::Denied)), or the
    /// program was built without ([`Unsupported`](crate::KeychainErrorKind::Unsupported)). One that is locked, hangs or just ended is there,
    /// and its user can do something about it: that is an error also then, so that a keychain that happens to be locked at the first start
    /// does not decide for good where the key lies.
    ///
    /// What exists stays as it was made. A cache that was sealed under `otherwise` is opened with it also when there is a keychain
    /// later; one that was sealed under the keychain cannot be opened without it.
    PreferKeychain {
        /// Where the key lies where there is no keychain.
        otherwise: Arc<dyn KeySource>,
    },
}

impl KeyPolicy {
    /// The key source that follows the policy.
    #[must_use]
    pub fn source(self, keychain: Keychain) -> Arc<dyn KeySource> {
        let keychain = KeychainKeySource::new(keychain);
        match self {
            Self::RequireKeychain => Arc::new(keychain),
            Self::PreferKeychain { otherwise } => Arc::new(PreferredKeySource { keychain, otherwise }),
        }
    }
}

#[derive(Debug)]
struct PreferredKeySource {
    keychain: KeychainKeySource,
    otherwise: Arc<dyn KeySource>,
}

impl PreferredKeySource {
    /// Whose key it is.
    fn owner(&self, description: &SourceDescription) -> Result<&dyn KeySource, KeySourceError> {
        [&self.keychain, &*self.otherwise]
            .into_iter()
            .find(|source: &&dyn KeySource| source.kind() == description.kind())
            .ok_or_else(|| KeySourceError::Mismatch {
                ring: description.kind().to_owned(),
                given: format!("{} or {}", KeychainKeySource::KIND, self.otherwise.kind()),
            })
    }
}

#[async_trait]
impl KeySource for PreferredKeySource {
    fn kind(&self) -> &str {
        KeychainKeySource::KIND
    }

    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        let error = match self.keychain.create(random).await {
            Err(error) => error,
            created => return created,
        };
        let Some(reason) = without_keychain(&error) else {
            return Err(error);
        };
        tracing::warn!(
            %reason,
            otherwise = self.otherwise.kind(),
            "there is no keychain to keep the key of this cache in; it is made with the other key source, and will need it from now on"
        );
        self.otherwise.create(random).await
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        self.owner(description)?.load(description).await
    }

    async fn discard(&self, description: &SourceDescription) -> Result<(), KeySourceError> {
        self.owner(description)?.discard(description).await
    }
}

/// Why there is no keychain, where that is what the error says.
fn without_keychain(error: &KeySourceError) -> Option<&KeychainError> {
    let error: &KeychainError = error.source()?.downcast_ref()?;
    error.kind().means_no_keychain().then_some(error)
}
