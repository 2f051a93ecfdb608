//! Reading a record's header without believing it.

use super::aead::TAG_BYTES;
use super::envelope::{
    FORMAT_VERSION, FormatError, Incarnation, PLAINTEXT_HEADER_BYTES, PlaintextEnvelope, RecordFormat,
    SEALED_HEADER_BYTES, SealedHeader,
};
use super::key::KeyId;
use super::ring_record::RingEnvelope;

/// What the first bytes of a record claim. **Nothing of it is authenticated**: it is for showing to people who look after
/// a store, and no decision may rest on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderInfo {
    /// Sealed, unsealed, or a key ring.
    pub format: RecordFormat,
    /// The version of that format.
    pub format_version: u8,
    /// The suite's code; `None` when not sealed.
    pub suite: Option<u8>,
    /// The payload's codec; `None` for a key ring.
    pub codec: Option<u8>,
    /// The payload's schema version; `None` for a key ring.
    pub schema: Option<u16>,
    /// Which life of the record; `None` for a key ring.
    pub incarnation: Option<Incarnation>,
    /// How often the record was written.
    pub generation: u64,
    /// The key that sealed it; `None` for others than sealed records.
    pub key_id: Option<KeyId>,
    /// The kind of key source that a key ring names.
    pub key_source: Option<String>,
    /// The length of the payload, in bytes (for a key ring: of the serialised ring).
    pub payload_bytes: usize,
    /// The length of the record, in bytes.
    pub record_bytes: usize,
}

/// Reads the header of the record `bytes`, whichever it is, without checking or decrypting anything.
///
/// # Errors
/// [`FormatError`] when it is not a record that this program knows.
pub fn peek_header(bytes: &[u8]) -> Result<HeaderInfo, FormatError> {
    let record_bytes = bytes.len();
    let format = RecordFormat::of(bytes)?;
    let empty = HeaderInfo {
        format,
        format_version: FORMAT_VERSION,
        suite: None,
        codec: None,
        schema: None,
        incarnation: None,
        generation: 0,
        key_id: None,
        key_source: None,
        payload_bytes: 0,
        record_bytes,
    };
    match format {
        RecordFormat::Sealed => {
            let header = SealedHeader::parse(bytes)?;
            Ok(HeaderInfo {
                suite: Some(header.suite.code()),
                codec: Some(header.meta.codec),
                schema: Some(header.meta.schema),
                incarnation: Some(header.meta.incarnation),
                generation: header.meta.generation,
                key_id: Some(header.key_id),
                payload_bytes: record_bytes.saturating_sub(SEALED_HEADER_BYTES + TAG_BYTES),
                ..empty
            })
        }
        RecordFormat::Plaintext => {
            let PlaintextEnvelope { header, .. } = PlaintextEnvelope::parse(bytes)?;
            Ok(HeaderInfo {
                codec: Some(header.meta.codec),
                schema: Some(header.meta.schema),
                incarnation: Some(header.meta.incarnation),
                generation: header.meta.generation,
                payload_bytes: record_bytes - PLAINTEXT_HEADER_BYTES,
                ..empty
            })
        }
        RecordFormat::KeyRing => {
            let ring = RingEnvelope::parse(bytes)?;
            Ok(HeaderInfo {
                suite: Some(ring.suite.code()),
                generation: ring.generation,
                key_source: Some(ring.source.kind().to_owned()),
                payload_bytes: ring.payload_bytes(),
                ..empty
            })
        }
    }
}
