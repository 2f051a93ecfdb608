//! What stands in for the world: a network and an authority that nobody may ask, since what is counted here are hits, time and randomness.

use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AuthorityCall, CallError, CallOutcome, Redemption};
use cache_core::random::{Random, RandomError};
use cache_core::secret::Secret;
use cache_core::time::{Clock, CoarseTime, UnixMillis};
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse};

/// Refuses whatever it is asked.
#[derive(Debug)]
pub(crate) struct Offline;

#[async_trait]
impl HttpClient for Offline {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        Ok(HttpResponse {
            status: 503,
            headers: Vec::new(),
            body: cache_core::secret::SecretBytes::new(Vec::new()),
        })
    }
}

#[async_trait]
impl AuthorityCall for Offline {
    async fn prepare(&self, _: Duration) -> Result<(), CallError> {
        Err(CallError::new("a hit asks no authority"))
    }

    async fn redeem(&self, _: Redemption) -> CallOutcome {
        CallOutcome::NotSent(CallError::new("a hit asks no authority"))
    }

    async fn discard(&self, _: Secret, _: Duration) {}
}

/// The same bytes in every run, so that every run counts the same. Nothing that is kept here is secret.
#[derive(Debug, Default)]
pub(crate) struct Repeatable(std::sync::atomic::AtomicU64);

impl Random for Repeatable {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        for chunk in buffer.chunks_mut(8) {
            let drawn = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed);
            let mixed = (drawn ^ (drawn >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 29)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A clock that stands still. Reading the real one costs what the kernel makes it cost, and under callgrind something else again.
#[derive(Debug)]
pub(crate) struct Standing;

#[async_trait]
impl Clock for Standing {
    fn now(&self) -> UnixMillis {
        // 2026-01-01T00:00:00Z.
        UnixMillis(1_767_225_600_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}
