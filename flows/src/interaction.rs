//! The error that means: ask the user.

use std::fmt;

use cache_core::cache::{AuthorityRefusal, RefusedBecause};
use cache_core::schema::Refusal;

use crate::error::{AuthorityError, B2C_PASSWORD_RESET};

/// The user has to take part before there can be a token.
///
/// Start an interactive flow, with [`claims`](Self::claims) if there are any, and show the classification to decide
/// what to tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InteractionRequired {
    classification: InteractionClassification,
    refusal: Option<AuthorityError>,
}

impl InteractionRequired {
    /// There is nothing that could be used silently: no account, or no refresh token.
    #[must_use]
    pub fn no_refresh_token() -> Self {
        Self {
            classification: InteractionClassification::SignIn,
            refusal: None,
        }
    }

    /// The refresh token was sent, nobody knows the outcome, and this issuer would revoke the session if it were sent again.
    #[must_use]
    pub fn outcome_unknown() -> Self {
        Self {
            classification: InteractionClassification::OutcomeUnknown,
            refusal: None,
        }
    }

    /// The refusal that the cache remembers, which the authority would repeat.
    #[must_use]
    pub fn remembered(refusal: &Refusal) -> Self {
        Self::of(AuthorityError::from(AuthorityRefusal {
            error: refusal.error.clone(),
            suberror: refusal.suberror.clone(),
            claims: refusal.claims.clone(),
            description: None,
            correlation_id: None,
            about: match refusal.request {
                None => RefusedBecause::Token,
                Some(_) => RefusedBecause::Interaction,
            },
        }))
    }

    /// The refusal as this error if the user can mend it, else the refusal again.
    ///
    /// # Errors
    /// The refusal itself, when it is not the user's to mend.
    pub fn from_refusal(error: Box<AuthorityError>) -> Result<Self, Box<AuthorityError>> {
        match error.refusal.about {
            RefusedBecause::Token | RefusedBecause::Interaction => Ok(Self::of(*error)),
            _ => Err(error),
        }
    }

    fn of(error: AuthorityError) -> Self {
        let refusal = &error.refusal;
        Self {
            classification: match error.b2c_code() {
                Some(B2C_PASSWORD_RESET) => InteractionClassification::PasswordReset,
                _ => InteractionClassification::of(&refusal.error, refusal.suberror.as_deref()),
            },
            refusal: Some(error),
        }
    }

    /// What the user will have to do.
    #[must_use]
    pub fn classification(&self) -> InteractionClassification {
        self.classification
    }

    /// The claims that the interactive request must carry, else the authority refuses the next token too.
    #[must_use]
    pub fn claims(&self) -> Option<&str> {
        self.refusal.as_ref()?.refusal.claims.as_deref()
    }

    /// What the authority said; `None` when it was not asked.
    #[must_use]
    pub fn refusal(&self) -> Option<&AuthorityError> {
        self.refusal.as_ref()
    }

    pub(crate) fn into_refusal(self) -> Option<AuthorityRefusal> {
        self.refusal.map(AuthorityError::into_refusal)
    }
}

impl fmt::Display for InteractionRequired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the user has to {}", self.classification)?;
        match &self.refusal {
            Some(refusal) => write!(f, "; {refusal}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for InteractionRequired {}

/// What the user will have to do, from Entra's `suberror` as MSAL classifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InteractionClassification {
    /// Sign in again: there is no usable session.
    SignIn,
    /// An interactive request resolves it (`basic_action`): a second factor, a new device.
    BasicAction,
    /// A remedy outside this application comes first (`additional_action`).
    AdditionalAction,
    /// Nothing resolves it now; an interactive request shows why (`message_only`).
    MessageOnly,
    /// Consent is missing or was revoked (`consent_required`).
    ConsentRequired,
    /// The password expired (`user_password_expired`).
    UserPasswordExpired,
    /// Choose a new password, by the user flow for that (B2C, `AADB2C90118`).
    PasswordReset,
    /// Sign in again: a refresh token was sent, its reply was lost, and it must not be sent twice.
    OutcomeUnknown,
    /// The authority gives no further hint.
    Other,
}

impl InteractionClassification {
    pub(crate) fn of(error: &str, suberror: Option<&str>) -> Self {
        match (suberror.unwrap_or_default(), error) {
            ("basic_action", _) => Self::BasicAction,
            ("additional_action", _) => Self::AdditionalAction,
            ("message_only", _) => Self::MessageOnly,
            ("consent_required", _) | ("", "consent_required" | "invalid_scope") => Self::ConsentRequired,
            ("user_password_expired", _) => Self::UserPasswordExpired,
            ("bad_token" | "token_expired", _) | ("", "login_required" | "invalid_grant") => Self::SignIn,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for InteractionClassification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignIn => "sign in",
            Self::BasicAction => "take part in a new sign-in",
            Self::AdditionalAction => "do something outside this application first",
            Self::MessageOnly => "read why access is refused, in a new sign-in",
            Self::ConsentRequired => "consent",
            Self::UserPasswordExpired => "change an expired password",
            Self::PasswordReset => "choose a new password",
            Self::OutcomeUnknown => "sign in again, because the reply to a refresh was lost",
            Self::Other => "take part",
        })
    }
}
