//! The ring as a sealer uses it: every key expanded and ready.

use subtle::ConstantTimeEq;

use super::aead::{AeadCipher, AeadProvider};
use super::envelope::COMMITMENT_BYTES;
use super::error::SealError;
use super::key::{KeyId, SecretKey};
use super::location::LocationKeys;
use super::ring::{KeyRing, KeyState, KeyStatus};
use super::ring_store::Loaded;
use crate::store::Version;

const ENCRYPTION_LABEL: &str = "tokenkeep v1 record encryption";
const COMMITMENT_LABEL: &str = "tokenkeep v1 key commitment";

/// A key that opens, and seals if it is the primary.
pub(super) struct ActiveKey {
    pub(super) status: KeyStatus,
    pub(super) commitment: [u8; COMMITMENT_BYTES],
    pub(super) cipher: Box<dyn AeadCipher>,
}

impl ActiveKey {
    fn new(status: KeyStatus, key: &SecretKey, provider: &dyn AeadProvider) -> Self {
        Self {
            status,
            commitment: key.commitment(b"", COMMITMENT_LABEL),
            cipher: provider.cipher(&key.derive(b"", ENCRYPTION_LABEL)),
        }
    }

    pub(super) fn commits_to(&self, commitment: &[u8; COMMITMENT_BYTES]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }
}

/// One state of the ring. It is replaced as a whole, never changed.
pub(super) struct ActiveRing {
    pub(super) ring: KeyRing,
    pub(super) version: Version,
    pub(super) location: LocationKeys,
    primary: ActiveKey,
    others: Vec<ActiveKey>,
}

impl ActiveRing {
    pub(super) fn new(loaded: Loaded, provider: &dyn AeadProvider) -> Result<Self, SealError> {
        let Loaded { ring, version } = loaded;
        let location = LocationKeys::new(&ring.location_key);
        let mut primary = None;
        let mut others = Vec::new();
        for key in ring
            .keys
            .iter()
            .filter(|key| key.status.state != KeyState::Retired)
        {
            let active = ActiveKey::new(key.status, &key.key, provider);
            match key.status.state {
                KeyState::Primary => primary = Some(active),
                _ => others.push(active),
            }
        }
        // `KeyRing::decode` and `generate` see to it that there is one.
        let primary = primary.ok_or(SealError::RingRolledBack {
            seen: 0,
            found: ring.generation,
        })?;
        Ok(Self {
            ring,
            version,
            location,
            primary,
            others,
        })
    }

    pub(super) fn primary(&self) -> &ActiveKey {
        &self.primary
    }

    /// The key that `id` names; never a retired one.
    pub(super) fn key(&self, id: KeyId) -> Option<&ActiveKey> {
        std::iter::once(&self.primary)
            .chain(&self.others)
            .find(|key| key.status.id.matches(id))
    }

    /// Refuses a ring that cannot follow this one: another ring, an older one, or another of the same generation.
    pub(super) fn check_successor(&self, ring: &KeyRing) -> Result<(), SealError> {
        let same = self.ring.id == ring.id && self.ring.location_key == ring.location_key;
        let newer = ring.generation > self.ring.generation;
        if same && (newer || *ring == self.ring) {
            return Ok(());
        }
        Err(SealError::RingRolledBack {
            seen: self.ring.generation,
            found: ring.generation,
        })
    }
}
