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
use crate::schema::Partition;
use crate::seal::{Incarnation, KeySource, Namespace, RecordKind, RecordMeta, Sealer};
use crate::store::error::{ErrorKind, Operation};
use crate::store::{
    Durability, InvalidStoreKey, PrefixStore, PutOptions, Store, StoreError, StoreExt, StoreKey, Version,
};
use crate::strategy::memory_tier::Slot;
use crate::time::{Clock, UnixMillis};

/// Where the copies are, and where that of the key ring is.
const COPIES: &str = "fallback/";
const RING: &str = "fallback-ring/";
/// How many copies may wait to be written. Beyond that they are left out: the next lookup makes another.
const MOST_PENDING: usize = 64;
/// How many removals may be under way. Beyond that copies stay where they are, and do not serve.
const MOST_REMOVING: usize = 256;
/// Of how many records it is remembered that they were copied, or must not serve.
const MOST_KNOWN: usize = 16_384;
/// How far the clock of another process on the machine, or this one's before it was set back, may have been ahead.
const SKEW: Duration = Duration::from_secs(300);

/// The fallback store.
#[derive(Debug)]
pub(crate) struct Fallback {
    pub(super) copies: PrefixStore<Arc<dyn Store>>,
    pub(super) ring: PrefixStore<Arc<dyn Store>>,
    sealer: Sealer,
    terms: Terms,
    pub(super) places: Arc<Semaphore>,
    pub(super) removals: Arc<Semaphore>,
    /// Held while a copy is written or removed.
    pub(super) writing: tokio::sync::Mutex<()>,
    known: Mutex<Knowledge>,
    /// The generation of the cache's own ring that is kept here.
    pub(super) ring_generation: AtomicU64,
    /// Whether the last operation failed.
    is_failing: AtomicBool,
}

/// For how long copies serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// In an outage, beyond what memory may without one.
    at_most: Duration,
    /// After the store confirmed what was copied.
    bound: Duration,
}

impl Terms {
    pub(crate) fn new(at_most: Duration, max_staleness: Duration) -> Self {
        Self {
            at_most,
            bound: max_staleness.saturating_add(at_most),
        }
    }
}

/// What is known of the copies.
#[derive(Debug, Default)]
struct Knowledge {
    copies: HashMap<StoreKey, Known>,
    /// How many removals were noted.
    removals: u64,
    /// Copies that the store confirmed no later than then do not serve: more was removed than is remembered one by one.
    not_before: Option<UnixMillis>,
}

/// What is known of the copy of a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    Copied {
        version: Version,
        /// When the store had confirmed it, on the monotonic clock.
        at: Duration,
    },
    /// It must not serve, whether it is still there or not. Noted then.
    Removed { since: Duration, removal: Removal },
}

/// Which of the removals it is: one that was noted later must not be taken for done with an earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removal(u64);

