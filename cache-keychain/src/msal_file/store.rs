//! The file as a store of one record.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, CompareAndSwap, Durability, Persistence, PutOptions, Record, Store, StoreError, StoreKey,
    Version, Versions, Watch,
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::task::AbortHandle;

use super::config::MsalFileConfig;
use super::error::Failure;
use super::file::{CacheFile, blocking};
use super::json::Shape;
use super::lock::{Guard, PeerLock};
use super::place::Place;
use super::reading::{self, Content, DELETED, MAX_BYTES, Memory};
use super::temporary;
use super::watch::{Announcer, follow};
use super::writing::{Condition, Outcome, not_a_cache};

/// The cache file of MSAL programs, as a store of one record. Nothing in it is encrypted; see the [module](super).
pub struct MsalFileStore {
    file: Arc<CacheFile>,
    follower: AbortHandle,
}

/// The file, kept from everybody else, until it is dropped.
#[must_use = "the file is kept only until this is dropped"]
pub struct FileHold {
    _guard: Guard,
}

impl fmt::Debug for FileHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileHold").finish_non_exhaustive()
    }
}

impl MsalFileStore {
    /// The longest file, in bytes (16 MiB).
    pub const MAX_VALUE_BYTES: usize = MAX_BYTES;

    /// Finds the file of `config`. It is neither read nor made yet; temporary files that killed writers left beside it are
    /// removed. Must be called within a tokio runtime, which the store then uses.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// `Unavailable` when there is no file and none is to be made; `PermissionDenied` when the file or its directory belongs to
    /// another user, or everybody may write to the directory; `InvalidArgument` when the path leads to no regular file.
    pub async fn open(config: MsalFileConfig) -> Result<Self, StoreError> {
        let (path, create, now) = (config.path.clone(), config.create, config.clock.now());
        let located = blocking(move || {
            let place = Place::locate(&path, create)?;
            for directory in place.directories() {
                temporary::sweep(directory, now);
            }
            Ok(place)
        });
        let place = located.await.map_err(|failure| failure.during(Operation::Open))?;
        let record = record_of(place.named());
        let lock = PeerLock::new(
            place.lock_files(),
            config.lock,
            Arc::clone(&config.clock),
            Arc::clone(&config.random),
        );
        let file = Arc::new(CacheFile {
            place,
            announcer: Announcer::new(record.clone()),
            record,
            clock: config.clock,
            watch_interval: config.watch_interval,
            random: config.random,
            lock,
            memory: Memory::default(),
            closed: AtomicBool::new(false),
        });
        let follower = tokio::spawn(follow(Arc::clone(&file))).abort_handle();
        Ok(Self { file, follower })
    }

    /// The key of the one record, which a [`MsalLayout::single_record`](cache_core::layout::MsalLayout::single_record) takes: the
    /// name of the file, where a key can bear it.
    #[must_use]
    pub fn record(&self) -> StoreKey {
        self.file.record.clone()
    }

