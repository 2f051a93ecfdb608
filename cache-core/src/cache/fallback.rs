//! Copies of partitions in a fallback store, which serve while the store itself cannot be reached.
//!
//! What makes that safe:
//! - **A copy has no refresh token**, so nothing can be spent twice, and rows of other programs that nobody understands are left out.
//! - **Nothing is ever read from a copy but to be served**: no merge begins with one, and none is written back.
//! - **A copy says when the store last confirmed it**, in its authenticated header (as its generation, in milliseconds of the wall clock),
//!   and serves no longer after that than a partition in memory would. So a copy that somebody puts back serves no longer either.
//! - **A removal overtakes a copy**: it is noted before it is carried out, and a copy is written only if nothing was known to
//!   have changed under its key since it was read.
//!
//! The copies have a key ring of their own, so none can be put into the store in the place of the record that it is a copy of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{CacheError, Inner};
use crate::random::Random;
use crate::schema::index::IndexedPartition;
use crate::schema::{Partition, PartitionKey};
use crate::seal::{Incarnation, KeySource, Namespace, RecordKind, RecordMeta, Sealer};
use crate::store::error::{ErrorKind, Operation};
use crate::store::{
    Durability, InvalidStoreKey, PrefixStore, PutOptions, Store, StoreError, StoreKey, Version,
};
use crate::strategy::memory_tier::{Generation, Slot};
use crate::time::{Clock, UnixMillis, with_deadline};

/// Where the copies are, and where that of the key ring is.
const COPIES: &str = "fallback/";
const RING: &str = "fallback-ring/";
/// How many copies may wait to be written. Beyond that they are left out: the next lookup makes another.
const MOST_PENDING: usize = 64;
/// Of how many records it is remembered that they were copied.
const MOST_KNOWN: usize = 16_384;
/// How far the clock of another process on the machine, or this one's before it was set back, may have been ahead.
const SKEW: Duration = Duration::from_secs(300);

/// The fallback store.
#[derive(Debug)]
pub(crate) struct Fallback {
    copies: PrefixStore<Arc<dyn Store>>,
    ring: PrefixStore<Arc<dyn Store>>,
    sealer: Sealer,
    at_most: Duration,
    places: Arc<Semaphore>,
    /// Held while a copy is written or removed.
    writing: tokio::sync::Mutex<()>,
    known: Mutex<HashMap<StoreKey, Known>>,
    /// The generation of the cache's own ring that is kept here.
    ring_generation: AtomicU64,
    /// Whether the last operation failed.
    is_failing: AtomicBool,
}

/// What is known of the copy of a record.
#[derive(Clone, Copy, Debug)]
enum Known {
    Copied {
        version: Version,
        /// When the store had confirmed it, on the monotonic clock.
        at: Duration,
    },
    /// It must not serve, whether it is still there or not.
    Removed,
}

