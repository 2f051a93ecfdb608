//! A network and an authority that nobody may ask: what is counted here are hits.

use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AuthorityCall, CallError, CallOutcome, Redemption};
use cache_core::random::{Random, RandomError};
use cache_core::secret::Secret;
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
