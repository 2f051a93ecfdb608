//! What the tests of sealing share: a clock and randomness that they control, and a cache in one line.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::random::{Random, RandomError};
use cache_core::seal::{
    FixedKeySource, Incarnation, KeySource, Namespace, RecordKind, RecordMeta, SealError, Sealer, SecretKey,
};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, MemoryStore, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch,
};
use cache_core::time::{Clock, CoarseTime, UnixMillis};
use futures_core::stream::BoxStream;
use sha2::{Digest, Sha256};

/// 2023-11-14T22:13:20Z.
pub(crate) const START: i64 = 1_700_000_000_000;

/// Stands still until it is told to go on.
#[derive(Debug, Default)]
pub(crate) struct StillClock(AtomicI64);

impl StillClock {
    pub(crate) fn advance(&self, duration: Duration) {
        self.0
            .fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for StillClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(START + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// SHA-256 of a seed and a counter: the same bytes in every run, for vectors. Remembers how much was drawn each time.
#[derive(Debug)]
pub(crate) struct FrozenRandom {
    seed: u64,
    counter: AtomicU64,
    draws: Mutex<Vec<usize>>,
}

impl FrozenRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            counter: AtomicU64::new(0),
            draws: Mutex::default(),
        }
    }

    /// The lengths of all draws since the last call.
    pub(crate) fn take_draws(&self) -> Vec<usize> {
        std::mem::take(&mut self.draws.lock().unwrap())
    }
}

impl Random for FrozenRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        self.draws.lock().unwrap().push(buffer.len());
        for chunk in buffer.chunks_mut(32) {
            let counter = self.counter.fetch_add(1, Ordering::SeqCst);
            let block = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(counter.to_be_bytes())
                .finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

/// A store with everything that a sealer needs.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<StillClock>,
    pub(crate) random: Arc<FrozenRandom>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn over(store: Arc<dyn Store>) -> Self {
        Self::seeded(7, store)
    }

    pub(crate) fn seeded(seed: u64, store: Arc<dyn Store>) -> Self {
        Self {
            store,
            clock: Arc::default(),
            random: Arc::new(FrozenRandom::new(seed)),
        }
    }

    pub(crate) async fn open(&self) -> Sealer {
        self.open_with(fixed(1)).await.unwrap()
    }

    pub(crate) async fn open_with(&self, source: Arc<dyn KeySource>) -> Result<Sealer, SealError> {
        self.open_in("ns", source).await
    }

    pub(crate) async fn open_in(
        &self,
        namespace: &str,
        source: Arc<dyn KeySource>,
    ) -> Result<Sealer, SealError> {
        let namespace = Namespace::new(namespace).unwrap();
        Sealer::open(
            self.store.clone(),
            namespace,
            source,
            self.clock.clone(),
            self.random.clone(),
        )
        .await
    }

    /// Seals and stores one record of generation 1.
    pub(crate) async fn write(&self, sealer: &Sealer, name: &str) -> StoreKey {
        let key = sealer.stored_key(RecordKind::User, name.as_bytes());
        sealer.freshen().await.unwrap();
        let record = sealer
            .seal(RecordKind::User, &key, meta(1), name.as_bytes())
            .unwrap();
        self.store
            .put(&key, record, PutOptions::overwrite())
            .await
            .unwrap();
        key
    }

    /// Reads and opens the record that [`write`](Self::write) wrote.
    pub(crate) async fn read(&self, sealer: &Sealer, key: &StoreKey) -> Result<String, SealError> {
        let record = self.record(key).await;
        let opened = sealer
            .open_or_reload(RecordKind::User, key, &record.payload)
            .await?;
        Ok(String::from_utf8(opened.payload.expose().to_vec()).unwrap())
    }

    pub(crate) async fn record(&self, key: &StoreKey) -> Record {
        self.store.get(key).await.unwrap().unwrap()
    }

    pub(crate) async fn replace(&self, key: &StoreKey, payload: Vec<u8>) {
        self.store
            .put(key, payload.into(), PutOptions::overwrite())
            .await
            .unwrap();
    }
}

pub(crate) fn fixed(byte: u8) -> Arc<FixedKeySource> {
    Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[byte; 32])))
}

pub(crate) fn meta(generation: u64) -> RecordMeta {
    RecordMeta {
        codec: 1,
        schema: 1,
        incarnation: Incarnation([9; 16]),
        generation,
    }
}

pub(crate) fn ring_key() -> StoreKey {
    StoreKey::new("ns/keyring/ring").unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A memory store that counts `head`, loses replies or requests of `put` and replies of `delete`, is down, or has another writer get in first.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) inner: MemoryStore,
    pub(crate) heads: AtomicUsize,
    pub(crate) lose_next_reply: AtomicBool,
    pub(crate) lose_next_request: AtomicBool,
    /// The reply to a `delete`.
    pub(crate) lose_next_removal: AtomicBool,
    pub(crate) down: AtomicBool,
    /// Written behind everybody's back before the next `put` or `delete`.
    pub(crate) interloper: Mutex<Option<(StoreKey, Bytes)>>,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryStore::new(),
            heads: 0.into(),
            lose_next_reply: false.into(),
            lose_next_request: false.into(),
            lose_next_removal: false.into(),
            down: false.into(),
            interloper: Mutex::default(),
        }
    }

    async fn interfere(&self) {
        let write = self.interloper.lock().unwrap().take();
        if let Some((key, payload)) = write {
            self.inner
                .put(&key, payload, PutOptions::overwrite())
                .await
                .unwrap();
        }
    }
}

#[async_trait]
impl Store for Scripted {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::new(
                ErrorKind::Unavailable,
                Operation::Get,
                "scripted",
            ));
        }
        self.inner.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.heads.fetch_add(1, Ordering::SeqCst);
        self.inner.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.interfere().await;
        let timeout = || StoreError::new(ErrorKind::Timeout, Operation::Put, "scripted");
        if self.lose_next_request.swap(false, Ordering::SeqCst) {
            return Err(timeout());
        }
        let version = self.inner.put(key, payload, options).await?;
        if self.lose_next_reply.swap(false, Ordering::SeqCst) {
            return Err(timeout());
        }
        Ok(version)
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.interfere().await;
        self.inner.delete(key, expected).await?;
        if self.lose_next_removal.swap(false, Ordering::SeqCst) {
            return Err(StoreError::new(ErrorKind::Timeout, Operation::Delete, "scripted"));
        }
        Ok(())
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
