//! Where the key-encryption key comes from: the one secret that the store does not hold.
//!
//! | source | for | protects against |
//! |---|---|---|
//! | [`FileKeySource`] | servers, containers with a secret volume | a copied database; *not* a copied directory when the file lies beside it |
//! | [`EnvironmentKeySource`] | containers, continuous integration | a copied disk; *not* whoever may read the process's environment |
//! | [`PassphraseKeySource`] | a person at a terminal | a copied disk, as well as the pass phrase resists guessing |
//! | [`FixedKeySource`] | adapters to a key-management service; tests | what the service protects against |
//!
//! The operating system's keychain is in the crate `cache-keychain`. For a key-management service, implement
//! [`KeySource`]: generate a key in [`create`](KeySource::create), have the service wrap it, keep the wrapped key as
//! [`SourceDescription::parameters`], and unwrap it in [`load`](KeySource::load).

mod environment;
mod file;
mod fixed;
mod passphrase;

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

pub use environment::EnvironmentKeySource;
pub use file::FileKeySource;
pub use fixed::FixedKeySource;
pub use passphrase::{PassphraseCost, PassphraseKeySource};

use super::key::SecretKey;
use crate::random::{Random, RandomError};

/// Supplies the key-encryption key of a ring.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync + 'static {
    /// The source's kind, as the ring record names it: `file`, `environment`, `passphrase`, …
    fn kind(&self) -> &str;

    /// The key for a ring that is about to be created or wrapped anew, and how to find it again.
    ///
    /// A source with one key hands out that one where it exists already; it replaces nothing. A source that makes a key for each
    /// ring names it in the description. When several processes create at once, only one of their rings is stored: either all are
    /// given the same key, or the description tells each ring's key from the others'.
    ///
    /// # Errors
    /// [`KeySourceError`] when no key can be had.
    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError>;

    /// The key of a stored ring, which `description` was stored with.
    ///
    /// The description comes from the store and is not authenticated yet: check its kind and every bound before
    /// anything is allocated or computed by it.
    ///
    /// # Errors
    /// [`KeySourceError`] when no key can be had.
    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError>;

    /// The ring that [`create`](Self::create) gave this description for was never stored, as another process was faster. A source
    /// that made a key for that ring alone removes it; one whose key others may use does nothing.
    ///
    /// # Errors
    /// [`KeySourceError`] when the key could not be removed. Nobody uses it, so the caller goes on.
    async fn discard(&self, description: &SourceDescription) -> Result<(), KeySourceError>;
}

/// What the ring record says of its key source, in clear but authenticated: the kind, and what the source needs to find
/// its key again (such as the parameters of a key derivation). Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDescription {
    kind: String,
    parameters: Vec<u8>,
}

impl SourceDescription {
    /// The longest kind, in bytes.
    pub const MAX_KIND_BYTES: usize = 32;
    /// The longest parameters, in bytes.
    pub const MAX_PARAMETER_BYTES: usize = 1024;

    /// Checks and takes a description.
    ///
    /// # Errors
    /// [`KeySourceError::Parameters`] when the kind is not 1 to 32 characters of `a`–`z`, `0`–`9` and `-`, or the
    /// parameters are longer than 1,024 bytes.
    pub fn new(kind: impl Into<String>, parameters: impl Into<Vec<u8>>) -> Result<Self, KeySourceError> {
        let (kind, parameters) = (kind.into(), parameters.into());
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if kind.is_empty() || kind.len() > Self::MAX_KIND_BYTES || !kind.bytes().all(allowed) {
            let what = "the kind is not 1 to 32 characters of a-z, 0-9 and '-'".to_owned();
            return Err(KeySourceError::Parameters { what });
        }
        if parameters.len() > Self::MAX_PARAMETER_BYTES {
            let what = format!(
                "{} bytes; at most {}",
                parameters.len(),
                Self::MAX_PARAMETER_BYTES
            );
            return Err(KeySourceError::Parameters { what });
        }
        Ok(Self { kind, parameters })
    }

