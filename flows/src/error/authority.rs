//! What an authority refused with.

use std::fmt;

use cache_core::cache::AuthorityRefusal;

/// An authority's refusal, with what helps to find it in the authority's logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityError {
    pub(crate) refusal: AuthorityRefusal,
    pub(crate) status: Option<u16>,
    pub(crate) trace_id: Option<String>,
    pub(crate) codes: Vec<i64>,
    pub(crate) timestamp: Option<String>,
    pub(crate) error_uri: Option<String>,
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

    /// When the authority refused, as it writes the time (Entra's `timestamp`), for its support.
    #[must_use]
    pub fn timestamp(&self) -> Option<&str> {
        self.timestamp.as_deref()
    }

    /// A page that explains the error (RFC 6749 section 5.2). Show it, but do not open it unasked.
    #[must_use]
    pub fn error_uri(&self) -> Option<&str> {
        self.error_uri.as_deref()
    }

    /// Whether the user chose to end the sign-in, so that nothing is wrong and nobody needs to be told.
    #[must_use]
    pub fn is_cancelled_by_user(&self) -> bool {
        matches!(self.code(), "authorization_declined" | "user_cancelled")
            || self.b2c_code() == Some(B2C_CANCELLED)
    }

    /// The code that B2C begins its descriptions with, such as `AADB2C90118`.
    pub(crate) fn b2c_code(&self) -> Option<&str> {
        b2c_code(self.refusal.description.as_deref())
    }

    /// The refusal alone.
    #[must_use]
    pub fn into_refusal(self) -> AuthorityRefusal {
        self.refusal
    }
}

/// The user asks B2C for a new password, which another user flow gives.
pub(crate) const B2C_PASSWORD_RESET: &str = "AADB2C90118";

/// The user left B2C's page.
const B2C_CANCELLED: &str = "AADB2C90091";

/// B2C's code in an error's description: it has no member of its own.
pub(crate) fn b2c_code(description: Option<&str>) -> Option<&str> {
    description?
        .split(':')
        .next()
        .filter(|code| code.starts_with("AADB2C"))
}

impl From<AuthorityRefusal> for AuthorityError {
    fn from(refusal: AuthorityRefusal) -> Self {
        Self {
            refusal,
            status: None,
            trace_id: None,
            codes: Vec::new(),
            timestamp: None,
            error_uri: None,
        }
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.refusal.error;
        let status = error
            .strip_prefix("http_")
            .and_then(|status| status.parse::<u16>().ok());
        match status {
            Some(429) => {
                f.write_str("the authority refused: too many requests (HTTP status 429); try again later")?
            }
            Some(status) => write!(
                f,
                "the authority refused with HTTP status {status} and no error code"
            )?,
            None => write!(f, "the authority refused: {error}")?,
        }
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
