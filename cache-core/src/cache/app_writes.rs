//! Storing tokens of applications: at once, or in the background.

use std::sync::Arc;
use std::time::Duration;

use super::acquired::Acquired;
use super::written_behind::{Entry, Place, Waiting};
use super::{CacheError, Inner};
use crate::random::jitter;
use crate::schema::{TokenRequest, TokenResponse};
use crate::store::Durability;
use crate::strategy::WritePolicy;
use crate::time::with_deadline;

/// Between attempts to store a token while the store cannot be reached; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For how long attempts go on where the outage policy says nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a token was not stored.
#[derive(Clone, Copy)]
enum Dropped {
    /// No place in the queue came free.
    Full,
    /// The store could not be reached for too long.
    Unavailable,
    /// The store or the sealer refused.
    Failed,
}

impl Inner {
    /// Stores the token as the write policy says. The token can be had again for a request, so it is never worth a forced write to disk.
    ///
    /// `in_outage` is whether the store could not be reached just before. Gives whether that is so now.
    pub(super) async fn store_app_token(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        response: TokenResponse,
        acquired: &Acquired,
        in_outage: bool,
    ) -> Result<bool, CacheError> {
        let waiting = Arc::new(Waiting::new(Arc::clone(request), response, acquired.clone()));
        if in_outage {
            self.keep_app_copy(&waiting);
        }
        match self.strategy.write_policy {
            // Callers must not wait for a store that is known to be down.
            _ if in_outage => {
                self.write_behind_if_free(waiting);
                Ok(true)
            }
            WritePolicy::Behind { .. } => {
                let limit = self.strategy.limits.commit;
                let place = with_deadline(&*self.clock, limit, self.written_behind.place()).await;
                match place.flatten() {
                    Some(place) => self.write_behind(self.await_write(waiting, place)),
                    None => drop_token(Dropped::Full, None),
                }
                Ok(false)
            }
            WritePolicy::Through => match self.write_app_token(&waiting).await {
                Err(error) if error.is_store_unavailable() && self.outage_bound().is_some() => {
                    self.keep_app_copy(&waiting);
                    self.write_behind_if_free(waiting);
                    Ok(true)
                }
                written => written.map(|()| false),
            },
        }
    }

    async fn write_app_token(self: &Arc<Self>, waiting: &Arc<Waiting>) -> Result<(), CacheError> {
        let (waiting, clock) = (Arc::clone(waiting), Arc::clone(&self.clock));
        let partition = waiting.partition().clone();
        let merge = move |rows| (waiting.merge(rows, clock.now().to_seconds()), ());
        self.commit(&partition, Durability::Relaxed, merge)
            .await
            .map(drop)
    }

    /// Shows the token to lookups from now on, before what memory has of its partition.
    fn await_write(&self, waiting: Arc<Waiting>, place: Place) -> Entry {
        let stored_key = self.stored_key(waiting.partition());
        let entry = self.written_behind.insert(waiting, place);
        // Afterwards: an answer that is recorded from here on is preceded by a look at what waits.
        self.memory.drop_answers(&stored_key);
        entry
    }

    fn write_behind_if_free(self: &Arc<Self>, waiting: Arc<Waiting>) {
        match self.written_behind.free_place() {
            Some(place) => self.write_behind(self.await_write(waiting, place)),
            None => drop_token(Dropped::Full, None),
        }
    }

    /// Stores the token in the background. While the store cannot be reached it tries again, until the outage lasts longer than its policy,
    /// the token serves nobody any more, or the cache is shut down.
    fn write_behind(self: &Arc<Self>, entry: Entry) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            let patience = inner.strategy.outage.at_most().unwrap_or(PATIENCE);
            let give_up = inner.clock.monotonic().saturating_add(patience);
            let mut pause = FIRST_PAUSE;
            loop {
                // Before the attempt: one that begins after this is the last.
                let is_closing = inner.tasks.is_closing();
                let Err(error) = inner.write_app_token(&entry.waiting).await else {
                    return;
                };
                if !error.is_store_unavailable() {
                    return drop_token(Dropped::Failed, Some(&error));
                }
                let is_of_use = entry.waiting.is_unexpired(inner.clock.now().to_seconds());
                if is_closing || !is_of_use || inner.clock.monotonic() >= give_up {
                    return drop_token(Dropped::Unavailable, Some(&error));
                }
                metrics::counter!("tokenkeep_writes_behind_retried_total").increment(1);
                // Without randomness all wait the longest: slower, and no less right.
                let spread = 0.5 + 0.5 * jitter(&*inner.random).unwrap_or(1.0);
                tokio::select! {
                    () = inner.clock.sleep(pause.mul_f64(spread)) => {}
                    () = inner.tasks.closing() => {}
                }
                if entry.waiting.is_cancelled() {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }
}

fn drop_token(why: Dropped, error: Option<&CacheError>) {
    let because = match why {
        Dropped::Full => "queue_full",
        Dropped::Unavailable => "store_unavailable",
        Dropped::Failed => "failed",
    };
    metrics::counter!("tokenkeep_writes_behind_failed_total", "because" => because).increment(1);
    let error = error.map(tracing::field::display);
    tracing::warn!(because, error, "a token was not stored in the background");
}
