//! A key that the caller has already.

use async_trait::async_trait;

use super::{KeySource, KeySourceError, SourceDescription};
use crate::random::Random;
use crate::seal::key::SecretKey;

/// Hands out one given key: for adapters to a key-management service, and for tests.
#[derive(Debug)]
pub struct FixedKeySource(SecretKey);

impl FixedKeySource {
    /// The kind that the ring record names.
    pub const KIND: &str = "fixed";

    /// A source of `key`, which must be 32 uniformly random bytes and never a password.
    #[must_use]
    pub fn new(key: SecretKey) -> Self {
        Self(key)
    }
}

#[async_trait]
impl KeySource for FixedKeySource {
    fn kind(&self) -> &str {
        Self::KIND
    }

    async fn create(&self, _random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        Ok((self.0.copy(), SourceDescription::new(Self::KIND, [])?))
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        description.expect_kind(Self::KIND)?;
        description.expect_no_parameters()?;
        Ok(self.0.copy())
    }

    async fn discard(&self, _description: &SourceDescription) -> Result<(), KeySourceError> {
        // It was not made here.
        Ok(())
    }
}
