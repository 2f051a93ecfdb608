//! A store of partitions over the documents of MSAL programs.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::MsalLayout;
use crate::codec::msal::{Document, RowOrigin};
use crate::codec::{BincodeCodec, Codec};
use crate::schema::{AuthorityIdentity, Partition, PartitionKey};
use crate::seal::{Incarnation, RecordKind, RecordMeta, Sealer};
use crate::store::error::{ErrorKind, Operation};
use crate::store::{
    Capabilities, PutMode, PutOptions, Record, Store, StoreError, StoreKey, Version, Versions, Watch,
    WatchEvent,
};
use crate::time::Clock;

/// How often a write without a condition is tried while others change the document.
const MAX_ATTEMPTS: u32 = 16;

/// Shows each partition in a document as an unsealed record of its own, which is what a cache reads and writes.
///
/// A version is the document's: a change of any row of it is a conflict for all. Of a store that watches its documents, a change of one is
/// passed on as [`WatchEvent::Lost`]: it can be a change of everything in it.
pub(crate) struct SharedStore {
    store: Arc<dyn Store>,
    pub(super) layout: MsalLayout,
    sealer: Sealer,
    pub(super) clock: Arc<dyn Clock>,
}

/// What a stored key of the cache stands for.
enum Place {
    /// A partition within a document.
    Document { key: PartitionKey, record: StoreKey },
    /// A document that cannot be read.
    Unreadable(StoreKey),
    /// A record that MSAL programs do not have.
    Own,
}

struct Found {
    document: Document,
    record: Record,
}

