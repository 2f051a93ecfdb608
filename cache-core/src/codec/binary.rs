//! Codec 1: bincode over the private wire structs of the `wire` module.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::error::DecodeError;
use bincode::{BorrowDecode, Encode};

use super::buffer::SecretBuffer;
use super::wire::WirePartition;
use super::{Codec, CodecError, check_version};
use crate::schema::Partition;
use crate::secret::SecretBytes;

pub(super) const NAME: &str = "bincode";

/// The most that decoding may claim, in bytes. Without a limit, a forged length aborts the process when its
/// allocation fails.
pub(super) const LIMIT: usize = 64 << 20;

/// A list claims the size of its elements in memory before they are read, which is less than this many times
/// their size in bytes. Longer encodings are proven readable before they are handed out.
const CLAIM_FACTOR: usize = 64;

const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> =
    bincode::config::standard().with_limit::<LIMIT>();

/// The compact binary codec, the default.
///
/// It writes bincode's standard format (variable-length little-endian integers, length-prefixed text) of
/// positional structs that belong to this crate alone, so the schema's types may change without changing the
/// bytes. Equal partitions have equal bytes. A partition may take up to 64 MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct BincodeCodec;

impl BincodeCodec {
    /// The codec's id in record headers.
    pub const ID: u8 = 1;
    /// The schema version that is written.
    pub const SCHEMA_VERSION: u16 = 1;
}

impl Codec for BincodeCodec {
    fn id(&self) -> u8 {
        Self::ID
    }

    fn schema_version(&self) -> u16 {
        Self::SCHEMA_VERSION
    }

    fn encode(&self, partition: &Partition) -> Result<SecretBytes, CodecError> {
        let key = zeroize::Zeroizing::new(partition.key.to_bytes());
        let bytes = encode(&WirePartition::new(&key, partition))?;
        if bytes.len() > LIMIT / CLAIM_FACTOR && decode::<WirePartition<'_>>(bytes.expose()).is_err() {
            return Err(CodecError::TooLarge {
                codec: NAME,
                bytes: bytes.len(),
                limit: LIMIT,
            });
        }
        Ok(bytes)
    }

    fn decode(&self, bytes: &[u8], schema_version: u16) -> Result<Partition, CodecError> {
        check_version(NAME, schema_version, Self::SCHEMA_VERSION)?;
        decode::<WirePartition<'_>>(bytes)?
            .into_partition()
            .map_err(malformed)
    }
}

/// Encodes a wire struct. It borrows its secrets, so the only copy made is the result.
pub(crate) fn encode<T: Encode>(value: &T) -> Result<SecretBytes, CodecError> {
    let mut buffer = SecretBuffer::default();
    // The error of a JSON value inside is the only one possible, and it could quote its content.
    bincode::encode_into_std_write(value, &mut buffer, CONFIG)
        .map_err(|_| unrepresentable("a value has no JSON form"))?;
    Ok(buffer.into_secret())
}

/// Decodes a wire struct that borrows from `bytes`, all of which it must take.
pub(crate) fn decode<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let (value, read) = decode_prefix(bytes, Source::Store)?;
    if read != bytes.len() {
        return Err(malformed("bytes follow the partition"));
    }
    Ok(value)
}

/// Decodes a value at the start of `bytes`, and gives how many it took.
pub(super) fn decode_prefix<'a, T: BorrowDecode<'a, ()>>(
    bytes: &'a [u8],
    source: Source,
) -> Result<(T, usize), CodecError> {
    match source {
        Source::Store => bincode::borrow_decode_from_slice(bytes, CONFIG),
        Source::Memory => bincode::borrow_decode_from_slice(bytes, CONFIG.with_no_limit()),
    }
    .map_err(|error| {
        malformed(match error {
            DecodeError::UnexpectedEnd { .. } => "the bytes end too early",
            DecodeError::LimitExceeded => "a length is beyond the limit of 64 MiB",
            DecodeError::Utf8 { .. } => "a text is not UTF-8",
            _ => "the bytes do not have the layout of this schema version",
        })
    })
}

