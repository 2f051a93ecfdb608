//! Taking records apart and putting them together. The byte tables are in [`format`](super::format).

use std::cmp::Ordering;

use super::aead::{NONCE_BYTES, Suite, TAG_BYTES};
use super::key::KeyId;
use super::location::LOCATION_TAG_BYTES;
use crate::random::{Random, RandomError, random_bytes};

pub(super) const SEALED_MAGIC: [u8; 4] = *b"TKSR";
pub(super) const PLAINTEXT_MAGIC: [u8; 4] = *b"TKPT";
pub(super) const KEY_RING_MAGIC: [u8; 4] = *b"TKKR";
pub(super) const FORMAT_VERSION: u8 = 1;
pub(super) const COMMITMENT_BYTES: usize = 32;
pub(super) const CHECKSUM_BYTES: usize = 16;

/// The length of a sealed record's header, in bytes.
pub const SEALED_HEADER_BYTES: usize = 117;
/// The length of an unsealed record's header, in bytes.
pub const PLAINTEXT_HEADER_BYTES: usize = 64;

/// One life of a record, from its creation to its removal: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub [u8; 16]);

impl Incarnation {
    /// The incarnation of a record that is about to be created.
    ///
    /// # Errors
    /// When no random bytes can be had.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        random_bytes(random).map(Self)
    }
}

/// What a header says of the payload. It is authenticated, but not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// Which codec encoded the payload.
    pub codec: u8,
    /// Which version of the codec's schema.
    pub schema: u16,
    /// Which life of the record this is; kept by every write but the first.
    pub incarnation: Incarnation,
    /// 1 at creation, one more than the loaded record's at each write. Never lower within an incarnation.
    pub generation: u64,
}

/// Bytes that are not a record of this program, or not of one that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// No known magic at the start.
    #[error("the bytes do not begin like a tokenkeep record")]
    NoMagic,
    /// Shorter than the shortest record of its kind, or than its header says.
    #[error("the record is cut short: {length} bytes")]
    TooShort {
        /// How many bytes there are.
        length: usize,
    },
    /// Longer than the longest record of its kind, or than its header says.
    #[error("the record is too long: {length} bytes")]
    TooLong {
        /// How many bytes there are.
        length: usize,
    },
    /// A key ring that does not name a key source.
    #[error("the key ring does not describe a key source")]
    KeySource,
    /// A format version that this program does not know.
    #[error("format version {0} is not known to this program")]
    Version(u8),
    /// A suite that is not on the allow-list.
    #[error("suite {0} is not known to this program")]
    Suite(u8),
    /// A record of another kind: sealed, unsealed or a key ring, and not the one that is expected here.
    #[error("the record is {0}")]
    Other(RecordFormat),
}

/// Which of the layouts a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// Sealed.
    Sealed,
    /// Explicitly unsealed.
    Plaintext,
    /// The sealed key ring.
    KeyRing,
}

impl RecordFormat {
    /// The layout that the first bytes announce.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, FormatError> {
        match bytes.first_chunk() {
            Some(&SEALED_MAGIC) => Ok(Self::Sealed),
            Some(&PLAINTEXT_MAGIC) => Ok(Self::Plaintext),
            Some(&KEY_RING_MAGIC) => Ok(Self::KeyRing),
            _ => Err(FormatError::NoMagic),
        }
    }
}

impl std::fmt::Display for RecordFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sealed => "sealed",
            Self::Plaintext => "not sealed",
            Self::KeyRing => "a key ring",
        })
    }
}

/// The header of a sealed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedHeader {
    pub(super) suite: Suite,
    pub(super) meta: RecordMeta,
    pub(super) key_id: KeyId,
    pub(super) commitment: [u8; COMMITMENT_BYTES],
    pub(super) location_tag: [u8; LOCATION_TAG_BYTES],
    pub(super) nonce: [u8; NONCE_BYTES],
    /// The length of the ciphertext, in bytes.
    pub(super) length: u32,
}

