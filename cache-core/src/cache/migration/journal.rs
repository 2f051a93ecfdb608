//! What is on its way: sealed records that only a migration reads, so that a token in them is in nobody's use.

use std::sync::Arc;
use std::time::Duration;

use bincode::{BorrowDecode, Encode};
use futures_util::TryStreamExt;

use crate::cache::{CacheError, Inner};
use crate::codec::{BincodeCodec, Codec, CodecError, decode_binary, encode_binary};
use crate::random::jitter;
use crate::schema::{Partition, PartitionKey};
use crate::seal::{Incarnation, RecordKind};
use crate::store::error::{ErrorKind, Retry};
use crate::store::{PutMode, PutOptions, Store, StoreError, StoreKey, Version};
use crate::time::UnixMillis;

/// Which layout of the bytes this is.
const SCHEMA: u16 = 1;
/// How often a write is tried.
const MAX_ATTEMPTS: u32 = 16;
/// How often a write is repeated for want of replicas.
const MOST_DOUBTS: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The logical key of the mark by which a run finds out whether source and target are one place.
pub(super) const PLACE: &[u8] = b"5:place,";

/// A partition on its way.
pub(super) struct Entry {
    /// Which cache it comes from.
    pub(super) source: [u8; 32],
    /// The life of the record that it was read from; zero in a document.
    pub(super) incarnation: Incarnation,
    /// When its record ceases to exist.
    pub(super) expires_at: Option<UnixMillis>,
    /// How long its record was in the source, in bytes.
    pub(super) bytes: u64,
    /// What the target is to hold.
    pub(super) partition: Partition,
}

#[derive(Encode, BorrowDecode)]
struct WireEntry<'a> {
    source: [u8; 32],
    incarnation: [u8; 16],
    expires_at: Option<i64>,
    bytes: u64,
    key: &'a [u8],
    schema: u16,
    content: &'a [u8],
}

