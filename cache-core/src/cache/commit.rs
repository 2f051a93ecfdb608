//! Commits: load, merge, compare-and-swap, and again if somebody else was faster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::commit_queue::{Merge, Outcome, Pending};
use super::record::{Loaded, Origin};
use super::writes::Writes;
use super::{CacheError, Inner};
use crate::random::jitter;
use crate::schema::index::IndexedPartition;
use crate::schema::{Partition, PartitionKey};
use crate::store::error::Retry;
use crate::store::{Durability, PutMode, PutOptions, StoreError, StoreKey};
use crate::strategy::memory_tier::Slot;
use crate::time::UnixMillis;

/// How often a commit is tried before it is [`CacheError::Contended`].
const MAX_ATTEMPTS: u32 = 32;
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What became of the earlier runs of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// None was stored.
    NotStored,
    /// One may have been, and others may have changed since what it stored.
    MayBeStored,
}

/// What a merge wants done with the partition that it was given.
pub(crate) enum Verdict {
    /// Nothing is to be written.
    Keep(Option<Partition>),
    /// This is to be stored.
    Store(Partition),
    /// This session is to be stored, and may be forgotten at that moment.
    StoreUntil(Partition, UnixMillis),
    /// The record is to be removed.
    Delete,
}

impl Inner {
    /// Applies `merge` to the latest partition and stores what it says, durably if asked. Gives what `merge` returned
    /// in the run whose effect was stored, and the partition as it is now.
    ///
    /// `merge` may run several times and must give the same result when it meets its own earlier effect: a write whose
    /// acknowledgement was lost is merged again.
    ///
    /// Cancellation safe: the commit goes on, or was never started.
    pub(crate) async fn commit<T: Send + 'static>(
        self: &Arc<Self>,
        key: &PartitionKey,
        durability: Durability,
        mut merge: impl FnMut(Option<Partition>) -> (Verdict, T) + Send + 'static,
    ) -> Result<(T, Option<Slot>), CacheError> {
        self.commit_knowing(key, durability, move |partition, _| merge(partition))
            .await
    }

    /// As [`commit`](Self::commit), for a `merge` that would undo what others did with its effect. It is told of its earlier runs.
    pub(crate) async fn commit_knowing<T: Send + 'static>(
        self: &Arc<Self>,
        key: &PartitionKey,
        durability: Durability,
        merge: impl FnMut(Option<Partition>, Earlier) -> (Verdict, T) + Send + 'static,
    ) -> Result<(T, Option<Slot>), CacheError> {
        if durability == Durability::Durable {
            // What waits to be stored goes first: a durable change must not overtake what its caller has seen.
            for waiting in self.written_behind.of(key) {
                let clock = Arc::clone(&self.clock);
                self.enqueue(
                    key,
                    Pending {
                        merge: Box::new(move |rows, _| waiting.merge(rows, clock.now().to_seconds())),
                        earlier: Earlier::NotStored,
                        durability: Durability::Relaxed,
                        removes: false,
                        done: oneshot::channel().0,
                    },
                );
            }
        }
        self.commit_as(key, durability, false, merge).await
    }

    /// As [`commit`](Self::commit), durably, for a change that ends somebody's access: what waits to be stored for the partition never
    /// will be, and whether it succeeds or not, neither memory nor the fallback store serves what was there before.
    ///
    /// Gives beside it whether the copy in the fallback store was removed. That it was not is for the caller to say, but only after
    /// all else is done: the store does not have the rows any more, and nobody would find again what hangs on them.
    pub(crate) async fn commit_removal<T: Send + 'static>(
        self: &Arc<Self>,
        key: &PartitionKey,
        merge: impl FnMut(Option<Partition>, Earlier) -> (Verdict, T) + Send + 'static,
    ) -> Result<(T, Result<(), CacheError>), CacheError> {
        self.written_behind.cancel(key);
        let removed = self.commit_as(key, Durability::Durable, true, merge).await;
        // Also after a failure, and before anybody is told.
        let copy = self.remove_copy(&self.stored_key(key)).await;
        let (removed, _) = removed?;
        Ok((removed, copy))
    }

    async fn commit_as<T: Send + 'static>(
        self: &Arc<Self>,
        key: &PartitionKey,
        durability: Durability,
        removes: bool,
        mut merge: impl FnMut(Option<Partition>, Earlier) -> (Verdict, T) + Send + 'static,
    ) -> Result<(T, Option<Slot>), CacheError> {
        let result = Arc::new(Mutex::new(None));
        let written = Arc::clone(&result);
        let merge: Merge = Box::new(move |partition, earlier| {
            let (verdict, value) = merge(partition, earlier);
            *written.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            verdict
        });
        let (done, outcome) = oneshot::channel();
        self.enqueue(
            key,
            Pending {
                merge,
                earlier: Earlier::NotStored,
                durability,
                removes,
                done,
            },
        );
        let slot = outcome.await.map_err(|_| CacheError::LeaderLost)??;
        let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((value.ok_or(CacheError::LeaderLost)?, slot))
    }

    /// As [`try_batch`](Self::try_batch); but after a failure nobody knows what the store holds, so what memory held before may serve only once
    /// it was compared, or in an outage. An account that was being signed out must not even do that.
    pub(super) async fn commit_batch(
        self: &Arc<Self>,
        key: &PartitionKey,
        stored_key: &StoreKey,
        batch: &mut [Pending],
    ) -> Outcome {
        let outcome = self.try_batch(key, stored_key, batch).await;
        let removes = batch.iter().any(|pending| pending.removes);
        match &outcome {
            Ok(_) => self.outage.end(),
            Err(_) if removes => self.memory.forget(stored_key),
            Err(_) => self.memory.distrust(stored_key),
        }
        if removes {
            // Here as well as where it is waited for: the caller may have gone away. After memory, by which copies under way are judged.
            self.remove_copy_later(stored_key);
        }
        outcome
    }

    async fn try_batch(
        self: &Arc<Self>,
        key: &PartitionKey,
        stored_key: &StoreKey,
        batch: &mut [Pending],
    ) -> Outcome {
        let durable = batch
            .iter()
            .any(|pending| pending.durability == Durability::Durable);
        let removes = batch.iter().any(|pending| pending.removes);
        let durability = if durable {
            Durability::Durable
        } else {
            Durability::Relaxed
        };
        let mut writes = Writes::new(&*self.store);
        if batch
            .iter()
            .any(|pending| pending.earlier == Earlier::MayBeStored)
        {
            writes.note_earlier();
        }
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                metrics::counter!("tokenkeep_commit_conflicts_total").increment(1);
                let longest = Duration::from_millis(1 << attempt.min(10)).min(LONGEST_PAUSE);
                self.clock.sleep(longest.mul_f64(jitter(&*self.random)?)).await;
            }
            // From when on others may have changed it: a slow store must not stretch the staleness bound.
            let began = self.clock.monotonic();
            let generation = self.memory.generation(stored_key);
            let loaded = match self.load(key, stored_key).await {
                Err(CacheError::Store(error)) if writes.are_hopeless(&error) => {
                    return Err(CacheError::Store(error));
                }
                // Reading again is always safe, and giving up could leave a marker behind whose owner never knew that it had won.
                Err(CacheError::Store(error)) if error.retry() != Retry::No && attempt + 1 < MAX_ATTEMPTS => {
                    continue;
                }
                loaded => loaded?,
            };
            let origin = loaded.as_ref().map(Loaded::origin);
            let mut partition = loaded.map(|loaded| loaded.partition);
            let mut changed = false;
            let mut until = None;
            for pending in &mut *batch {
                partition = match (pending.merge)(partition, pending.earlier) {
                    Verdict::Keep(partition) => partition,
                    Verdict::Store(partition) => {
                        changed = true;
                        Some(partition)
                    }
                    Verdict::StoreUntil(partition, moment) => {
                        changed = true;
                        until = until.max(Some(moment));
                        Some(partition)
                    }
                    Verdict::Delete => {
                        changed = true;
                        None
                    }
                };
            }
            if !changed && !writes.must_settle(removes) {
                let Some((partition, origin)) = partition.zip(origin) else {
                    // An earlier round may have removed the record without hearing of it.
                    self.gone(stored_key);
                    return Ok(None);
                };
                let slot = Slot {
                    validated_at: began,
                    ..self.slot(Arc::new(IndexedPartition::new(partition)?), origin.version)
                };
                self.memory.fill(stored_key, slot.clone(), generation);
                return Ok(Some(slot));
            }
            let Some(partition) = partition else {
                let Some(origin) = origin else {
                    if writes.must_settle(removes)
                        && !self.settle_removal(key, stored_key, &mut writes).await?
                    {
                        continue;
                    }
                    self.gone(stored_key);
                    return Ok(None);
                };
                match self.store.delete(stored_key, Some(origin.version)).await {
                    Ok(()) => {
                        self.gone(stored_key);
                        return Ok(None);
                    }
                    Err(error) => {
                        note_doubt(batch, &error);
                        writes.note_failed(error)?;
                        continue;
                    }
                }
            };
            let encoded = self.encode(key, stored_key, &partition, origin.as_ref()).await?;
            // The record must outlive the sessions that it lists: they die without it.
            let longest_session = partition.sessions.iter().map(|link| link.expires_at).max();
            let idle = Origin::expiry(origin.as_ref(), self.strategy.idle_lifetime, self.clock.now());
            let session = until.max(Origin::session_expiry(origin.as_ref(), key));
            let options = PutOptions {
                mode: origin
                    .as_ref()
                    .map_or(PutMode::Create, |origin| PutMode::Update(origin.version)),
                expires_at: match (session, idle) {
                    // It is only written again.
                    _ if !changed => origin.as_ref().and_then(|origin| origin.expires_at),
                    (Some(session), _) => Some(session),
                    (None, Some(idle)) => Some(longest_session.map_or(idle, |longest| idle.max(longest))),
                    // Of a user who is known by sessions alone nothing is left when the last has ended.
                    (None, None) => longest_session.filter(|_| partition.has_only_sessions()),
                },
                durability,
            };
            // Before the write: what is stored must not fail any more.
            let indexed = Arc::new(encoded.indexed(partition)?);
            let before_put = self.memory.generation(stored_key);
            let version = match self.store.put(stored_key, encoded.payload.clone(), options).await {
                Ok(version) => version,
                Err(error) if error.is_outcome_unknown() && !(durable && writes.show_early()) => {
                    match self.store.get(stored_key).await {
                        // A nonce never repeats, so these bytes can only be ours.
                        Ok(Some(record)) if record.payload == encoded.payload => record.version,
                        Err(error) if error.retry() == Retry::No => return Err(error.into()),
                        _ => {
                            note_doubt(batch, &error);
                            writes.note_unknown();
                            continue;
                        }
                    }
                }
                Err(error) => {
                    note_doubt(batch, &error);
                    writes.note_failed(error)?;
                    continue;
                }
            };
            self.rollback.record(stored_key, &encoded.meta);
            let slot = Slot {
                validated_at: began,
                ..self.slot(indexed, version)
            };
            if let Some(generation) = self.memory.committed(stored_key, slot.clone(), before_put) {
                self.copy_later(key, stored_key, &slot, generation);
            }
            return Ok(Some(slot));
        }
        if let Some(error) = writes.into_refusal() {
            return Err(error.into());
        }
        metrics::counter!("tokenkeep_commit_contended_total").increment(1);
        Err(CacheError::Contended {
            attempts: MAX_ATTEMPTS,
        })
    }
}

/// What a write that failed so means for the next runs of its merges.
fn note_doubt(batch: &mut [Pending], error: &StoreError) {
    if error.is_outcome_unknown() {
        for pending in batch {
            pending.earlier = Earlier::MayBeStored;
        }
    }
}