impl SealedHeader {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&SEALED_MAGIC);
        bytes.extend_from_slice(&[FORMAT_VERSION, self.suite.code(), self.meta.codec]);
        bytes.extend_from_slice(&self.meta.schema.to_be_bytes());
        bytes.extend_from_slice(&self.meta.incarnation.0);
        bytes.extend_from_slice(&self.meta.generation.to_be_bytes());
        bytes.extend_from_slice(self.key_id.as_bytes());
        bytes.extend_from_slice(&self.commitment);
        bytes.extend_from_slice(&self.location_tag);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.length.to_be_bytes());
    }

    /// The header of a record whose rest may have been cut.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::read(&mut Reader::after_magic(bytes, RecordFormat::Sealed)?)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let code = reader.byte()?;
        Ok(Self {
            suite: Suite::from_code(code).ok_or(FormatError::Suite(code))?,
            meta: RecordMeta {
                codec: reader.byte()?,
                schema: u16::from_be_bytes(reader.array()?),
                incarnation: Incarnation(reader.array()?),
                generation: u64::from_be_bytes(reader.array()?),
            },
            key_id: KeyId::from_bytes(reader.array()?),
            commitment: reader.array()?,
            location_tag: reader.array()?,
            nonce: reader.array()?,
            length: u32::from_be_bytes(reader.array()?),
        })
    }
}

/// A sealed record, taken apart but not believed.
#[derive(Debug)]
pub(super) struct SealedEnvelope<'a> {
    pub(super) header: SealedHeader,
    pub(super) header_bytes: &'a [u8],
    pub(super) ciphertext: &'a [u8],
    pub(super) tag: [u8; TAG_BYTES],
}

impl<'a> SealedEnvelope<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::after_magic(bytes, RecordFormat::Sealed)?;
        let header = SealedHeader::read(&mut reader)?;
        let (ciphertext, tag) = reader.rest_and_tag()?;
        let header_bytes = &bytes[..SEALED_HEADER_BYTES];
        // Before anything is decrypted, so that a record that was cut is told from one that was changed.
        match u64::try_from(ciphertext.len())
            .unwrap_or(u64::MAX)
            .cmp(&u64::from(header.length))
        {
            Ordering::Less => return Err(FormatError::TooShort { length: bytes.len() }),
            Ordering::Greater => return Err(FormatError::TooLong { length: bytes.len() }),
            Ordering::Equal => {}
        }
        Ok(Self {
            header,
            header_bytes,
            ciphertext,
            tag,
        })
    }
}

/// The header of an unsealed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaintextHeader {
    pub(super) meta: RecordMeta,
    pub(super) location_tag: [u8; LOCATION_TAG_BYTES],
}

impl PlaintextHeader {
    /// The length of what [`encode`](Self::encode) writes; the checksum follows it.
    pub(super) const BYTES: usize = PLAINTEXT_HEADER_BYTES - CHECKSUM_BYTES;

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&PLAINTEXT_MAGIC);
        bytes.extend_from_slice(&[FORMAT_VERSION, self.meta.codec]);
        bytes.extend_from_slice(&self.meta.schema.to_be_bytes());
        bytes.extend_from_slice(&self.meta.incarnation.0);
        bytes.extend_from_slice(&self.meta.generation.to_be_bytes());
        bytes.extend_from_slice(&self.location_tag);
    }
}

/// An unsealed record, taken apart but not checked.
#[derive(Debug)]
pub(super) struct PlaintextEnvelope<'a> {
    pub(super) header: PlaintextHeader,
    pub(super) header_bytes: &'a [u8],
    pub(super) checksum: [u8; CHECKSUM_BYTES],
    pub(super) payload: &'a [u8],
}

impl<'a> PlaintextEnvelope<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::after_magic(bytes, RecordFormat::Plaintext)?;
        let header = PlaintextHeader {
            meta: RecordMeta {
                codec: reader.byte()?,
                schema: u16::from_be_bytes(reader.array()?),
                incarnation: Incarnation(reader.array()?),
                generation: u64::from_be_bytes(reader.array()?),
            },
            location_tag: reader.array()?,
        };
        let checksum = reader.array()?;
        let header_bytes = &bytes[..PlaintextHeader::BYTES];
        Ok(Self {
            header,
            header_bytes,
            checksum,
            payload: reader.rest,
        })
    }
}

