//! What the targets share: a clock that stands still, foreseeable randomness, and a runtime.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::random::Random;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::MemoryStore;
use cache_core::strategy::{SealPolicy, Strategy};
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use cache_testkit::random::SeededRandom;

/// The golden ring of cache-core and the key that it is sealed under.
pub(crate) const GOLDEN_RING: &str = include_str!("../../cache-core/tests/vectors/ring.hex");

/// Longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A runtime of one thread, which ends with its tasks.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without a driver has nothing to fail at")
        .block_on(future)
}

/// The parts of a case: the same in each run, so that an input does the same again.
pub(crate) struct Scene {
    pub(crate) clock: ManualClock,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) store: Arc<MemoryStore>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        // Nothing here has a deadline that a fault does not bring about, and pauses must not take time.
        clock.auto_advance(true);
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let store = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::clone(&random)));
        Self { clock, random, store }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    /// A cache on the store, of records in clear: what is in them is at stake, not how they are sealed.
    pub(crate) fn cache_in_clear(&self) -> TokenCache {
        TokenCache::builder(self.store.clone())
            .clock(self.clock())
            .random(self.random.clone())
            .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
            .open_plaintext(Namespace::default())
            .expect("nothing is there yet")
    }
}

/// The key-encryption key of the golden ring.
pub(crate) fn golden_key_source() -> Arc<FixedKeySource> {
    Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[0x11; 32])))
}

/// The bytes that are written in hexadecimal digits; what else is there does not count.
#[must_use]
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .trim()
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let bytes = digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]);
    bytes.map(|byte| byte.to_le_bytes()[0]).collect()
}
