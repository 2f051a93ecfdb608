//! What the caller names a session by.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::{Random, RandomError, random_bytes};
use cache_core::secret::Secret;
use zeroize::Zeroizing;

/// How many characters of base64url carry 128 bits.
const FEWEST_CHARACTERS: usize = 22;

/// The name of a session. **Whoever knows it can use the session**, so either nobody can guess it, or it comes with the account that the
/// session must be of.
///
/// ```
/// use cache_core::random::OsRandom;
/// use flows::client::SessionId;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let id = SessionId::random(&OsRandom)?;
/// let later = SessionId::parse(id.expose())?;
/// assert_eq!(id, later);
/// assert!(SessionId::parse("job-7").is_err());
/// let named = SessionId::with_expected_account("job-7", "uid.utid")?;
/// # let _ = named; Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId {
    text: Secret,
    expected_account: Option<String>,
}

impl SessionId {
    /// A new one, of 256 random bits.
    ///
    /// # Errors
    /// That there are no random bytes.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        let bytes = Zeroizing::new(random_bytes::<32>(random)?);
        Ok(Self {
            text: Secret::new(URL_SAFE_NO_PAD.encode(*bytes)),
            expected_account: None,
        })
    }

    /// One that was made before, here or by another program: 22 characters of base64url (RFC 4648 section 5) at least, which can carry
    /// 128 bits. **How random they are cannot be measured**: a counter that is padded to that length would pass.
    ///
    /// # Errors
    /// [`SessionError::Guessable`].
    pub fn parse(text: impl Into<String>) -> Result<Self, SessionError> {
        let text = Secret::new(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.expose().len() < FEWEST_CHARACTERS || !text.expose().bytes().all(allowed) {
            return Err(SessionError::Guessable);
        }
        Ok(Self {
            text,
            expected_account: None,
        })
    }

    /// Any name, for a session of the account `home_account_id` alone: where the session turns out to be another account's, it is refused.
    ///
    /// # Errors
    /// [`SessionError::Empty`].
    pub fn with_expected_account(
        text: impl Into<String>,
        home_account_id: impl Into<String>,
    ) -> Result<Self, SessionError> {
        let (text, home_account_id) = (Secret::new(text), home_account_id.into());
        if text.is_empty() || home_account_id.is_empty() {
            return Err(SessionError::Empty);
        }
        Ok(Self {
            text,
            expected_account: Some(home_account_id),
        })
    }

    /// The name, to be kept where only its owner reaches it, such as an encrypted cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Refuses an account other than the expected one.
    pub(super) fn check(&self, home_account_id: &str) -> Result<(), SessionError> {
        match &self.expected_account {
            Some(expected) if expected != home_account_id => Err(SessionError::OtherAccount),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId([redacted])")
    }
}

/// Why a session was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The name could be guessed.
    #[error(
        "a session ID needs 22 characters of base64url or more (128 random bits); make one with SessionId::random, or name the account that the session is for"
    )]
    Guessable,
    /// A name with an expected account, one of which is empty.
    #[error("neither a session's name nor its expected account may be empty")]
    Empty,
    /// The session, or the reply that was to begin it, is another account's. Nothing was changed.
    #[error("the session is of another account than the expected one; nothing was changed")]
    OtherAccount,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_can_be_guessed_needs_an_account() {
        for bad in [
            "",
            "job-7",
            "0123456789abcdefghijk",
            "0123456789abcdefghijkl=",
            "0123456789 abcdefghijklm",
        ] {
            assert_eq!(
                SessionId::parse(bad).unwrap_err(),
                SessionError::Guessable,
                "{bad}"
            );
        }
        assert!(SessionId::parse("0123456789abcdefghij_-").is_ok());
        for (text, account) in [("", "a"), ("job-7", "")] {
            let refused = SessionId::with_expected_account(text, account).unwrap_err();
            assert_eq!(refused, SessionError::Empty);
        }
        let named = SessionId::with_expected_account("canary", "a").unwrap();
        assert_eq!(named.check("b"), Err(SessionError::OtherAccount));
        assert_eq!(named.check("a"), Ok(()));
        assert!(!format!("{named:?}").contains("canary"));
    }
}
