//! The storage contract, held against keychains of any width.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::store::Store;
use cache_testkit::clock::ManualClock;
use cache_testkit::conformance_tests;
use cache_testkit::suite::Harness;

use crate::memory::Cabinet;

struct Memory {
    cabinet: Cabinet,
    clock: ManualClock,
}

impl Memory {
    fn new(cabinet: Cabinet) -> Self {
        Self {
            cabinet,
            clock: ManualClock::new(),
        }
    }
}

#[async_trait]
impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        let clock = Arc::new(self.clock.clone());
        Arc::new(self.cabinet.open_with(&Arc::default(), clock).await)
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod narrow {
    use super::*;

    conformance_tests!(Memory::new(Cabinet::narrow()));
}

mod wide {
    use super::*;

    conformance_tests!(Memory::new(Cabinet::wide()));
}
