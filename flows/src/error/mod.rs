//! What acquiring a token can fail with.

mod authority;
mod discovery;

use std::fmt;
use std::time::Duration;

use cache_core::cache::{CacheError, CallError, CallOutcome};
use cache_core::random::RandomError;

use crate::http::{HttpError, HttpErrorKind};

pub use authority::AuthorityError;
pub(crate) use authority::{B2C_PASSWORD_RESET, b2c_code};
pub use discovery::{DiscoveryError, DiscoveryErrorKind};

pub use crate::challenge::ChallengeError;
pub use crate::client::SessionError;
pub use crate::id_token::IdTokenError;
pub use crate::interaction::{InteractionClassification, InteractionRequired};
pub use crate::issuer_keys::{IssuerKeysError, IssuerKeysErrorKind};
pub use crate::managed_identity::ManagedIdentityError;
pub use crate::proof::ProofError;
pub use crate::request::ClientAssertionError;
pub use crate::request::authorization_code::AuthorizationResponseError;
pub use crate::throttle::{Throttled, ThrottledBecause};

#[cfg(feature = "interactive")]
pub use crate::browser::BrowserError;
#[cfg(feature = "interactive")]
pub use crate::interactive_error::InteractiveError;

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
    /// The keys that the ID token's signature is checked with could not be had; nothing of the reply was kept.
    #[error(transparent)]
    IssuerKeys(#[from] IssuerKeysError),
    /// The response to an authorization request was refused.
    #[error(transparent)]
    AuthorizationResponse(#[from] AuthorizationResponseError),
    /// The authority's metadata was refused.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The device code sign-in ended without the user.
    #[error(transparent)]
    DeviceCode(#[from] DeviceCodeError),
    /// The sign-in in the browser ended without an answer of the authority.
    #[cfg(feature = "interactive")]
    #[error(transparent)]
    Interactive(#[from] InteractiveError),
    /// The cache failed, or the authority did while the cache asked it.
    #[error(transparent)]
    Cache(CacheError),
    /// A resource's challenge could not be read.
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
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
    /// Entra's `client_info` and ID token name different users.
    #[error("the reply's client_info and its ID token are of different users; nothing of it was kept")]
    MixedAccounts,
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
