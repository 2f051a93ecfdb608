//! Who may write: one task of one process at a time.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use cache_core::time::{Clock, with_deadline};
use tokio::sync::OwnedMutexGuard;

use super::failure::Failure;

/// How long a process waits before it looks at the lock of another one again.
const POLL: Duration = Duration::from_millis(3);

type LocalLock = tokio::sync::Mutex<()>;

/// The locks of this process's stores.
static LOCAL: LazyLock<Mutex<HashMap<StoreName, Weak<LocalLock>>>> = LazyLock::new(Mutex::default);

/// Which store, as the keychain knows it.
#[derive(PartialEq, Eq, Hash)]
struct StoreName {
    service: String,
    store: String,
}

/// The lock of a store.
pub(crate) struct StoreLock {
    local: Arc<LocalLock>,
    file: Option<PathBuf>,
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

/// The lock is held. The system takes it back when the process ends, however that happens.
pub(crate) struct LockGuard {
    file: Option<(File, PathBuf)>,
    _local: OwnedMutexGuard<()>,
}

impl StoreLock {
    pub(crate) fn new(
        service: &str,
        store: &str,
        file: Option<PathBuf>,
        deadline: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut locks = LOCAL.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        let name = StoreName {
            service: service.to_owned(),
            store: store.to_owned(),
        };
        let known = locks.entry(name).or_default();
        let local = known.upgrade().unwrap_or_default();
        *known = Arc::downgrade(&local);
        drop(locks);
        Self {
            local,
            file,
            deadline,
            clock,
        }
    }

    /// Waits for the lock, at most until the deadline. Cancellation safe.
    pub(super) async fn acquire(&self) -> Result<LockGuard, Failure> {
        let start = self.clock.monotonic();
        let local = self.acquire_local().await.ok_or(Failure::LockHeld)?;
        let Some(path) = &self.file else {
            return Ok(LockGuard {
                file: None,
                _local: local,
            });
        };
        loop {
            if let Some(file) = try_lock(path)? {
                return Ok(LockGuard {
                    file: Some((file, path.clone())),
                    _local: local,
                });
            }
            if self.clock.monotonic().saturating_sub(start) >= self.deadline {
                return Err(Failure::LockHeld);
            }
            self.clock.sleep(POLL).await;
        }
    }

    /// Waits for this process's own tasks only; `None` at the deadline.
    pub(crate) async fn acquire_local(&self) -> Option<OwnedMutexGuard<()>> {
        let local = Arc::clone(&self.local).lock_owned();
        with_deadline(&*self.clock, self.deadline, local).await
    }
}

impl LockGuard {
    /// Whether the file was not removed or replaced meanwhile, after which another process has a lock of its own.
    pub(super) fn is_held(&self) -> bool {
        let file = self.file.as_ref();
        file.is_none_or(|(file, path)| is_at(file, path).unwrap_or(false))
    }
}

/// The locked file, unless another process has it.
fn try_lock(path: &Path) -> Result<Option<File>, Failure> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) if is_at(&file, path).map_err(|error| Failure::lock_file(path, error))? => Ok(Some(file)),
        // It was removed meanwhile: others would lock another file of the name.
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Failure::lock_file(path, error)),
    }
}

/// Opens the lock file, which is made where it is missing, with its directory. It never holds anything.
fn open(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Whoever could put a link there would have this program make files elsewhere.
    if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
        return Err(Failure::LockRefused(format!(
            "the lock file {} is a symbolic link; name the file itself",
            path.display()
        )));
    }
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_directory(path).map_err(|error| Failure::lock_file(path, error))?;
            options.open(path)
        }
        opened => opened,
    }
    .map_err(|error| Failure::lock_file(path, error))
}

fn create_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Whether the file is the one at the path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match path.metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere a file that somebody has open cannot be replaced.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}
