//! The store: what callers hold, and what they ask of the reader and writer tasks.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::random::Random;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{
    Capabilities, CompareAndSwap, Persistence, PutOptions, Record, Store, StoreError, StoreKey, Version,
    Versions, Watch, WatchEvent,
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use crate::batch::{Action, Change};
use crate::config::SqliteConfig;
use crate::connection::{Connector, Held};
use crate::error::Failure;
use crate::file::DatabaseFile;
use crate::reader::{self, Environment, Read, Reader};
use crate::schema;
use crate::statistics::{Counters, Statistics};
use crate::watch::{self, Announcer};
use crate::writer::{Write, Writer};

/// How many records one page of a scan has.
const PAGE: i64 = 256;

/// With more reads than this waiting for a statement, another one waits with them: one statement for all costs less than two.
const FEW_READS: usize = 2;

/// A store in an SQLite file; see the [crate documentation](crate).
pub struct SqliteStore {
    file: Arc<DatabaseFile>,
    random: Arc<dyn Random>,
    /// For the first of those who read at once. `None` when there is only one connection, or no more.
    direct: Mutex<Option<Reader>>,
    /// For the others, and for all other kinds of reads.
    reads: mpsc::Sender<Read>,
    /// How many records and versions are being read by the tasks.
    waiting: AtomicUsize,
    writes: mpsc::Sender<Write>,
    announcer: Arc<Announcer>,
    counters: Arc<Counters>,
    follower: AbortHandle,
    /// The readers, then the writer; emptied by `close`.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStore {
    /// The longest payload, in bytes (16 MiB): a larger one is a mistake rather than a partition.
    pub const MAX_VALUE_BYTES: usize = 16 << 20;

    /// Opens the database, and creates it where the configuration allows it.
    ///
    /// Its tasks run on the current tokio runtime and end with it; several runtimes may then use the store.
    ///
    /// Cancellation safe: at worst an empty database was created.
    ///
    /// # Errors
    /// `InvalidArgument` for a configuration that makes no sense or a path that is no file; `Unavailable` when the
    /// file is missing and may not be created, other processes hold it for longer than the busy timeout, or no file
    /// descriptor is left; `Full` and `ReadOnly` for what the file system is; `PermissionDenied` for a symbolic link, a hard link, a file of another user or a directory that everybody
    /// may write to; `Corrupt` for a damaged file or one of another program; `NewerSchema` for one of a newer version
    /// of this crate; `Unsupported` on a file system without shared memory. None of these changes the content of
    /// the file.
    pub async fn open(config: SqliteConfig) -> Result<Self, StoreError> {
        Self::open_file(&config)
            .await
            .map_err(|failure| failure.during(Operation::Open))
    }

    async fn open_file(config: &SqliteConfig) -> Result<Self, Failure> {
        config.validate()?;
        let file = Arc::new(DatabaseFile::prepare(&config.path, config.create)?);
        let connector = Connector::new(file.path(), config);
        let at = |failure: Failure| failure.at(file.path());
        let mut connection = schema::prepare(&connector, &file).await.map_err(at)?;
        let newest = schema::newest_change(&mut connection).await.map_err(at)?;
        // Somebody may have put another file in its place between the checks and SQLite's opening it.
        file.verify()?;

        let announcer = Arc::new(Announcer::new(newest));
        let counters = Arc::new(Counters::default());
        let environment = Environment {
            connector: connector.clone(),
            file: Arc::clone(&file),
            clock: Arc::clone(&config.clock),
            counters: Arc::clone(&counters),
        };
        let connections: Vec<Held> = (0..config.read_connections).map(|_| Held::default()).collect();
        let (direct, in_tasks) = match connections.as_slice() {
            [direct, in_tasks @ ..] if !in_tasks.is_empty() => {
                (Some(Reader::new(&environment, direct)), in_tasks)
            }
            one => (None, one),
        };
        let (reads, mut tasks) = reader::spawn(in_tasks, &environment);
        let writer = Writer {
            connector,
            file: Arc::clone(&file),
            clock: Arc::clone(&config.clock),
            announcer: Arc::clone(&announcer),
            counters: Arc::clone(&counters),
            readers: connections,
        };
        let (writes, task) = writer.spawn(connection);
        tasks.push(task);
        let follower = tokio::spawn(watch::follow(
            Arc::clone(&announcer),
            reads.downgrade(),
            Arc::clone(&config.clock),
            config.watch_interval,
        ));
        Ok(Self {
            file,
            random: Arc::clone(&config.random),
            direct: Mutex::new(direct),
            reads,
            waiting: AtomicUsize::new(0),
            writes,
            announcer,
            counters,
            follower: follower.abort_handle(),
            tasks: Mutex::new(tasks),
        })
    }

    /// Commits what was put before, answers what was asked before, ends the subscriptions, and closes the file.
    /// Every later operation fails with `Closed`.
    ///
    /// Dropping the store without closing it does the same in the background, as long as its runtime runs.
    ///
    /// Cancellation safe: closing goes on, and may be waited for again.
    pub async fn close(&self) {
        self.follower.abort();
        self.announcer.close();
        // An error says that it is closed already.
        let _ = self.writes.send(Write::Close).await;
        let _ = self.reads.send(Read::Close).await;
        if let Some(reader) = self.direct.lock().await.take() {
            reader.close().await;
        }
        let mut tasks = self.tasks.lock().await;
        while let Some(task) = tasks.last_mut() {
            // A task that panicked has nothing left to close.
            let _ = task.await;
            tasks.pop();
        }
    }

