//! The storage contract, held against the memory store and everything that wraps a store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::random::OsRandom;
use cache_core::store::{CircuitBreaker, MemoryStore, RetryPolicy, Store, StoreExt};
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

mod prefixed {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, _| {
        let store = store
            .with_prefix("app/%_")
            .unwrap_or_else(|error| panic!("{error}"));
        Arc::new(store)
    }));
}

mod with_timeout {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, clock| Arc::new(
        store.with_timeout(Duration::from_secs(30), Arc::new(clock.clone()))
    )));
}

mod with_retry {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, clock| Arc::new(store.with_retry(
        RetryPolicy::default(),
        Arc::new(clock.clone()),
        Arc::new(OsRandom)
    ))));
}

mod with_circuit_breaker {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, clock| Arc::new(
        store.with_circuit_breaker(
            "memory",
            CircuitBreaker::default(),
            Arc::new(clock.clone()),
            Arc::new(OsRandom)
        )
    )));
}

mod with_metrics {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, clock| Arc::new(
        store.with_metrics("memory", Arc::new(clock.clone()))
    )));
}

mod with_limit {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, _| Arc::new(store.with_limit(1))));
}

mod in_the_usual_order {
    use super::*;
    conformance_tests!(Memory::wrapped(|store, clock| {
        let store = store
            .with_timeout(Duration::from_secs(30), Arc::new(clock.clone()))
            .with_limit(4)
            .with_retry(
                RetryPolicy::default(),
                Arc::new(clock.clone()),
                Arc::new(OsRandom),
            )
            .with_circuit_breaker(
                "memory",
                CircuitBreaker::default(),
                Arc::new(clock.clone()),
                Arc::new(OsRandom),
            )
            .with_metrics("memory", Arc::new(clock.clone()))
            .with_prefix("app/")
            .unwrap_or_else(|error| panic!("{error}"));
        Arc::new(store)
    }));
}
