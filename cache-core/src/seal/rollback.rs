//! Notices when a record goes back in time.
//!
//! Authenticated encryption proves that a record was once written here; it does not prove that it is the latest. A
//! process therefore remembers the highest generation that it has seen of each incarnation, and compares.
//!
//! What it cannot notice: a rollback of a record that this process has not seen before (after a restart, or after the
//! record left the bounded memory), and the return of a record's earlier incarnation at its last generation.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::unsync::Cache;

use super::envelope::{Incarnation, RecordMeta};
use super::error::SealError;
use crate::store::StoreKey;

/// How many incarnations of one record are remembered.
const LIVES: usize = 4;

/// What happens when a record went back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RollbackPolicy {
    /// The read fails with [`SealError::RolledBack`].
    #[default]
    Refuse,
    /// The record counts as missing and the rollback is reported: for stores that may honestly go back, such as Redis
    /// after a failover. A refresh token that was rolled back is never spent.
    MissAndReport,
}

/// Remembers the highest generation of each record, for a bounded number of records.
pub struct RollbackGuard {
    policy: RollbackPolicy,
    /// By a hash of the key. Should two records share one, neither is taken for the other: no two have an incarnation in common.
    seen: Mutex<Cache<u64, Lives>>,
    hasher: RandomState,
}

impl RollbackGuard {
    /// A guard that remembers up to `records` records (at least one) and forgets those least used.
    #[must_use]
    pub fn new(policy: RollbackPolicy, records: usize) -> Self {
        Self {
            policy,
            seen: Mutex::new(Cache::new(records.max(1))),
            hasher: RandomState::new(),
        }
    }

    /// What happens when a record went back.
    #[must_use]
    pub fn policy(&self) -> RollbackPolicy {
        self.policy
    }

    /// What is known of `key` before it is read.
    ///
    /// Take it *before* the read begins: a write by this process while the read is under way raises what is known, and
    /// would make an honest answer look old.
    #[must_use]
    pub fn before_read(&self, key: &StoreKey) -> Known {
        Known(self.seen().get(&self.hash(key)).cloned())
    }

    /// Judges the authenticated header of a record that was read after `known` was taken, and remembers it.
    ///
    /// # Errors
    /// [`SealError::RolledBack`] when it went back and the policy is [`RollbackPolicy::Refuse`].
    pub fn check(&self, key: &StoreKey, known: Known, meta: &RecordMeta) -> Result<Freshness, SealError> {
        let seen = known.0.and_then(|lives| lives.highest(meta.incarnation));
        // As it was before the read: there is nothing to remember.
        if seen == Some(meta.generation) {
            return Ok(Freshness::Fresh);
        }
        let Some(seen) = seen.filter(|&seen| meta.generation < seen) else {
            self.record(key, meta);
            return Ok(Freshness::Fresh);
        };
        let found = meta.generation;
        tracing::warn!(%key, seen, found, "a record went back to an earlier generation");
        match self.policy {
            RollbackPolicy::Refuse => Err(SealError::RolledBack {
                key: key.clone(),
                seen,
                found,
            }),
            RollbackPolicy::MissAndReport => Ok(Freshness::RolledBack { seen, found }),
        }
    }

    /// Remembers a record that this process has written.
    pub fn record(&self, key: &StoreKey, meta: &RecordMeta) {
        let (mut seen, hash) = (self.seen(), self.hash(key));
        if let Some(mut lives) = seen.get_mut(&hash) {
            lives.raise(meta);
            return;
        }
        seen.insert(hash, Lives::of(meta));
    }

    /// How many records a cache remembers.
    pub(crate) const USUAL_RECORDS: usize = 16_384;

    /// What so many take, in bytes, with half as many of which only the hash is known.
    pub(crate) const fn usual_bytes() -> usize {
        // Links, state, and a place in the index.
        const BESIDE: usize = 24;
        (size_of::<(u64, Lives)>() + BESIDE) * Self::USUAL_RECORDS / 2 * 3
    }

    fn hash(&self, key: &StoreKey) -> u64 {
        self.hasher.hash_one(key)
    }

    fn seen(&self) -> MutexGuard<'_, Cache<u64, Lives>> {
        // Every change is one insert, so a panic elsewhere leaves nothing half done.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RollbackGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RollbackGuard")
            .field("policy", &self.policy)
            .field("records", &self.seen().len())
            .finish()
    }
}

/// What was known of a record before it was read.
#[derive(Clone, Debug, Default)]
pub struct Known(Option<Lives>);

/// Whether a record may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Freshness {
    /// It is not older than anything seen.
    Fresh,
    /// It went back, and must count as missing.
    RolledBack {
        /// The highest generation seen.
        seen: u64,
        /// The generation that was read.
        found: u64,
    },
}

/// The latest incarnations of a record with the highest generation of each. Nearly every record has but one.
#[derive(Clone, Debug)]
struct Lives {
    latest: (Incarnation, u64),
    /// Those before it, newest last.
    earlier: Option<Box<Earlier>>,
}

#[derive(Clone, Debug, Default)]
struct Earlier([Option<(Incarnation, u64)>; LIVES - 1]);

