//! The file as a store of one record.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::random::{Random, jitter};
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{
    Capabilities, CompareAndSwap, Durability, Persistence, PutOptions, Record, Store, StoreError, StoreKey,
    Version, Versions, Watch,
};
use cache_core::time::Clock;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::task::AbortHandle;

use super::config::MsalFileConfig;
use super::error::Failure;
use super::json::Shape;
use super::lock::{Guard, LockError, PeerLock};
use super::place::Place;
use super::reading::{self, Content, DELETED, MAX_BYTES, Memory, Reading, Stamp};
use super::watch::{Announcer, follow};
use super::writing::{Condition, Outcome, Staged, not_a_cache, sweep};

/// How often a file that somebody is writing is read without the lock, before it is read under the lock.
const UNLOCKED_READS: u32 = 16;

/// How often something is tried under the lock while a program that takes none is writing.
const LOCKED_TRIES: u32 = 16;

/// The cache file of MSAL programs, as a store of one record. Nothing in it is encrypted; see the [module](super).
pub struct MsalFileStore {
    shared: Arc<Shared>,
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

/// What the store and its follower have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) record: StoreKey,
    pub(super) announcer: Announcer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) watch_interval: Duration,
    random: Arc<dyn Random>,
    lock: PeerLock,
    memory: Memory,
    closed: AtomicBool,
}

impl MsalFileStore {
    /// The longest file, in bytes (16 MiB).
    pub const MAX_VALUE_BYTES: usize = MAX_BYTES;

    /// Finds the file of `config`. Nothing is read yet, and nothing written; temporary files that killed writers left beside it are
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
            sweep(place.directory(), now);
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
        let shared = Arc::new(Shared {
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
        let follower = tokio::spawn(follow(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, follower })
    }

    /// The key of the one record, which a [`MsalLayout::single_record`](cache_core::layout::MsalLayout::single_record) takes: the
    /// name of the file, where a key can bear it.
    #[must_use]
    pub fn record(&self) -> StoreKey {
        self.shared.record.clone()
    }

    /// The path of the file: absolute, with the links of its directory resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.place.named()
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
        match self.shared.lock.acquire().await {
            Ok(guard) => Ok(FileHold { _guard: guard }),
            Err(error) => Err(Failure::from(error).during(Operation::Open)),
        }
    }

