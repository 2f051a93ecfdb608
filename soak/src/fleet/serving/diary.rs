//! What a member that serves writes down for whoever leads: little enough to be asked for every few seconds, for hours.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cache_core::cache::CacheError;
use cache_core::time::{Clock, SystemClock};
use flows::error::ReplyError;
use flows::{Error, InteractionClassification};
use serde::{Deserialize, Serialize};

use super::super::http::micros;
use super::super::orders::Token;
use crate::stage::first_words;

/// What a token is of. Users have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// The user's sign-in.
    User(usize),
    /// The session that goes on without the user.
    Session(usize),
    /// The application itself.
    Application,
}

/// What has happened since somebody last asked. All times are in microseconds on the clock that all processes share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Diary {
    /// Tokens that were served.
    pub served: Vec<Served>,
    /// What was not.
    pub failures: Vec<Failure>,
    /// What was done to users.
    pub moments: Vec<Moment>,
    /// What was counted.
    pub counts: BTreeMap<String, u64>,
    /// What must not be, and this process can tell by itself.
    pub violations: Vec<String>,
}

/// A token that was served, once or often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Served {
    /// Of whom it is.
    pub owner: Owner,
    /// As little of its hash as tells it from others.
    pub fingerprint: String,
    /// In seconds since 1970.
    pub expires_on: i64,
    /// When the first call that got it returned.
    pub returned: u64,
    /// The call that began last of those that got it.
    pub last: Call,
    /// When the first and the last of those calls began that were served although the store was there.
    pub began: Option<(u64, u64)>,
    /// The same of those that were served as it was not.
    pub began_in_outage: Option<(u64, u64)>,
}

/// A call that got a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    /// When it began.
    pub began: u64,
    /// When it returned.
    pub ended: u64,
    /// Whether memory held the token.
    pub is_of_memory: bool,
    /// Whether it was obtained from the issuer by this call.
    pub is_of_authority: bool,
    /// Whether the store was away.
    pub is_in_outage: bool,
}

/// A call that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// For whom.
    pub owner: Owner,
    /// What was tried.
    pub doing: Doing,
    /// Why it failed.
    pub cause: Cause,
    /// When the call began.
    pub began: u64,
    /// When it returned.
    pub ended: u64,
}

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doing {
    /// A token.
    Asking,
    /// A sign-in.
    SigningIn,
    /// The beginning of a session.
    BeginningSession,
    /// A sign-out.
    SigningOut,
    /// Asking the issuer about a token that was served.
    Introspecting,
}

/// Why a call failed, in kinds that different faults explain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The user has to sign in again: a refresh token was spent, and nobody knows its successor.
    SpentUnknown,
    /// The user has to take part for another reason.
    MustSignIn(String),
    /// This call sent something, and does not know what came of it.
    Unknown,
    /// What was granted could not be stored.
    NotPersisted,
    /// The store is away.
    StoreAway,
    /// The caller's time was over.
    TimedOut,
    /// Nothing could be sent, for the reason told here.
    Unreachable(String),
    /// Something was sent, and no reply came.
    NoReply,
    /// Nothing was sent, as the last answer forbids it still.
    Throttled,
    /// The issuer failed, or refused what it must not refuse.
    Issuer(String),
    /// The issuer does not know a token that was served as good.
    Inactive,
    /// Anything else, which nothing explains.
    Other(String),
}

