//! Stores that break one rule each on purpose, to prove that the [suite](crate::suite) catches it.
//!
//! A [`BrokenHarness`] without a [`Flaw`] keeps every rule. With one, the rule that [`Flaw::caught_by`] names
//! fails. Somebody who adds a rule to the suite adds the flaw that it catches; a test of this crate fails when
//! a rule has none.

mod flaw;
mod listing;
mod place;
mod store;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::store::Store;

pub use flaw::Flaw;

use crate::clock::ManualClock;
use crate::suite::Harness;
use place::Place;
use store::BrokenStore;

/// A harness whose stores have a flaw.
#[derive(Debug)]
pub struct BrokenHarness {
    place: Arc<Place>,
    clock: ManualClock,
}

impl BrokenHarness {
    /// A harness over empty records, with the flaw or, to compare, with none.
    #[must_use]
    pub fn new(flaw: Option<Flaw>) -> Self {
        let clock = ManualClock::new();
        Self {
            place: Arc::new(Place::new(flaw, clock.clone())),
            clock,
        }
    }
}

#[async_trait]
impl Harness for BrokenHarness {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(BrokenStore::open(Arc::clone(&self.place)))
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}
