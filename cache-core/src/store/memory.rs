//! The store that lives in this process.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast;

use super::error::{ErrorKind, Operation};
use super::{
    Capabilities, CompareAndSwap, Persistence, PutMode, PutOptions, Record, Store, StoreError, StoreKey,
    Version, Versions, Watch, WatchEvent,
};
use crate::random::{OsRandom, Random};
use crate::time::{Clock, SystemClock, UnixMillis};

/// How many changes a slow watcher may lag behind before it is told [`WatchEvent::Lost`].
const WATCH_BACKLOG: usize = 256;

/// How many records there are at least before the expired ones are swept out.
const FIRST_SWEEP: usize = 64;

/// A store in the memory of this process. Clones share their records.
///
/// Expired records are swept out whenever their number and that of the live ones has doubled since the last
/// sweep, so that a put costs what a map costs and at most half of the records are dead.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    records: Mutex<Records>,
    changes: broadcast::Sender<WatchEvent>,
}

impl MemoryStore {
    /// The longest payload, in bytes (16 MiB): a larger one is a mistake rather than a partition.
    pub const MAX_VALUE_BYTES: usize = 16 << 20;

    /// An empty store on the system's clock and randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock), Arc::new(OsRandom))
    }

    /// An empty store on the given clock and randomness.
    #[must_use]
    pub fn with(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let changes = broadcast::Sender::new(WATCH_BACKLOG);
        Self {
            shared: Arc::new(Shared {
                clock,
                random,
                records: Mutex::default(),
                changes,
            }),
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Each critical section leaves the records whole, so a panic elsewhere in it loses nothing.
        self.shared.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    fn announce(&self, key: &StoreKey, version: Option<Version>) {
        // An error only says that nobody listens.
        let _ = self
            .shared
            .changes
            .send(WatchEvent::Changed(key.clone(), version));
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("records", &self.records().by_key.len())
            .finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for MemoryStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        Ok(self.records().live(key, self.now()).cloned())
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        Ok(self.records().live(key, self.now()).map(|record| record.version))
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        if payload.len() > Self::MAX_VALUE_BYTES {
            let context = format!("{} bytes; at most {}", payload.len(), Self::MAX_VALUE_BYTES);
            return Err(StoreError::new(ErrorKind::TooLarge, Operation::Put, context));
        }
        let version = Version::random(&*self.shared.random)?;
        let mut records = self.records();
        let now = self.now();
        let current = records.live(key, now).map(|record| record.version);
        let applies = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => current.is_none(),
            PutMode::Update(expected) => current == Some(expected),
        };
        if !applies {
            return Err(StoreError::conflict(Operation::Put));
        }
        let record = Record {
            payload,
            version,
            expires_at: options.expires_at,
        };
        records.insert(key.clone(), record, now);
        drop(records);
        self.announce(key, Some(version));
        Ok(version)
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let mut records = self.records();
        let current = records.live(key, self.now()).map(|record| record.version);
        if expected.is_some() && current != expected {
            return Err(StoreError::conflict(Operation::Delete));
        }
        let removed = records.by_key.remove(key).is_some();
        drop(records);
        if removed {
            self.announce(key, None);
        }
        Ok(())
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let now = self.now();
        let found: Vec<_> = self
            .records()
            .starting_with(prefix)
            .filter(|(_, record)| is_live(record, now))
            .map(|(key, record)| Ok((key.clone(), record.version)))
            .collect();
        stream::iter(found).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: CompareAndSwap::Process,
            versions: Versions::Unique,
            native_expiry: true,
            max_value_bytes: Self::MAX_VALUE_BYTES,
            persistence: Persistence::Process,
            shows_early: false,
            watch: true,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        Some(self)
    }
}

impl Watch for MemoryStore {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        broadcast_events(self.shared.changes.subscribe())
    }
}

/// The records, some of which may have expired.
struct Records {
    by_key: BTreeMap<StoreKey, Record>,
    /// At which size the expired ones are swept out.
    sweep_at: usize,
}

impl Records {
    fn live(&self, key: &StoreKey, now: UnixMillis) -> Option<&Record> {
        self.by_key.get(key).filter(|record| is_live(record, now))
    }

    /// Those whose key starts with `prefix`, in order.
    fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&StoreKey, &Record)> {
        // A prefix that is no key is empty, or begins no key at all: then the first record ends the list.
        let start = StoreKey::new(prefix).map_or(Bound::Unbounded, Bound::Included);
        self.by_key
            .range((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
    }

    fn insert(&mut self, key: StoreKey, record: Record, now: UnixMillis) {
        if self.by_key.len() >= self.sweep_at {
            self.by_key.retain(|_, record| is_live(record, now));
            // Only after as many puts again is it worth while to look at all of them once more.
            self.sweep_at = FIRST_SWEEP.max(self.by_key.len().saturating_mul(2));
        }
        self.by_key.insert(key, record);
    }
}

impl Default for Records {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

fn is_live(record: &Record, now: UnixMillis) -> bool {
    record.expires_at.is_none_or(|expiry| now < expiry)
}

/// The events of a broadcast channel, with [`WatchEvent::Lost`] where the receiver fell behind.
///
/// For backends that learn of changes in one task and pass them on to many watchers.
pub fn broadcast_events(receiver: broadcast::Receiver<WatchEvent>) -> BoxStream<'static, WatchEvent> {
    stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(event) => Some((event, receiver)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((WatchEvent::Lost, receiver)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    })
    .boxed()
}
