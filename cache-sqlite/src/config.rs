//! Where the database is and how to use it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::{OsRandom, Random};
use cache_core::store::error::ErrorKind;
use cache_core::time::{Clock, SystemClock};

use crate::error::Failure;

/// What [`SqliteStore::open`](crate::SqliteStore::open) opens. Only the path is required.
#[derive(Clone)]
pub struct SqliteConfig {
    pub(crate) path: PathBuf,
    pub(crate) create: bool,
    pub(crate) read_connections: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) mmap_bytes: u64,
    pub(crate) max_file_bytes: Option<u64>,
    pub(crate) watch_interval: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl SqliteConfig {
    /// The most read connections; each is a thread.
    pub const MAX_READ_CONNECTIONS: usize = 64;

    /// The database at `path`, created with its directory when it is missing.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            create: true,
            read_connections: 2,
            busy_timeout: Duration::from_secs(5),
            mmap_bytes: 64 << 20,
            max_file_bytes: None,
            watch_interval: Duration::from_millis(50),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
        }
    }

    /// Whether a missing file is created (the default) or reported as an error.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How many connections read, 1 to [`MAX_READ_CONNECTIONS`](Self::MAX_READ_CONNECTIONS); 2 by default: one for a
    /// reader that comes alone, one for all that come meanwhile. Each is opened on its first use. More of them help only where payloads are large or cores are idle, because
    /// waiting reads share a statement anyway.
    #[must_use]
    pub fn read_connections(mut self, count: usize) -> Self {
        self.read_connections = count;
        self
    }

    /// How long SQLite waits for another process's lock before an operation is `Unavailable`; 5 s by default.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many bytes of the file are read through a memory map; 64 MiB by default, 0 to map nothing (for file
    /// systems where an I/O error on mapped memory would end the process).
    #[must_use]
    pub fn mmap_bytes(mut self, bytes: u64) -> Self {
        self.mmap_bytes = bytes;
        self
    }

    /// How large the database file may grow; a write beyond it fails with `Full`. Unlimited by default. The
    /// write-ahead log beside it comes on top.
    #[must_use]
    pub fn max_file_bytes(mut self, bytes: Option<u64>) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// How often a store that somebody watches looks for the changes of other processes; 50 ms by default.
    #[must_use]
    pub fn watch_interval(mut self, interval: Duration) -> Self {
        self.watch_interval = interval;
        self
    }

    /// Replaces the system's clock. (Waiting for a lock is SQLite's, in real time.)
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the system's randomness, which versions are made of.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let invalid = |context: &str| Err(Failure::new(ErrorKind::InvalidArgument, context));
        if !(1..=Self::MAX_READ_CONNECTIONS).contains(&self.read_connections) {
            return invalid("the number of read connections must be 1 to 64");
        }
        if i32::try_from(self.busy_timeout.as_millis()).is_err() {
            return invalid("the busy timeout must be shorter than 24 days");
        }
        if self.watch_interval.is_zero() {
            return invalid("the watch interval must be longer than nothing");
        }
        if i64::try_from(self.mmap_bytes).is_err() {
            return invalid("the memory map must be smaller than 8 EiB");
        }
        Ok(())
    }
}

impl fmt::Debug for SqliteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConfig")
            .field("path", &self.path)
            .field("create", &self.create)
            .field("read_connections", &self.read_connections)
            .field("busy_timeout", &self.busy_timeout)
            .field("mmap_bytes", &self.mmap_bytes)
            .field("max_file_bytes", &self.max_file_bytes)
            .field("watch_interval", &self.watch_interval)
            .finish_non_exhaustive()
    }
}