    /// Which kind of source.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What the source needs to find its key again.
    #[must_use]
    pub fn parameters(&self) -> &[u8] {
        &self.parameters
    }

    /// Checks that the ring was made with a source of `kind`.
    ///
    /// # Errors
    /// [`KeySourceError::Mismatch`] when it was another.
    pub fn expect_kind(&self, kind: &str) -> Result<(), KeySourceError> {
        if self.kind == kind {
            return Ok(());
        }
        Err(KeySourceError::Mismatch {
            ring: self.kind.clone(),
            given: kind.to_owned(),
        })
    }

    /// Checks that there are no parameters, for sources that need none.
    fn expect_no_parameters(&self) -> Result<(), KeySourceError> {
        if self.parameters.is_empty() {
            return Ok(());
        }
        let what = format!("{} unexpected bytes", self.parameters.len());
        Err(KeySourceError::Parameters { what })
    }
}

/// Why a key source could not supply its key. Never holds the key, the pass phrase or the variable's value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySourceError {
    /// The ring was made with another kind of source.
    #[error(
        "the key ring was made with a key source of kind {ring}, not {given}; give that one, or rewrap the ring"
    )]
    Mismatch {
        /// The kind that the ring record names.
        ring: String,
        /// The kind that was given.
        given: String,
    },
    /// The key is not there.
    #[error("{place} is missing; restore it: without it the cache cannot be opened")]
    Missing {
        /// Where the key should be.
        place: String,
    },
    /// The key is not as secret as it must be.
    #[error("key file {} {what}", path.display())]
    Insecure {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: &'static str,
    },
    /// What is there is not a key.
    #[error("{place} does not hold a key: {what}")]
    Malformed {
        /// Where the key should be.
        place: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The parameters are out of bounds.
    #[error("the key source's parameters are not acceptable: {what}")]
    Parameters {
        /// What is wrong.
        what: String,
    },
    /// The place of the key cannot be used now, though the key may well be in it: a keychain that is absent, locked or does not
    /// answer.
    #[error("{place} cannot be used: {what}")]
    Unavailable {
        /// Where the key should be.
        place: String,
        /// What stands in the way, and what to do next.
        what: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// This platform or configuration cannot do it.
    #[error("not supported here: {what}")]
    Unsupported {
        /// What is not supported, and what to use instead.
        what: &'static str,
    },
    /// The operating system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// No random bytes for a new key.
    #[error("no random bytes for a new key")]
    Random(#[source] RandomError),
    /// Anything else, for sources outside this crate.
    #[error("the key source failed: {what}")]
    Other {
        /// What failed and what to do next, without secrets.
        what: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl From<RandomError> for KeySourceError {
    fn from(source: RandomError) -> Self {
        Self::Random(source)
    }
}

/// Runs blocking work where it does not stall the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeySourceError> + Send + 'static,
) -> Result<T, KeySourceError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|source| {
        Err(KeySourceError::Other {
            what: "its thread ended early".to_owned(),
            source: Some(source.into()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_bounded() {
        assert!(SourceDescription::new("kms-example", vec![0; 1024]).is_ok());
        for kind in ["", "Kind", "a b", &"k".repeat(33)] {
            assert!(SourceDescription::new(kind, []).is_err(), "{kind}");
        }
        assert!(SourceDescription::new("kms", vec![0; 1025]).is_err());
    }

    #[test]
    fn sources_without_parameters_refuse_some() {
        let some = SourceDescription::new("fixed", [1]).unwrap();
        let error = some.expect_no_parameters().unwrap_err();
        assert!(matches!(error, KeySourceError::Parameters { .. }), "{error}");
        let none = SourceDescription::new("fixed", []).unwrap();
        assert!(none.expect_no_parameters().is_ok());
    }
}
