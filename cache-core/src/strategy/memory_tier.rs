//! The memory tier: decoded partitions, bounded in bytes.

mod answering;
mod evictions;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use self::evictions::{BytesOfSlot, Evictions, Shared};
use super::answers::{Answer, Life};
use super::table::Table;
use crate::cache::arguments::KeptQueries;
use crate::schema::index::IndexedPartition;
use crate::seal::RollbackGuard;
use crate::store::{StoreKey, Version};

/// How decoded partitions are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryTier {
    pub(crate) max_bytes: u64,
    pub(crate) max_staleness: Duration,
}

impl MemoryTier {
    /// Keeps nothing: every lookup reads the store.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            max_bytes: 0,
            max_staleness: Duration::ZERO,
        }
    }

    /// Keeps the most used partitions in at most about `max_bytes` bytes, with the answers from them and with what notices that a
    /// record went back in time; each for 30 seconds before the store is asked whether it changed.
    #[must_use]
    pub const fn bounded(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            max_staleness: Duration::from_secs(30),
        }
    }

    /// Sets how long a partition may serve before the store is asked whether it changed. It bounds how late another
    /// process's sign-out is noticed when the store has no change notification, or when that fails.
    #[must_use]
    pub const fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }
}

/// A partition in memory.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) partition: Arc<IndexedPartition>,
    pub(crate) version: Version,
    /// When the store last confirmed the version, on the monotonic clock.
    pub(crate) validated_at: Duration,
}

/// What was found in memory.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) slot: Slot,
    /// Whether it may serve without asking the store.
    pub(crate) is_trusted: bool,
    /// What an answer from it depends on.
    pub(crate) guard: Guard,
}

/// What an answer that is computed from a slot depends on beside its rows.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    key: StoreKey,
    held: Arc<Held>,
    /// As in [`Slot`].
    pub(crate) validated_at: Duration,
}

/// What is kept under a key. Few bytes: a list of them has free places, and places of what was evicted.
#[derive(Clone, Debug)]
struct Kept {
    held: Arc<Held>,
    /// What its answers were last known to take.
    answer_bytes: u64,
}

/// A slot, and the gap in the store's reports before which it was read.
#[derive(Debug)]
struct Held {
    slot: Slot,
    /// `None` where nobody knows what the store holds by now, whatever was reported.
    epoch: Option<u64>,
    /// Ended whenever this is replaced or removed.
    life: Life,
}

/// The partitions in memory.
///
/// A read of the store that began before a change and ends after it must not put the old rows back. So every
/// change moves the key's generation, and a fill is refused unless the generation is still what it was when the read began.
#[derive(Debug)]
pub(crate) struct Memory {
    settings: MemoryTier,
    slots: Option<Cache<StoreKey, Kept, BytesOfSlot, RandomState, Evictions>>,
    answers: Arc<Table<Answer>>,
    queries: KeptQueries,
    shared: Arc<Shared>,
    generations: Box<[Shard]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    generation: AtomicU64,
    /// The last change that the store reported; held while a slot is replaced.
    last_hint: Mutex<Option<(StoreKey, Option<Version>)>>,
}

/// A key's generation when a read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

const SHARDS: usize = 256;
/// What a partition of a few tokens takes, to size the index.
const USUAL_BYTES: u64 = 4096;
/// How often a partition that is in use is said to be, while as many are evicted as memory holds.
const ROUNDS: usize = 64;

impl Memory {
    pub(crate) fn new(settings: MemoryTier) -> Self {
        let (answers, shared) = (Arc::new(Table::new()), Arc::new(Shared::default()));
        let slots = (settings.max_bytes > 0).then(|| {
            // What notices rollbacks remembers more records than are kept.
            let remembered = RollbackGuard::usual_bytes() as u64;
            let bytes = settings.max_bytes - remembered.min(settings.max_bytes / 8);
            let estimate = usize::try_from(bytes / USUAL_BYTES)
                .unwrap_or(usize::MAX)
                .clamp(16, 1 << 20);
            let evictions = Evictions {
                answers: Arc::clone(&answers),
                shared: Arc::clone(&shared),
                a_round: (estimate / ROUNDS).max(1) as u64,
            };
            Cache::with(estimate, bytes, BytesOfSlot, RandomState::new(), evictions)
        });
        let generations = (0..SHARDS).map(|_| Shard::default()).collect();
        Self {
            settings,
            slots,
            answers,
            queries: KeptQueries::default(),
            shared,
            generations,
            hasher: RandomState::new(),
        }
    }

    /// Whether it keeps nothing.
    pub(crate) fn is_off(&self) -> bool {
        self.slots.is_none()
    }

    /// The partition under `key`.
    pub(crate) fn lookup(&self, key: &StoreKey, now: Duration) -> Option<Remembered> {
        let Kept { held, .. } = self.slots.as_ref()?.get(key)?;
        let slot = held.slot.clone();
        let is_young = now.saturating_sub(slot.validated_at) < self.settings.max_staleness;
        let is_trusted = is_young && held.epoch == Some(self.epoch());
        let guard = Guard {
            key: key.clone(),
            held,
            validated_at: slot.validated_at,
        };
        Some(Remembered {
            slot,
            is_trusted,
            guard,
        })
    }

    /// To be sampled before a read of the store whose result is to be [filled](Self::fill) in.
    pub(crate) fn generation(&self, key: &StoreKey) -> Generation {
        Generation(self.shard(key).generation.load(Ordering::Acquire))
    }