impl Fallback {
    /// Opens the copies under a ring of their own, or makes it.
    pub(crate) async fn open(
        store: &Arc<dyn Store>,
        at_most: Duration,
        namespace: Namespace,
        source: Arc<dyn KeySource>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, CacheError> {
        let copies: Arc<dyn Store> = Arc::new(part(store, COPIES)?);
        let sealer = Sealer::open(copies, namespace, source, clock, random).await?;
        Self::with(store, at_most, sealer)
    }

    /// Copies that are not encrypted, as the cache is not.
    pub(crate) fn plaintext(
        store: &Arc<dyn Store>,
        at_most: Duration,
        namespace: &Namespace,
    ) -> Result<Self, CacheError> {
        Self::with(store, at_most, Sealer::plaintext(namespace))
    }

    fn with(store: &Arc<dyn Store>, at_most: Duration, sealer: Sealer) -> Result<Self, CacheError> {
        Ok(Self {
            copies: part(store, COPIES)?,
            ring: part(store, RING)?,
            sealer,
            at_most,
            places: Arc::new(Semaphore::new(MOST_PENDING)),
            writing: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            ring_generation: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Where the cache's own ring is kept, as it is in the store.
    pub(crate) fn ring_store(&self) -> Arc<dyn Store> {
        Arc::new(self.ring.clone())
    }

    /// The copy's name: of the record's own, which a report of a change names, and nothing else does.
    fn key_of(&self, kind: RecordKind, stored_key: &StoreKey) -> StoreKey {
        self.sealer.stored_key(kind, stored_key.as_str().as_bytes())
    }

    fn is_removed(&self, stored_key: &StoreKey) -> bool {
        matches!(self.known().get(stored_key), Some(Known::Removed))
    }

    fn is_due(&self, stored_key: &StoreKey, slot: &Slot) -> bool {
        match self.known().get(stored_key) {
            Some(Known::Copied { version, at }) => {
                *version != slot.version || slot.validated_at.saturating_sub(*at) >= self.at_most / 4
            }
            Some(Known::Removed) | None => true,
        }
    }

    fn note(&self, stored_key: &StoreKey, now: Known) {
        let mut known = self.known();
        if known.len() >= MOST_KNOWN {
            // A copy that is forgotten is made anew. A removal that has not been carried out is not forgotten.
            known.retain(|_, known| matches!(known, Known::Removed));
        }
        known.insert(stored_key.clone(), now);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<StoreKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it when the fallback store begins to fail; each failure counts.
    fn observe<T>(&self, operation: &'static str, result: Result<T, CacheError>) -> Result<T, CacheError> {
        match &result {
            Ok(_) => self.is_failing.store(false, Ordering::Relaxed),
            Err(error) => {
                metrics::counter!("tokenkeep_fallback_failed_total", "operation" => operation).increment(1);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error = %error, operation, "the fallback store failed");
                }
            }
        }
        result
    }

    async fn read(
        &self,
        inner: &Inner,
        kind: RecordKind,
        key: &StoreKey,
    ) -> Result<Option<Copied>, CacheError> {
        let Some(record) = self.copies.get(key).await? else {
            return Ok(None);
        };
        let opened = self.sealer.open_or_reload(kind, key, &record.payload).await?;
        let codec = inner.codecs.iter().find(|codec| codec.id() == opened.meta.codec);
        let codec = codec.ok_or_else(|| CacheError::UnknownCodec {
            key: key.to_string(),
            codec: opened.meta.codec,
        })?;
        let mut rows = codec.decode(opened.payload.expose(), opened.meta.schema)?;
        strip(&mut rows);
        let confirmed_at = UnixMillis(i64::try_from(opened.meta.generation).unwrap_or(i64::MAX));
        Ok(Some(Copied { rows, confirmed_at }))
    }

    async fn write(
        &self,
        inner: &Inner,
        kind: RecordKind,
        key: &StoreKey,
        copy: &Copied,
    ) -> Result<(), CacheError> {
        let codec = &inner.codecs[0];
        let meta = RecordMeta {
            codec: codec.id(),
            schema: codec.schema_version(),
            incarnation: Incarnation::random(&*inner.random)?,
            generation: u64::try_from(copy.confirmed_at.0).unwrap_or(0),
        };
        let plaintext = codec.encode(&copy.rows)?;
        self.sealer.freshen().await?;
        let sealed = self.sealer.seal(kind, key, meta, plaintext.expose())?;
        let bound = inner.outage_bound().unwrap_or(self.at_most);
        let options = PutOptions::overwrite()
            .expires_at(Some(copy.confirmed_at.saturating_add(bound)))
            .durability(Durability::Relaxed);
        self.copies.put(key, sealed, options).await?;
        Ok(())
    }
}

/// A copy of a partition.
struct Copied {
    rows: Partition,
    confirmed_at: UnixMillis,
}

impl Copied {
    fn serves(&self, bound: Duration, now: UnixMillis) -> bool {
        now < self.confirmed_at.saturating_add(bound) && self.confirmed_at <= now.saturating_add(SKEW)
    }
}

/// Takes away what must exist once.
fn strip(rows: &mut Partition) {
    rows.refresh_tokens.clear();
    rows.residue.clear();
}

fn part(store: &Arc<dyn Store>, prefix: &str) -> Result<PrefixStore<Arc<dyn Store>>, CacheError> {
    let invalid = |source: InvalidStoreKey| {
        StoreError::new(ErrorKind::InvalidArgument, Operation::Open, "no part for copies").with_source(source)
    };
    Ok(PrefixStore::new(Arc::clone(store), prefix).map_err(invalid)?)
}

impl Inner {
    /// What the fallback store has of the partition, if it may still serve.
    pub(crate) async fn read_copy(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
        bound: Duration,
    ) -> Option<Arc<IndexedPartition>> {
        let fallback = self.fallback.as_ref()?;
        let kind = key.record_kind();
        let copy_key = fallback.key_of(kind, stored_key);
        let read = fallback.read(self, kind, &copy_key);
        let read = with_deadline(&*self.clock, self.strategy.limits.commit, read).await;
        let copy = fallback
            .observe("read", read.unwrap_or(Err(CacheError::TimedOut)))
            .ok()??;
        // Looked at after the read: a removal may have been noted meanwhile.
        let serves =
            copy.rows.key == *key && copy.serves(bound, self.clock.now()) && !fallback.is_removed(stored_key);
        serves.then(|| Arc::new(IndexedPartition::new(copy.rows)))
    }

    /// Copies what was read or written when the key had `generation`, in the background, if it is time.
    pub(crate) fn copy_later(
        self: &Arc<Self>,
        key: &PartitionKey,
        stored_key: &StoreKey,
        slot: &Slot,
        generation: Generation,
    ) {
        let Some(fallback) = &self.fallback else { return };
        if *key == PartitionKey::Residue || !fallback.is_due(stored_key, slot) {
            return;
        }
        let Ok(place) = Arc::clone(&fallback.places).try_acquire_owned() else {
            metrics::counter!("tokenkeep_fallback_skipped_total").increment(1);
            return;
        };
        let (inner, stored_key, slot, kind) = (
            Arc::clone(self),
            stored_key.clone(),
            slot.clone(),
            key.record_kind(),
        );
        self.tasks.spawn(async move {
            let _place = place;
            let Some(fallback) = &inner.fallback else { return };
            let _writing = fallback.writing.lock().await;
            if !inner.memory.is_current(&stored_key, generation) || !fallback.is_due(&stored_key, &slot) {
                return;
            }
            let age = inner.clock.monotonic().saturating_sub(slot.validated_at);
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let mut copy = Copied {
                rows: slot.partition.partition().clone(),
                confirmed_at: UnixMillis(inner.clock.now().0.saturating_sub(age)),
            };
            strip(&mut copy.rows);
            let copy_key = fallback.key_of(kind, &stored_key);
            let write = fallback.write(&inner, kind, &copy_key, &copy);
            let written = with_deadline(&*inner.clock, inner.strategy.limits.commit, write).await;
            let written = fallback.observe("write", written.unwrap_or(Err(CacheError::TimedOut)));
            // Whoever removes it meanwhile has moved the generation before, and waits for its turn.
            if written.is_ok() && inner.memory.is_current(&stored_key, generation) {
                let (version, at) = (slot.version, slot.validated_at);
                fallback.note(&stored_key, Known::Copied { version, at });
            }
            inner.copy_ring().await;
        });
    }

    /// Keeps a token that an application obtained in an outage for the next process. Nobody is signed out of it, so the bound begins now.
    pub(crate) fn keep_app_copy(self: &Arc<Self>, waiting: &Arc<super::written_behind::Waiting>) {
        let Some(fallback) = &self.fallback else { return };
        let Ok(place) = Arc::clone(&fallback.places).try_acquire_owned() else {
            return;
        };
        let (inner, waiting) = (Arc::clone(self), Arc::clone(waiting));
        self.tasks.spawn(async move {
            let _place = place;
            let Some(fallback) = &inner.fallback else { return };
            let _writing = fallback.writing.lock().await;
            let (key, now) = (waiting.partition(), inner.clock.now());
            let stored_key = inner.stored_key(key);
            let copy_key = fallback.key_of(RecordKind::App, &stored_key);
            let work = async {
                let before = fallback.read(&inner, RecordKind::App, &copy_key).await?;
                let before = before.map(|copy| copy.rows).filter(|rows| rows.key == *key);
                let Some(rows) = waiting.merged(before.as_ref(), now.to_seconds()) else {
                    return Ok(());
                };
                let confirmed_at = now;
                let copy = Copied { rows, confirmed_at };
                fallback.write(&inner, RecordKind::App, &copy_key, &copy).await
            };
            let kept = with_deadline(&*inner.clock, inner.strategy.limits.commit, work).await;
            // Counted and said by `observe`; the token serves from memory all the same.
            let _ = fallback.observe("write", kept.unwrap_or(Err(CacheError::TimedOut)));
        });
    }

    /// The store says that the record is not there: nothing else may serve it.
    pub(crate) fn gone(self: &Arc<Self>, stored_key: &StoreKey) {
        self.memory.forget(stored_key);
        self.remove_copy_later(stored_key);
    }

    /// From now on the copy does not serve, and it is removed in the background.
    pub(crate) fn remove_copy_later(self: &Arc<Self>, stored_key: &StoreKey) {
        let Some(fallback) = &self.fallback else { return };
        fallback.note(stored_key, Known::Removed);
        let (inner, stored_key) = (Arc::clone(self), stored_key.clone());
        self.tasks.spawn(async move {
            // Until it succeeds the note stays, and `observe` has said why.
            let _ = inner.take_copy(&stored_key).await;
        });
    }

    /// Removes the copy.
    pub(crate) async fn remove_copy(&self, stored_key: &StoreKey) -> Result<(), CacheError> {
        let Some(fallback) = &self.fallback else {
            return Ok(());
        };
        fallback.note(stored_key, Known::Removed);
        self.take_copy(stored_key).await
    }

    async fn take_copy(&self, stored_key: &StoreKey) -> Result<(), CacheError> {
        let kind = RecordKind::of(self.sealer.namespace(), stored_key);
        let Some((fallback, kind)) = self.fallback.as_ref().zip(kind) else {
            return Ok(());
        };
        let _writing = fallback.writing.lock().await;
        if !fallback.is_removed(stored_key) {
            // Another has done it, or a copy of what came after was written.
            return Ok(());
        }
        let copy_key = fallback.key_of(kind, stored_key);
        let removal = async {
            // Most reports are about records that were never copied, and reading costs less than writing.
            if fallback.copies.head(&copy_key).await?.is_some() {
                fallback.copies.delete(&copy_key, None).await?;
            }
            Ok(())
        };
        let removal = with_deadline(&*self.clock, self.strategy.limits.commit, removal).await;
        fallback.observe("remove", removal.unwrap_or(Err(CacheError::TimedOut)))?;
        fallback.known().remove(stored_key);
        Ok(())
    }

    /// Keeps the cache's own ring beside the copies, so that a cache can be opened while the store is down.
    pub(crate) async fn copy_ring(&self) {
        let (Some(fallback), Some(key)) = (&self.fallback, self.sealer.ring_key()) else {
            return;
        };
        let generation = self.sealer.ring_generation();
        if fallback.ring_generation.load(Ordering::Relaxed) == generation {
            return;
        }
        let copy = async {
            if let Some(record) = self.store.get(&key).await? {
                fallback
                    .ring
                    .put(&key, record.payload, PutOptions::overwrite())
                    .await?;
            }
            Ok(())
        };
        let copied = with_deadline(&*self.clock, self.strategy.limits.commit, copy).await;
        let copied = fallback.observe("write", copied.unwrap_or(Err(CacheError::TimedOut)));
        if copied.is_ok() {
            fallback.ring_generation.store(generation, Ordering::Relaxed);
        }
    }
}
