//! When partitions are copied to the fallback store, served from it, and removed from it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::MutexGuard;

use super::fallback::{Copied, Fallback, Removal, strip};
use super::written_behind::Waiting;
use super::{CacheError, Inner};
use crate::schema::PartitionKey;
use crate::schema::index::IndexedPartition;
use crate::seal::RecordKind;
use crate::store::{PutOptions, Store, StoreKey, Version};
use crate::strategy::memory_tier::{Generation, Slot};
use crate::time::{UnixMillis, with_deadline};

impl Inner {
    /// What the fallback store has of the partition, if it may still serve.
    pub(crate) async fn read_copy(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
        bound: Duration,
    ) -> Option<Arc<IndexedPartition>> {
        let fallback = self.fallback.as_ref()?;
        let kind = key.record_kind();
        let copy_key = fallback.key_of(kind, stored_key);
        let read = fallback.read(self, kind, &copy_key);
        let read = with_deadline(&*self.clock, self.strategy.limits.commit, read).await;
        let copy = fallback
            .observe("read", read.unwrap_or(Err(CacheError::TimedOut)))
            .ok()??;
        // Looked at after the read: a removal may have been noted meanwhile.
        let serves = copy.rows.key == *key
            && copy.serves(bound, self.clock.now())
            && fallback.may_serve(stored_key, &copy);
        if !serves {
            return None;
        }
        fallback
            .observe("read", IndexedPartition::new(copy.rows).map_err(Into::into))
            .ok()
            .map(Arc::new)
    }

    /// Copies what was read or written when the key had `generation`, in the background, if it is time.
    pub(crate) fn copy_later(
        self: &Arc<Self>,
        key: &PartitionKey,
        stored_key: &StoreKey,
        slot: &Slot,
        generation: Generation,
    ) {
        let Some(fallback) = &self.fallback else { return };
        if *key == PartitionKey::Residue || !fallback.is_due(stored_key, slot) {
            return;
        }
        let Ok(place) = Arc::clone(&fallback.places).try_acquire_owned() else {
            metrics::counter!("tokenkeep_fallback_skipped_total").increment(1);
            return;
        };
        let (inner, stored_key, slot, kind) = (
            Arc::clone(self),
            stored_key.clone(),
            slot.clone(),
            key.record_kind(),
        );
        self.tasks.spawn(async move {
            let _place = place;
            let Some(fallback) = &inner.fallback else { return };
            let Some(_writing) = inner.writing_copies(fallback).await else {
                return;
            };
            // Before the look at memory, which whoever removes it changes before it says so here.
            let removal = fallback.removal_of(&stored_key);
            let is_latest = || inner.memory.is_latest(&stored_key, slot.version, generation);
            if !is_latest() || !fallback.is_due(&stored_key, &slot) {
                return;
            }
            let age = inner.clock.monotonic().saturating_sub(slot.validated_at);
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let mut copy = Copied {
                rows: slot.partition.rows(),
                version: Some(slot.version),
                confirmed_at: UnixMillis(inner.clock.now().0.saturating_sub(age)),
            };
            strip(&mut copy.rows);
            let copy_key = fallback.key_of(kind, &stored_key);
            let write = fallback.write(&inner, kind, &copy_key, &copy);
            let written = with_deadline(&*inner.clock, inner.strategy.limits.commit, write).await;
            let written = fallback.observe("write", written.unwrap_or(Err(CacheError::TimedOut)));
            // Whoever removes it meanwhile waits for its turn.
            if written.is_ok() && is_latest() {
                fallback.note_copied(&stored_key, &slot, removal, &*inner.clock);
            }
            inner.copy_ring().await;
        });
    }

    /// Keeps a token that an application obtained in an outage for the next process. Nobody is signed out of it, so the bound begins now.
    pub(crate) fn keep_app_copy(self: &Arc<Self>, waiting: &Arc<Waiting>) {
        let Some(fallback) = &self.fallback else { return };
        let Ok(place) = Arc::clone(&fallback.places).try_acquire_owned() else {
            return;
        };
        let (inner, waiting) = (Arc::clone(self), Arc::clone(waiting));
        self.tasks.spawn(async move {
            let _place = place;
            let Some(fallback) = &inner.fallback else { return };
            let Some(_writing) = inner.writing_copies(fallback).await else {
                return;
            };
            let (key, now) = (waiting.partition(), inner.clock.now());
            let stored_key = inner.stored_key(key);
            let copy_key = fallback.key_of(RecordKind::App, &stored_key);
            let work = async {
                let before = fallback.read(&inner, RecordKind::App, &copy_key).await?;
                let before = before.map(|copy| copy.rows).filter(|rows| rows.key == *key);
                let Some(rows) = waiting.merged(before.as_ref(), now.to_seconds()) else {
                    return Ok(());
                };
                let copy = Copied {
                    rows,
                    version: None,
                    confirmed_at: now,
                };
                fallback.write(&inner, RecordKind::App, &copy_key, &copy).await
            };
            let kept = with_deadline(&*inner.clock, inner.strategy.limits.commit, work).await;
            // Counted and said by `observe`; the token serves from memory all the same.
            let _ = fallback.observe("write", kept.unwrap_or(Err(CacheError::TimedOut)));
        });
    }