impl Entry {
    fn encode(&self) -> Result<crate::secret::SecretBytes, CodecError> {
        let codec = BincodeCodec;
        let content = codec.encode(&self.partition)?;
        encode_binary(&WireEntry {
            source: self.source,
            incarnation: self.incarnation.0,
            expires_at: self.expires_at.map(|moment| moment.0),
            bytes: self.bytes,
            key: &self.partition.key.to_bytes(),
            schema: codec.schema_version(),
            content: content.expose(),
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let wire: WireEntry<'_> = decode_binary(bytes)?;
        let partition = BincodeCodec.decode(wire.content, wire.schema)?;
        if partition.key.to_bytes() != wire.key {
            return Err(malformed("it names another partition than it holds"));
        }
        Ok(Self {
            source: wire.source,
            incarnation: Incarnation(wire.incarnation),
            expires_at: wire.expires_at.map(UnixMillis),
            bytes: wire.bytes,
            partition,
        })
    }
}

/// What is in the journal.
#[derive(Default)]
pub(super) struct Entries {
    /// What is on its way from the source that is asked for.
    pub(super) own: Vec<PartitionKey>,
    /// How many are on their way from other sources.
    pub(super) of_others: u64,
    pub(super) unreadable: Vec<(StoreKey, CacheError)>,
}

/// What became of a write to the journal.
pub(super) enum Written {
    At(Version),
    /// Another run was faster.
    Conflict,
}

/// The cache in whose store the journal lies.
#[derive(Clone)]
pub(super) struct Journal {
    inner: Arc<Inner>,
}

impl Journal {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Whether it lies in the store of this cache. A sign-out there ends the entry of what it removes.
    pub(super) fn lies_in(&self, cache: &Arc<Inner>) -> bool {
        Arc::ptr_eq(&self.inner, cache)
    }

    /// Whether the store of a cache takes records other than those of MSAL programs. Nothing is written to find out.
    pub(super) async fn fits_into(inner: &Inner) -> Result<bool, CacheError> {
        if inner.shared.is_none() {
            return Ok(true);
        }
        if inner.only_documents {
            return Ok(false);
        }
        let key = inner.sealer.stored_key(RecordKind::Migration, b"5:probe,");
        let never = PutOptions::update(Version::random(&*inner.random)?);
        match inner
            .store
            .put(&key, bytes::Bytes::from_static(b"probe"), never)
            .await
        {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(false),
            Err(error) if !error.is_conflict() => Err(error.into()),
            _ => Ok(true),
        }
    }

    fn key(&self, partition: &PartitionKey) -> StoreKey {
        let name = partition.to_bytes();
        let logical = [format!("9:partition,{}:", name.len()).as_bytes(), &name, b","].concat();
        self.inner.sealer.stored_key(RecordKind::Migration, &logical)
    }

    /// The entry of a partition.
    pub(super) async fn read(
        &self,
        partition: &PartitionKey,
    ) -> Result<Option<(Entry, Version)>, CacheError> {
        let key = self.key(partition);
        let Some((entry, version)) = self.read_at(&key).await? else {
            return Ok(None);
        };
        if entry.partition.key != *partition {
            return Err(CacheError::WrongPartition { key: key.to_string() });
        }
        Ok(Some((entry, version)))
    }

    async fn read_at(&self, key: &StoreKey) -> Result<Option<(Entry, Version)>, CacheError> {
        let Some(record) = self.inner.store.get(key).await? else {
            return Ok(None);
        };
        let opened = self
            .inner
            .sealer
            .open_or_reload(RecordKind::Migration, key, &record.payload)
            .await?;
        if opened.meta.schema > SCHEMA {
            let (found, known) = (opened.meta.schema, SCHEMA);
            return Err(CodecError::NewerSchema { found, known }.into());
        }
        Ok(Some((Entry::decode(opened.payload.expose())?, record.version)))
    }

    /// Writes the entry over the one of `expected`, durably and settled; `None` where there must be none.
    pub(super) async fn write(
        &self,
        entry: &Entry,
        expected: Option<Version>,
    ) -> Result<Written, CacheError> {
        let inner = &self.inner;
        let key = self.key(&entry.partition.key);
        let meta = inner.successor(None, 0, SCHEMA)?;
        let bytes = inner
            .seal_fitting(RecordKind::Migration, &key, meta, entry.encode()?.expose())
            .await?;
        let shows_early = inner.store.capabilities().shows_early;
        let mut mode = expected.map_or(PutMode::Create, PutMode::Update);
        let (mut doubts, mut failure) = (0, None);
        for attempt in 0..MAX_ATTEMPTS {
            self.pause(attempt).await?;
            let options = PutOptions {
                mode,
                ..PutOptions::create()
            };
            let error = match inner.store.put(&key, bytes.clone(), options).await {
                Ok(version) => return Ok(Written::At(version)),
                Err(error) => error,
            };
            if !error.is_conflict() && error.retry() == Retry::No {
                return Err(error.into());
            }
            let found = match inner.store.get(&key).await {
                Ok(found) => found,
                Err(error) if error.retry() == Retry::No => return Err(error.into()),
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            match found {
                // These bytes can only be ours. Whether the disk or the replicas have them only a write tells that they acknowledge.
                Some(found) if found.payload == bytes => {
                    if !shows_early || doubts == MOST_DOUBTS {
                        return if shows_early {
                            Err(error.into())
                        } else {
                            Ok(Written::At(found.version))
                        };
                    }
                    doubts += 1;
                    mode = PutMode::Update(found.version);
                }
                _ if error.is_conflict() => return Ok(Written::Conflict),
                _ => {}
            }
            failure = Some(error);
        }
        Err(exhausted(failure))
    }

    /// Removes the entry of this version. One that another run has changed since stays.
    pub(super) async fn remove(&self, partition: &PartitionKey, version: Version) -> Result<(), CacheError> {
        let key = self.key(partition);
        let mut failure = None;
        for attempt in 0..MAX_ATTEMPTS {
            self.pause(attempt).await?;
            match self.inner.store.delete(&key, Some(version)).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_conflict() => return Ok(()),
                Err(error) if error.retry() == Retry::No => return Err(error.into()),
                Err(error) => failure = Some(error),
            }
        }
        Err(exhausted(failure))
    }

    /// What is on its way, seen from `source`.
    pub(super) async fn entries(&self, source: &[u8; 32]) -> Result<Entries, CacheError> {
        let prefix = format!(
            "{}{}/",
            self.inner.sealer.namespace().prefix(),
            RecordKind::Migration.tag()
        );
        let keys: Vec<StoreKey> = self
            .inner
            .store
            .scan(&prefix)
            .map_ok(|(key, _)| key)
            .try_collect()
            .await?;
        let mark = self.inner.sealer.stored_key(RecordKind::Migration, PLACE);
        let mut found = Entries::default();
        for key in keys.into_iter().filter(|key| *key != mark) {
            match self.read_at(&key).await {
                Ok(Some((entry, _))) if entry.source == *source => found.own.push(entry.partition.key),
                Ok(Some(_)) => found.of_others += 1,
                Ok(None) => {}
                Err(error @ (CacheError::Seal(_) | CacheError::Codec(_))) => {
                    found.unreadable.push((key, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn pause(&self, attempt: u32) -> Result<(), CacheError> {
        if attempt > 0 {
            let longest = Duration::from_millis(1 << attempt.min(10)).min(LONGEST_PAUSE);
            let pause = longest.mul_f64(jitter(&*self.inner.random)?);
            self.inner.clock.sleep(pause).await;
        }
        Ok(())
    }
}

fn exhausted(failure: Option<StoreError>) -> CacheError {
    match failure {
        Some(error) => error.into(),
        None => CacheError::Contended {
            attempts: MAX_ATTEMPTS,
        },
    }
}

fn malformed(reason: &str) -> CodecError {
    CodecError::Malformed {
        codec: "migration",
        reason: reason.to_owned(),
    }
}
