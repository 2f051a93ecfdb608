//! Where the file is and how to use it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::{OsRandom, Random};
use cache_core::time::{Clock, SystemClock};

use super::lock::LockLimits;

/// What [`MsalFileStore::open`](super::MsalFileStore::open) opens. Only the path is required.
///
/// ```
/// use std::time::Duration;
/// use cache_keychain::msal_file::{LockLimits, MsalFileConfig};
///
/// let config = MsalFileConfig::new("/home/alice/.cache/app/msal.cache")
///     .create(false)
///     .lock(LockLimits::default().patience(Duration::from_secs(5)));
/// # let _ = config;
/// ```
#[derive(Clone)]
pub struct MsalFileConfig {
    pub(super) path: PathBuf,
    pub(super) create: bool,
    pub(super) lock: LockLimits,
    pub(super) watch_interval: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl MsalFileConfig {
    /// The name of the Azure CLI's cache file, in its configuration directory.
    pub const AZURE_CLI_FILE: &str = "msal_token_cache.json";

    /// The cache file at `path`, the same that the MSAL programs are given: its lock file is that path and `.lockfile`.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            create: true,
            lock: LockLimits::default(),
            watch_interval: Duration::from_millis(100),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
        }
    }

    /// The cache that the Azure CLI keeps in its configuration directory, which is `AZURE_CONFIG_DIR` or `~/.azure`. It must be
    /// there: without a sign-in by the CLI it is of no use.
    pub fn azure_cli(configuration_directory: impl AsRef<Path>) -> Self {
        Self::new(configuration_directory.as_ref().join(Self::AZURE_CLI_FILE)).create(false)
    }

    /// Whether a missing directory is made (0700) when the store is opened, and a missing file (0600) by the first write, which is the
    /// default; else both are reported as an error when the store is opened.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How long to wait for the file's lock, and when it counts as abandoned.
    #[must_use]
    pub fn lock(mut self, limits: LockLimits) -> Self {
        self.lock = limits;
        self
    }

    /// How often the file is looked at while somebody watches it; every 100 ms by default. A look costs about a microsecond.
    #[must_use]
    pub fn watch_interval(mut self, interval: Duration) -> Self {
        self.watch_interval = interval;
        self
    }

    /// The clock that waits are measured by, and that the file's time of change is set by.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What names of temporary files and lengths of waits are drawn from.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }
}

impl fmt::Debug for MsalFileConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsalFileConfig")
            .field("path", &self.path)
            .field("create", &self.create)
            .field("lock", &self.lock)
            .field("watch_interval", &self.watch_interval)
            .finish_non_exhaustive()
    }
}
