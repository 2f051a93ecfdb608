//! The memory tier: decoded partitions, bounded in bytes.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::schema::index::IndexedPartition;
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

    /// Keeps the most used partitions in at most about `max_bytes` bytes, each for 30 seconds before the store is asked whether it
    /// changed.
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
}

/// A slot, and the gap in the store's reports before which it was read.
#[derive(Clone, Debug)]
struct Kept {
    slot: Slot,
    /// `None` where nobody knows what the store holds by now, whatever was reported.
    epoch: Option<u64>,
}

/// The partitions in memory.
///
/// A read of the store that began before a change and ends after it must not put the old rows back. So every
/// change moves the key's generation, and a fill is refused unless the generation is still what it was when the read began.
#[derive(Debug)]
pub(crate) struct Memory {
    settings: MemoryTier,
    slots: Option<Cache<StoreKey, Kept, BytesOfSlot>>,
    /// How many gaps there were in the store's reports.
    epoch: AtomicU64,
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

impl Memory {
    pub(crate) fn new(settings: MemoryTier) -> Self {
        let slots = (settings.max_bytes > 0).then(|| {
            let estimate = usize::try_from(settings.max_bytes / USUAL_BYTES)
                .unwrap_or(usize::MAX)
                .clamp(16, 1 << 20);
            Cache::with_weighter(estimate, settings.max_bytes, BytesOfSlot)
        });
        let generations = (0..SHARDS).map(|_| Shard::default()).collect();
        Self {
            settings,
            slots,
            epoch: AtomicU64::new(0),
            generations,
            hasher: RandomState::new(),
        }
    }

