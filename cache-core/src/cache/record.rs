//! Between a partition and the record that holds it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{CacheError, Inner};
use crate::codec::{BincodeCodec, Codec, CodecError};
use crate::schema::index::IndexedPartition;
use crate::schema::{Partition, PartitionKey};
use crate::seal::{Freshness, Incarnation, Known, Opened, RecordKind, RecordMeta};
use crate::secret::SecretBytes;
use crate::store::{Record, StoreKey, Version};
use crate::strategy::memory_tier::Slot;
use crate::time::UnixMillis;

/// How often a ring that became stale between being looked at and being used is looked at again.
const MAX_FRESHENED: u32 = 8;

/// A partition as it was read from the store.
pub(crate) struct Loaded {
    pub(crate) partition: Partition,
    origin: Origin,
    bytes: usize,
}

impl Loaded {
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// The length of the record, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }
}

/// Which record a partition was read from: what the next write must replace and continue.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) version: Version,
    /// Incarnation and generation that the next write continues; `None` where it must begin anew.
    lineage: Option<(Incarnation, u64)>,
    /// When the store forgets the record.
    pub(crate) expires_at: Option<UnixMillis>,
}

impl Origin {
    /// Which life of the record it was, and which generation of it; `None` for a record that was rolled back.
    pub(crate) fn lineage(&self) -> Option<(Incarnation, u64)> {
        self.lineage
    }

    /// When the store may forget what is written at `now` over `origin`. Never earlier than before: a write by a machine whose clock is years
    /// behind would else cost the session as soon as the clock is right.
    pub(crate) fn expiry(
        origin: Option<&Self>,
        idle: Option<Duration>,
        now: UnixMillis,
    ) -> Option<UnixMillis> {
        let expiry = now.saturating_add(idle?);
        let before = origin.and_then(|origin| origin.expires_at);
        Some(before.map_or(expiry, |before| before.max(expiry)))
    }

    /// When a session that is written over `origin` ends: a refresh does not lengthen its life. `None` for other partitions.
    pub(crate) fn session_expiry(origin: Option<&Self>, key: &PartitionKey) -> Option<UnixMillis> {
        let origin = origin.filter(|_| matches!(key, PartitionKey::Session { .. }));
        origin.and_then(|origin| origin.expires_at)
    }
}

/// A record that was opened and not yet decoded.
struct Unsealed<'a> {
    opened: Opened,
    codec: &'a dyn Codec,
    /// Whether it was not rolled back.
    is_fresh: bool,
    origin: Origin,
    bytes: usize,
}

impl Unsealed<'_> {
    fn decode(&self) -> Result<Partition, CacheError> {
        let Opened { payload, meta, .. } = &self.opened;
        Ok(self.codec.decode(payload.expose(), meta.schema)?)
    }

    /// With what was decoded, if it may be used.
    fn into_loaded(self, partition: Partition) -> Loaded {
        Loaded {
            partition: if self.is_fresh {
                partition
            } else {
                Partition::new(partition.key)
            },
            origin: self.origin,
            bytes: self.bytes,
        }
    }
}

/// A partition as it goes into the store, and as it is kept beside.
pub(crate) struct Encoded {
    pub(crate) payload: Bytes,
    pub(crate) meta: RecordMeta,
    plaintext: SecretBytes,
}

impl Encoded {
    /// The form in which `partition`, which this is, is kept in memory.
    pub(crate) fn indexed(&self, partition: Partition) -> Result<IndexedPartition, CacheError> {
        if self.meta.codec == BincodeCodec::ID {
            return Ok(IndexedPartition::of_memory(&self.plaintext)?);
        }
        Ok(IndexedPartition::new(partition)?)
    }
}

fn wrong_partition(stored_key: &StoreKey) -> CacheError {
    CacheError::WrongPartition {
        key: stored_key.to_string(),
    }
}

fn is_unknown_key<T>(opened: &Result<T, CacheError>) -> bool {
    matches!(opened, Err(CacheError::Seal(error)) if error.is_unknown_key())
}

impl Inner {
    pub(crate) fn stored_key(&self, key: &PartitionKey) -> StoreKey {
        self.sealer.stored_key(key.record_kind(), &key.to_bytes())
    }

    /// Reads the partition from the store, past the memory tier. `stored_key` must be that of `key`.
    pub(crate) async fn load(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
    ) -> Result<Option<Loaded>, CacheError> {
        let Some(unsealed) = self.fetch(key.record_kind(), stored_key).await? else {
            return Ok(None);
        };
        let partition = unsealed.decode()?;
        // The name in the store follows from the key, so the keys alone are compared.
        if partition.key != *key {
            return Err(wrong_partition(stored_key));
        }
        Ok(Some(unsealed.into_loaded(partition)))
    }

    /// As [`load`](Self::load), in the form in which it is kept in memory.
    pub(crate) async fn load_indexed(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
    ) -> Result<Option<(IndexedPartition, Version)>, CacheError> {
        let Some(unsealed) = self.fetch(key.record_kind(), stored_key).await? else {
            return Ok(None);
        };
        let version = unsealed.origin.version;
        if !unsealed.is_fresh || unsealed.opened.meta.codec != BincodeCodec::ID {
            let partition = unsealed.decode()?;
            if partition.key != *key {
                return Err(wrong_partition(stored_key));
            }
            let indexed = IndexedPartition::new(unsealed.into_loaded(partition).partition)?;
            return Ok(Some((indexed, version)));
        }
        let Opened { payload, meta, .. } = unsealed.opened;
        let key = key.to_bytes();
        let indexed = if self.memory.is_off() {
            IndexedPartition::of_record_whole(payload, meta.schema, &key)?
        } else {
            IndexedPartition::of_record(&payload, meta.schema, &key)?
        };
        match indexed {
            Some(indexed) => Ok(Some((indexed, version))),
            None => Err(wrong_partition(stored_key)),
        }
    }

