//! What a fleet and who leads it say to each other: one JSON object a line.

use std::time::Duration;

use cache_core::cache::CacheError;
use flows::{AuthenticationResult, Error, InteractionClassification, TokenSource};
use serde::{Deserialize, Serialize};

use super::counter::{Counted, Counting};
use super::serving::Serving;
use super::serving::diary::Diary;

/// What a member is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Ask for the token of each account, all at once.
    Tokens(Asking),
    /// Hold the replies to the next refreshes in hand, and say so when there are this many, until [`Release`](Self::Release) or for a time.
    Hold {
        /// How many.
        replies: usize,
        /// For how long once there are so many.
        at_most: Duration,
    },
    /// Let go of the replies that are held.
    Release,
    /// Ask for the token of each account at the moment when it expires, again and again, until [`Stop`](Self::Stop).
    Live {
        /// The home account IDs.
        accounts: Vec<String>,
    },
    /// End [`Live`](Self::Live).
    Stop,
    /// Look whether the account is served, again and again, until it is not. Answers once it has been, from memory.
    Look {
        /// The home account ID.
        account: String,
    },
    /// Say how [`Look`](Self::Look) ended.
    Looked,
    /// Sign accounts out, all at once.
    SignOut {
        /// The home account IDs.
        accounts: Vec<String>,
        /// How long to wait before each; not at all where there is none.
        after: Vec<Duration>,
    },
    /// Count.
    Count(Counting),
    /// Serve users, on and on.
    Serve(Serving),
    /// Sign nobody out any more, and let no session end without beginning it again.
    Settle,
    /// Say what has happened since this was last asked.
    Diary,
}

/// Which tokens to ask for, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Asking {
    /// The home account IDs.
    pub accounts: Vec<String>,
    /// Take nothing that is cached.
    pub force: bool,
    /// How long to wait before each; not at all where there is none.
    pub after: Vec<Duration>,
    /// Ask the issuer, too, whose each token is.
    pub whose: bool,
}

impl Asking {
    /// For what is cached of these, or else a refresh.
    #[must_use]
    pub fn of(accounts: &[String]) -> Self {
        Self {
            accounts: accounts.to_vec(),
            ..Self::default()
        }
    }
}

/// An order with the number that its answer carries.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) order: Order,
}

/// What a member says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Answer {
        number: u64,
        answer: Result<Answer, String>,
    },
    /// As many replies are in hand as it was told to hold.
    InHand,
}

/// What came of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It was done.
    Done,
    /// Of each account that was asked for, in that order.
    Tokens(Vec<Outcome>),
    /// All that was seen of each account, in that order.
    Lives(Vec<Vec<Outcome>>),
    /// How the look ended.
    Looked {
        /// Why it was refused.
        refused: Outcome,
        /// When, in microseconds on the clock that all processes share.
        refused_at: u64,
        /// When the last call that was served began.
        last_served: u64,
    },
    /// Of each account that was signed out, in that order.
    SignedOut(Vec<SignedOut>),
    /// How counting ended.
    Counted(Counted),
    /// What has happened.
    Diary(Diary),
}

/// How a sign-out ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SignedOut {
    /// Whether there was anything to remove.
    pub found: bool,
    /// When it returned, in microseconds on the clock that all processes share.
    pub at: u64,
}

/// What became of asking for a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was served.
    Token(Token),
    /// The user has to sign in again, as a refresh token was spent and nobody knows its successor.
    SpentUnknown,
    /// The user has to take part for another reason.
    Interaction(String),
    /// This call sent the refresh token, and does not know what came of it.
    Unknown,
    /// Anything else.
    Failed(String),
}

/// What was said of a token, which is not said itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// As little of its hash as tells it from others.
    pub fingerprint: String,
    /// In seconds since 1970.
    pub expires_on: i64,
    /// Whether a refresh of this very call brought it.
    pub is_of_authority: bool,
    /// Whether memory held it.
    pub is_of_memory: bool,
    /// How long after the reply's last byte the call returned, in microseconds; of the last reply of the process.
    pub after_reply: Option<u64>,
    /// Whose the issuer says that it is, where it was asked.
    pub subject: Option<String>,
}

impl Token {
    /// Of what a client returned.
    #[must_use]
    pub fn of(result: &AuthenticationResult) -> Self {
        let source = result.metadata().source;
        Self {
            fingerprint: fingerprint(result),
            expires_on: result.expires_on().0,
            is_of_authority: source == TokenSource::Authority,
            is_of_memory: source == TokenSource::Memory,
            after_reply: None,
            subject: None,
        }
    }
}

/// As little of an access token as tells it from others.
#[must_use]
pub fn fingerprint(result: &AuthenticationResult) -> String {
    let hash = result.access_token().sha256();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Outcome {
    /// Why a client returned no token.
    #[must_use]
    pub fn of_error(error: &Error) -> Self {
        match error {
            Error::InteractionRequired(required) => match required.classification() {
                InteractionClassification::OutcomeUnknown => Self::SpentUnknown,
                other => Self::Interaction(format!("{other:?}")),
            },
            Error::Cache(CacheError::OutcomeUnknown(_)) => Self::Unknown,
            error => Self::Failed(format!("{error:?}")),
        }
    }

    /// The token, if there is one.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            _ => None,
        }
    }

    /// Whether an application is told that the user has to take part.
    #[must_use]
    pub fn asks_the_user(&self) -> bool {
        matches!(self, Self::SpentUnknown | Self::Interaction(_))
    }
}
