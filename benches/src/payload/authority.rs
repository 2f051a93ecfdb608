//! An authority without a network.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, AuthorityCall, CallError, CallOutcome, Redemption};
use cache_core::schema::TokenResponse;
use cache_core::secret::Secret;
use cache_core::time::Clock;

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
