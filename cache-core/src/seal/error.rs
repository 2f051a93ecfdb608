//! What sealing can fail with.

use std::time::Duration;

use super::envelope::{FormatError, RecordFormat};
use super::key::KeyId;
use super::key_source::KeySourceError;
use super::ring::RingError;
use crate::random::RandomError;
use crate::store::{StoreError, StoreKey};

/// Why a record could not be sealed or opened, or the key ring not be read or changed. One variant for each check.
///
/// No variant holds key bytes or payload. Stored keys are blinded in sealed caches. Nothing was deleted or overwritten
/// when one of these comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The bytes are not a record at all.
    #[error(
        "record {key} is not a tokenkeep record ({reason}); it was left untouched: quarantine it to go on without it"
    )]
    NotSealed {
        /// The record.
        key: StoreKey,
        /// What is wrong with the bytes.
        reason: FormatError,
    },
    /// A sealed record is shorter or longer than its header says: it was cut, or something was appended.
    #[error(
        "record {key} has not the length that it was written with ({reason}); it was left untouched: quarantine it to go on without it"
    )]
    WrongLength {
        /// The record.
        key: StoreKey,
        /// What is wrong with the length.
        reason: FormatError,
    },
    /// An unsealed record lies where only sealed records may.
    #[error(
        "record {key} is not encrypted but this cache is sealed: somebody put it there; it was not used: quarantine it"
    )]
    PlaintextRecord {
        /// The record.
        key: StoreKey,
    },
    /// A sealed record lies where only unsealed records may.
    #[error(
        "record {key} is encrypted but this cache was opened without encryption; open it with its key source"
    )]
    SealedRecord {
        /// The record.
        key: StoreKey,
    },
    /// A format, suite, codec or schema that this program does not know: damaged, or written by a newer program.
    #[error(
        "record {key} has an unsupported format ({what}); it may come from a newer program: upgrade this one, and \
         do not write the record before that"
    )]
    UnsupportedFormat {
        /// The record.
        key: StoreKey,
        /// What is not supported.
        what: String,
    },
    /// The record names a key that is not in the ring.
    #[error(
        "record {key} was sealed under key {key_id}, which is not in the key ring; if a ring was just restored or \
         replaced put the right one back, otherwise quarantine the record"
    )]
    UnknownKey {
        /// The record.
        key: StoreKey,
        /// The key that its header names.
        key_id: KeyId,
    },
    /// The ring has a key of that name, but another one sealed the record.
    #[error(
        "record {key} was sealed under another key that calls itself {key_id}; it belongs to another key ring: \
         quarantine it"
    )]
    WrongKey {
        /// The record.
        key: StoreKey,
        /// The key that its header names.
        key_id: KeyId,
    },
    /// The record was made for another key, kind or namespace.
    #[error("record {key} was made for another place, so somebody moved it; it was not used: quarantine it")]
    WrongLocation {
        /// Where the record lies.
        key: StoreKey,
    },
    /// The record was changed, cut or damaged.
    #[error(
        "record {key} was changed or damaged since it was sealed; it was not used: quarantine it to go on"
    )]
    Tampered {
        /// The record.
        key: StoreKey,
    },
    /// The store went back: this process has seen a later write of the same record.
    #[error(
        "record {key} went back from generation {seen} to {found}: the store was rolled back, by a failover, a \
         restored backup or an attacker; check the store before its tokens are used"
    )]
    RolledBack {
        /// The record.
        key: StoreKey,
        /// The highest generation that this process has seen.
        seen: u64,
        /// The generation that was read.
        found: u64,
    },
    /// The ring was last checked too long ago to seal under it.
    #[error(
        "the key ring was last checked {} s ago and its primary key may be retired by now; \
         freshen the sealer, then seal again",
        age.as_secs()
    )]
    StaleRing {
        /// How long ago the ring was checked.
        age: Duration,
    },
    /// There are records but no key ring to open them with.
    #[error(
        "namespace {namespace} holds records (such as {example}) but its key ring is missing: refusing to mint a \
         second key; restore the ring record, or quarantine the whole namespace to start anew"
    )]
    RingMissing {
        /// The namespace.
        namespace: String,
        /// One of the records.
        example: StoreKey,
    },
    /// The ring in the store is older than the one in memory, or another.
    #[error(
        "the key ring in the store is not the successor of the one in use (generation {found} after {seen}): the \
         store was rolled back or replaced; restore the newest ring record, or reopen if this was intended"
    )]
    RingRolledBack {
        /// The generation in use.
        seen: u64,
        /// The generation in the store.
        found: u64,
    },
    /// The ring record is not one, or was changed or damaged.
    #[error("the key ring record {key} {what}; it was left untouched: restore it from a copy")]
    RingUnreadable {
        /// The ring record.
        key: StoreKey,
        /// What is wrong.
        what: String,
    },
    /// The key source gave a key-encryption key that is not this ring's.
    #[error(
        "the {source_kind} key source gave a key that does not open the key ring; give the key, pass phrase or file \
         that the cache was made with"
    )]
    WrongKeySource {
        /// The kind of the source.
        source_kind: String,
    },
    /// The change to the ring is not possible.
    #[error("the key ring was not changed")]
    Ring(#[source] RingError),
    /// The key source failed.
    #[error("the key-encryption key could not be had")]
    KeySource(#[source] KeySourceError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// No random bytes.
    #[error("nothing can be sealed without random bytes")]
    Random(#[source] RandomError),
    /// Others kept changing the same record.
    #[error("record {key} kept changing; try again")]
    Contended {
        /// The record.
        key: StoreKey,
    },
    /// The payload is longer than the suite can seal.
    #[error("the payload of {length} bytes is too long to seal")]
    TooLong {
        /// The payload's length, in bytes.
        length: usize,
    },
    /// A sealed cache was asked for in the namespace of an unsealed one.
    #[error("namespace {namespace} is reserved for unsealed records; open the sealed cache in another")]
    PlaintextNamespace {
        /// The namespace.
        namespace: String,
    },
    /// The operation needs keys, and an unsealed cache has none.
    #[error("namespace {namespace} is not sealed, so it has no keys to manage; open it with a key source")]
    NoKeys {
        /// The namespace.
        namespace: String,
    },
}

impl SealError {
    /// Whether a key ring cannot be opened with the source that was given, or is not there any more. Not where the source cannot say
    /// now: it may open the ring later.
    pub(crate) fn is_about_ring(&self) -> bool {
        match self {
            Self::KeySource(error) => !matches!(error, KeySourceError::Unavailable { .. }),
            Self::RingMissing { .. } | Self::RingUnreadable { .. } | Self::WrongKeySource { .. } => true,
            _ => false,
        }
    }

    /// The error for bytes at `key` that should have been a record of `expected` format.
    pub(super) fn format(key: &StoreKey, expected: RecordFormat, reason: FormatError) -> Self {
        let key = key.clone();
        match reason {
            FormatError::Other(RecordFormat::Plaintext) if expected == RecordFormat::Sealed => {
                Self::PlaintextRecord { key }
            }
            FormatError::Other(RecordFormat::Sealed) if expected == RecordFormat::Plaintext => {
                Self::SealedRecord { key }
            }
            FormatError::Version(_) | FormatError::Suite(_) => Self::UnsupportedFormat {
                key,
                what: reason.to_string(),
            },
            FormatError::TooShort { .. } | FormatError::TooLong { .. }
                if expected == RecordFormat::Sealed =>
            {
                Self::WrongLength { key, reason }
            }
            FormatError::NoMagic
            | FormatError::TooShort { .. }
            | FormatError::TooLong { .. }
            | FormatError::KeySource
            | FormatError::Other(_) => Self::NotSealed { key, reason },
        }
    }

    /// Whether the bytes are no record of the expected kind: not ours, cut short, or unsealed.
    #[must_use]
    pub fn is_not_sealed(&self) -> bool {
        matches!(self, Self::NotSealed { .. } | Self::PlaintextRecord { .. })
    }

    /// Whether a record was cut, or something was appended to it.
    #[must_use]
    pub fn is_wrong_length(&self) -> bool {
        matches!(self, Self::WrongLength { .. })
    }

    /// Whether an unsealed record lay in a sealed cache.
    #[must_use]
    pub fn is_plaintext_record(&self) -> bool {
        matches!(self, Self::PlaintextRecord { .. })
    }

    /// Whether a newer program may be able to read the record.
    #[must_use]
    pub fn is_unsupported_format(&self) -> bool {
        matches!(self, Self::UnsupportedFormat { .. })
    }

    /// Whether the record names a key that is not in the ring. Reloading the ring once may help.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        matches!(self, Self::UnknownKey { .. })
    }

    /// Whether another key than the named one sealed the record.
    #[must_use]
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::WrongKey { .. })
    }

    /// Whether the record was made for another place.
    #[must_use]
    pub fn is_wrong_location(&self) -> bool {
        matches!(self, Self::WrongLocation { .. })
    }

    /// Whether the record did not authenticate.
    #[must_use]
    pub fn is_tampered(&self) -> bool {
        matches!(self, Self::Tampered { .. })
    }

    /// Whether the store, or its key ring, went back in time.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        matches!(self, Self::RolledBack { .. } | Self::RingRolledBack { .. })
    }

    /// Whether the sealer must be freshened before it seals again.
    #[must_use]
    pub fn is_stale_ring(&self) -> bool {
        matches!(self, Self::StaleRing { .. })
    }

    /// Whether the key source holds another key than the ring's.
    #[must_use]
    pub fn is_wrong_key_source(&self) -> bool {
        matches!(self, Self::WrongKeySource { .. })
    }

    /// Whether one record cannot be opened, now or ever, with this ring: what a quarantine is for.
    #[must_use]
    pub fn is_unreadable_record(&self) -> bool {
        matches!(
            self,
            Self::NotSealed { .. }
                | Self::WrongLength { .. }
                | Self::PlaintextRecord { .. }
                | Self::SealedRecord { .. }
                | Self::UnsupportedFormat { .. }
                | Self::UnknownKey { .. }
                | Self::WrongKey { .. }
                | Self::WrongLocation { .. }
                | Self::Tampered { .. }
        )
    }
}

impl From<StoreError> for SealError {
    fn from(source: StoreError) -> Self {
        Self::Store(source)
    }
}

impl From<RandomError> for SealError {
    fn from(source: RandomError) -> Self {
        Self::Random(source)
    }
}

impl From<KeySourceError> for SealError {
    fn from(source: KeySourceError) -> Self {
        Self::KeySource(source)
    }
}

impl From<RingError> for SealError {
    fn from(source: RingError) -> Self {
        Self::Ring(source)
    }
}

#[cfg(test)]
mod tests;
