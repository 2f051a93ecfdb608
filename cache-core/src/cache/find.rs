//! Lookups: memory first, then the store.

use std::sync::Arc;
use std::time::Duration;

use super::{CacheError, Inner, TokenSource};
use crate::schema::PartitionKey;
use crate::schema::index::IndexedPartition;
use crate::store::{StoreKey, Version};
use crate::strategy::memory_tier::{Generation, Guard, Remembered, Slot};
use crate::time::{UnixMillis, with_deadline};

/// A partition and where it came from.
pub(crate) struct Sighted {
    pub(crate) partition: Arc<IndexedPartition>,
    pub(crate) source: TokenSource,
    pub(crate) time_in_store: Duration,
    /// Whether it is served because the store cannot be reached.
    pub(crate) during_outage: bool,
    /// What the partition in memory depends on: that of the rows, and for a session that of its user. Empty where an answer from it would
    /// hold for this once.
    pub(crate) guards: Guards,
    /// When the session ends that it is the partition of, as far as its user's partition says.
    pub(crate) ends_at: Option<UnixMillis>,
}

/// The partitions in memory that something was computed from.
pub(crate) type Guards = [Option<Guard>; 2];

impl Inner {
    /// The partition, from memory while it may be trusted, else from the store. A session whose sign-in is over is not there.
    pub(crate) async fn sight(self: &Arc<Self>, key: &PartitionKey) -> Result<Option<Sighted>, CacheError> {
        let found = self.sight_rows(key).await?;
        self.anchored(key, found, false).await
    }

    /// The partition as the store has it now, sessions as in [`sight`](Self::sight).
    pub(crate) async fn sight_latest(
        self: &Arc<Self>,
        key: &PartitionKey,
    ) -> Result<Option<Sighted>, CacheError> {
        let found = self.sight_rows_latest(key).await?;
        self.anchored(key, found, true).await
    }

    pub(crate) async fn sight_rows(
        self: &Arc<Self>,
        key: &PartitionKey,
    ) -> Result<Option<Sighted>, CacheError> {
        let stored_key = self.stored_key(key);
        let began = self.clock.monotonic();
        let found = self.memory.lookup(&stored_key, began);
        if let Some(Remembered {
            slot,
            is_trusted: true,
            guard,
        }) = found
        {
            metrics::counter!("tokenkeep_lookups_total", "tier" => "memory").increment(1);
            let (partition, source) = (slot.partition, TokenSource::Memory);
            return Ok(Some(Sighted {
                partition,
                source,
                time_in_store: Duration::ZERO,
                during_outage: false,
                guards: [Some(guard), None],
                ends_at: None,
            }));
        }
        metrics::counter!("tokenkeep_lookups_total", "tier" => "store").increment(1);
        let limit = self.strategy.limits.acquire;
        let sighted = self.sight_in_store(key, &stored_key, began, found.map(|found| found.slot));
        let sighted = with_deadline(&*self.clock, limit, sighted).await;
        match sighted.unwrap_or(Err(CacheError::TimedOut)) {
            Ok(sighted) => {
                self.outage.end();
                Ok(sighted)
            }
            Err(error) => self.sight_in_outage(key, &stored_key, began, error).await,
        }
    }

    /// The partition that memory has no more than `stale` of.
    async fn sight_in_store(
        self: &Arc<Self>,
        key: &PartitionKey,
        stored_key: &StoreKey,
        began: Duration,
        stale: Option<Slot>,
    ) -> Result<Option<Sighted>, CacheError> {
        let generation = self.memory.generation(stored_key);
        if let Some(slot) = stale
            && self.store.head(stored_key).await? == Some(slot.version)
        {
            let slot = Slot {
                validated_at: began,
                ..slot
            };
            self.memory.fill(stored_key, slot.clone(), generation);
            self.copy_later(key, stored_key, &slot, generation);
            return Ok(Some(self.out_of_store(slot, began)));
        }
        let Some(loaded) = self.load_indexed(key, stored_key).await? else {
            self.gone(stored_key);
            return Ok(None);
        };
        let slot = self.filled(key, stored_key, loaded, began, generation);
        Ok(Some(self.out_of_store(slot, began)))
    }

    pub(crate) async fn sight_rows_latest(
        self: &Arc<Self>,
        key: &PartitionKey,
    ) -> Result<Option<Sighted>, CacheError> {
        let stored_key = self.stored_key(key);
        let began = self.clock.monotonic();
        let generation = self.memory.generation(&stored_key);
        let Some(loaded) = self.load_indexed(key, &stored_key).await? else {
            self.gone(&stored_key);
            return Ok(None);
        };
        Ok(Some(self.out_of_store(
            self.filled(key, &stored_key, loaded, began, generation),
            began,
        )))
    }

    fn filled(
        self: &Arc<Self>,
        key: &PartitionKey,
        stored_key: &StoreKey,
        loaded: (IndexedPartition, Version),
        began: Duration,
        generation: Generation,
    ) -> Slot {
        let (partition, version) = loaded;
        // Validated when the read began, not when it ended: a slow store must not stretch the staleness bound.
        let slot = Slot {
            partition: Arc::new(partition),
            version,
            validated_at: began,
        };
        self.memory.fill(stored_key, slot.clone(), generation);
        self.copy_later(key, stored_key, &slot, generation);
        slot
    }

    fn out_of_store(&self, slot: Slot, began: Duration) -> Sighted {
        Sighted {
            partition: slot.partition,
            source: TokenSource::Store,
            time_in_store: self.clock.monotonic().saturating_sub(began),
            during_outage: false,
            guards: [None, None],
            ends_at: None,
        }
    }
}