impl Cause {
    /// Of what a client returned.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error {
            Error::InteractionRequired(required) => match required.classification() {
                InteractionClassification::OutcomeUnknown => Self::SpentUnknown,
                _ => Self::MustSignIn(required.to_string()),
            },
            Error::Throttled(_) => Self::Throttled,
            Error::Http(error) if error.kind() == flows::http::HttpErrorKind::NotSent => {
                Self::Unreachable(first_words(&format!("{error:?}")))
            }
            Error::Http(_) | Error::Reply(ReplyError::Unreadable(_)) => Self::NoReply,
            Error::Reply(ReplyError::Unavailable { status, .. }) => Self::Issuer(format!("status {status}")),
            Error::Authority(refused) => Self::Issuer(refused.code().to_owned()),
            Error::Cache(CacheError::NotPersisted(_)) => Self::NotPersisted,
            Error::Cache(CacheError::OutcomeUnknown(_)) => Self::Unknown,
            Error::Cache(CacheError::TimedOut) => Self::TimedOut,
            Error::Cache(CacheError::Unreachable(error)) => {
                Self::Unreachable(first_words(&format!("{error:?}")))
            }
            Error::Cache(error) if error.is_store_unavailable() => Self::StoreAway,
            error => Self::Other(first_words(&format!("{error:?}"))),
        }
    }

    /// What failures of this kind are counted as.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SpentUnknown => "sign in again, the outcome of a refresh is unknown",
            Self::MustSignIn(_) => "sign in",
            Self::Unknown => "outcome unknown",
            Self::NotPersisted => "granted and not stored",
            Self::StoreAway => "the store is away",
            Self::TimedOut => "timed out",
            Self::Unreachable(_) => "the issuer cannot be reached",
            Self::NoReply => "no reply",
            Self::Throttled => "held back",
            Self::Issuer(_) => "the issuer failed",
            Self::Inactive => "not known to the issuer any more",
            Self::Other(_) => "anything else",
        }
    }
}

/// Something that was done to a user.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// The user.
    pub user: usize,
    /// What.
    pub what: Event,
    /// When.
    pub at: u64,
}

/// What is done to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A sign-in begins.
    SigningIn,
    /// It was acknowledged.
    SignedIn,
    /// The beginning of a session was acknowledged.
    SessionBegun,
    /// A sign-out begins.
    SigningOut,
    /// It was acknowledged.
    SignedOut,
}

/// A diary that many tasks write in.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    diary: Diary,
    /// Where in the diary each owner's latest token is.
    latest: HashMap<Owner, usize>,
}

impl Book {
    /// What was written, of which nothing is kept.
    pub(crate) fn take(&self) -> Diary {
        let mut written = self.written();
        written.latest.clear();
        std::mem::take(&mut written.diary)
    }

    pub(super) fn served(&self, owner: Owner, token: &Token, began: u64, is_outage: bool) {
        let call = Call {
            began,
            ended: now(),
            is_of_memory: token.is_of_memory,
            is_of_authority: token.is_of_authority,
            is_in_outage: is_outage,
        };
        let mut written = self.written();
        let written = &mut *written;
        let latest = written.latest.get(&owner).copied();
        let latest = latest.filter(|&index| written.diary.served[index].fingerprint == token.fingerprint);
        let index = latest.unwrap_or_else(|| {
            written.diary.served.push(Served {
                owner,
                fingerprint: token.fingerprint.clone(),
                expires_on: token.expires_on,
                returned: call.ended,
                last: call,
                began: None,
                began_in_outage: None,
            });
            written.diary.served.len() - 1
        });
        written.latest.insert(owner, index);
        let served = &mut written.diary.served[index];
        served.last = call.max(served.last);
        let times = if is_outage {
            &mut served.began_in_outage
        } else {
            &mut served.began
        };
        let (first, last) = times.unwrap_or((began, began));
        *times = Some((first.min(began), last.max(began)));
    }

    pub(super) fn failed(&self, owner: Owner, doing: Doing, cause: Cause, began: u64) {
        let failure = Failure {
            owner,
            doing,
            cause,
            began,
            ended: now(),
        };
        self.written().diary.failures.push(failure);
    }

    pub(super) fn happened(&self, user: usize, what: Event) {
        let moment = Moment {
            user,
            what,
            at: now(),
        };
        self.written().diary.moments.push(moment);
    }

    pub(super) fn add(&self, what: &str) {
        let mut written = self.written();
        match written.diary.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => _ = written.diary.counts.insert(what.to_owned(), 1),
        }
    }

    pub(super) fn violation(&self, what: impl Display) {
        self.written().diary.violations.push(what.to_string());
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On the clock that all processes share.
pub(super) fn now() -> u64 {
    micros(SystemClock.monotonic())
}
