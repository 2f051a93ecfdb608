//! What a process remembers of authorities that said "not now", so that none of its tasks asks again too early.
//!
//! [`memory`] decides, as pure code; this is the shell around it: a lock, a clock and a source of jitter. One
//! [`Throttle`] belongs to each [`Transport`](crate::Transport), so everybody who shares that obeys the same answers.

mod key;
mod memory;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::cache::RefusedBecause;
use cache_core::random::{Random, jitter};
use cache_core::schema::TokenResponse;
use cache_core::time::Clock;

use crate::error::{Error, ReplyError};
use crate::http::HttpErrorKind;
use crate::interaction::InteractionRequired;

pub(crate) use key::{KeyParts, RequestKeys, account_key};
use memory::{Curve, Failure, Memory};

/// A request that was held back: the authority's last answer forbids it still, and nothing was sent.
///
/// It is about this request alone (this client, authority, grant, scopes and account); others may go on.
///
/// ```no_run
/// use flows::Error;
///
/// # async fn token(client: flows::client::ConfidentialClient) -> Result<(), Error> {
/// match client.acquire_token_for_client(["api:read"]).await {
///     Err(Error::Throttled(held_back)) => println!("come back in {:?}", held_back.retry_after()),
///     settled => drop(settled?),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no request was sent to {host}: {because}; try again in {} s", .retry_after.as_millis().div_ceil(1000))]
pub struct Throttled {
    pub(crate) host: String,
    pub(crate) retry_after: Duration,
    pub(crate) because: ThrottledBecause,
}

impl Throttled {
    /// How long to wait before it may be tried again.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// What happened to the request before.
    #[must_use]
    pub fn because(&self) -> ThrottledBecause {
        self.because
    }

    /// The authority's host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn count(&self) {
        match self.because {
            ThrottledBecause::TooManyRequests => {
                metrics::counter!("tokenkeep_throttled_total", "because" => "too_many_requests")
            }
            ThrottledBecause::Unavailable => {
                metrics::counter!("tokenkeep_throttled_total", "because" => "unavailable")
            }
            ThrottledBecause::NoReply => {
                metrics::counter!("tokenkeep_throttled_total", "because" => "no_reply")
            }
            ThrottledBecause::Unreachable => {
                metrics::counter!("tokenkeep_throttled_total", "because" => "unreachable")
            }
        }
        .increment(1);
    }
}

/// What happened to the latest request of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottledBecause {
    /// The authority asked for fewer requests (HTTP status 429, or `temporarily_unavailable`).
    TooManyRequests,
    /// The authority failed (HTTP status 5xx or 408).
    Unavailable,
    /// The request was sent and no complete reply came.
    NoReply,
    /// No connection could be made.
    Unreachable,
}

impl fmt::Display for ThrottledBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyRequests => "it asked for fewer requests",
            Self::Unavailable => "it just failed",
            Self::NoReply => "it just did not answer",
            Self::Unreachable => "it could not be reached just now",
        })
    }
}

/// The memory of a process. Nothing in it is a secret: what tells requests apart is hashed.
pub(crate) struct Throttle {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    memory: Mutex<Memory>,
}

