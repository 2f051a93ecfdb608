//! Small records beside the cache, in the same store and sealed in the same way.
//!
//! Whoever can write to the store could otherwise give their own session another user's name. A record that was sealed
//! opens only where it was put, so none can be swapped for another either.

use std::fmt;
use std::sync::Arc;

use cache_core::random::{OsRandom, Random, RandomError};
use cache_core::seal::{Incarnation, KeySource, Namespace, RecordKind, RecordMeta, SealError, Sealer};
use cache_core::store::{PutMode, PutOptions, Store, StoreError, StoreKey, Version};
use cache_core::time::{Clock, SystemClock, UnixMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Apart from the token cache, which knows nothing of these records.
const NAMESPACE: &str = "web-sessions";

/// JSON, in the numbering of this namespace.
const CODEC: u8 = 1;
const SCHEMA: u16 = 1;

/// Sealed records of JSON.
pub(super) struct SealedRecords {
    store: Arc<dyn Store>,
    sealer: Sealer,
}

/// A record that was read.
pub(super) struct Found<T> {
    pub(super) value: T,
    meta: RecordMeta,
    version: Version,
}

impl SealedRecords {
    /// The records in `store`, under a key ring that `key_source` protects.
    pub(super) async fn open(
        store: Arc<dyn Store>,
        key_source: Arc<dyn KeySource>,
    ) -> Result<Self, RecordError> {
        let sealer = Sealer::open(
            Arc::clone(&store),
            Namespace::new(NAMESPACE).map_err(|_| RecordError::Namespace)?,
            key_source,
            Arc::new(SystemClock),
            Arc::new(OsRandom),
        )
        .await?;
        Ok(Self { store, sealer })
    }

    /// Reads the record of `name`.
    ///
    /// A record that was changed, moved or cut is an error, not an absence: it did not come from here.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        name: &[u8],
    ) -> Result<Option<Found<T>>, RecordError> {
        let key = self.key(name);
        let Some(record) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let opened = self
            .sealer
            .open_or_reload(RecordKind::Session, &key, &record.payload)
            .await?;
        opened.check_payload_format(&key, CODEC, SCHEMA)?;
        let value = serde_json::from_slice(opened.payload.expose()).map_err(|_| RecordError::Json)?;
        Ok(Some(Found {
            value,
            meta: opened.meta,
            version: record.version,
        }))
    }

    /// Puts a new record at `name`, until `expires_at`; `false` when there is one.
    pub(super) async fn create<T: Serialize>(
        &self,
        name: &[u8],
        value: &T,
        expires_at: Option<UnixMillis>,
    ) -> Result<bool, RecordError> {
        let meta = RecordMeta {
            codec: CODEC,
            schema: SCHEMA,
            incarnation: Incarnation::random(self.random())?,
            generation: 1,
        };
        self.put(name, value, meta, PutMode::Create, expires_at).await
    }

    /// Puts `value` in the place of `found`, until `expires_at`; `false` when that is not there any more. So a record that somebody
    /// removed meanwhile stays removed.
    pub(super) async fn replace<T: Serialize>(
        &self,
        name: &[u8],
        found: &Found<T>,
        value: &T,
        expires_at: Option<UnixMillis>,
    ) -> Result<bool, RecordError> {
        let meta = RecordMeta {
            generation: found.meta.generation.saturating_add(1),
            ..found.meta
        };
        let mode = PutMode::Update(found.version);
        self.put(name, value, meta, mode, expires_at).await
    }

    /// Removes the record of `name`, if there is one.
    pub(super) async fn remove(&self, name: &[u8]) -> Result<(), RecordError> {
        Ok(self.store.delete(&self.key(name), None).await?)
    }

    pub(super) fn now(&self) -> UnixMillis {
        SystemClock.now()
    }

    pub(super) fn random(&self) -> &dyn Random {
        &OsRandom
    }

    /// The name is hidden behind a keyed hash: whoever reads the store learns no session ID from it.
    pub(super) fn key(&self, name: &[u8]) -> StoreKey {
        self.sealer.stored_key(RecordKind::Session, name)
    }

    async fn put<T: Serialize>(
        &self,
        name: &[u8],
        value: &T,
        meta: RecordMeta,
        mode: PutMode,
        expires_at: Option<UnixMillis>,
    ) -> Result<bool, RecordError> {
        let json = Zeroizing::new(serde_json::to_vec(value).map_err(|_| RecordError::Json)?);
        let key = self.key(name);
        self.sealer.freshen().await?;
        let sealed = self.sealer.seal(RecordKind::Session, &key, meta, &json)?;
        let options = PutOptions {
            mode,
            ..PutOptions::overwrite().expires_at(expires_at)
        };
        match self.store.put(&key, sealed, options).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for SealedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedRecords")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Why a record was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The store.
    #[error("the store of the web sessions failed")]
    Store(#[from] StoreError),
    /// The record does not open, or the key ring does not.
    #[error("a record of the web sessions cannot be opened or sealed")]
    Seal(#[from] SealError),
    /// There are no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// What was sealed is not what this program seals.
    #[error("a record of the web sessions is not of this program")]
    Json,
    /// The namespace.
    #[error("the namespace of the web sessions is none")]
    Namespace,
    /// Others wrote at the same time, again and again.
    #[error("a record of the web sessions is written by too many at once; try again")]
    Contended,
}

impl RecordError {
    /// Whether it is about one record, which will not open at the next attempt either, and not about the store.
    pub(super) fn is_unreadable(&self) -> bool {
        match self {
            Self::Seal(error) => error.is_unreadable_record(),
            Self::Json => true,
            _ => false,
        }
    }
}