/// Where encoded bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A record: lengths in it are limited.
    Store,
    /// This process, which encoded them itself.
    Memory,
}

/// The encoding of a partition that stays in this process, of any size.
pub(crate) fn encode_in_memory(partition: &Partition) -> Result<SecretBytes, CodecError> {
    let key = zeroize::Zeroizing::new(partition.key.to_bytes());
    encode(&WirePartition::new(&key, partition))
}

/// Decodes what [`encode_in_memory`] gave.
pub(crate) fn decode_in_memory(bytes: &[u8]) -> Result<Partition, CodecError> {
    let (wire, _) = decode_prefix::<WirePartition<'_>>(bytes, Source::Memory)?;
    wire.into_partition().map_err(malformed)
}

/// The canonical key at the start of an encoded partition.
pub(crate) fn key_of(bytes: &[u8]) -> Option<&[u8]> {
    Some(decode_prefix(bytes, Source::Memory).ok()?.0)
}

pub(super) fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed {
        codec: NAME,
        reason: reason.to_owned(),
    }
}

pub(crate) fn unrepresentable(reason: &'static str) -> CodecError {
    CodecError::Unrepresentable {
        codec: NAME,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::PartitionKey;

    fn encoded() -> Vec<u8> {
        let partition = Partition::new(PartitionKey::Residue);
        BincodeCodec.encode(&partition).unwrap().expose().to_vec()
    }

    fn reason(bytes: &[u8]) -> String {
        BincodeCodec.decode(bytes, 1).unwrap_err().to_string()
    }

    #[test]
    fn every_byte_must_be_used_and_none_may_be_missing() {
        let mut bytes = encoded();
        assert!(BincodeCodec.decode(&bytes, 1).is_ok());
        assert!(reason(&bytes[..bytes.len() - 1]).contains("end too early"));
        bytes.push(0);
        assert!(reason(&bytes).contains("bytes follow"));
    }

    #[test]
    fn other_schema_versions_are_refused_before_anything_is_read() {
        assert!(matches!(
            BincodeCodec.decode(b"anything", 2),
            Err(CodecError::NewerSchema { found: 2, known: 1 })
        ));
        assert!(matches!(
            BincodeCodec.decode(&encoded(), 0),
            Err(CodecError::Malformed { .. })
        ));
    }

    #[test]
    fn a_forged_length_is_an_error_and_no_allocation() {
        let bytes = encoded();
        // A varint of 0xfd is followed by eight bytes of length: far more than any machine could allocate.
        let mut huge = vec![0xfd];
        huge.extend((1_u64 << 60).to_le_bytes());
        // The first length is that of the key; the one behind the key, that of the accounts.
        let behind_key = 1 + usize::from(bytes[0]);
        for at in [0, behind_key, behind_key + 1, behind_key + 3] {
            let forged = [&bytes[..at], &huge, &bytes[at + 1..]].concat();
            assert!(reason(&forged).contains("beyond the limit"), "at {at}");
        }
        // Within the limit in elements, beyond it in memory.
        let mut many = vec![0xfc];
        many.extend(20_000_000_u32.to_le_bytes());
        let forged = [&bytes[..behind_key], &many, &bytes[behind_key + 1..]].concat();
        assert!(reason(&forged).contains("beyond the limit"));
    }

    #[test]
    fn a_key_that_is_not_canonical_is_refused() {
        let mut bytes = encoded();
        bytes[1] = b'9';
        assert!(reason(&bytes).contains("key"));
    }

    #[test]
    fn many_small_rows_are_readable_or_refused() {
        let mut partition = Partition::new(PartitionKey::Residue);
        let link = crate::schema::SessionLink {
            key: Vec::new(),
            expires_at: crate::time::UnixMillis(0),
        };
        partition.sessions = vec![link; 3_000_000];
        match BincodeCodec.encode(&partition) {
            Ok(bytes) => assert!(BincodeCodec.decode(bytes.expose(), 1).is_ok()),
            Err(error) => assert!(matches!(error, CodecError::TooLarge { .. }), "{error}"),
        }
    }
}