impl Throttle {
    pub(crate) fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            clock,
            random,
            memory: Mutex::default(),
        }
    }

    /// Whether the request may be sent now.
    ///
    /// # Errors
    /// [`Error::Throttled`] when it is too early; [`Error::InteractionRequired`] when the authority said a moment
    /// ago that the user must act first.
    pub(crate) fn check(&self, keys: &RequestKeys, host: &str) -> Result<(), Error> {
        self.judge(keys, host, self.clock.monotonic(), |_| ())
    }

    /// As [`check`](Self::check); `admit` is told of a request that may be sent before anybody else is judged.
    fn judge(
        &self,
        keys: &RequestKeys,
        host: &str,
        now: Duration,
        admit: impl FnOnce(&mut Memory),
    ) -> Result<(), Error> {
        let mut memory = self.memory();
        if let Some((retry_after, because)) = memory.pause(&keys.service, now) {
            drop(memory);
            let throttled = Throttled {
                host: host.to_owned(),
                retry_after,
                because,
            };
            throttled.count();
            return Err(throttled.into());
        }
        let refusal = keys.silent.as_ref().and_then(|key| memory.refusal(key, now));
        match refusal {
            Some(refusal) => {
                drop(memory);
                metrics::counter!("tokenkeep_throttled_total", "because" => "interaction_required")
                    .increment(1);
                Err(Error::InteractionRequired(Box::new(refusal)))
            }
            None => {
                admit(&mut memory);
                Ok(())
            }
        }
    }

    /// As [`check`](Self::check); the request is sent now, and its end is to be [settled](Permit::settle). Of those that
    /// come when a pause has just passed only the first is let through until it is settled.
    pub(crate) fn admit(&self, keys: RequestKeys, host: &str, limit: Duration) -> Result<Permit<'_>, Error> {
        let sent = self.clock.monotonic();
        let ends = sent.saturating_add(limit);
        self.judge(&keys, host, sent, |memory| {
            memory.admitted(&keys.service, sent, ends);
        })?;
        Ok(Permit {
            throttle: self,
            keys,
            sent,
            ends,
            is_settled: false,
        })
    }

    fn failed(&self, permit: &Permit<'_>, failure: Failure) {
        // Without randomness there is no jitter, which is no reason to wait for ever or not at all.
        let jitter = jitter(&*self.random).unwrap_or(0.5);
        let now = self.clock.monotonic();
        self.memory()
            .failed(permit.keys.service, failure, permit.sent, now, jitter);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

/// A request under way.
pub(crate) struct Permit<'a> {
    throttle: &'a Throttle,
    keys: RequestKeys,
    sent: Duration,
    /// When its time is over.
    ends: Duration,
    is_settled: bool,
}

impl Permit<'_> {
    /// Notes what came back.
    pub(crate) fn settle<T>(mut self, result: Result<T, &Error>, tokens: Option<&TokenResponse>) {
        self.is_settled = true;
        let error = match result {
            Ok(_) => {
                let mut memory = self.throttle.memory();
                memory.answered(&self.keys.service, self.sent);
                let account = tokens.and_then(|tokens| tokens.account.as_ref());
                if let (true, Some(account)) = (self.keys.is_interactive, account) {
                    memory.user_acted(&account_key(account));
                }
                return;
            }
            Err(error) => error,
        };
        match error {
            Error::Authority(refusal) => match refusal.refusal().about {
                // A device that polls too fast is told so by this code. The poll's own interval obeys it.
                RefusedBecause::Throttled(_) if self.keys.is_poll && refusal.code() == "slow_down" => {
                    self.answered();
                }
                RefusedBecause::Throttled(asked) => {
                    self.failed(ThrottledBecause::TooManyRequests, asked);
                }
                _ => self.answered(),
            },
            Error::Reply(ReplyError::Unavailable { retry_after, .. }) => {
                self.failed(ThrottledBecause::Unavailable, *retry_after);
            }
            Error::Http(error) => self.failed(
                match error.kind() {
                    HttpErrorKind::NotSent => ThrottledBecause::Unreachable,
                    HttpErrorKind::OutcomeUnknown => ThrottledBecause::NoReply,
                },
                None,
            ),
            Error::InteractionRequired(required) => {
                self.answered();
                self.remember(required);
            }
            Error::Reply(_) | Error::IdToken(_) | Error::IssuerKeys(_) => self.answered(),
            // Nothing was sent.
            _ => self.withdrawn(),
        }
    }

    fn answered(&self) {
        self.throttle.memory().answered(&self.keys.service, self.sent);
    }

    fn withdrawn(&self) {
        self.throttle.memory().withdrawn(&self.keys.service, self.ends);
    }

    fn failed(&self, because: ThrottledBecause, asked: Option<Duration>) {
        let curve = match because {
            ThrottledBecause::Unreachable => Curve::GENTLE,
            _ => Curve::USUAL,
        };
        let failure = Failure {
            because,
            asked,
            curve,
        };
        self.throttle.failed(self, failure);
    }

    fn remember(&self, required: &InteractionRequired) {
        let Some(key) = self.keys.silent else { return };
        let now = self.throttle.clock.monotonic();
        self.throttle
            .memory()
            .refused(key, self.keys.account, required.clone(), now);
    }
}

impl Drop for Permit<'_> {
    /// Whoever stopped waiting at the time limit saw no reply. Whoever stopped earlier changed their mind.
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        if self.throttle.clock.monotonic() >= self.ends {
            self.failed(ThrottledBecause::NoReply, None);
        } else {
            self.withdrawn();
        }
    }
}
