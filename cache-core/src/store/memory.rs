//! The store that lives in this process.

use std::collections::BTreeMap;
use std::fmt;
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

/// A store in the memory of this process. Clones share their records.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    records: Mutex<BTreeMap<StoreKey, Record>>,
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

    fn records(&self) -> MutexGuard<'_, BTreeMap<StoreKey, Record>> {
        // Each critical section leaves the map whole, so a panic elsewhere in it loses nothing.
        self.shared.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, record: &Record) -> bool {
        is_live(record, self.shared.clock.now())
    }

    fn announce(&self, key: &StoreKey, version: Option<Version>) {
        // An error only says that nobody listens.
        let _ = self
            .shared
            .changes
            .send(WatchEvent::Changed(key.clone(), version));
    }
}

fn is_live(record: &Record, now: UnixMillis) -> bool {
    record.expires_at.is_none_or(|expiry| now < expiry)
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("records", &self.records().len())
            .finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for MemoryStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        Ok(self
            .records()
            .get(key)
            .filter(|record| self.live(record))
            .cloned())
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        Ok(self
            .records()
            .get(key)
            .filter(|record| self.live(record))
            .map(|record| record.version))
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        if payload.len() > Self::MAX_VALUE_BYTES {
            let context = format!("{} bytes; at most {}", payload.len(), Self::MAX_VALUE_BYTES);
            return Err(StoreError::new(ErrorKind::TooLarge, Operation::Put, context));
        }
        let version = Version::random(&*self.shared.random)?;
        let mut records = self.records();
        let current = records
            .get(key)
            .filter(|record| self.live(record))
            .map(|record| record.version);
        let applies = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => current.is_none(),
            PutMode::Update(expected) => current == Some(expected),
        };
        if !applies {
            return Err(StoreError::conflict(Operation::Put));
        }
        let now = self.shared.clock.now();
        records.retain(|_, record| is_live(record, now));
        records.insert(
            key.clone(),
            Record {
                payload,
                version,
                expires_at: options.expires_at,
            },
        );
        drop(records);
        self.announce(key, Some(version));
        Ok(version)
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let mut records = self.records();
        let current = records
            .get(key)
            .filter(|record| self.live(record))
            .map(|record| record.version);
        if expected.is_some() && current != expected {
            return Err(StoreError::conflict(Operation::Delete));
        }
        let removed = records.remove(key).is_some();
        drop(records);
        if removed {
            self.announce(key, None);
        }
        Ok(())
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let found: Vec<_> = self
            .records()
            .iter()
            .filter(|(key, record)| key.as_str().starts_with(prefix) && self.live(record))
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
