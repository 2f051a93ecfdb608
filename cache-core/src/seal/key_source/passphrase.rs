//! A key derived from a pass phrase.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use async_trait::async_trait;
use zeroize::{Zeroize, Zeroizing, zeroize_stack};

use super::{KeySource, KeySourceError, SourceDescription, blocking};
use crate::random::{Random, random_bytes};
use crate::seal::key::{SecretKey, USED_STACK};
use crate::secret::Secret;

const SALT_BYTES: usize = 16;
const PARAMETER_BYTES: usize = 12 + SALT_BYTES;

/// Derives the key from a pass phrase with Argon2id (RFC 9106) and a random 16-byte salt. The salt and the costs are
/// stored in the ring record.
///
/// Deriving takes the memory and time that it is meant to cost, on a blocking thread, whenever a ring of another
/// salt is read; a sealer remembers the key while the ring's description stays the same.
#[derive(Clone)]
pub struct PassphraseKeySource {
    passphrase: Secret,
    cost: PassphraseCost,
}

impl PassphraseKeySource {
    /// The kind that the ring record names.
    pub const KIND: &str = "passphrase";

    /// A source with the default cost.
    ///
    /// # Errors
    /// [`KeySourceError::Parameters`] when the pass phrase is empty.
    pub fn new(passphrase: Secret) -> Result<Self, KeySourceError> {
        Self::with_cost(passphrase, PassphraseCost::default())
    }

    /// A source that creates rings of the given cost. Rings that exist keep theirs.
    ///
    /// # Errors
    /// [`KeySourceError::Parameters`] when the pass phrase is empty or the cost is out of bounds.
    pub fn with_cost(passphrase: Secret, cost: PassphraseCost) -> Result<Self, KeySourceError> {
        if passphrase.is_empty() {
            return Err(KeySourceError::Parameters {
                what: "the pass phrase is empty".to_owned(),
            });
        }
        cost.check()?;
        Ok(Self { passphrase, cost })
    }

    async fn derive(
        &self,
        cost: PassphraseCost,
        salt: [u8; SALT_BYTES],
    ) -> Result<SecretKey, KeySourceError> {
        let passphrase = self.passphrase.clone();
        blocking(move || cost.derive(&passphrase, &salt)).await
    }
}

impl fmt::Debug for PassphraseKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassphraseKeySource")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl KeySource for PassphraseKeySource {
    fn kind(&self) -> &str {
        Self::KIND
    }

    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        let salt = random_bytes(random)?;
        let description = SourceDescription::new(Self::KIND, self.cost.encode(&salt))?;
        Ok((self.derive(self.cost, salt).await?, description))
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        description.expect_kind(Self::KIND)?;
        let (cost, salt) = PassphraseCost::decode(description.parameters())?;
        self.derive(cost, salt).await
    }

    async fn discard(&self, _description: &SourceDescription) -> Result<(), KeySourceError> {
        // Nothing is kept.
        Ok(())
    }
}

/// What one guess at the pass phrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, in KiB: 8,192 to 262,144 (8 to 256 MiB).
    pub memory_kib: u32,
    /// Passes over the memory: 1 to 16.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl PassphraseCost {
    /// Checks the bounds. They hold for stored rings too: whoever can write to the store must not be able to
    /// make a reader allocate gigabytes or compute for hours, nor a new ring be cheap to guess.
    fn check(self) -> Result<(), KeySourceError> {
        for (name, value, bounds) in [
            ("memory in KiB", self.memory_kib, 8 << 10..=256 << 10),
            ("passes", self.passes, 1..=16),
            ("lanes", self.lanes, 1..=16),
        ] {
            if !bounds.contains(&value) {
                let (low, high) = bounds.into_inner();
                let what = format!("{name} {value} is not within {low} and {high}");
                return Err(KeySourceError::Parameters { what });
            }
        }
        Ok(())
    }

    /// Memory, passes and lanes in 4 bytes each, big-endian, then the salt.
    fn encode(self, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PARAMETER_BYTES);
        for value in [self.memory_kib, self.passes, self.lanes] {
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        bytes.extend_from_slice(salt);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<(Self, [u8; SALT_BYTES]), KeySourceError> {
        let bytes: &[u8; PARAMETER_BYTES] = bytes.try_into().map_err(|_| {
            let what = format!("{} bytes in place of {PARAMETER_BYTES}", bytes.len());
            KeySourceError::Parameters { what }
        })?;
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let cost = Self {
            memory_kib: number(0),
            passes: number(4),
            lanes: number(8),
        };
        cost.check()?;
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&bytes[12..]);
        Ok((cost, salt))
    }

    fn derive(self, passphrase: &Secret, salt: &[u8; SALT_BYTES]) -> Result<SecretKey, KeySourceError> {
        let failed = |source: argon2::Error| KeySourceError::Other {
            what: "Argon2id".to_owned(),
            source: Some(source.to_string().into()),
        };
        let length = Some(SecretKey::BYTES);
        let params = Params::new(self.memory_kib, self.passes, self.lanes, length).map_err(failed)?;
        let count = params.block_count();
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(count)
            .map_err(|source| KeySourceError::Other {
                what: format!("no memory for Argon2id ({} KiB)", self.memory_kib),
                source: Some(source.into()),
            })?;
        memory.resize(count, Block::default());
        let mut key = Zeroizing::new([0; SecretKey::BYTES]);
        let derived = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.expose().as_bytes(),
                salt,
                key.as_mut_slice(),
                &mut memory,
            );
        // The last pass's blocks are as good as the key.
        memory.iter_mut().for_each(Zeroize::zeroize);
        // It leaves the key on the stack, too.
        zeroize_stack::<USED_STACK>();
        derived.map_err(failed)?;
        Ok(SecretKey::from_bytes(&key))
    }
}