    /// The store says that the record is not there: nothing else may serve it.
    pub(crate) fn gone(self: &Arc<Self>, stored_key: &StoreKey) {
        self.memory.forget(stored_key);
        self.remove_copy_later(stored_key);
    }

    /// The store reported `version` under the key, or none: a copy of anything else does not serve from now on.
    pub(crate) fn copy_changed(self: &Arc<Self>, stored_key: &StoreKey, version: Option<Version>) {
        let Some(fallback) = &self.fallback else { return };
        let kind = RecordKind::of(self.sealer.namespace(), stored_key);
        if !matches!(
            kind,
            Some(RecordKind::User | RecordKind::App | RecordKind::Session)
        ) {
            return;
        }
        if !fallback.is_of(stored_key, version) {
            self.take_copy_later(stored_key, version);
        }
    }

    /// From now on the copy does not serve, and it is removed in the background.
    pub(crate) fn remove_copy_later(self: &Arc<Self>, stored_key: &StoreKey) {
        self.take_copy_later(stored_key, None);
    }

    fn take_copy_later(self: &Arc<Self>, stored_key: &StoreKey, unless: Option<Version>) {
        let Some(fallback) = &self.fallback else { return };
        let removal = fallback.note_removed(stored_key, &*self.clock);
        let Ok(place) = Arc::clone(&fallback.removals).try_acquire_owned() else {
            // The note stays, and the copy until it expires.
            metrics::counter!("tokenkeep_fallback_skipped_total").increment(1);
            return;
        };
        let (inner, stored_key) = (Arc::clone(self), stored_key.clone());
        self.tasks.spawn(async move {
            let _place = place;
            // Until it succeeds the note stays, and `observe` has said why.
            let _ = inner.take_copy(&stored_key, removal, unless).await;
        });
    }

    /// Removes the copy.
    pub(crate) async fn remove_copy(&self, stored_key: &StoreKey) -> Result<(), CacheError> {
        let Some(fallback) = &self.fallback else {
            return Ok(());
        };
        let removal = fallback.note_removed(stored_key, &*self.clock);
        self.take_copy(stored_key, removal, None).await
    }

    /// Removes the copy, unless another process of this machine has made it of the version `unless` already.
    async fn take_copy(
        &self,
        stored_key: &StoreKey,
        removal: Removal,
        unless: Option<Version>,
    ) -> Result<(), CacheError> {
        let kind = RecordKind::of(self.sealer.namespace(), stored_key);
        let Some((fallback, kind)) = self.fallback.as_ref().zip(kind) else {
            return Ok(());
        };
        let copy_key = fallback.key_of(kind, stored_key);
        let removed = async {
            let _writing = fallback.writing.lock().await;
            if fallback.removal_of(stored_key).is_none() {
                // Another has done it, or a copy of what came after was written.
                return Ok(());
            }
            // Most reports are about records that were never copied, and reading costs less than writing.
            if fallback.copies.head(&copy_key).await?.is_none() {
                return Ok(());
            }
            if unless.is_some() {
                // One that cannot be read is of no version, and goes.
                let copy = fallback.read(self, kind, &copy_key).await.ok().flatten();
                if copy.is_some_and(|copy| copy.version == unless) {
                    return Ok(());
                }
            }
            Ok(fallback.copies.delete(&copy_key, None).await?)
        };
        // The wait for its turn included: a fallback store that hangs must not hold up a sign-out for as long as all that wait for it.
        let removed = with_deadline(&*self.clock, self.strategy.limits.commit, removed).await;
        fallback.observe("remove", removed.unwrap_or(Err(CacheError::TimedOut)))?;
        fallback.forget_removal(stored_key, removal);
        Ok(())
    }

    /// The right to write copies, if it can be had in time.
    async fn writing_copies<'a>(&self, fallback: &'a Fallback) -> Option<MutexGuard<'a, ()>> {
        with_deadline(&*self.clock, self.strategy.limits.commit, fallback.writing.lock()).await
    }

    /// Keeps the cache's own ring beside the copies, so that a cache can be opened while the store is down.
    pub(crate) async fn copy_ring(&self) {
        let (Some(fallback), Some(key)) = (&self.fallback, self.sealer.ring_key()) else {
            return;
        };
        let generation = self.sealer.ring_generation();
        if fallback.ring_generation.load(Ordering::Relaxed) == generation {
            return;
        }
        let limit = self.strategy.limits.commit;
        let Some(Ok(Some(record))) = with_deadline(&*self.clock, limit, self.store.get(&key)).await else {
            return;
        };
        let copy = fallback.ring.put(&key, record.payload, PutOptions::overwrite());
        let copied = with_deadline(&*self.clock, limit, copy).await;
        let copied = copied.map_or(Err(CacheError::TimedOut), |copied| Ok(copied.map(drop)?));
        let copied = fallback.observe("write", copied);
        if copied.is_ok() {
            fallback.ring_generation.store(generation, Ordering::Relaxed);
        }
    }
}
