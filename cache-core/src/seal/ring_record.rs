//! Sealing and opening the stored key ring. The byte table is in [`format`](super::format).

use bytes::Bytes;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::aead::{AeadProvider, NONCE_BYTES, Suite, TAG_BYTES};
use super::envelope::{COMMITMENT_BYTES, FORMAT_VERSION, FormatError, KEY_RING_MAGIC, Reader, RecordFormat};
use super::error::SealError;
use super::key::SecretKey;
use super::key_source::SourceDescription;
use super::location::{Location, Namespace, RecordKind};
use super::ring::{KeyRing, MAX_RING_BYTES};
use crate::random::{Random, random_bytes};
use crate::store::StoreKey;

const ENCRYPTION_LABEL: &str = "tokenkeep v1 key-ring encryption";
const COMMITMENT_LABEL: &str = "tokenkeep v1 key-ring commitment";
const FIXED_BYTES: usize = 33 + COMMITMENT_BYTES + NONCE_BYTES + TAG_BYTES;
const MAX_RECORD_BYTES: usize =
    FIXED_BYTES + SourceDescription::MAX_KIND_BYTES + SourceDescription::MAX_PARAMETER_BYTES + MAX_RING_BYTES;

/// Where the ring of `namespace` is stored. Not blinded: the location key is inside.
pub(super) fn ring_key(namespace: &Namespace) -> StoreKey {
    #[expect(
        clippy::expect_used,
        reason = "at most 42 + 13 bytes, all of them printable ASCII"
    )]
    StoreKey::new(format!("{namespace}/{}/ring", RecordKind::KeyRing.tag()))
        .expect("a ring key is a store key")
}

/// A ring record, taken apart but not believed.
pub(super) struct RingEnvelope<'a> {
    pub(super) suite: Suite,
    pub(super) ring_id: [u8; 16],
    pub(super) generation: u64,
    pub(super) source: SourceDescription,
    commitment: [u8; COMMITMENT_BYTES],
    nonce: [u8; NONCE_BYTES],
    header_bytes: &'a [u8],
    ciphertext: &'a [u8],
    tag: [u8; TAG_BYTES],
}

impl<'a> RingEnvelope<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(FormatError::TooLong { length: bytes.len() });
        }
        let mut reader = Reader::after_magic(bytes, RecordFormat::KeyRing)?;
        let code = reader.byte()?;
        let suite = Suite::from_code(code).ok_or(FormatError::Suite(code))?;
        let (ring_id, generation) = (reader.array()?, u64::from_be_bytes(reader.array()?));
        let length = usize::from(reader.byte()?);
        let kind = reader.take(length)?;
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        let parameters = reader.take(length)?;
        let source = std::str::from_utf8(kind)
            .ok()
            .and_then(|kind| SourceDescription::new(kind, parameters).ok())
            .ok_or(FormatError::KeySource)?;
        let (commitment, nonce) = (reader.array()?, reader.array()?);
        let header_bytes = &bytes[..bytes.len() - reader.rest.len()];
        let (ciphertext, tag) = reader.rest_and_tag()?;
        Ok(Self {
            suite,
            ring_id,
            generation,
            source,
            commitment,
            nonce,
            header_bytes,
            ciphertext,
            tag,
        })
    }

    /// The length of the serialised ring, in bytes.
    pub(super) fn payload_bytes(&self) -> usize {
        self.ciphertext.len()
    }

    /// The ring, if `key` is the key-encryption key that it was sealed under and nothing was changed.
    pub(super) fn open(
        &self,
        key: &SecretKey,
        provider: &dyn AeadProvider,
        namespace: &Namespace,
    ) -> Result<KeyRing, SealError> {
        let place = ring_key(namespace);
        let unreadable = |what: String| SealError::RingUnreadable {
            key: place.clone(),
            what,
        };
        let commitment = key.commitment(&self.ring_id, COMMITMENT_LABEL);
        if !bool::from(commitment.ct_eq(&self.commitment)) {
            return Err(SealError::WrongKeySource {
                source_kind: self.source.kind().to_owned(),
            });
        }
        let aad = associated_data(self.header_bytes, namespace, &place)?;
        let mut plaintext = Zeroizing::new(self.ciphertext.to_vec());
        provider
            .cipher(&key.derive(&self.ring_id, ENCRYPTION_LABEL))
            .decrypt(&self.nonce, &aad, &mut plaintext, &self.tag)
            .map_err(|_| unreadable("was changed or damaged since it was sealed".to_owned()))?;
        KeyRing::decode(self.ring_id, self.generation, &plaintext)
            .map_err(|defect| unreadable(defect.0.to_owned()))
    }
}