    /// Reads and unseals a record.
    async fn fetch(
        &self,
        kind: RecordKind,
        stored_key: &StoreKey,
    ) -> Result<Option<Unsealed<'_>>, CacheError> {
        let known = self.rollback.before_read(stored_key);
        let Some(record) = self.store.get(stored_key).await? else {
            return Ok(None);
        };
        let version = record.version;
        let mut unsealed = self.unseal(stored_key, record, kind, known.clone()).await;
        if is_unknown_key(&unsealed) {
            // Between the read and the opening the record may have been resealed and the key that it was under retired.
            let Some(record) = self.store.get(stored_key).await? else {
                return Ok(None);
            };
            if record.version != version {
                unsealed = self.unseal(stored_key, record, kind, known).await;
            }
        }
        unsealed.map(Some)
    }

    /// Opens and decodes a record, whichever partition it holds. One that was rolled back is empty where the policy makes
    /// that a miss: none of its tokens is ever used, and the next sign-in begins a new incarnation over it.
    pub(crate) async fn open(
        &self,
        stored_key: &StoreKey,
        record: &Record,
        kind: RecordKind,
        known: Known,
    ) -> Result<Loaded, CacheError> {
        let unsealed = self.unseal(stored_key, record.clone(), kind, known).await?;
        let partition = unsealed.decode()?;
        // A record whose content names another place was moved by somebody who can seal, or by a defect of ours.
        if self.stored_key(&partition.key) != *stored_key {
            return Err(wrong_partition(stored_key));
        }
        Ok(unsealed.into_loaded(partition))
    }

    async fn unseal(
        &self,
        stored_key: &StoreKey,
        mut record: Record,
        kind: RecordKind,
        known: Known,
    ) -> Result<Unsealed<'_>, CacheError> {
        let bytes = record.payload.len();
        let opened = self
            .sealer
            .open_taking(kind, stored_key, &mut record.payload)
            .await?;
        let meta = opened.meta;
        let is_fresh = self.rollback.check(stored_key, known, &meta)? == Freshness::Fresh;
        let codec = self
            .codecs
            .iter()
            .find(|codec| codec.id() == meta.codec)
            .ok_or_else(|| CacheError::UnknownCodec {
                key: stored_key.to_string(),
                codec: meta.codec,
            })?;
        Ok(Unsealed {
            opened,
            codec: &**codec,
            is_fresh,
            origin: Origin {
                version: record.version,
                lineage: is_fresh.then_some((meta.incarnation, meta.generation)),
                expires_at: record.expires_at,
            },
            bytes,
        })
    }

    /// Encodes and seals `partition` as the successor of `origin`.
    pub(crate) async fn encode(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
        partition: &Partition,
        origin: Option<&Origin>,
    ) -> Result<Encoded, CacheError> {
        let codec = &self.codecs[0];
        let plaintext = codec.encode(partition).map_err(|error| match error {
            CodecError::TooLarge { bytes, limit, .. } => CacheError::PartitionTooLarge { bytes, limit },
            error => error.into(),
        })?;
        let lineage = origin.and_then(|origin| origin.lineage);
        let meta = self.successor(lineage, codec.id(), codec.schema_version())?;
        let payload = self
            .seal_fitting(key.record_kind(), stored_key, meta, plaintext.expose())
            .await?;
        Ok(Encoded {
            payload,
            meta,
            plaintext,
        })
    }

    /// What the record after that of `lineage` says of itself; without one it begins a lineage.
    pub(crate) fn successor(
        &self,
        lineage: Option<(Incarnation, u64)>,
        codec: u8,
        schema: u16,
    ) -> Result<RecordMeta, CacheError> {
        let (incarnation, generation) = match lineage {
            Some((incarnation, generation)) => (incarnation, generation.saturating_add(1)),
            None => (Incarnation::random(&*self.random)?, 1),
        };
        Ok(RecordMeta {
            codec,
            schema,
            incarnation,
            generation,
        })
    }

    /// As [`seal_fresh`](Self::seal_fresh), for a record that must fit into the store.
    pub(crate) async fn seal_fitting(
        &self,
        kind: RecordKind,
        stored_key: &StoreKey,
        meta: RecordMeta,
        plaintext: &[u8],
    ) -> Result<Bytes, CacheError> {
        let sealed = self.seal_fresh(kind, stored_key, meta, plaintext).await?;
        let limit = self.store.capabilities().max_value_bytes;
        if sealed.len() > limit {
            return Err(CacheError::PartitionTooLarge {
                bytes: sealed.len(),
                limit,
            });
        }
        Ok(sealed)
    }

    /// Seals under a ring that is known to be fresh.
    pub(crate) async fn seal_fresh(
        &self,
        kind: RecordKind,
        stored_key: &StoreKey,
        meta: RecordMeta,
        plaintext: &[u8],
    ) -> Result<Bytes, CacheError> {
        let mut attempts = 0;
        loop {
            self.sealer.freshen().await?;
            match self.sealer.seal(kind, stored_key, meta, plaintext) {
                // A read by another task may have met a newer ring since, or the machine was suspended.
                Err(error) if error.is_stale_ring() && attempts < MAX_FRESHENED => attempts += 1,
                sealed => return Ok(sealed?),
            }
        }
    }

    pub(crate) fn slot(&self, partition: Arc<IndexedPartition>, version: Version) -> Slot {
        Slot {
            partition,
            version,
            validated_at: self.clock.monotonic(),
        }
    }
}