/// Checked splits from the front; running out is [`FormatError::TooShort`], never a panic.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    length: usize,
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            length: bytes.len(),
            rest: bytes,
        }
    }

    /// A reader behind the magic and format version of an `expected` record.
    pub(super) fn after_magic(bytes: &'a [u8], expected: RecordFormat) -> Result<Self, FormatError> {
        let found = RecordFormat::of(bytes)?;
        if found != expected {
            return Err(FormatError::Other(found));
        }
        let mut reader = Self::new(bytes);
        reader.take(SEALED_MAGIC.len())?;
        match reader.byte()? {
            FORMAT_VERSION => Ok(reader),
            version => Err(FormatError::Version(version)),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.take_array().copied()
    }

    /// As [`array`](Self::array), borrowed: for key bytes, of which no copy should be left on the stack.
    pub(super) fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], FormatError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(self.too_short())?;
        self.rest = rest;
        Ok(array)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.too_short())?;
        self.rest = rest;
        Ok(taken)
    }

    /// What is left, with the authentication tag split from its end.
    pub(super) fn rest_and_tag(self) -> Result<(&'a [u8], [u8; TAG_BYTES]), FormatError> {
        let (ciphertext, tag) = self.rest.split_last_chunk().ok_or(self.too_short())?;
        Ok((ciphertext, *tag))
    }

    fn too_short(&self) -> FormatError {
        FormatError::TooShort { length: self.length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SealedHeader {
        SealedHeader {
            suite: Suite::Xaes256Gcm,
            meta: RecordMeta {
                codec: 2,
                schema: 0x0304,
                incarnation: Incarnation([5; 16]),
                generation: 0x0607_0809_0a0b_0c0d,
            },
            key_id: KeyId::from_bytes([6; 8]),
            commitment: [7; 32],
            location_tag: [8; 16],
            nonce: [9; 24],
            length: 10,
        }
    }

    #[test]
    fn a_header_is_as_long_as_its_table_and_parses_back() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        assert_eq!(bytes.len(), SEALED_HEADER_BYTES);
        assert_eq!(&bytes[..9], b"TKSR\x01\x01\x02\x03\x04");
        bytes.extend_from_slice(b"ciphertext");
        bytes.extend_from_slice(&[10; 16]);
        let envelope = SealedEnvelope::parse(&bytes).unwrap();
        assert_eq!(envelope.header, header());
        assert_eq!(envelope.header_bytes, &bytes[..117]);
        assert_eq!(envelope.ciphertext, b"ciphertext");
        assert_eq!(envelope.tag, [10; 16]);
    }

    #[test]
    fn every_short_record_is_refused() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        bytes.extend_from_slice(&[0; 10 + 16]);
        assert!(SealedEnvelope::parse(&bytes).is_ok());
        for length in 0..bytes.len() {
            let error = SealedEnvelope::parse(&bytes[..length]).unwrap_err();
            let expected = if length < 4 {
                FormatError::NoMagic
            } else {
                FormatError::TooShort { length }
            };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn unknown_versions_suites_and_layouts_are_told_apart() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        bytes.extend_from_slice(&[0; 16]);
        let with = |index: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[index] = value;
            SealedEnvelope::parse(&changed).unwrap_err()
        };
        assert_eq!(with(0, b'X'), FormatError::NoMagic);
        assert_eq!(with(4, 2), FormatError::Version(2));
        assert_eq!(with(5, 0), FormatError::Suite(0));
        let plaintext = PlaintextHeader {
            meta: header().meta,
            location_tag: [0; 16],
        };
        let mut other = Vec::new();
        plaintext.encode(&mut other);
        assert_eq!(other.len(), PlaintextHeader::BYTES);
        other.extend_from_slice(&[0; 200]);
        assert_eq!(
            SealedEnvelope::parse(&other).unwrap_err(),
            FormatError::Other(RecordFormat::Plaintext)
        );
        assert_eq!(PlaintextEnvelope::parse(&other).unwrap().header, plaintext);
    }
}