impl SharedStore {
    /// `sealer` is the legible one that the cache above has.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        layout: MsalLayout,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            layout,
            sealer,
            clock,
        }
    }

    /// The watch of the store beneath, where its documents are known: of any other record nobody could tell whose it is.
    fn watched(&self) -> Option<&dyn Watch> {
        self.layout.documents()?;
        self.store.watch()
    }

    fn place(&self, key: &StoreKey) -> Place {
        let kind = RecordKind::of(self.sealer.namespace(), key);
        let (Some(kind), Some(logical)) = (kind, self.sealer.logical_key(key)) else {
            return Place::Own;
        };
        if let (Some(record), RecordKind::User | RecordKind::App) = (logical.strip_prefix(b"?"), kind) {
            let record = std::str::from_utf8(record).ok();
            return match record.and_then(|record| StoreKey::new(record).ok()) {
                Some(record) => Place::Unreadable(record),
                None => Place::Own,
            };
        }
        let partition =
            PartitionKey::from_bytes(&logical).filter(|partition| partition.record_kind() == kind);
        let Some(partition) = partition else {
            return Place::Own;
        };
        match self.record(&partition) {
            Some(record) => Place::Document {
                key: partition,
                record,
            },
            None => Place::Own,
        }
    }

    /// The partition's document, which no account's name can make a record of our own.
    pub(super) fn record(&self, key: &PartitionKey) -> Option<StoreKey> {
        let own = self.sealer.namespace().prefix();
        self.layout
            .record(key)
            .filter(|record| !record.as_str().starts_with(&own))
    }

    async fn find(
        &self,
        record: &StoreKey,
        asked: Option<&PartitionKey>,
        operation: Operation,
    ) -> Result<Option<Found>, StoreError> {
        let Some(found) = self.store.get(record).await? else {
            return Ok(None);
        };
        let document = self.read(record, &found.payload, asked, operation)?;
        Ok(Some(Found {
            document,
            record: found,
        }))
    }

    fn read(
        &self,
        record: &StoreKey,
        payload: &[u8],
        asked: Option<&PartitionKey>,
        operation: Operation,
    ) -> Result<Document, StoreError> {
        let asked = asked.and_then(PartitionKey::authority);
        let identify = |named: &[AuthorityIdentity], origin: &RowOrigin<'_>| {
            self.layout.authorities.identify(asked, named, origin)
        };
        Document::read(payload, &identify, self.clock.now().to_seconds()).map_err(|source| {
            let context = format!(
                "{record} is not a cache in MSAL's JSON. It may be encrypted by the program that wrote it, which nobody else can read; \
                 let that program write it unencrypted, or remove it"
            );
            StoreError::new(ErrorKind::Corrupt, operation, context).with_source(source)
        })
    }

    /// The partition as the record that the cache expects.
    fn shown(&self, key: &StoreKey, partition: &Partition) -> Result<Bytes, StoreError> {
        let codec = BincodeCodec;
        let meta = RecordMeta {
            codec: codec.id(),
            schema: codec.schema_version(),
            // A document counts no writes, so none is ever older than another.
            incarnation: Incarnation([0; 16]),
            generation: u64::MAX,
        };
        let payload = codec
            .encode(partition)
            .map_err(|source| unusable(Operation::Get, source))?;
        self.sealer
            .seal(partition.key.record_kind(), key, meta, payload.expose())
            .map_err(|source| unusable(Operation::Get, source))
    }

    /// The partition in a record that the cache made.
    fn taken(
        &self,
        key: &StoreKey,
        partition: &PartitionKey,
        record: &[u8],
    ) -> Result<Partition, StoreError> {
        let opened = self
            .sealer
            .open_record(partition.record_kind(), key, record)
            .map_err(|source| unusable(Operation::Put, source))?;
        let codec = BincodeCodec;
        opened
            .check_payload_format(key, codec.id(), codec.schema_version())
            .map_err(|source| unusable(Operation::Put, source))?;
        codec
            .decode(opened.payload.expose(), opened.meta.schema)
            .map_err(|source| unusable(Operation::Put, source))
    }

    /// Changes the document in one compare-and-swap; `Conflict` unless what is there is what `mode` wants.
    async fn put_once(
        &self,
        record: &StoreKey,
        partition: &Partition,
        options: PutOptions,
    ) -> Result<Version, StoreError> {
        let conflict = || Err(StoreError::conflict(Operation::Put));
        let found = self.find(record, Some(&partition.key), Operation::Put).await?;
        let (mut document, mode, expires_at) = match (found, options.mode) {
            (None, PutMode::Update(_)) => return conflict(),
            (None, PutMode::Create | PutMode::Overwrite) => {
                (Document::default(), PutMode::Create, options.expires_at)
            }
            (Some(found), mode) => {
                let is_there = found.document.partition(&partition.key).is_some();
                let applies = match mode {
                    PutMode::Create => !is_there,
                    PutMode::Update(version) => is_there && version == found.record.version,
                    PutMode::Overwrite => true,
                };
                if !applies {
                    return conflict();
                }
                // What others have in the document must not go with what one partition has.
                let expires_at = if found.document.has_others_than(&partition.key) {
                    let both = found.record.expires_at.zip(options.expires_at);
                    both.map(|(before, wanted)| before.max(wanted))
                } else {
                    options.expires_at
                };
                let mode = PutMode::Update(found.record.version);
                (found.document, mode, expires_at)
            }
        };
        // A document of all never ends because one partition might.
        let expires_at = expires_at.filter(|_| !self.layout.is_single());
        document.replace(partition.clone());
        let json = Bytes::copy_from_slice(document.write(self.layout.style()).expose());
        let options = PutOptions {
            mode,
            expires_at,
            ..options
        };
        self.store.put(record, json, options).await
    }

    async fn delete_once(
        &self,
        key: &PartitionKey,
        record: &StoreKey,
        expected: Option<Version>,
    ) -> Result<(), StoreError> {
        let missing = match expected {
            None => Ok(()),
            Some(_) => Err(StoreError::conflict(Operation::Delete)),
        };
        let Some(Found {
            mut document,
            record: found,
        }) = self.find(record, Some(key), Operation::Delete).await?
        else {
            return missing;
        };
        if expected.is_some_and(|expected| expected != found.version) {
            return Err(StoreError::conflict(Operation::Delete));
        }
        if !document.remove(key) {
            return missing;
        }
        if document.is_empty() {
            return self.store.delete(record, Some(found.version)).await;
        }
        let json = Bytes::copy_from_slice(document.write(self.layout.style()).expose());
        let options = PutOptions::update(found.version).expires_at(found.expires_at);
        self.store.put(record, json, options).await.map(drop)
    }

    /// The partitions of one document that a scan for `prefix` lists.
    async fn list(&self, record: StoreKey, prefix: &str) -> Result<Vec<(StoreKey, Version)>, StoreError> {
        let Some(found) = self.store.get(&record).await? else {
            return Ok(Vec::new());
        };
        let mut keys = Vec::new();
        match self.read(&record, &found.payload, None, Operation::Scan) {
            Ok(document) => {
                for partition in document.partitions() {
                    // Rows in a document where nobody looks for them are not found by their key either.
                    if self.record(&partition.key).as_ref() == Some(&record) {
                        let kind = partition.key.record_kind();
                        keys.push(self.sealer.stored_key(kind, &partition.key.to_bytes()));
                    }
                }
            }
            Err(_) if self.layout.is_usual(&record) => {
                let kind = if record.as_str().ends_with("_AppTokenCache") {
                    RecordKind::App
                } else {
                    RecordKind::User
                };
                keys.push(self.sealer.stored_key(kind, format!("?{record}").as_bytes()));
            }
            // Somebody else's, and no cache.
            Err(_) => {}
        }
        keys.retain(|key| key.as_str().starts_with(prefix));
        Ok(keys.into_iter().map(|key| (key, found.version)).collect())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for SharedStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let (partition, record) = match self.place(key) {
            Place::Own => return self.store.get(key).await,
            Place::Unreadable(record) => {
                self.find(&record, None, Operation::Get).await?;
                return Ok(None);
            }
            Place::Document { key, record } => (key, record),
        };
        let Some(found) = self.find(&record, Some(&partition), Operation::Get).await? else {
            return Ok(None);
        };
        let Some(partition) = found.document.partition(&partition) else {
            return Ok(None);
        };
        Ok(Some(Record {
            payload: self.shown(key, partition)?,
            ..found.record
        }))
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        match self.place(key) {
            Place::Own => self.store.head(key).await,
            // Asked of a partition that was there in this version: whether it is there in another does not matter.
            Place::Document { record, .. } | Place::Unreadable(record) => self.store.head(&record).await,
        }
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        let (partition, record) = match self.place(key) {
            Place::Own => return self.store.put(key, payload, options).await,
            Place::Unreadable(record) => return Err(untouched(&record, Operation::Put)),
            Place::Document { key, record } => (key, record),
        };
        let partition = self.taken(key, &partition, &payload)?;
        let mut attempts = 1;
        loop {
            match self.put_once(&record, &partition, options).await {
                Err(error)
                    if error.is_conflict()
                        && options.mode == PutMode::Overwrite
                        && attempts < MAX_ATTEMPTS =>
                {
                    attempts += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let (partition, record) = match self.place(key) {
            Place::Own => return self.store.delete(key, expected).await,
            Place::Unreadable(record) => return Err(untouched(&record, Operation::Delete)),
            Place::Document { key, record } => (key, record),
        };
        let mut attempts = 1;
        loop {
            match self.delete_once(&partition, &record, expected).await {
                Err(error) if error.is_conflict() && expected.is_none() && attempts < MAX_ATTEMPTS => {
                    attempts += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let own = self.sealer.namespace().prefix();
        let is_foreign = move |item: &Result<(StoreKey, Version), StoreError>| {
            item.as_ref()
                .map_or(true, |(key, _)| !key.as_str().starts_with(&own))
        };
        let records = match self.layout.documents() {
            Some(known) => stream::iter(known.into_iter().map(Ok)).boxed(),
            None => self
                .store
                .scan("")
                .filter(move |item| std::future::ready(is_foreign(item)))
                .map_ok(|(record, _)| record)
                .boxed(),
        };
        let documents = records
            .and_then(move |record| self.list(record, prefix))
            .map_ok(|keys| stream::iter(keys.into_iter().map(Ok)))
            .try_flatten();
        if self.layout.keeps_only_documents() {
            return documents.boxed();
        }
        self.store.scan(prefix).chain(documents).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            versions: Versions::ContentHash,
            watch: self.watched().is_some(),
            ..self.store.capabilities()
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.watched()?;
        Some(self)
    }
}

impl Watch for SharedStore {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        let (Some(watch), Some(documents)) = (self.watched(), self.layout.documents()) else {
            return stream::pending().boxed();
        };
        let in_terms_of_partitions = move |event| match event {
            WatchEvent::Changed(key, _) if documents.contains(&key) => WatchEvent::Lost,
            event => event,
        };
        watch.subscribe().map(in_terms_of_partitions).boxed()
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore")
            .field("store", &self.store)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

fn untouched(record: &StoreKey, operation: Operation) -> StoreError {
    let context = format!("{record} is another program's and was left as it is; remove it there");
    StoreError::new(ErrorKind::Unsupported, operation, context)
}

fn unusable(operation: Operation, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(
        ErrorKind::InvalidArgument,
        operation,
        "a partition could not become a record",
    )
    .with_source(source)
}
