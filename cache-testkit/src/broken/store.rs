//! A store in memory that is right but for its flaw.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, CompareAndSwap, Durability, Persistence, PutMode, PutOptions, Record, Store, StoreError,
    StoreKey, Version, Versions, Watch, WatchEvent,
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::task::yield_now;

use super::place::{Place, Row};
use super::{Flaw, listing};

/// The longest payload, in bytes; short, so that the suite is quick.
const MAX_VALUE_BYTES: usize = 1 << 16;
/// How many connections there are to leak.
const CONNECTIONS: usize = 10;

/// One instance over a [`Place`].
#[derive(Debug)]
pub(super) struct BrokenStore {
    place: Arc<Place>,
    instance: u64,
    /// What this instance read, for [`Flaw::ReadsAreCached`].
    cache: Mutex<HashMap<StoreKey, Option<Record>>>,
    /// What this instance wrote last, for [`Flaw::ComparesOwnVersions`].
    own_versions: Mutex<HashMap<StoreKey, Version>>,
    /// For [`Flaw::LocksPerInstance`].
    own_lock: tokio::sync::Mutex<()>,
}

impl BrokenStore {
    pub(super) fn open(place: Arc<Place>) -> Self {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        Self {
            place,
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            cache: Mutex::default(),
            own_versions: Mutex::default(),
            own_lock: tokio::sync::Mutex::default(),
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.place.has(flaw)
    }

    /// The key as this store's rows name it.
    fn row_key(&self, key: &StoreKey) -> StoreKey {
        let text = match self.place.flaw {
            Some(Flaw::KeysIgnoreCase) => key.as_str().to_ascii_lowercase(),
            Some(Flaw::KeysAreCut) => key.as_str().chars().take(255).collect(),
            _ => return key.clone(),
        };
        StoreKey::new(text).unwrap_or_else(|_| key.clone())
    }

    fn check_connections(&self, operation: Operation) -> Result<(), StoreError> {
        if self.place.leaked.load(Ordering::Relaxed) < CONNECTIONS {
            return Ok(());
        }
        Err(StoreError::new(
            ErrorKind::Unavailable,
            operation,
            "no connection is left",
        ))
    }

    fn read(&self, key: &StoreKey, operation: Operation) -> Result<Option<Record>, StoreError> {
        self.check_connections(operation)?;
        let key = self.row_key(key);
        let read = || {
            let rows = self.place.rows();
            rows.get(&key)
                .filter(|row| self.place.is_live(row))
                .map(|row| row.record.clone())
        };
        let found = if self.has(Flaw::ReadsAreCached) {
            lock(&self.cache).entry(key.clone()).or_insert_with(read).clone()
        } else {
            read()
        };
        let invented = || Record {
            payload: Bytes::new(),
            version: Version::from_bytes([0; 16]),
            expires_at: None,
        };
        Ok(found.or_else(|| self.has(Flaw::MissingIsEmpty).then(invented)))
    }

    /// Refuses what is too long, or spoils it.
    fn receive(&self, key: &StoreKey, payload: Bytes) -> Result<Bytes, StoreError> {
        let limit = self.capabilities().max_value_bytes;
        let limit = if self.has(Flaw::PromisesTooMuch) {
            limit / 2
        } else {
            limit
        };
        if payload.len() > limit {
            if self.has(Flaw::CutsThePayload) {
                return Ok(payload.slice(..limit));
            }
            if self.has(Flaw::RefusesAfterDeleting) {
                self.place.rows().remove(key);
            }
            return Err(StoreError::new(
                ErrorKind::TooLarge,
                Operation::Put,
                "the payload is too long",
            ));
        }
        if self.has(Flaw::PayloadIsText) {
            return Ok(String::from_utf8_lossy(&payload).into_owned().into());
        }
        Ok(payload)
    }

    /// The version that a condition is compared with.
    fn version_to_compare(
        &self,
        key: &StoreKey,
        even_expired: Flaw,
        even_deleted: Option<Flaw>,
    ) -> Option<Version> {
        if self.has(Flaw::ComparesOwnVersions)
            && let Some(own) = lock(&self.own_versions).get(key)
        {
            return Some(*own);
        }
        let rows = self.place.rows();
        let seen = |row: &&Row| {
            self.place.is_live(row)
                || (!row.deleted && self.has(even_expired))
                || (row.deleted && even_deleted.is_some_and(|flaw| self.has(flaw)))
        };
        rows.get(key).filter(seen).map(|row| row.record.version)
    }

    fn put_applies(&self, key: &StoreKey, mode: PutMode) -> bool {
        match mode {
            PutMode::Overwrite => {
                !self.has(Flaw::OverwriteKeepsTheFirst)
                    || !self
                        .place
                        .rows()
                        .get(key)
                        .is_some_and(|row| self.place.is_live(row))
            }
            PutMode::Create => {
                let found =
                    self.version_to_compare(key, Flaw::ExpiredStopsCreate, Some(Flaw::TombstoneStopsCreate));
                found.is_none() || self.has(Flaw::IgnoresCreate)
            }
            PutMode::Update(expected) => {
                let found =
                    self.version_to_compare(key, Flaw::ExpiredCanBeUpdated, Some(Flaw::UpdateResurrects));
                match found {
                    Some(version) => version == expected || self.has(Flaw::IgnoresUpdateVersion),
                    None => self.has(Flaw::UpdateIsUpsert),
                }
            }
        }
    }

    fn delete_applies(&self, key: &StoreKey, expected: Option<Version>) -> bool {
        let Some(expected) = expected else {
            return true;
        };
        match self.version_to_compare(key, Flaw::ExpiredCanBeDeleted, None) {
            Some(version) => version == expected || self.has(Flaw::IgnoresDeleteVersion),
            None => self.has(Flaw::DeleteOfMissingVersionSucceeds),
        }
    }

    /// Whether the write is one that a flaw swallows.
    fn is_swallowed(&self, options: &PutOptions) -> bool {
        match self.place.flaw {
            Some(Flaw::AcknowledgesWithoutWriting) => true,
            Some(Flaw::RelaxedIsNotVisible) => options.durability == Durability::Relaxed,
            Some(Flaw::PassedExpiryIsNoWrite) => options
                .expires_at
                .is_some_and(|moment| moment <= self.place.now()),
            _ => false,
        }
    }
}

impl Drop for BrokenStore {
    fn drop(&mut self) {
        if self.has(Flaw::ClosingLosesRecords) {
            self.place.rows().clear();
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for BrokenStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.read(key, Operation::Get)
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        Ok(self.read(key, Operation::Head)?.map(|record| record.version))
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.check_connections(Operation::Put)?;
        let key = &self.row_key(key);
        let payload = self.receive(key, payload)?;
        if self.has(Flaw::DroppedWriteLeaks) {
            self.place.leaked.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
            self.place.leaked.fetch_sub(1, Ordering::Relaxed);
        }
        // The one lock of the place makes check and write one; these flaws do without.
        let _alone = if self.has(Flaw::LocksPerInstance) {
            Some(self.own_lock.lock().await)
        } else {
            None
        };
        let checked_before = if self.has(Flaw::ChecksThenWrites) || self.has(Flaw::LocksPerInstance) {
            let applies = self.put_applies(key, options.mode);
            for _ in 0..4 {
                yield_now().await;
            }
            Some(applies)
        } else {
            None
        };
        let (replaced, row) = {
            let _one = self.place.atomically();
            let applies = checked_before.unwrap_or_else(|| self.put_applies(key, options.mode));
            let mut rows = self.place.rows();
            if !applies {
                if self.has(Flaw::OverwriteKeepsTheFirst) && options.mode == PutMode::Overwrite {
                    return Ok(self.place.next_row(None, payload, &options).record.version);
                }
                if self.has(Flaw::ConflictSetsTheExpiry)
                    && let Some(row) = rows.get_mut(key)
                {
                    row.record.expires_at = options.expires_at;
                }
                return Err(StoreError::conflict(Operation::Put));
            }
            let row = self.place.next_row(rows.get(key), payload, &options);
            let replaced = rows.get(key).map(|row| row.record.version);
            if self.is_swallowed(&options) {
                return Ok(row.record.version);
            }
            if self.has(Flaw::EmptyPayloadDeletes) && row.record.payload.is_empty() {
                rows.remove(key);
                return Ok(row.record.version);
            }
            let mut first = row.clone();
            if self.has(Flaw::DroppedWriteIsCut) {
                first.record.payload = Bytes::new();
            }
            if let (true, Some(replaced)) = (self.has(Flaw::TearsWrites), replaced) {
                first.record.version = replaced;
            }
            rows.insert(key.clone(), first);
            (replaced, row)
        };
        let version = row.record.version;
        if self.has(Flaw::TearsWrites) || self.has(Flaw::DroppedWriteIsCut) {
            yield_now().await;
            self.place.rows().insert(key.clone(), row);
        }
        lock(&self.cache).remove(key);
        lock(&self.own_versions).insert(key.clone(), version);
        self.place
            .changes
            .announce_put(self.instance, key, replaced, version);
        Ok(version)
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.check_connections(Operation::Delete)?;
        let key = &self.row_key(key);
        let checked_before = if self.has(Flaw::ChecksThenWrites) {
            let applies = self.delete_applies(key, expected);
            yield_now().await;
            Some(applies)
        } else {
            None
        };
        let removed = {
            let _one = self.place.atomically();
            if !checked_before.unwrap_or_else(|| self.delete_applies(key, expected)) {
                return Err(StoreError::conflict(Operation::Delete));
            }
            let mut rows = self.place.rows();
            let mut removed = false;
            for (found, row) in rows.iter_mut() {
                let named = found == key
                    || self.has(Flaw::DeletesByPrefix) && found.as_str().starts_with(key.as_str());
                if named && !row.deleted && !self.has(Flaw::DeleteDoesNothing) {
                    row.deleted = true;
                    removed = true;
                }
            }
            removed
        };
        if !removed && self.has(Flaw::DeleteOfMissingFails) {
            return Err(StoreError::new(
                ErrorKind::Other,
                Operation::Delete,
                "there is no such record",
            ));
        }
        lock(&self.cache).remove(key);
        lock(&self.own_versions).remove(key);
        if removed {
            self.place.changes.announce_delete(self.instance, key);
        }
        Ok(())
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        if let Err(error) = self.check_connections(Operation::Scan) {
            return stream::iter([Err(error)]).boxed();
        }
        listing::list(&self.place, prefix)
    }

    fn capabilities(&self) -> Capabilities {
        let changed = self.has(Flaw::CapabilitiesChange) && self.place.was_written();
        Capabilities {
            compare_and_swap: if changed {
                CompareAndSwap::Host
            } else {
                CompareAndSwap::Process
            },
            versions: Versions::Unique,
            native_expiry: false,
            max_value_bytes: if self.has(Flaw::LimitIsUseless) {
                100
            } else {
                MAX_VALUE_BYTES
            },
            persistence: Persistence::Process,
            shows_early: false,
            watch: true,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        (!self.has(Flaw::PromisesAWatch)).then_some(self as &dyn Watch)
    }
}

impl Watch for BrokenStore {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        self.place.changes.subscribe(self.instance)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