impl Fallback {
    /// Opens the copies under a ring of their own, or makes it.
    pub(crate) async fn open(
        store: &Arc<dyn Store>,
        terms: Terms,
        namespace: Namespace,
        source: Arc<dyn KeySource>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, CacheError> {
        let copies: Arc<dyn Store> = Arc::new(part(store, COPIES)?);
        let sealer = Sealer::open(copies, namespace, source, clock, random).await?;
        Self::with(store, terms, sealer)
    }

    /// Removes all copies and their ring.
    pub(crate) async fn clear(store: &Arc<dyn Store>, namespace: &Namespace) -> Result<(), CacheError> {
        let copies = part(store, COPIES)?;
        for key in copies.collect_keys(&namespace.prefix()).await? {
            copies.delete(&key, None).await?;
        }
        Ok(())
    }

    /// Copies that are not encrypted, as the cache is not.
    pub(crate) fn plaintext(
        store: &Arc<dyn Store>,
        terms: Terms,
        namespace: &Namespace,
    ) -> Result<Self, CacheError> {
        Self::with(store, terms, Sealer::plaintext(namespace))
    }

    fn with(store: &Arc<dyn Store>, terms: Terms, sealer: Sealer) -> Result<Self, CacheError> {
        Ok(Self {
            copies: part(store, COPIES)?,
            ring: part(store, RING)?,
            sealer,
            terms,
            places: Arc::new(Semaphore::new(MOST_PENDING)),
            removals: Arc::new(Semaphore::new(MOST_REMOVING)),
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
    pub(super) fn key_of(&self, kind: RecordKind, stored_key: &StoreKey) -> StoreKey {
        self.sealer.stored_key(kind, stored_key.as_str().as_bytes())
    }

    /// The removal because of which the copy must not serve.
    pub(super) fn removal_of(&self, stored_key: &StoreKey) -> Option<Removal> {
        match self.lock().copies.get(stored_key) {
            Some(Known::Removed { removal, .. }) => Some(*removal),
            Some(Known::Copied { .. }) | None => None,
        }
    }

    /// Whether nothing is known that keeps the copy from serving.
    pub(super) fn may_serve(&self, stored_key: &StoreKey, copy: &Copied) -> bool {
        let known = self.lock();
        known.not_before.is_none_or(|moment| copy.confirmed_at > moment)
            && !matches!(known.copies.get(stored_key), Some(Known::Removed { .. }))
    }

    pub(super) fn is_due(&self, stored_key: &StoreKey, slot: &Slot) -> bool {
        match self.lock().copies.get(stored_key) {
            Some(Known::Copied { version, at }) => {
                *version != slot.version || slot.validated_at.saturating_sub(*at) >= self.terms.at_most / 4
            }
            Some(Known::Removed { .. }) | None => true,
        }
    }

    /// Whether the copy is one of `version`.
    pub(super) fn is_of(&self, stored_key: &StoreKey, version: Option<Version>) -> bool {
        matches!(self.lock().copies.get(stored_key), Some(Known::Copied { version: copied, .. }) if Some(*copied) == version)
    }

    /// From now on the copy does not serve. The caller has told memory before.
    pub(super) fn note_removed(&self, stored_key: &StoreKey, clock: &dyn Clock) -> Removal {
        let since = clock.monotonic();
        let mut known = self.lock();
        self.make_room(&mut known, clock);
        known.removals += 1;
        let removal = Removal(known.removals);
        let removed = Known::Removed { since, removal };
        known.copies.insert(stored_key.clone(), removed);
        removal
    }

    /// A copy was written of `slot`, which was the latest when `removal` was the last that was noted. One that was noted since overtakes it.
    pub(super) fn note_copied(
        &self,
        stored_key: &StoreKey,
        slot: &Slot,
        removal: Option<Removal>,
        clock: &dyn Clock,
    ) {
        let mut known = self.lock();
        self.make_room(&mut known, clock);
        match known.copies.get(stored_key) {
            Some(Known::Removed { removal: latest, .. }) if Some(*latest) != removal => {}
            _ => {
                let (version, at) = (slot.version, slot.validated_at);
                known
                    .copies
                    .insert(stored_key.clone(), Known::Copied { version, at });
            }
        }
    }

    /// The removal was carried out, and another is none of its business.
    pub(super) fn forget_removal(&self, stored_key: &StoreKey, removal: Removal) {
        let mut known = self.lock();
        if matches!(known.copies.get(stored_key), Some(Known::Removed { removal: latest, .. }) if *latest == removal)
        {
            known.copies.remove(stored_key);
        }
    }

    fn make_room(&self, known: &mut Knowledge, clock: &dyn Clock) {
        if known.copies.len() < MOST_KNOWN {
            return;
        }
        // A copy that is forgotten is made anew. A removal that was not carried out counts until the copy is too old to serve.
        let now = clock.monotonic();
        known.copies.retain(|_, known| match known {
            Known::Copied { .. } => false,
            Known::Removed { since, .. } => now.saturating_sub(*since) < self.terms.bound,
        });
        if known.copies.len() >= MOST_KNOWN {
            known.copies.clear();
            known.not_before = Some(clock.now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Knowledge> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it when the fallback store begins to fail; each failure counts.
    pub(super) fn observe<T>(
        &self,
        operation: &'static str,
        result: Result<T, CacheError>,
    ) -> Result<T, CacheError> {
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

    pub(super) async fn read(
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
        Ok(Some(Copied {
            rows,
            version: Some(Version::from_bytes(opened.meta.incarnation.0)),
            confirmed_at: UnixMillis(i64::try_from(opened.meta.generation).unwrap_or(i64::MAX)),
        }))
    }

    pub(super) async fn write(
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
            incarnation: match &copy.version {
                Some(version) => Incarnation(*version.as_bytes()),
                None => Incarnation::random(&*inner.random)?,
            },
            generation: u64::try_from(copy.confirmed_at.0).unwrap_or(0),
        };
        let plaintext = codec.encode(&copy.rows)?;
        self.sealer.freshen().await?;
        let sealed = self.sealer.seal(kind, key, meta, plaintext.expose())?;
        let options = PutOptions::overwrite()
            .expires_at(Some(copy.confirmed_at.saturating_add(self.terms.bound)))
            .durability(Durability::Relaxed);
        self.copies.put(key, sealed, options).await?;
        Ok(())
    }
}

/// A copy of a partition.
pub(super) struct Copied {
    pub(super) rows: Partition,
    /// The version of the record in the store that it is a copy of; in the header it is the incarnation.
    pub(super) version: Option<Version>,
    pub(super) confirmed_at: UnixMillis,
}

impl Copied {
    pub(super) fn serves(&self, bound: Duration, now: UnixMillis) -> bool {
        now < self.confirmed_at.saturating_add(bound) && self.confirmed_at <= now.saturating_add(SKEW)
    }
}

/// Takes away what must exist once.
pub(super) fn strip(rows: &mut Partition) {
    rows.refresh_tokens.clear();
    rows.residue.clear();
}

fn part(store: &Arc<dyn Store>, prefix: &str) -> Result<PrefixStore<Arc<dyn Store>>, CacheError> {
    let invalid = |source: InvalidStoreKey| {
        StoreError::new(ErrorKind::InvalidArgument, Operation::Open, "no part for copies").with_source(source)
    };
    Ok(PrefixStore::new(Arc::clone(store), prefix).map_err(invalid)?)
}