    /// The path of the file: absolute, with the links of its directory resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.place.named()
    }

    /// Keeps MSAL programs and every store of this file from it, until what is returned is dropped: to copy the file, or to move it.
    ///
    /// Let it be for milliseconds. MSAL programs fail that wait for longer than 5 to 60 seconds, and the stores of this process
    /// after [`LockLimits::patience`](super::LockLimits::patience).
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// `Unavailable` when another program holds the file for too long; `PermissionDenied`, `ReadOnly` or `Full` when no lock file can
    /// be made.
    pub async fn hold(&self) -> Result<FileHold, StoreError> {
        self.check_open(Operation::Open)?;
        match self.file.lock.acquire().await {
            Ok(guard) => Ok(FileHold { _guard: guard }),
            Err(error) => Err(Failure::from(error).during(Operation::Open)),
        }
    }

    /// Ends the watch. Every later operation fails with `Closed`. Dropping the store does the same.
    pub fn close(&self) {
        self.file.closed.store(true, Ordering::Release);
        self.follower.abort();
        self.file.announcer.close();
    }

    fn check_open(&self, operation: Operation) -> Result<(), StoreError> {
        if self.file.closed.load(Ordering::Acquire) {
            return Err(Failure::closed().during(operation));
        }
        Ok(())
    }

    async fn document(
        &self,
        key: &StoreKey,
        operation: Operation,
    ) -> Result<Option<reading::Document>, StoreError> {
        self.check_open(operation)?;
        if *key != self.file.record {
            return Ok(None);
        }
        let content = self.file.current().await;
        match content.map_err(|failure| failure.during(operation))? {
            Content::Absent => Ok(None),
            Content::Whole(document) => Ok(Some(document)),
            Content::Foreign => Err(not_a_cache(self.path()).during(operation)),
        }
    }

    fn check_payload(&self, key: &StoreKey, payload: &[u8], options: &PutOptions) -> Result<(), Failure> {
        let refused = |kind, context: String| Err(Failure::new(kind, context));
        if *key != self.file.record {
            let context = format!(
                "a file of MSAL programs holds one record, {}; {key} needs a store of its own",
                self.file.record
            );
            return refused(ErrorKind::Unsupported, context);
        }
        if options.expires_at.is_some() {
            let context = "a file of MSAL programs has no place for an expiry; write without one";
            return refused(ErrorKind::Unsupported, context.to_owned());
        }
        if payload.len() > MAX_BYTES {
            let context = format!("{} bytes; at most {MAX_BYTES}", payload.len());
            return refused(ErrorKind::TooLarge, context);
        }
        if Shape::of(payload) != Shape::Whole || payload == DELETED {
            let context = "a file of MSAL programs holds a JSON object, and these bytes are none";
            return refused(ErrorKind::InvalidArgument, context.to_owned());
        }
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for MsalFileStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let document = self.document(key, Operation::Get).await?;
        Ok(document.map(|document| Record {
            payload: document.payload,
            version: document.version,
            expires_at: None,
        }))
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        let document = self.document(key, Operation::Head).await?;
        Ok(document.map(|document| document.version))
    }

    /// As the contract says, for the one record. The payload must be a JSON object, and no expiry can be kept.
    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.check_open(Operation::Put)?;
        let checked = self.check_payload(key, &payload, &options);
        checked.map_err(|failure| failure.during(Operation::Put))?;
        let condition = Condition::Put(options.mode);
        let outcome = self.file.replace(payload, condition, options.durability).await;
        match outcome.map_err(|failure| failure.during(Operation::Put))? {
            Outcome::Replaced(version) => Ok(version),
            _ => Err(StoreError::conflict(Operation::Put)),
        }
    }

    /// As the contract says. An empty cache is left in the file, because MSAL programs that find no file go on with what they have in
    /// memory, and write it back.
    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.check_open(Operation::Delete)?;
        if *key != self.file.record {
            return match expected {
                None => Ok(()),
                Some(_) => Err(StoreError::conflict(Operation::Delete)),
            };
        }
        let empty = Bytes::from_static(DELETED);
        let condition = Condition::Delete(expected);
        let outcome = self.file.replace(empty, condition, Durability::Durable).await;
        match outcome.map_err(|failure| failure.during(Operation::Delete))? {
            Outcome::Replaced(_) | Outcome::Nothing => Ok(()),
            _ => Err(StoreError::conflict(Operation::Delete)),
        }
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let record = async move {
            let record = self.record();
            if !record.as_str().starts_with(prefix) {
                return self.check_open(Operation::Scan).map(|()| None);
            }
            let document = self.document(&record, Operation::Scan).await?;
            Ok(document.map(|document| (record, document.version)))
        };
        stream::once(record)
            .filter_map(|found| std::future::ready(found.transpose()))
            .boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: CompareAndSwap::Host,
            versions: Versions::ContentHash,
            native_expiry: false,
            max_value_bytes: MAX_BYTES,
            persistence: Persistence::Disk,
            shows_early: true,
            watch: true,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        Some(&self.file.announcer)
    }
}

impl Drop for MsalFileStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for MsalFileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsalFileStore")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

fn record_of(path: &Path) -> StoreKey {
    let name = path.file_name().and_then(|name| name.to_str());
    let key = name.and_then(|name| StoreKey::new(name).ok());
    #[expect(clippy::expect_used, reason = "the name is printable")]
    key.unwrap_or_else(|| StoreKey::new("msal_cache").expect("the name is printable"))
}
