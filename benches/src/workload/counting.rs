//! A store that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// How often the store was asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCounts {
    /// Records that were read.
    pub get: u64,
    /// Versions that were compared.
    pub head: u64,
    /// Records that were written, or tried to be.
    pub put: u64,
    /// Of these, how many came too late: another had written.
    pub conflicts: u64,
    /// Records that were removed.
    pub delete: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
}

impl StoreCounts {
    /// All operations.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.get + self.head + self.put + self.delete
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            get: self.get - before.get,
            head: self.head - before.head,
            put: self.put - before.put,
            conflicts: self.conflicts - before.conflicts,
            delete: self.delete - before.delete,
            bytes_read: self.bytes_read - before.bytes_read,
            bytes_written: self.bytes_written - before.bytes_written,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.get += other.get;
        self.head += other.head;
        self.put += other.put;
        self.conflicts += other.conflicts;
        self.delete += other.delete;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    get: AtomicU64,
    head: AtomicU64,
    put: AtomicU64,
    conflicts: AtomicU64,
    delete: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> StoreCounts {
        StoreCounts {
            get: self.get.load(Relaxed),
            head: self.head.load(Relaxed),
            put: self.put.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            delete: self.delete.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
        }
    }
}

/// Counts what goes to the store beneath, and changes nothing.
#[derive(Debug)]
pub(super) struct CountingStore {
    inner: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl CountingStore {
    pub(super) fn new(inner: Arc<dyn Store>) -> (Arc<Self>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let store = Self {
            inner,
            counters: Arc::clone(&counters),
        };
        (Arc::new(store), counters)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for CountingStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.counters.get.fetch_add(1, Relaxed);
        let record = self.inner.get(key).await?;
        let bytes = record.as_ref().map_or(0, |record| record.payload.len() as u64);
        self.counters.bytes_read.fetch_add(bytes, Relaxed);
        Ok(record)
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.counters.head.fetch_add(1, Relaxed);
        self.inner.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.counters.put.fetch_add(1, Relaxed);
        self.counters
            .bytes_written
            .fetch_add(payload.len() as u64, Relaxed);
        let result = self.inner.put(key, payload, options).await;
        if result.as_ref().is_err_and(StoreError::is_conflict) {
            self.counters.conflicts.fetch_add(1, Relaxed);
        }
        result
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.counters.delete.fetch_add(1, Relaxed);
        self.inner.delete(key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        self.inner.scan(prefix)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.inner.watch()
    }
}
