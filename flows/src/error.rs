//! What acquiring a token can fail with.

use std::fmt;
use std::time::Duration;

use cache_core::cache::{AuthorityRefusal, CacheError, CallError, CallOutcome};
use cache_core::random::RandomError;

use crate::http::{HttpError, HttpErrorKind};

pub use crate::client::SessionError;
pub use crate::id_token::IdTokenError;
pub use crate::interaction::{InteractionClassification, InteractionRequired};
pub use crate::managed_identity::ManagedIdentityError;
pub use crate::proof::ProofError;
pub use crate::request::ClientAssertionError;
pub use crate::request::authorization_code::AuthorizationResponseError;
pub use crate::throttle::{Throttled, ThrottledBecause};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why no token was acquired.
///
/// No variant holds a secret, a URL's query or a body. Text of the authority is stripped of control characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The user has to take part: sign in, consent, answer a challenge.
    #[error(transparent)]
    InteractionRequired(Box<InteractionRequired>),
    /// The authority refused, and no interaction would change that.
    #[error(transparent)]
    Authority(Box<AuthorityError>),
    /// The request was held back, because the authority's last answer forbids it still. Nothing was sent.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// There was no complete reply.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// There was a reply, and it was unusable.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The ID token in the reply was refused.
    #[error(transparent)]
    IdToken(#[from] IdTokenError),
    /// The response to an authorization request was refused.
    #[error(transparent)]
    AuthorizationResponse(#[from] AuthorizationResponseError),
    /// The authority's metadata was refused.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The device code sign-in ended without the user.
    #[error(transparent)]
    DeviceCode(#[from] DeviceCodeError),
    /// The cache failed, or the authority did while the cache asked it.
    #[error(transparent)]
    Cache(CacheError),
    /// The endpoint of a managed identity wanted something that it does not get.
    #[error(transparent)]
    ManagedIdentity(#[from] ManagedIdentityError),
    /// The login hint could mean several accounts, and a guess could act for the wrong person.
    #[error("{matches} accounts match the login hint; say which one with an account of accounts()")]
    AmbiguousAccount {
        /// How many.
        matches: usize,
    },
    /// It was to be waited for on a thread that must not wait.
    #[cfg(feature = "blocking")]
    #[error(transparent)]
    Blocking(#[from] crate::blocking::BlockingError),
    /// What the caller gave makes no sense together.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The key that tokens are bound to could not be had, or did not sign.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A session was refused: its name can be guessed, or it is another account's.
    #[error(transparent)]
    Session(SessionError),
    /// There was no assertion to prove who the client is with. Nothing was sent.
    #[error(transparent)]
    ClientAssertion(#[from] ClientAssertionError),
    /// There are no random bytes, and nothing secure can be made without.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Error {
    /// The missing client assertion that is the cause, also where the cache reports it: a call that was made for
    /// several callers at once ends as [`CacheError::Unreachable`], with the cause among its sources.
    #[must_use]
    pub fn client_assertion(&self) -> Option<&ClientAssertionError> {
        if let Self::ClientAssertion(error) = self {
            return Some(error);
        }
        // A transparent error is skipped by `source`, so the cause may be an `Error` in the midst of the chain.
        let mut cause = match self {
            Self::Cache(error) => std::error::Error::source(error),
            _ => None,
        };
        while let Some(error) = cause {
            if let Some(Self::ClientAssertion(error)) = error.downcast_ref::<Self>() {
                return Some(error);
            }
            cause = error.source();
        }
        None
    }

    /// What the error means for the refresh token that a request carried. Only a refusal, or a request of which
    /// no byte left, proves that the token was not spent.
    ///
    /// Use it for errors of the token request itself; an error before it, as in discovery, is always
    /// [`CallOutcome::NotSent`].
    #[must_use]
    pub fn into_call_outcome(self) -> CallOutcome {
        match self {
            Self::InteractionRequired(error) => match error.into_refusal() {
                Some(refusal) => CallOutcome::Refused(refusal),
                None => CallOutcome::NotSent(CallError::new("there was no refresh token to send")),
            },
            Self::Authority(error) => CallOutcome::Refused(error.into_refusal()),
            Self::Http(error) if error.kind() == HttpErrorKind::NotSent => {
                CallOutcome::NotSent(CallError::new("the request was not sent").with_source(error))
            }
            Self::Throttled(_) => {
                CallOutcome::NotSent(CallError::new("the request was held back").with_source(self))
            }
            Self::Configuration(_)
            | Self::ClientAssertion(_)
            | Self::ManagedIdentity(_)
            | Self::Proof(_)
            | Self::Random(_) => {
                CallOutcome::NotSent(CallError::new("the request could not be made").with_source(self))
            }
            // A reply that was refused here was a reply: the authority has spent the token.
            error => CallOutcome::OutcomeUnknown(
                CallError::new("the request got no usable answer").with_source(error),
            ),
        }
    }
}

impl From<AuthorityError> for Error {
    fn from(error: AuthorityError) -> Self {
        match InteractionRequired::from_refusal(Box::new(error)) {
            Ok(interaction) => Self::InteractionRequired(Box::new(interaction)),
            Err(error) => Self::Authority(error),
        }
    }
}

/// An authority's refusal, with what helps to find it in the authority's logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityError {
    pub(crate) refusal: AuthorityRefusal,
    pub(crate) status: Option<u16>,
    pub(crate) trace_id: Option<String>,
    pub(crate) codes: Vec<i64>,
}

impl AuthorityError {
    /// The refusal as the cache remembers it: the codes, the claims and what it is about.
    #[must_use]
    pub fn refusal(&self) -> &AuthorityRefusal {
        &self.refusal
    }

    /// The `error` code (RFC 6749 section 5.2), or `http_` and the status where the reply had none.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.refusal.error
    }

    /// The HTTP status; `None` for an error that came by redirect.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Entra's `trace_id`, for its support.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Entra's numeric codes: the numbers of `AADSTS…`.
    #[must_use]
    pub fn codes(&self) -> &[i64] {
        &self.codes
    }

    /// The refusal alone.
    #[must_use]
    pub fn into_refusal(self) -> AuthorityRefusal {
        self.refusal
    }
}

impl From<AuthorityRefusal> for AuthorityError {
    fn from(refusal: AuthorityRefusal) -> Self {
        Self {
            refusal,
            status: None,
            trace_id: None,
            codes: Vec::new(),
        }
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the authority refused: {}", self.refusal.error)?;
        if let Some(suberror) = &self.refusal.suberror {
            write!(f, " ({suberror})")?;
        }
        if let Some(description) = &self.refusal.description {
            write!(f, ": {description}")?;
        }
        if let Some(correlation) = &self.refusal.correlation_id {
            write!(f, " [correlation ID {correlation}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for AuthorityError {}

/// A reply that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The authority failed (5xx, or 408). The request may have been executed.
    #[error("the authority failed with HTTP status {status}; try again later")]
    Unavailable {
        /// The status.
        status: u16,
        /// How long it asked to wait, at most an hour.
        retry_after: Option<Duration>,
    },
    /// A redirect. Following it would hand the form's secrets to another address.
    #[error(
        "the authority answered with a redirect (HTTP status {0}), which is never followed; check its URL"
    )]
    Redirected(u16),
    /// A 2xx reply that is no JSON object.
    #[error("the reply is no JSON object (HTTP status {0}); is something between you and the authority?")]
    Unreadable(u16),
    /// A 2xx reply without the member that it must have.
    #[error("the reply has no `{0}`")]
    Missing(&'static str),
    /// A token that is presented in a way that was not asked for (RFC 6749 section 7.1 forbids its use).
    #[error("the reply's token type is not the one that was asked for: {0}")]
    TokenType(String),
    /// A token exchange brought another type of token than was asked for, or none that can be presented (RFC 8693 section 2.2.1).
    #[error("the reply's issued_token_type is not the one that was asked for: {0}")]
    IssuedTokenType(String),
    /// `client_info` is not what Entra sends.
    #[error("the reply's client_info cannot be read")]
    ClientInfo,
    /// Nothing in the reply says who signed in.
    #[error("the reply does not say who signed in; ask for the scope openid")]
    NoAccount,
    /// The refresh of one account's token brought another account's.
    #[error("the reply is for another account than the one that was asked for; nothing of it was kept")]
    AnotherAccount,
}

/// Why an authority's metadata was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryError {
    kind: DiscoveryErrorKind,
    host: String,
}

impl DiscoveryError {
    pub(crate) fn new(kind: DiscoveryErrorKind, host: &str) -> Self {
        Self {
            kind,
            host: host.to_owned(),
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn kind(&self) -> &DiscoveryErrorKind {
        &self.kind
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metadata of {} is refused: ", self.host)?;
        match &self.kind {
            DiscoveryErrorKind::Status(status) => {
                write!(f, "HTTP status {status}; check the authority's URL")
            }
            DiscoveryErrorKind::Redirected => f.write_str("it redirects; check the authority's URL"),
            DiscoveryErrorKind::Unreadable => f.write_str("it is no JSON object"),
            DiscoveryErrorKind::Missing(name) => write!(f, "it has no `{name}`"),
            DiscoveryErrorKind::Issuer(found) => {
                write!(
                    f,
                    "it names the issuer `{found}`, which is not the one that was asked"
                )
            }
            DiscoveryErrorKind::Endpoint(name) => {
                write!(f, "its `{name}` is no HTTPS URL that the authority may name")
            }
            DiscoveryErrorKind::NotOffered(name) => {
                write!(f, "it has no `{name}`, so the authority does not offer this flow")
            }
            DiscoveryErrorKind::NoS256 => f.write_str("it offers PKCE, but not by S256"),
        }
    }
}

impl std::error::Error for DiscoveryError {}

/// What is wrong with an authority's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryErrorKind {
    /// The document could not be had: the HTTP status.
    Status(u16),
    /// The document's address redirects.
    Redirected,
    /// The document is no JSON object.
    Unreadable,
    /// A required member is missing.
    Missing(&'static str),
    /// It speaks for another issuer: the one that it names.
    Issuer(String),
    /// An endpoint is not one that the authority may name.
    Endpoint(&'static str),
    /// The flow needs an endpoint that the authority does not have.
    NotOffered(&'static str),
    /// PKCE is offered, but only by a method that protects nothing.
    NoS256,
}

/// Why a device code sign-in ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceCodeError {
    /// Nobody entered the code in time.
    #[error("the code expired before anybody entered it; start again")]
    Expired,
    /// The code expired while the authority could not be asked: nobody knows whether it was entered.
    #[error("the code expired, and the authority did not answer when it was last asked; start again")]
    Unanswered(#[source] Box<Error>),
    /// The user declined.
    #[error("the sign-in was declined")]
    Declined,
}

/// What the caller gave makes no sense together. The message says what to change.
pub struct ConfigurationError {
    message: String,
    source: Option<Source>,
}

impl ConfigurationError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigurationError")
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for ConfigurationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
