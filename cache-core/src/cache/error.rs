//! What the token cache can fail with.

use std::sync::Arc;

use super::authority_call::{AuthorityRefusal, CallError};
use crate::codec::CodecError;
use crate::random::RandomError;
use crate::schema::Refusal;
use crate::seal::SealError;
use crate::store::StoreError;

/// Why the cache could not answer. It is cheap to clone, because everybody who waited for one flight gets it.
///
/// `Display` says what failed and what to do next; causes are in [`source`](std::error::Error::source). No variant
/// holds a secret, and none of them has ever changed or removed what is stored.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The store failed.
    #[error("the store of the token cache failed")]
    Store(#[source] Arc<StoreError>),
    /// A record could not be sealed or opened. It was left as it is.
    #[error("the sealing of the token cache, a record or its key, stands in the way")]
    Seal(#[source] Arc<SealError>),
    /// A record was opened but could not be understood. It was left as it is.
    #[error("a record of the token cache could not be decoded")]
    Codec(#[source] Arc<CodecError>),
    /// A record was opened and holds another partition than the one whose name it bears.
    #[error("the record {key} holds another partition than its name says; set it aside with quarantine")]
    WrongPartition {
        /// The record's stored key.
        key: String,
    },
    /// A record is of a codec that this cache was not given.
    #[error("the record {key} is written by codec {codec}, which this program does not have")]
    UnknownCodec {
        /// The record's stored key.
        key: String,
        /// The codec's id.
        codec: u8,
    },
    /// A partition grew beyond what the store accepts, or the codec reads.
    #[error(
        "a partition of {bytes} bytes is larger than the limit of {limit}; split an application's tokens by resource (`Partitioning::AppByResource`), or use another store"
    )]
    PartitionTooLarge {
        /// The size of the sealed record, in bytes.
        bytes: usize,
        /// The limit of the store, or of the codec, in bytes.
        limit: usize,
    },
    /// Others kept changing the partition.
    #[error(
        "the partition was changed by others during each of {attempts} attempts to write it; try again later"
    )]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The user must sign in, or do something else interactively.
    #[error(transparent)]
    InteractionRequired(Box<InteractionRequired>),
    /// The authority refused for a reason that is not the user's to mend.
    #[error("the authority refused: {}{}", .0.error, .0.description.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
    Refused(Box<AuthorityRefusal>),
    /// The authority could not be reached; nothing was sent.
    #[error("the authority could not be reached; nothing was sent to it")]
    Unreachable(#[source] Arc<CallError>),
    /// A request was sent and no usable reply came. It will not be sent again where that could revoke the session.
    #[error("a request was sent to the authority and its outcome is not known")]
    OutcomeUnknown(#[source] Arc<CallError>),
    /// The authority granted tokens that could not be stored. They were given to nobody.
    #[error("the authority granted tokens that could not be stored")]
    NotPersisted(#[source] Arc<CacheError>),
    /// The caller's time was over while somebody else was refreshing, or before the store answered.
    #[error(
        "no token within the time limit: another caller is still refreshing it, or the store does not answer"
    )]
    TimedOut,
    /// The task that did the work for several callers panicked or was aborted.
    #[error("the task that was obtaining the token ended without a result; try again")]
    LeaderLost,
    /// The cache is shutting down.
    #[error("the token cache is shutting down and accepts no new work")]
    ShuttingDown,
    /// A granted reply had no access token, or one that expired at the moment at which it was asked for.
    #[error("the authority's reply has no access token that is still valid")]
    NoAccessToken,
    /// A reply was for another account than the one whose tokens were to be stored. Nothing of it was kept.
    #[error("the authority's reply is for another account; nothing of it was kept")]
    WrongAccount,
    /// The strategy asks for something that this store cannot give.
    #[error("{0}")]
    Strategy(String),
    /// The store has no such function.
    #[error("this store has no {0}; use one that has it")]
    Unsupported(&'static str),
    /// No random bytes.
    #[error("no random bytes could be had")]
    Random(#[source] Arc<RandomError>),
}

impl CacheError {
    /// Whether the user must act.
    #[must_use]
    pub fn is_interaction_required(&self) -> bool {
        matches!(self, Self::InteractionRequired(_))
    }

    /// Whether a refresh token was sent and nobody knows what became of it.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_))
            || matches!(self, Self::InteractionRequired(required) if required.reason == InteractionReason::OutcomeUnknown)
    }

    /// Whether the store could not be reached or did not answer: an outage, of which nobody knows what the store would have said.
    /// It passes without help; see [`OutagePolicy`](crate::strategy::OutagePolicy).
    #[must_use]
    pub fn is_store_unavailable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_unavailable(),
            Self::Seal(error) => matches!(&**error, SealError::Store(error) if error.is_unavailable()),
            Self::NotPersisted(cause) => cause.is_store_unavailable(),
            _ => false,
        }
    }

    /// Whether the store, or a key that seals it, is what failed.
    #[must_use]
    pub fn is_storage(&self) -> bool {
        match self {
            Self::Store(_)
            | Self::Seal(_)
            | Self::Codec(_)
            | Self::WrongPartition { .. }
            | Self::UnknownCodec { .. }
            | Self::PartitionTooLarge { .. }
            | Self::Contended { .. } => true,
            Self::NotPersisted(cause) => cause.is_storage(),
            _ => false,
        }
    }
}

/// The user must sign in, consent, or do something else that a program cannot do alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user must sign in: {reason}")]
pub struct InteractionRequired {
    /// Why.
    pub reason: InteractionReason,
    /// The claims that the interactive request must carry, if the authority sent any.
    pub claims: Option<String>,
}

impl InteractionRequired {
    /// For `reason`, without claims.
    #[must_use]
    pub fn new(reason: InteractionReason) -> Self {
        Self { reason, claims: None }
    }
}

/// Why the user must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InteractionReason {
    /// Nothing is cached for the account: it never signed in here, or it signed out.
    #[error("no account is cached")]
    NoAccount,
    /// The account has no refresh token that this client may use.
    #[error("no refresh token is cached")]
    NoRefreshToken,
    /// The authority refused the refresh token, now or when somebody tried before.
    #[error("the authority answered {}", .0.error)]
    Refused(Refusal),
    /// The refresh token was sent, nobody knows the outcome, and this issuer would revoke the session if it were sent again.
    #[error("the refresh token was sent and its outcome is not known")]
    OutcomeUnknown,
}

impl From<InteractionRequired> for CacheError {
    fn from(required: InteractionRequired) -> Self {
        Self::InteractionRequired(Box::new(required))
    }
}

impl From<StoreError> for CacheError {
    fn from(source: StoreError) -> Self {
        Self::Store(Arc::new(source))
    }
}

impl From<SealError> for CacheError {
    fn from(source: SealError) -> Self {
        Self::Seal(Arc::new(source))
    }
}

impl From<CodecError> for CacheError {
    fn from(source: CodecError) -> Self {
        Self::Codec(Arc::new(source))
    }
}

impl From<RandomError> for CacheError {
    fn from(source: RandomError) -> Self {
        Self::Random(Arc::new(source))
    }
}