/// Seals `ring` under `key`, which `source` describes.
pub(super) fn seal_ring(
    ring: &KeyRing,
    key: &SecretKey,
    source: &SourceDescription,
    provider: &dyn AeadProvider,
    random: &dyn Random,
    namespace: &Namespace,
) -> Result<Bytes, SealError> {
    let mut plaintext = ring.encode();
    let nonce = random_bytes(random)?;
    let mut record =
        Vec::with_capacity(FIXED_BYTES + source.kind().len() + source.parameters().len() + plaintext.len());
    record.extend_from_slice(&KEY_RING_MAGIC);
    record.extend_from_slice(&[FORMAT_VERSION, provider.suite().code()]);
    record.extend_from_slice(&ring.id);
    record.extend_from_slice(&ring.generation.to_be_bytes());
    // Both lengths are bounded by `SourceDescription`.
    record.push(u8::try_from(source.kind().len()).unwrap_or(u8::MAX));
    record.extend_from_slice(source.kind().as_bytes());
    record.extend_from_slice(
        &u16::try_from(source.parameters().len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    record.extend_from_slice(source.parameters());
    record.extend_from_slice(&key.commitment(&ring.id, COMMITMENT_LABEL));
    record.extend_from_slice(&nonce);
    let aad = associated_data(&record, namespace, &ring_key(namespace))?;
    let sealed =
        provider
            .cipher(&key.derive(&ring.id, ENCRYPTION_LABEL))
            .encrypt(&nonce, &aad, &mut plaintext);
    let Ok(tag) = sealed else {
        let length = plaintext.len();
        plaintext.zeroize();
        return Err(SealError::TooLong { length });
    };
    record.extend_from_slice(&plaintext);
    record.extend_from_slice(&tag);
    Ok(record.into())
}

fn associated_data(header: &[u8], namespace: &Namespace, key: &StoreKey) -> Result<Vec<u8>, SealError> {
    let mut aad = header.to_vec();
    Location::new(namespace, RecordKind::KeyRing, key)?.append_to(&mut aad);
    Ok(aad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;
    use crate::seal::aead::Xaes256GcmProvider;
    use crate::time::UnixSeconds;

    fn namespace() -> Namespace {
        Namespace::new("ns").unwrap()
    }

    fn sealed(key: &SecretKey) -> (KeyRing, Bytes) {
        let ring = KeyRing::generate(&OsRandom, UnixSeconds(1)).unwrap();
        let source = SourceDescription::new("passphrase", [1, 2, 3]).unwrap();
        let bytes = seal_ring(&ring, key, &source, &Xaes256GcmProvider, &OsRandom, &namespace()).unwrap();
        (ring, bytes)
    }

    fn open(bytes: &[u8], key: &SecretKey) -> Result<KeyRing, String> {
        let envelope = RingEnvelope::parse(bytes).map_err(|error| error.to_string())?;
        envelope
            .open(key, &Xaes256GcmProvider, &namespace())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_record_that_no_ring_can_be_as_long_as_is_refused_at_once() {
        let longest = 5871;
        let long = vec![0; longest + 1];
        let refused = |bytes: &[u8]| matches!(RingEnvelope::parse(bytes), Err(FormatError::TooLong { .. }));
        assert!(refused(&long));
        assert!(!refused(&long[..longest]));
    }

    #[test]
    fn a_ring_record_opens_under_its_key_only() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let (ring, bytes) = sealed(&key);
        assert_eq!(open(&bytes, &key), Ok(ring));
        let envelope = RingEnvelope::parse(&bytes).unwrap();
        assert_eq!(envelope.source.kind(), "passphrase");
        assert_eq!(envelope.source.parameters(), [1, 2, 3]);
        let wrong = envelope.open(
            &SecretKey::from_bytes(&[2; 32]),
            &Xaes256GcmProvider,
            &namespace(),
        );
        assert!(wrong.unwrap_err().is_wrong_key_source());
        let elsewhere = Namespace::new("other").unwrap();
        assert!(envelope.open(&key, &Xaes256GcmProvider, &elsewhere).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_detected() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let (_, bytes) = sealed(&key);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&changed, &key).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length], &key).is_err(), "length {length}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(open(&longer, &key).is_err());
        longer.resize(MAX_RECORD_BYTES + 1, 0);
        assert!(open(&longer, &key).unwrap_err().contains("too long"));
    }

    #[test]
    fn the_ring_key_is_a_key_of_its_kind() {
        assert_eq!(ring_key(&namespace()).as_str(), "ns/keyring/ring");
        assert_eq!(
            RecordKind::of(&namespace(), &ring_key(&namespace())),
            Some(RecordKind::KeyRing)
        );
    }
}
