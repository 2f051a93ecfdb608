//! How a partition becomes bytes.
//!
//! A codec runs *below* the typed cache and *above* sealing: it decodes only what was authenticated. Two come
//! with the crate: [`BincodeCodec`], compact and fast, and [`MsalJsonCodec`], which other MSAL programs can read.
//! [`msal`] also holds the exchange format of `import` and `export`, a whole MSAL cache file.

mod binary;
mod buffer;
mod error;
pub mod msal;
mod wire;

use std::fmt;

pub use binary::BincodeCodec;
pub(crate) use binary::{
    decode as decode_binary, decode_in_memory, encode as encode_binary, encode_in_memory, key_of,
    unrepresentable,
};
pub use error::CodecError;
pub use msal::MsalJsonCodec;
pub(crate) use wire::{WireParts, WireTail, WireToken, decode_foreign};

use crate::schema::Partition;
use crate::secret::SecretBytes;

/// A reversible encoding of a [`Partition`]. Its id and schema version stand in the authenticated header of each
/// record, so a cache can hold records of several codecs.
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// Which codec it is. Ids are assigned in this crate and never reused; 128 and above are free for others.
    fn id(&self) -> u8;

    /// The newest schema version that this codec writes and reads.
    fn schema_version(&self) -> u16;

    /// Encodes the whole partition.
    ///
    /// # Errors
    /// [`CodecError`] when a value cannot be represented; nothing is ever dropped silently.
    fn encode(&self, partition: &Partition) -> Result<SecretBytes, CodecError>;

    /// Decodes what [`encode`](Self::encode) wrote with `schema_version`, and nothing else: trailing bytes, lengths beyond the input
    /// and newer versions are errors.
    ///
    /// # Errors
    /// [`CodecError::NewerSchema`] for a version above [`schema_version`](Self::schema_version); others for malformed bytes.
    fn decode(&self, bytes: &[u8], schema_version: u16) -> Result<Partition, CodecError>;
}

/// Refuses every schema version but those from 1 to `known`.
fn check_version(codec: &'static str, found: u16, known: u16) -> Result<(), CodecError> {
    match found {
        0 => Err(CodecError::Malformed {
            codec,
            reason: "schema version 0 does not exist".to_owned(),
        }),
        found if found > known => Err(CodecError::NewerSchema { found, known }),
        _ => Ok(()),
    }
}
