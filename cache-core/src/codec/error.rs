//! What encoding and decoding can fail with.

/// Bytes that are not a partition, or a partition that cannot become bytes. It never shows the content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are not what this codec writes, or not a cache file that can be read.
    #[error("the {codec} codec cannot read these bytes: {reason}")]
    Malformed {
        /// The codec's name.
        codec: &'static str,
        /// What is wrong, and where (a section, a field, a byte offset), without any value.
        reason: String,
    },
    /// A newer program wrote the bytes. They must be neither read nor overwritten by this one.
    #[error("the partition was written with schema version {found}; this program knows {known}: upgrade it")]
    NewerSchema {
        /// The version of the bytes.
        found: u16,
        /// The newest version that this program knows.
        known: u16,
    },
    /// The partition is larger than what the codec reads back.
    #[error(
        "the {codec} codec cannot write a partition of {bytes} bytes, which is more than it reads; split it by resource"
    )]
    TooLarge {
        /// The codec's name.
        codec: &'static str,
        /// The size of the encoding, in bytes.
        bytes: usize,
        /// The most that the codec reads, in bytes. Many small rows are refused before.
        limit: usize,
    },
    /// The partition cannot be represented.
    #[error("the {codec} codec cannot write this partition: {reason}")]
    Unrepresentable {
        /// The codec's name.
        codec: &'static str,
        /// What cannot be represented, without any value.
        reason: String,
    },
}