    /// Ends the watch. Every later operation fails with `Closed`. Dropping the store does the same.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.follower.abort();
        self.shared.announcer.close();
    }

    fn check_open(&self, operation: Operation) -> Result<(), StoreError> {
        if self.shared.closed.load(Ordering::Acquire) {
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
        if *key != self.shared.record {
            return Ok(None);
        }
        let content = self.shared.current().await;
        match content.map_err(|failure| failure.during(operation))? {
            Content::Absent => Ok(None),
            Content::Whole(document) => Ok(Some(document)),
            Content::Foreign => Err(not_a_cache(self.path()).during(operation)),
        }
    }

    fn check_payload(&self, key: &StoreKey, payload: &[u8], options: &PutOptions) -> Result<(), Failure> {
        let refused = |kind, context: String| Err(Failure::new(kind, context));
        if *key != self.shared.record {
            let context = format!(
                "a file of MSAL programs holds one record, {}; {key} needs a store of its own",
                self.shared.record
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

impl Shared {
    /// What the file holds now. A look at its times suffices where it has been read since its last change.
    pub(super) async fn current(&self) -> Result<Content, Failure> {
        let Some(stamp) = Stamp::at(self.place.named())? else {
            return Ok(Content::Absent);
        };
        if let Some(content) = self.memory.recall(&stamp) {
            return Ok(content);
        }
        for _ in 0..UNLOCKED_READS {
            match self.read().await? {
                Reading::Unsettled { .. } | Reading::Moving => self.pause().await,
                settled => return Ok(settled.verdict().map_or(Content::Absent, |(_, content)| content)),
            }
        }
        self.current_locked().await
    }

    /// The same with the writers who take the lock kept out.
    async fn current_locked(&self) -> Result<Content, Failure> {
        let mut before = None;
        for _ in 0..LOCKED_TRIES {
            let place = self.place.clone();
            let began = self.clock.monotonic();
            let read = self
                .lock
                .with(move |_guard| reading::read(place.named(), None))
                .await;
            let reading = match read {
                Ok(reading) => reading?,
                // Who may not write beside the file cannot lock it either.
                Err(LockError::Io { source, .. }) if is_read_only(&source) => self.read().await?,
                Err(busy) => return Err(busy.into()),
            };
            let unsettled = match &reading {
                Reading::Unsettled { stamp, .. } => Some(*stamp),
                Reading::Moving => None,
                Reading::Missing | Reading::Settled(..) => {
                    return Ok(reading.verdict().map_or(Content::Absent, |(_, content)| content));
                }
            };
            // Not all programs take the lock. One that writes goes on; one that was killed does not.
            if unsettled.is_some() && unsettled == before {
                if let Some((Some(stamp), content)) = reading.verdict() {
                    self.memory.note(stamp, &content, began, self.clock.monotonic());
                    return Ok(content);
                }
            }
            before = unsettled;
            self.pause().await;
        }
        Err(self.being_written())
    }

    async fn read(&self) -> Result<Reading, Failure> {
        let (place, began) = (self.place.clone(), self.clock.monotonic());
        let reading = blocking(move || reading::read(place.named(), None)).await?;
        let ended = self.clock.monotonic();
        match &reading {
            Reading::Settled(stamp, content) => self.memory.note(*stamp, content, began, ended),
            Reading::Unsettled { stamp, .. } => self.memory.saw(*stamp, ended),
            Reading::Missing | Reading::Moving => {}
        }
        Ok(reading)
    }

    /// Replaces the file under the lock, where `condition` holds.
    async fn replace(
        &self,
        content: Bytes,
        condition: Condition,
        durability: Durability,
    ) -> Result<Outcome, Failure> {
        // Most conflicts show without the lock, and without a file written in vain.
        let known = match self.current().await? {
            Content::Foreign => return Err(not_a_cache(self.place.named())),
            found => found.version(),
        };
        if let Some(outcome) = condition.decide(known) {
            return Ok(outcome);
        }
        let (place, random) = (self.place.clone(), Arc::clone(&self.random));
        let mut staged = blocking(move || Staged::new(&place, &content, &*random)).await?;
        for _ in 0..LOCKED_TRIES {
            let (place, now) = (self.place.clone(), self.clock.now());
            let replaced = self
                .lock
                .with(move |guard| staged.replace(&place, known, condition, durability, now, guard));
            match replaced.await?? {
                Outcome::Again(unchanged) => staged = unchanged,
                outcome => {
                    if let Outcome::Replaced(version) = &outcome {
                        let is_there = matches!(condition, Condition::Put(_));
                        self.announcer.announce(is_there.then_some(*version));
                    }
                    return Ok(outcome);
                }
            }
            self.pause().await;
        }
        // Cut short for good, or by a program that takes no lock.
        match self.current().await? {
            Content::Foreign => Err(not_a_cache(self.place.named())),
            _ => Err(self.being_written()),
        }
    }

    /// A few milliseconds, in which a program that writes comes to the end of it.
    async fn pause(&self) {
        let fraction = jitter(&*self.random).unwrap_or(0.5);
        let pause = Duration::from_micros(500 + (7_500.0 * fraction) as u64);
        self.clock.sleep(pause).await;
    }

    fn being_written(&self) -> Failure {
        let context = format!(
            "{} is being written all the time by a program that takes no lock; try again",
            self.place.named().display()
        );
        Failure::new(ErrorKind::Unavailable, context).with_retry(Retry::Yes)
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
        let outcome = self.shared.replace(payload, condition, options.durability).await;
        match outcome.map_err(|failure| failure.during(Operation::Put))? {
            Outcome::Replaced(version) => Ok(version),
            Outcome::Conflict | Outcome::Nothing | Outcome::Again(_) => {
                Err(StoreError::conflict(Operation::Put))
            }
        }
    }

    /// As the contract says. An empty cache is left in the file, because MSAL programs that find no file go on with what they have in
    /// memory, and write it back.
    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.check_open(Operation::Delete)?;
        if *key != self.shared.record {
            return match expected {
                None => Ok(()),
                Some(_) => Err(StoreError::conflict(Operation::Delete)),
            };
        }
        let empty = Bytes::from_static(DELETED);
        let condition = Condition::Delete(expected);
        let outcome = self.shared.replace(empty, condition, Durability::Durable).await;
        match outcome.map_err(|failure| failure.during(Operation::Delete))? {
            Outcome::Replaced(_) | Outcome::Nothing => Ok(()),
            Outcome::Conflict | Outcome::Again(_) => Err(StoreError::conflict(Operation::Delete)),
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
            watch: true,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        Some(&self.shared.announcer)
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

fn is_read_only(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Calls of the file system may take their time, on a disk that sleeps for instance.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Failure::aborted)?
}