    /// Keeps what was read, unless the key changed since `generation` was sampled.
    pub(crate) fn fill(&self, key: &StoreKey, slot: Slot, generation: Generation) {
        let Some(slots) = &self.slots else { return };
        let shard = self.shard(key);
        let _filling = shard.lock();
        // Of two reads under way at once, the one that began first must not undo the other.
        let newer = slots
            .peek(key)
            .is_some_and(|known| known.held.slot.validated_at > slot.validated_at);
        if !newer && shard.generation.load(Ordering::Acquire) == generation.0 {
            slots.insert(key.clone(), self.kept(slot));
        }
    }

    /// Whether `version`, read or written when the key had `generation`, is the latest as far as anybody here knows. The report of
    /// one's own write says nothing against it.
    pub(crate) fn is_latest(&self, key: &StoreKey, version: Version, generation: Generation) -> bool {
        let shard = self.shard(key);
        let last_hint = shard.lock();
        let now = shard.generation.load(Ordering::Acquire);
        let ours = |hint: &(StoreKey, Option<Version>)| hint.0 == *key && hint.1 == Some(version);
        let only_our_own = now == generation.0 + 1 && last_hint.as_ref().is_some_and(ours);
        let is_kept = || {
            let kept = self.slots.as_ref().and_then(|slots| slots.peek(key));
            kept.is_some_and(|kept| kept.held.slot.version == version && kept.held.epoch.is_some())
        };
        now == generation.0 || only_our_own || is_kept()
    }

    /// Keeps what was just committed, unless somebody else has changed the key since `generation` was sampled before the write: the
    /// report of their change may have come before the acknowledgement of ours, and it comes only once.
    ///
    /// Gives the generation that it has from now on, if nobody has.
    pub(crate) fn committed(&self, key: &StoreKey, slot: Slot, generation: Generation) -> Option<Generation> {
        let shard = self.shard(key);
        let last_hint = shard.lock();
        let now = shard.generation.fetch_add(1, Ordering::AcqRel);
        let ours = |hint: &(StoreKey, Option<Version>)| hint.0 == *key && hint.1 == Some(slot.version);
        let only_our_own = now == generation.0 + 1 && last_hint.as_ref().is_some_and(ours);
        let is_latest = now == generation.0 || only_our_own;
        if let Some(slots) = &self.slots {
            if is_latest {
                slots.insert(key.clone(), self.kept(slot));
            } else {
                self.take_away(slots, key);
            }
        }
        is_latest.then_some(Generation(now + 1))
    }

    /// Drops the partition; reads that began before are not filled in any more.
    pub(crate) fn forget(&self, key: &StoreKey) {
        let shard = self.shard(key);
        let _filling = shard.lock();
        shard.generation.fetch_add(1, Ordering::AcqRel);
        if let Some(slots) = &self.slots {
            self.take_away(slots, key);
        }
    }

    /// Keeps the partition for an outage and for comparison only: nobody knows what the store holds. Reads that began before are
    /// not filled in any more.
    pub(crate) fn distrust(&self, key: &StoreKey) {
        let shard = self.shard(key);
        let _filling = shard.lock();
        shard.generation.fetch_add(1, Ordering::AcqRel);
        if let Some(slots) = &self.slots
            && let Some(kept) = slots.peek(key)
        {
            let slot = kept.held.slot.clone();
            slots.insert(key.clone(), Kept::new(slot, None));
        }
    }

    /// Drops the partition unless it has `version` already. Either way, reads that began before are not filled in any more.
    ///
    /// Gives whether it has.
    pub(crate) fn changed(&self, key: &StoreKey, version: Option<Version>) -> bool {
        let shard = self.shard(key);
        let mut last_hint = shard.lock();
        shard.generation.fetch_add(1, Ordering::AcqRel);
        *last_hint = Some((key.clone(), version));
        let Some(slots) = &self.slots else { return false };
        let is_known = version.is_some() && slots.peek(key).map(|kept| kept.held.slot.version) == version;
        if !is_known {
            self.take_away(slots, key);
        }
        is_known
    }

    /// Trusts nothing any more: changes may have been missed. What is here is compared with the store before it serves, or serves in an
    /// outage, which is often what tore the gap.
    pub(crate) fn lost(&self) {
        for shard in &self.generations {
            let _filling = shard.lock();
            shard.generation.fetch_add(1, Ordering::AcqRel);
        }
        // Last: what a read from before the gap fills in until here is of the epoch that ends now.
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The caller holds the shard's lock.
    fn kept(&self, slot: Slot) -> Kept {
        Kept::new(slot, Some(self.epoch()))
    }

    /// The caller holds the shard's lock.
    fn take_away(&self, slots: &Cache<StoreKey, Kept, BytesOfSlot, RandomState, Evictions>, key: &StoreKey) {
        if let Some((_, kept)) = slots.remove(key) {
            kept.held.life.end(&self.answers);
        }
    }

    #[inline]
    fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    fn shard(&self, key: &StoreKey) -> &Shard {
        let hash = self.hasher.hash_one(key);
        &self.generations[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Option<(StoreKey, Option<Version>)>> {
        self.last_hint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(slot: Slot, epoch: Option<u64>) -> Self {
        Self {
            held: Arc::new(Held {
                slot,
                epoch,
                life: Life::default(),
            }),
            answer_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests;
