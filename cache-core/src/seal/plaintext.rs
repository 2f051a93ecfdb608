//! Unsealed records, for caches that explicitly ask for none of this.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::envelope::{
    CHECKSUM_BYTES, PLAINTEXT_HEADER_BYTES, PlaintextEnvelope, PlaintextHeader, RecordFormat, RecordMeta,
};
use super::error::SealError;
use super::location::{Location, LocationKeys, Namespace, RecordKind};
use super::sealer::Opened;
use crate::secret::SecretBytes;
use crate::store::StoreKey;

/// Writes and reads unsealed records. It binds them to their place, so that mistakes are noticed; attacks are not.
#[derive(Clone)]
pub(super) struct Plaintext {
    location: LocationKeys,
    /// Whether stored keys can be read back.
    is_legible: bool,
}

impl Plaintext {
    pub(super) fn new() -> Self {
        Self {
            location: LocationKeys::public(),
            is_legible: false,
        }
    }

    pub(super) fn legible() -> Self {
        Self {
            is_legible: true,
            ..Self::new()
        }
    }

    pub(super) fn stored_key(&self, namespace: &Namespace, kind: RecordKind, logical_key: &[u8]) -> StoreKey {
        if self.is_legible {
            return self.location.legible_key(namespace, kind, logical_key);
        }
        self.location.stored_key(namespace, kind, logical_key)
    }

    pub(super) fn blinded(&self, kind: RecordKind, logical_key: &[u8]) -> [u8; 32] {
        self.location.blinded(kind, logical_key)
    }

    pub(super) fn write(
        &self,
        namespace: &Namespace,
        kind: RecordKind,
        key: &StoreKey,
        meta: RecordMeta,
        payload: &[u8],
    ) -> Result<Bytes, SealError> {
        let location = Location::new(namespace, kind, key)?;
        let mut record = Vec::with_capacity(PLAINTEXT_HEADER_BYTES + payload.len());
        PlaintextHeader {
            meta,
            location_tag: self.location.tag(&location),
        }
        .encode(&mut record);
        let checksum = checksum(&record, &location, payload);
        record.extend_from_slice(&checksum);
        record.extend_from_slice(payload);
        Ok(record.into())
    }

    pub(super) fn read(
        &self,
        namespace: &Namespace,
        kind: RecordKind,
        key: &StoreKey,
        bytes: &[u8],
    ) -> Result<Opened, SealError> {
        let envelope = PlaintextEnvelope::parse(bytes)
            .map_err(|reason| SealError::format(key, RecordFormat::Plaintext, reason))?;
        let location = Location::new(namespace, kind, key)?;
        if !self
            .location
            .tag_matches(&location, &envelope.header.location_tag)
        {
            return Err(SealError::WrongLocation { key: key.clone() });
        }
        if checksum(envelope.header_bytes, &location, envelope.payload) != envelope.checksum {
            return Err(SealError::Tampered { key: key.clone() });
        }
        let payload = SecretBytes::new(envelope.payload.to_vec());
        Ok(Opened {
            meta: envelope.header.meta,
            key_id: None,
            payload,
        })
    }
}

fn checksum(header: &[u8], location: &Location<'_>, payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut place = Vec::with_capacity(160);
    location.append_to(&mut place);
    let hash = Sha256::new()
        .chain_update(header)
        .chain_update(&place)
        .chain_update(payload)
        .finalize();
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hash[..CHECKSUM_BYTES]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blinded_is_told_apart_by_kind_and_name() {
        let plain = Plaintext::new();
        let blinded = plain.blinded(RecordKind::User, b"alice");
        assert_eq!(blinded, plain.blinded(RecordKind::User, b"alice"));
        assert_ne!(blinded, plain.blinded(RecordKind::User, b"bob"));
        assert_ne!(blinded, plain.blinded(RecordKind::App, b"alice"));
    }
}