impl Lives {
    fn of(meta: &RecordMeta) -> Self {
        Self {
            latest: (meta.incarnation, meta.generation),
            earlier: None,
        }
    }

    fn highest(&self, incarnation: Incarnation) -> Option<u64> {
        let earlier = self.earlier.iter().flat_map(|earlier| earlier.0.iter().flatten());
        std::iter::once(&self.latest)
            .chain(earlier)
            .find(|life| life.0 == incarnation)
            .map(|life| life.1)
    }

    /// Takes `meta` in.
    fn raise(&mut self, meta: &RecordMeta) {
        let earlier = self
            .earlier
            .iter_mut()
            .flat_map(|earlier| earlier.0.iter_mut().flatten());
        let known = std::iter::once(&mut self.latest)
            .chain(earlier)
            .find(|life| life.0 == meta.incarnation);
        if let Some((_, highest)) = known {
            *highest = meta.generation.max(*highest);
            return;
        }
        let before = std::mem::replace(&mut self.latest, (meta.incarnation, meta.generation));
        let earlier = self.earlier.get_or_insert_default();
        earlier.0.rotate_left(1);
        earlier.0[LIVES - 2] = Some(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(life: u8, generation: u64) -> RecordMeta {
        RecordMeta {
            codec: 1,
            schema: 1,
            incarnation: Incarnation([life; 16]),
            generation,
        }
    }

    fn key(name: &str) -> StoreKey {
        StoreKey::new(name).unwrap()
    }

    fn read(guard: &RollbackGuard, key: &StoreKey, meta: &RecordMeta) -> Result<Freshness, SealError> {
        guard.check(key, guard.before_read(key), meta)
    }

    #[test]
    fn a_lower_generation_of_the_same_incarnation_is_a_rollback() {
        let guard = RollbackGuard::new(RollbackPolicy::Refuse, 10);
        assert_eq!(guard.policy(), RollbackPolicy::Refuse);
        let key = key("a");
        assert_eq!(read(&guard, &key, &meta(1, 5)).unwrap(), Freshness::Fresh);
        assert_eq!(read(&guard, &key, &meta(1, 5)).unwrap(), Freshness::Fresh);
        assert_eq!(read(&guard, &key, &meta(1, 6)).unwrap(), Freshness::Fresh);
        let error = read(&guard, &key, &meta(1, 5)).unwrap_err();
        assert!(matches!(
            error,
            SealError::RolledBack {
                seen: 6,
                found: 5,
                ..
            }
        ));
        assert_eq!(
            read(&guard, &key, &meta(2, 1)).unwrap(),
            Freshness::Fresh,
            "created anew"
        );
        assert!(
            read(&guard, &key, &meta(1, 5)).is_err(),
            "the earlier incarnation is remembered"
        );
    }

    #[test]
    fn the_latest_incarnations_are_remembered_and_no_others() {
        let guard = RollbackGuard::new(RollbackPolicy::Refuse, 10);
        let key = key("a");
        for life in 0..6 {
            guard.record(&key, &meta(life, 5));
        }
        for life in 2..6 {
            assert!(read(&guard, &key, &meta(life, 4)).is_err(), "life {life}");
            assert_eq!(read(&guard, &key, &meta(life, 5)).unwrap(), Freshness::Fresh);
        }
        assert_eq!(
            read(&guard, &key, &meta(1, 4)).unwrap(),
            Freshness::Fresh,
            "forgotten"
        );
    }

    #[test]
    fn a_lenient_guard_reports_a_miss() {
        let guard = RollbackGuard::new(RollbackPolicy::MissAndReport, 10);
        assert_eq!(guard.policy(), RollbackPolicy::MissAndReport);
        guard.record(&key("a"), &meta(1, 5));
        let verdict = read(&guard, &key("a"), &meta(1, 4)).unwrap();
        assert_eq!(verdict, Freshness::RolledBack { seen: 5, found: 4 });
        assert_eq!(
            read(&guard, &key("b"), &meta(1, 4)).unwrap(),
            Freshness::Fresh,
            "keys are apart"
        );
    }

    #[test]
    fn a_write_during_a_read_is_no_rollback() {
        let guard = RollbackGuard::new(RollbackPolicy::Refuse, 10);
        let key = key("a");
        guard.record(&key, &meta(1, 5));
        let known = guard.before_read(&key);
        guard.record(&key, &meta(1, 6));
        assert_eq!(guard.check(&key, known, &meta(1, 5)).unwrap(), Freshness::Fresh);
        assert!(
            read(&guard, &key, &meta(1, 5)).is_err(),
            "what was seen is not lowered"
        );
    }

    #[test]
    fn what_a_cache_remembers_is_counted_with_its_index() {
        let entry = size_of::<(u64, Lives)>() + 24;
        assert_eq!(RollbackGuard::usual_bytes(), entry * 24_576);
    }

    #[test]
    fn memory_is_bounded() {
        let guard = RollbackGuard::new(RollbackPolicy::Refuse, 100);
        for number in 0..10_000 {
            guard.record(&key(&format!("key-{number}")), &meta(1, 5));
        }
        assert!(guard.seen().len() <= 100);
    }
}
