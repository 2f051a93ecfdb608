//! What the item's programs have in the file system: the lock that they take, and the file whose time says that something changed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cache_core::time::{Clock, UnixMillis};
use tokio::sync::OwnedMutexGuard;

use super::config::MsalSecretServiceConfig;
use super::error::Failure;
use crate::msal_file::lock::{Guard, PeerLock};
use crate::store::lock::StoreLock;

/// Who may write.
pub(super) struct ItemLock {
    own: StoreLock,
    peers: Option<PeerLock>,
}

/// The lock is held.
pub(super) struct Held {
    peers: Option<Guard>,
    _own: OwnedMutexGuard<()>,
}

/// The file that programs look at to see whether to read the item again.
#[derive(Clone, Debug)]
pub(super) struct SignalFile(PathBuf);

impl ItemLock {
    pub(super) fn new(config: &MsalSecretServiceConfig, signal: Option<&SignalFile>) -> Self {
        // Whichever way the tasks of this process name the item's programs, they are the same item's.
        let item = format!("{:?}", config.attributes);
        // Whoever is before us may be waiting for the programs' lock.
        let patience = config.deadline + config.lock_limits.patience;
        Self {
            own: StoreLock::new("", &item, None, patience, Arc::clone(&config.clock)),
            peers: signal.map(|signal| {
                PeerLock::new(
                    vec![signal.lock_file()],
                    config.lock_limits,
                    Arc::clone(&config.clock),
                    Arc::clone(&config.random),
                )
            }),
        }
    }

    /// Waits for the lock, at most until the deadline, and then for the programs' as long as their limits say. Cancellation safe.
    pub(super) async fn acquire(&self) -> Result<Held, Failure> {
        let own = self.own.acquire_local().await.ok_or(Failure::Busy)?;
        let peers = match &self.peers {
            Some(peers) => Some(peers.acquire().await.map_err(Failure::Lock)?),
            None => None,
        };
        Ok(Held { peers, _own: own })
    }
}

impl Held {
    /// Whether the lock was not taken away, as programs do that wait for long.
    pub(super) fn is_held(&self) -> bool {
        self.peers.as_ref().is_none_or(Guard::is_held)
    }
}

impl SignalFile {
    /// The file at `path`, whose directory is made where it is missing, as the programs do.
    pub(super) fn locate(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::NotADirectory)?;
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Self(fs::canonicalize(directory)?.join(name)))
    }

    fn lock_file(&self) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".lockfile");
        name.into()
    }

    /// Says that the item changed. MSAL Python ignores an item without such a file, so a missing one is made; what is in it is left
    /// alone, because a program that had no Secret Service once may have its cache there.
    pub(super) fn touch(&self, clock: &dyn Clock) -> io::Result<()> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.0)?;
        set_changed(&file, clock.now())
    }
}

/// Whole milliseconds and rounded up, as MSAL Node compares them with its own time.
fn set_changed(file: &File, now: UnixMillis) -> io::Result<()> {
    let since_epoch = Duration::from_millis(u64::try_from(now.0).unwrap_or(0).saturating_add(1));
    file.set_modified(UNIX_EPOCH + since_epoch)
}
