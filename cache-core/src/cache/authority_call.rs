//! What the cache asks of the layer that speaks to authorities.
//!
//! The cache decides *whether* and *by whom* a refresh token is sent; the layer above knows how. It answers with
//! an outcome that leaves no doubt whether the authority can have seen the token.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::schema::TokenResponse;
use crate::secret::Secret;

/// Sends one request to an authority.
#[async_trait]
pub trait AuthorityCall: Send + Sync + 'static {
    /// Does what needs no token and may fail without harm, such as finding the endpoint, within `time_limit`.
    ///
    /// It is called before the right to send a token is taken: while somebody holds that, everybody else waits.
    async fn prepare(&self, time_limit: Duration) -> Result<(), CallError>;

    /// Redeems a refresh token (RFC 6749 section 6), exactly once: no retry, no redirect.
    ///
    /// It must end within `redemption.time_limit`; the cache abandons it then and treats the outcome as unknown. Right before
    /// the first byte it must look at `redemption.send_before`.
    async fn redeem(&self, redemption: Redemption) -> CallOutcome;

    /// Gets rid of a refresh token that [`redeem`](Self::redeem) brought and that was not stored, because its user was signed out
    /// meanwhile or because it came after the time for it was over: nobody else has it, and at the authority it would go on living. Revoking it (RFC 7009) within `time_limit` is
    /// the best answer, doing nothing a sound one.
    ///
    /// It runs in a task of its own, for which [`TokenCache::shutdown`](super::TokenCache::shutdown) waits.
    async fn discard(&self, refresh_token: Secret, time_limit: Duration);
}

/// Obtains a token for the application itself.
#[async_trait]
pub trait AppTokenCall: Send + Sync + 'static {
    /// Sends one request (RFC 6749 section 4.4) that must end within `time_limit`, to the last byte of its reply.
    async fn obtain(&self, time_limit: Duration) -> CallOutcome;
}

/// A refresh token to be sent, by the one caller that may.
pub struct Redemption {
    /// The token.
    pub refresh_token: Secret,
    /// Whether it is a family token that another client obtained.
    pub is_family_token: bool,
    /// How long the request may take, until the last byte of the reply.
    pub time_limit: Duration,
    /// Until when the first byte may be sent, on the cache's [monotonic clock](crate::time::Clock::monotonic): a process that was
    /// stopped, and wakes after it, may have been taken over by another and must answer [`CallOutcome::NotSent`].
    pub send_before: Duration,
}

/// How a request to an authority ended.
#[derive(Debug)]
pub enum CallOutcome {
    /// It granted tokens.
    Granted(Box<TokenResponse>),
    /// It answered and refused (a 4xx reply other than 408). The token was not spent.
    Refused(AuthorityRefusal),
    /// No byte of the request was sent.
    NotSent(CallError),
    /// Anything else: the request may have been executed.
    OutcomeUnknown(CallError),
}

/// An authority's refusal (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRefusal {
    /// The `error` code.
    pub error: String,
    /// The `suberror` of Entra.
    pub suberror: Option<String>,
    /// The claims that an interactive request must carry.
    pub claims: Option<String>,
    /// `error_description`, stripped of control characters, for people to read.
    pub description: Option<String>,
    /// The correlation ID that the authority answered with.
    pub correlation_id: Option<String>,
    /// What the refusal is about.
    pub about: RefusedBecause,
}

/// What a refusal is about, which decides how long it is remembered and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBecause {
    /// The refresh token itself is expired, revoked or unknown: nobody can use it any more.
    Token,
    /// The user must do something before this request can succeed; the token may serve others.
    Interaction,
    /// The client does not belong to the family of the token (`client_mismatch`).
    NotInFamily,
    /// Too many requests; the time to wait, if the authority said so.
    Throttled(Option<Duration>),
    /// Something else that is the caller's to mend: credentials, configuration, an unknown scope.
    Caller,
}

/// Why a request got no usable answer. It never holds a URL's query, a request or a reply.
pub struct CallError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CallError {
    /// An error that `message` explains, without secrets.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError")
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
