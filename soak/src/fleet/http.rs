//! A member's way to the issuer: refresh tokens go through a proxy, and replies to them can be held in hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::time::{Clock, SystemClock};
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse, ReqwestClient};
use tokio::sync::Notify;

use super::Issuer;
use super::orders::Said;

/// Sends what it is given, and keeps a hand on the replies to refreshes.
#[derive(Debug)]
pub(super) struct Hand {
    inner: ReqwestClient,
    refresh_port: Option<u16>,
    others_port: Option<u16>,
    holding: Mutex<Holding>,
    /// Whoever holds looks again.
    changed: Notify,
    /// When the last reply to a refresh was complete, in microseconds.
    replied: AtomicU64,
}

#[derive(Debug, Default)]
struct Holding {
    /// How many replies are awaited; none are held when it is nought.
    wanted: usize,
    in_hand: usize,
    at_most: Duration,
    /// When all are let go, once it is known.
    until: Option<Duration>,
}

impl Hand {
    pub(super) fn new(inner: ReqwestClient, issuer: &Issuer) -> Self {
        Self {
            inner,
            refresh_port: issuer.refresh_port,
            others_port: issuer.others_port,
            holding: Mutex::default(),
            changed: Notify::new(),
            replied: AtomicU64::new(0),
        }
    }

    /// Sends past all proxies.
    pub(super) async fn send_directly(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.inner.send(request).await
    }

    /// Holds the replies to the next refreshes, and says so when there are `replies`, for `at_most` from then on.
    pub(super) fn hold(&self, replies: usize, at_most: Duration) {
        *self.holding() = Holding {
            wanted: replies,
            at_most,
            ..Holding::default()
        };
    }

    /// Lets go of all.
    pub(super) fn release(&self) {
        self.holding().until = Some(Duration::ZERO);
        self.changed.notify_waiters();
    }

    /// How long ago the last reply to a refresh was complete, in microseconds; `None` where there was none.
    pub(super) fn since_reply(&self) -> Option<u64> {
        match self.replied.load(Ordering::SeqCst) {
            0 => None,
            replied => Some(micros(SystemClock.monotonic()).saturating_sub(replied)),
        }
    }

    fn holding(&self) -> MutexGuard<'_, Holding> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a reply in hand; `false` when there is nothing to hold.
    fn take(&self) -> bool {
        let mut holding = self.holding();
        if holding.wanted == 0 || holding.in_hand == holding.wanted {
            return false;
        }
        holding.in_hand += 1;
        if holding.in_hand == holding.wanted {
            holding.until = Some(SystemClock.monotonic() + holding.at_most);
            super::member::say(&Said::InHand);
            self.changed.notify_waiters();
        }
        true
    }

    async fn keep(&self) {
        loop {
            let changed = self.changed.notified();
            let until = self.holding().until;
            let now = SystemClock.monotonic();
            match until {
                Some(until) if until <= now => return,
                // Whoever is stopped before the pause begins must not begin it after waking: the reply would then come too late even for
                // the request's own time limit.
                Some(until) => tokio::select! {
                    () = changed => {}
                    () = SystemClock.sleep(until - now) => {}
                },
                None => changed.await,
            }
        }
    }
}

#[async_trait]
impl HttpClient for Hand {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let form = request.form.as_ref().map(|form| form.expose());
        let is_refresh = form.is_some_and(|form| form.starts_with(b"grant_type=refresh_token&"));
        let port = if is_refresh {
            self.refresh_port
        } else {
            self.others_port.filter(|_| form.is_some())
        };
        if port.is_some() {
            // A URL with a host takes any port.
            _ = request.url.set_port(port);
        }
        if !is_refresh {
            return self.inner.send(request).await;
        }
        let reply = self.inner.send(request).await;
        self.replied
            .store(micros(SystemClock.monotonic()), Ordering::SeqCst);
        if self.take() {
            self.keep().await;
        }
        reply
    }
}

/// On a clock that all processes of a machine share.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
