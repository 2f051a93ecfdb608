//! The storage contract, held against the memory store and everything that wraps a store.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::random::OsRandom;
use cache_core::store::{MemoryStore, Store};
use cache_testkit::clock::ManualClock;
use cache_testkit::conformance_tests;
use cache_testkit::suite::Harness;

/// A memory store, opened as `wrap` wraps it.
struct Memory {
    store: MemoryStore,
    clock: ManualClock,
    wrap: fn(MemoryStore, &ManualClock) -> Arc<dyn Store>,
}

impl Memory {
    fn wrapped(wrap: fn(MemoryStore, &ManualClock) -> Arc<dyn Store>) -> Self {
        let clock = ManualClock::new();
        Self {
            store: MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)),
            clock,
            wrap,
        }
    }
}

#[async_trait]
impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        (self.wrap)(self.store.clone(), &self.clock)
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod memory {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, _| Arc::new(store)));
}

mod boxed {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, _| {
        let boxed: Box<dyn Store> = Box::new(store);
        Arc::new(boxed)
    }));
}

mod shared {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, _| {
        let shared: Arc<dyn Store> = Arc::new(store);
        Arc::new(shared)
    }));
}
