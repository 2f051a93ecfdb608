//! Slots that go: how their bytes are counted, and what ends with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::{Lifecycle, Weighter};

use super::super::answers::Answer;
use super::super::table::Table;
use super::{Held, Kept};
use crate::store::StoreKey;

/// What every hit reads, and few events write.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Shared {
    /// How many gaps there were in the store's reports.
    pub(super) epoch: AtomicU64,
    /// How many slots were evicted.
    pub(super) evicted: AtomicU64,
    /// The round of evictions: in each, an answer that hits says once that its partition is in use.
    pub(super) round: AtomicU64,
}

/// What happens when a slot is replaced, or makes room for another. All of it under the lock under which the slot goes, so that no
/// answer of a slot that cannot be found any more is ever given.
#[derive(Clone, Debug)]
pub(super) struct Evictions {
    pub(super) answers: Arc<Table<Answer>>,
    pub(super) shared: Arc<Shared>,
    /// How many evictions make a round.
    pub(super) a_round: u64,
}

impl Lifecycle<StoreKey, Kept> for Evictions {
    /// Wiped when the lock is free again.
    type RequestState = Vec<Kept>;

    fn on_evict(&self, gone: &mut Vec<Kept>, _: StoreKey, kept: Kept) {
        kept.held.life.end(&self.answers);
        gone.push(kept);
        let evicted = self.shared.evicted.fetch_add(1, Ordering::Relaxed) + 1;
        if evicted.is_multiple_of(self.a_round) {
            self.shared.round.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct BytesOfSlot;

impl BytesOfSlot {
    /// What an entry takes whatever is in it.
    const ENTRY: usize = {
        /// Links, state, a place in the index.
        const BESIDE: usize = 24;
        /// The counts of an `Arc`, and what an allocation takes beyond what was asked for.
        const SHARED: usize = 16 + 16;
        let entry = size_of::<(StoreKey, Kept)>() + BESIDE;
        // A list that grows doubles: on average a third of its room is free.
        entry + entry / 3 + SHARED + (SHARED + size_of::<Held>())
    };
}

impl Weighter<StoreKey, Kept> for BytesOfSlot {
    fn weight(&self, key: &StoreKey, kept: &Kept) -> u64 {
        let bytes = Self::ENTRY + key.as_str().len() + kept.held.slot.partition.approximate_bytes();
        bytes as u64 + kept.answer_bytes
    }
}
