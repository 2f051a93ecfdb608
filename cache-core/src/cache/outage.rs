//! Lookups while the store cannot be reached: what serves without it, and how that is said.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::find::Sighted;
use super::{CacheError, Inner, TokenSource};
use crate::schema::PartitionKey;
use crate::store::StoreKey;

/// How often it is said at most. A part of a store can be down, and lookups then fail and succeed by turns.
const BETWEEN: Duration = Duration::from_secs(60);

/// Whether the store is being done without. Said once when it begins and once when it ends, however many lookups there are.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_served: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// On the monotonic clock.
    at: Option<Duration>,
    /// Whether that it ended is still to be said.
    is_open: bool,
}

impl Outage {
    /// Something was served `from` elsewhere because the store cannot be reached, `now` on the monotonic clock.
    pub(crate) fn serve(&self, from: &'static str, now: Duration) {
        metrics::counter!("tokenkeep_served_during_outage_total", "from" => from).increment(1);
        if self.is_served.swap(true, Ordering::Relaxed) {
            return;
        }
        metrics::gauge!("tokenkeep_store_outage").set(1.0);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.at.is_none_or(|at| now.saturating_sub(at) >= BETWEEN) {
            said.at = Some(now);
            said.is_open = true;
            tracing::warn!(from, "the store cannot be reached; serving without it");
        }
    }

    /// The store answered.
    pub(crate) fn end(&self) {
        // A load first: this is on the way of every lookup that asks the store.
        if self.is_served.load(Ordering::Relaxed) && self.is_served.swap(false, Ordering::Relaxed) {
            metrics::gauge!("tokenkeep_store_outage").set(0.0);
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut said.is_open) {
                tracing::info!("the store can be reached again");
            }
        }
    }
}

/// Whether a *lookup* that failed with `error` failed because the store cannot be reached.
pub(crate) fn is_outage(error: &CacheError) -> bool {
    // Nothing but the store keeps a lookup waiting.
    error.is_store_unavailable() || matches!(error, CacheError::TimedOut)
}

impl Inner {
    /// Until when after the store's last word on it a partition may serve, if the policy lets it serve in an outage.
    pub(crate) fn outage_bound(&self) -> Option<Duration> {
        let at_most = self.strategy.outage.at_most()?;
        Some(self.strategy.memory_tier.max_staleness.saturating_add(at_most))
    }

    /// What serves although a lookup in the store, which `began` then, failed with `error`.
    pub(crate) async fn sight_in_outage(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
        began: Duration,
        error: CacheError,
    ) -> Result<Option<Sighted>, CacheError> {
        let Some(bound) = self.outage_bound().filter(|_| is_outage(&error)) else {
            return Err(error);
        };
        let now = self.clock.monotonic();
        let time_in_store = now.saturating_sub(began);
        // Looked up anew: what was there when the lookup began may have been reported as changed, or was signed out.
        if let Some(known) = self.memory.lookup(stored_key, now)
            && now.saturating_sub(known.slot.validated_at) < bound
        {
            self.outage.serve("memory", now);
            return Ok(Some(Sighted {
                partition: known.slot.partition,
                source: TokenSource::Memory,
                time_in_store,
                during_outage: true,
                ends_at: None,
                guards: [None, None],
            }));
        }
        let Some(copy) = self.read_copy(key, stored_key, bound).await else {
            return Err(error);
        };
        self.outage.serve("fallback", now);
        Ok(Some(Sighted {
            partition: copy,
            source: TokenSource::Store,
            time_in_store,
            during_outage: true,
            ends_at: None,
            guards: [None, None],
        }))
    }
}