    /// The partition under `key`.
    pub(crate) fn lookup(&self, key: &StoreKey, now: Duration) -> Option<Remembered> {
        let Kept { slot, epoch } = self.slots.as_ref()?.get(key)?;
        let is_young = now.saturating_sub(slot.validated_at) < self.settings.max_staleness;
        let is_trusted = is_young && epoch == Some(self.epoch.load(Ordering::Acquire));
        Some(Remembered { slot, is_trusted })
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
            .is_some_and(|known| known.slot.validated_at > slot.validated_at);
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
            kept.is_some_and(|kept| kept.slot.version == version && kept.epoch.is_some())
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
                slots.remove(key);
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
            slots.remove(key);
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
            slots.insert(key.clone(), Kept { epoch: None, ..kept });
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
        let is_known = version.is_some() && slots.peek(key).map(|kept| kept.slot.version) == version;
        if !is_known {
            slots.remove(key);
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
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The caller holds the shard's lock.
    fn kept(&self, slot: Slot) -> Kept {
        let epoch = Some(self.epoch.load(Ordering::Acquire));
        Kept { slot, epoch }
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

#[derive(Clone, Debug)]
struct BytesOfSlot;

impl Weighter<StoreKey, Kept> for BytesOfSlot {
    fn weight(&self, key: &StoreKey, kept: &Kept) -> u64 {
        (key.as_str().len() + kept.slot.partition.approximate_bytes()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Partition, PartitionKey};

    fn slot(version: u8) -> Slot {
        Slot {
            partition: Arc::new(IndexedPartition::new(Partition::new(PartitionKey::Residue)).unwrap()),
            version: Version::from_bytes([version; 16]),
            validated_at: Duration::ZERO,
        }
    }

    #[test]
    fn a_read_that_began_before_a_change_is_not_filled_in() {
        let memory = Memory::new(MemoryTier::bounded(1 << 20));
        let key = StoreKey::new("k").unwrap();
        let before = memory.generation(&key);
        memory.forget(&key);
        memory.fill(&key, slot(1), before);
        assert!(memory.lookup(&key, Duration::ZERO).is_none());
        memory.fill(&key, slot(2), memory.generation(&key));
        assert_eq!(
            memory.lookup(&key, Duration::ZERO).unwrap().slot.version,
            Version::from_bytes([2; 16])
        );
    }

    #[test]
    fn a_change_that_is_already_known_still_keeps_older_reads_out() {
        let memory = Memory::new(MemoryTier::bounded(1 << 20));
        let key = StoreKey::new("k").unwrap();
        let old_read = memory.generation(&key);
        memory.fill(&key, slot(2), memory.generation(&key));
        memory.changed(&key, Some(Version::from_bytes([2; 16])));
        memory.fill(&key, slot(1), old_read);
        let kept = memory.lookup(&key, Duration::ZERO).unwrap().slot;
        assert_eq!(kept.version, Version::from_bytes([2; 16]));
    }

    #[test]
    fn a_read_that_began_first_does_not_undo_one_that_began_later() {
        let memory = Memory::new(MemoryTier::bounded(1 << 20));
        let key = StoreKey::new("k").unwrap();
        let later = Slot {
            validated_at: Duration::from_secs(1),
            ..slot(2)
        };
        memory.fill(&key, later, memory.generation(&key));
        memory.fill(&key, slot(1), memory.generation(&key));
        let kept = memory.lookup(&key, Duration::ZERO).unwrap().slot;
        assert_eq!(kept.version, Version::from_bytes([2; 16]));
    }

    #[test]
    fn a_commit_that_was_overtaken_before_its_acknowledgement_is_not_kept() {
        let memory = Memory::new(MemoryTier::bounded(1 << 20));
        let key = StoreKey::new("k").unwrap();
        let version = |byte| Some(Version::from_bytes([byte; 16]));
        for hints in [vec![2], vec![1, 2]] {
            let before = memory.generation(&key);
            for hint in &hints {
                memory.changed(&key, version(*hint));
            }
            memory.committed(&key, slot(1), before);
            assert!(memory.lookup(&key, Duration::ZERO).is_none(), "{hints:?}");
        }
        for hints in [vec![], vec![1]] {
            let before = memory.generation(&key);
            for hint in &hints {
                memory.changed(&key, version(*hint));
            }
            memory.committed(&key, slot(1), before);
            assert!(memory.lookup(&key, Duration::ZERO).is_some(), "{hints:?}");
            memory.forget(&key);
        }
    }

    #[test]
    fn a_slot_is_trusted_until_it_is_stale() {
        let memory = Memory::new(MemoryTier::bounded(1 << 20).max_staleness(Duration::from_secs(2)));
        let key = StoreKey::new("k").unwrap();
        memory.fill(&key, slot(1), memory.generation(&key));
        assert!(memory.lookup(&key, Duration::from_secs(1)).unwrap().is_trusted);
        assert!(!memory.lookup(&key, Duration::from_secs(2)).unwrap().is_trusted);
    }

    #[test]
    fn after_a_gap_in_the_reports_a_slot_is_kept_and_not_trusted() {
        let memory = Memory::new(MemoryTier::bounded(1 << 20));
        let key = StoreKey::new("k").unwrap();
        let before = memory.generation(&key);
        memory.fill(&key, slot(1), before);
        memory.lost();
        assert!(!memory.lookup(&key, Duration::ZERO).unwrap().is_trusted);
        memory.fill(&key, slot(1), before);
        assert!(
            !memory.lookup(&key, Duration::ZERO).unwrap().is_trusted,
            "read before the gap"
        );
        memory.fill(&key, slot(1), memory.generation(&key));
        assert!(memory.lookup(&key, Duration::ZERO).unwrap().is_trusted);
    }

    #[test]
    fn a_slot_that_nobody_vouches_for_is_kept_until_it_is_read_again() {
        let memory = Memory::new(MemoryTier::bounded(1 << 20));
        let key = StoreKey::new("k").unwrap();
        memory.fill(&key, slot(1), memory.generation(&key));
        memory.distrust(&key);
        assert!(!memory.lookup(&key, Duration::ZERO).unwrap().is_trusted);
        memory.changed(&key, Some(Version::from_bytes([2; 16])));
        assert!(
            memory.lookup(&key, Duration::ZERO).is_none(),
            "known to be another"
        );
    }

    #[test]
    fn memory_is_bounded_in_bytes() {
        let memory = Memory::new(MemoryTier::bounded(64 << 10));
        for index in 0..10_000 {
            let key = StoreKey::new(format!("k{index}")).unwrap();
            memory.fill(&key, slot(1), memory.generation(&key));
        }
        assert!(memory.slots.as_ref().unwrap().weight() <= 64 << 10);
    }
}