    /// Reads the whole file and checks that it is sound. Slow: for a diagnosis, not for every start.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// `Corrupt` with what was found; others when the file cannot be read.
    pub async fn check(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let failed = |failure: Failure| failure.during(Operation::Scan);
        let closed = || failed(Failure::closed());
        self.reads.send(Read::Check(answer)).await.map_err(|_| closed())?;
        let findings = answered.await.map_err(|_| closed())?.map_err(failed)?;
        if findings.is_empty() {
            return Ok(());
        }
        let context = format!("{}: {}", self.path().display(), findings.join("; "));
        Err(StoreError::new(ErrorKind::Corrupt, Operation::Scan, context))
    }

    /// The file, by its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What this store has done since it was opened. Other processes' work is not in it.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.counters.statistics()
    }

    /// The connection for those who read alone, unless somebody uses it or the reads that wait are worth joining.
    fn try_direct(&self) -> Option<MutexGuard<'_, Option<Reader>>> {
        if self.waiting.load(Ordering::Relaxed) > FEW_READS {
            return None;
        }
        self.direct.try_lock().ok()
    }

    async fn read<T>(
        &self,
        operation: Operation,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Read,
    ) -> Result<T, StoreError> {
        let closed = || Failure::closed().during(operation);
        let (answer, answered) = oneshot::channel();
        self.reads.send(request(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    async fn write(&self, change: Change) -> Result<(), StoreError> {
        let operation = change.operation();
        let (answer, answered) = oneshot::channel();
        self.writes
            .send(Write::Change(change, answer))
            .await
            .map_err(|_| Failure::closed().during(operation))?;
        answered.await.map_err(|_| {
            Failure::new(
                ErrorKind::Closed,
                "the runtime of the store ended during the write",
            )
            .with_retry(Retry::OutcomeUnknown)
            .during(operation)
        })?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The other tasks end when the queues that they read from have no more senders.
        self.follower.abort();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for SqliteStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        if let Some(direct) = self.try_direct()
            && let Some(reader) = &*direct
        {
            return reader.record(key).await;
        }
        let _waiting = Waiting::among(&self.waiting);
        self.read(Operation::Get, |answer| Read::Record(key.clone(), answer))
            .await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        if let Some(direct) = self.try_direct()
            && let Some(reader) = &*direct
        {
            return reader.version(key).await;
        }
        let _waiting = Waiting::among(&self.waiting);
        self.read(Operation::Head, |answer| Read::Version(key.clone(), answer))
            .await
    }

    /// Writes as the contract says. A future that is dropped before the write was queued has no effect; one that is
    /// dropped later leaves the write to the writer task, which carries it out.
    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        if payload.len() > Self::MAX_VALUE_BYTES {
            let context = format!("{} bytes; at most {}", payload.len(), Self::MAX_VALUE_BYTES);
            return Err(StoreError::new(ErrorKind::TooLarge, Operation::Put, context));
        }
        let version = Version::random(&*self.random)?;
        let action = Action::Put {
            payload,
            version,
            options,
        };
        self.write(Change {
            key: key.clone(),
            action,
        })
        .await?;
        Ok(version)
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.write(Change {
            key: key.clone(),
            action: Action::Delete { expected },
        })
        .await
    }

    /// Lists as the contract says, in the order of the keys, a page at a time.
    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            // No key has such a byte.
            return stream::empty().boxed();
        }
        let before = end_of_prefix(prefix);
        let pages = stream::try_unfold(Some(prefix.to_owned()), move |from| {
            let before = before.clone();
            async move {
                let Some(from) = from else {
                    return Ok::<_, StoreError>(None);
                };
                let page = self
                    .read(Operation::Scan, |answer| Read::Page {
                        from,
                        before,
                        limit: PAGE,
                        answer,
                    })
                    .await?;
                let next = (page.len() as u64 >= PAGE.unsigned_abs())
                    .then(|| page.last().map(|(key, _)| just_after(key)))
                    .flatten();
                Ok(Some((stream::iter(page).map(Ok), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: CompareAndSwap::Host,
            versions: Versions::Unique,
            native_expiry: true,
            max_value_bytes: Self::MAX_VALUE_BYTES,
            persistence: Persistence::Disk,
            shows_early: true,
            watch: true,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        Some(self)
    }
}

/// Counts a read among those that wait, until it is answered or given up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch for SqliteStore {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        self.announcer.subscribe()
    }
}

/// A text above every key with `prefix` and below every other that follows. Keys have bytes up to `~` only, so
/// the byte after the last one is ASCII too.
fn end_of_prefix(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    let last = end.pop().unwrap_or('~');
    end.push(char::from_u32(u32::from(last) + 1).unwrap_or('\u{7f}'));
    end
}

/// A text above `key` and at most every key that follows: keys have no bytes below `!`.
fn just_after(key: &StoreKey) -> String {
    format!("{key} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_prefix_excludes_exactly_the_others() {
        for (prefix, inside, outside) in [
            ("a", "a~~~", "b"),
            ("a/", "a/~", "a0"),
            ("a~", "a~~", "b"),
            ("", "~~~~", "\u{7f}"),
        ] {
            let end = end_of_prefix(prefix);
            assert!(inside < end.as_str(), "{inside} belongs to {prefix:?}");
            assert!(
                outside >= end.as_str(),
                "{outside:?} does not belong to {prefix:?}"
            );
        }
    }

    #[test]
    fn just_after_a_key_comes_nothing_but_the_next_key() {
        let key = StoreKey::new("ab").unwrap();
        let after = just_after(&key);
        assert!(key.as_str() < after.as_str());
        assert!(after.as_str() < "ab!", "the very next key that there can be");
    }
}