/// 64 MiB, 3 passes, 4 lanes: the second recommendation of RFC 9106, section 4.
impl Default for PassphraseCost {
    fn default() -> Self {
        Self {
            memory_kib: 64 << 10,
            passes: 3,
            lanes: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    const CHEAP: PassphraseCost = PassphraseCost {
        memory_kib: 8 << 10,
        passes: 1,
        lanes: 1,
    };

    fn source(passphrase: &str) -> PassphraseKeySource {
        PassphraseKeySource::with_cost(Secret::new(passphrase), CHEAP).unwrap()
    }

    #[tokio::test]
    async fn the_same_passphrase_finds_the_key_again() {
        let (key, description) = source("correct horse").create(&OsRandom).await.unwrap();
        assert_eq!(source("correct horse").load(&description).await.unwrap(), key);
        assert_ne!(source("wrong horse").load(&description).await.unwrap(), key);
        let (other, _) = source("correct horse").create(&OsRandom).await.unwrap();
        assert_ne!(other, key, "the salt is random");
    }

    #[tokio::test]
    async fn a_stored_ring_keeps_its_cost() {
        let (key, description) = source("p").create(&OsRandom).await.unwrap();
        let dearer = PassphraseKeySource::new(Secret::new("p")).unwrap();
        assert_eq!(dearer.load(&description).await.unwrap(), key);
    }

    #[tokio::test]
    async fn forged_costs_are_refused_before_anything_is_allocated() {
        let forged = [
            PassphraseCost {
                memory_kib: u32::MAX,
                ..CHEAP
            },
            PassphraseCost {
                memory_kib: (256 << 10) + 1,
                ..CHEAP
            },
            PassphraseCost {
                memory_kib: 8,
                ..CHEAP
            },
            PassphraseCost {
                passes: u32::MAX,
                ..CHEAP
            },
            PassphraseCost { passes: 0, ..CHEAP },
            PassphraseCost { lanes: 17, ..CHEAP },
            PassphraseCost { lanes: 0, ..CHEAP },
        ];
        for cost in forged {
            let description = SourceDescription::new("passphrase", cost.encode(&[0; 16])).unwrap();
            let error = source("p").load(&description).await.unwrap_err();
            assert!(matches!(error, KeySourceError::Parameters { .. }), "{cost:?}");
            assert!(PassphraseKeySource::with_cost(Secret::new("p"), cost).is_err());
        }
        for length in (0..64).filter(|&length| length != PARAMETER_BYTES) {
            let description = SourceDescription::new("passphrase", vec![0; length]).unwrap();
            assert!(source("p").load(&description).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_ring_of_another_source_is_refused() {
        let description = SourceDescription::new("file", []).unwrap();
        let error = source("p").load(&description).await.unwrap_err();
        assert!(matches!(error, KeySourceError::Mismatch { .. }));
    }

    #[test]
    fn debug_and_empty() {
        assert!(!format!("{:?}", source("canary")).contains("canary"));
        assert!(PassphraseKeySource::new(Secret::new("")).is_err());
    }

    #[test]
    fn argon2id_agrees_with_an_independent_implementation() {
        let key = CHEAP
            .derive(&Secret::new("password"), b"somesaltsomesalt")
            .unwrap();
        let shown: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            shown,
            "84fb006bbc3cd69895722b64b5bf735251a9e8e9f3ecb93ff595b98aeb7accb7"
        );
    }
}
