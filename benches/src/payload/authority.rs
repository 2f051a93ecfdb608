//! An authority without a network.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, AuthorityCall, CallError, CallOutcome, Redemption};
use cache_core::schema::TokenResponse;
use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock};

use super::Payload;

type Grant = dyn Fn() -> TokenResponse + Send + Sync;

/// An authority that grants what it is told, after a set time, and counts its requests.
#[derive(Clone)]
pub struct FakeAuthority {
    grant: Arc<Grant>,
    clock: Arc<dyn Clock>,
    latency: Duration,
    requests: Arc<AtomicU64>,
}

impl FakeAuthority {
    /// One that grants the first user's first token in no time: for lookups that memory or a store answers.
    #[must_use]
    pub fn at_once(payload: &Payload) -> Arc<Self> {
        let payload = payload.clone();
        let grant = move || payload.response(0, 0);
        Arc::new(Self::new(Arc::new(SystemClock), Duration::ZERO, grant))
    }

    /// It answers each request with what `grant` makes, once `latency` has passed on `clock`.
    pub fn new(
        clock: Arc<dyn Clock>,
        latency: Duration,
        grant: impl Fn() -> TokenResponse + Send + Sync + 'static,
    ) -> Self {
        Self {
            grant: Arc::new(grant),
            clock,
            latency,
            requests: Arc::new(AtomicU64::new(0)),
        }
    }

    /// It grants what `response` says, to each request another token of the same length, from now on for `lifetime`.
    #[must_use]
    pub fn granting(
        clock: Arc<dyn Clock>,
        latency: Duration,
        response: TokenResponse,
        lifetime: Duration,
    ) -> Self {
        let granted = AtomicU64::new(0);
        let now = Arc::clone(&clock);
        Self::new(clock, latency, move || {
            let number = granted.fetch_add(1, Ordering::Relaxed);
            let requested_at = now.now().to_seconds();
            let refresh_after = response
                .refresh_on
                .map(|at| at.duration_since(response.requested_at));
            TokenResponse {
                access_token: response.access_token.as_ref().map(|token| another(token, number)),
                refresh_token: response
                    .refresh_token
                    .as_ref()
                    .map(|token| another(token, number)),
                requested_at,
                expires_on: requested_at.saturating_add(lifetime),
                refresh_on: refresh_after.map(|after| requested_at.saturating_add(after)),
                ..response.clone()
            }
        })
    }

    /// The same authority, granting to somebody else what `other` grants: the requests of both are counted together.
    #[must_use]
    pub fn counting_with(self, other: &Self) -> Self {
        Self {
            requests: Arc::clone(&other.requests),
            ..self
        }
    }

    /// How many requests it has had, those of its clones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn answer(&self) -> CallOutcome {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            self.clock.sleep(self.latency).await;
        }
        CallOutcome::Granted(Box::new((self.grant)()))
    }
}

/// `token` with another end.
fn another(token: &Secret, number: u64) -> Secret {
    let end = format!("{number:016x}");
    let text = token.expose();
    let kept = text.len().saturating_sub(end.len());
    Secret::new(format!("{}{end}", &text[..kept]))
}

impl fmt::Debug for FakeAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeAuthority")
            .field("latency", &self.latency)
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl AuthorityCall for FakeAuthority {
    async fn prepare(&self, _: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, _: Redemption) -> CallOutcome {
        self.answer().await
    }

    async fn discard(&self, _: Secret, _: Duration) {}
}

#[async_trait]
impl AppTokenCall for FakeAuthority {
    async fn obtain(&self, _: Duration) -> CallOutcome {
        self.answer().await
    }
}
