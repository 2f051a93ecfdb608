//! Refresh tokens, and the state of spending them.

use std::fmt;

use super::{Foreign, ScopeSet};
use crate::secret::Secret;
use crate::time::{UnixMillis, UnixSeconds};

/// A refresh token: what a session lives by.
///
/// With rotation (RFC 9700 section 4.14.2) it may be used once, and a second use revokes the whole session. The row therefore
/// carries the [`SpendMarker`] of whoever is using it.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The account that it belongs to.
    pub home_account_id: String,
    /// The host that issued it.
    pub environment: String,
    /// The client that it was issued to.
    pub client_id: String,
    /// The family whose members may redeem it too.
    pub family_id: Option<String>,
    /// The scopes of the request that brought it, which some MSALs note. It limits nothing.
    pub target: Option<ScopeSet>,
    /// The token.
    pub secret: Secret,
    /// When the row was last written.
    pub last_modification_time: Option<UnixSeconds>,
    /// When it expires, where the issuer says so.
    pub expires_on: Option<UnixSeconds>,
    /// Who is spending it.
    pub spending: Option<SpendMarker>,
    /// What the authority refused, newest last, at most [`MAX_REFUSALS`](Self::MAX_REFUSALS).
    pub refusals: Vec<Refusal>,
    /// What another program keeps on this row.
    pub foreign: Option<Box<Foreign>>,
}

impl RefreshToken {
    /// How many refusals a row remembers.
    pub const MAX_REFUSALS: usize = 8;

    /// The refusal that a request with this fingerprint would meet again.
    #[must_use]
    pub fn refusal(&self, request: &RequestHash) -> Option<&Refusal> {
        self.refusals.iter().rev().find(|refusal| match &refusal.request {
            None => true,
            Some(refused) => refused == request,
        })
    }

    /// Whether the authority refused the token itself, so that no request can use it.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.refusals.iter().any(|refusal| refusal.request.is_none())
    }

    /// Whether the two rows are successive or equivalent tokens of one lineage: the same family, or the same
    /// client outside any.
    #[must_use]
    pub fn same_lineage(&self, other: &Self) -> bool {
        self.home_account_id == other.home_account_id
            && super::environment::same(&self.environment, &other.environment)
            && match (&self.family_id, &other.family_id) {
                (Some(family), Some(other)) => family == other,
                (None, None) => self.client_id == other.client_id,
                _ => false,
            }
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("environment", &self.environment)
            .field("client_id", &self.client_id)
            .field("family_id", &self.family_id)
            .field("spending", &self.spending)
            .field("refusals", &self.refusals)
            .finish_non_exhaustive()
    }
}

/// A stable hash of what a request asks for, to compare requests across processes.
pub type RequestHash = [u8; 16];

/// Proof that one caller, of all processes that share the cache, may send the token.
///
/// It is written by compare-and-swap before the token is sent and removed by the same commit that stores the
/// reply. It needs no clean-up by its owner: after the deadline the issuer's policy decides what others may do.
#[derive(Clone, PartialEq, Eq)]
pub struct SpendMarker {
    /// SHA-256 of the token that is being spent.
    pub token_hash: [u8; 32],
    /// 128 random bits that name the attempt.
    pub attempt: [u8; 16],
    /// Until when the owner may send the token and store the reply.
    pub deadline: UnixMillis,
    /// How often the token was sent without a known outcome, this attempt included.
    pub attempts: u8,
    /// Whether the owner has reported that it does not know the outcome, or others have recorded that its time is over. From then on
    /// it stores no reply any more.
    pub outcome_unknown: bool,
}

impl fmt::Debug for SpendMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpendMarker")
            .field("deadline", &self.deadline)
            .field("attempts", &self.attempts)
            .field("outcome_unknown", &self.outcome_unknown)
            .finish_non_exhaustive()
    }
}

/// What the authority said when it refused a refresh (RFC 6749 section 5.2). The row is kept, so that a fleet does not ask again.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The request that was refused; `None` when the token itself was, and no request can use it.
    pub request: Option<RequestHash>,
    /// The `error` code.
    pub error: String,
    /// The `suberror` of Entra.
    pub suberror: Option<String>,
    /// The claims that an interactive request must carry.
    pub claims: Option<String>,
    /// When it was refused.
    pub refused_at: UnixSeconds,
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("error", &self.error)
            .field("suberror", &self.suberror)
            .field("refused_at", &self.refused_at)
            .finish_non_exhaustive()
    }
}
