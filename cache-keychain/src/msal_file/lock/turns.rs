//! Whose turn it is, within this process, to touch a lock file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

type Queue = tokio::sync::Mutex<()>;

/// One queue for each lock file that somebody in this process uses. It has to be the process's: the kernel's rule that it answers
/// to is about processes.
static QUEUES: LazyLock<Mutex<HashMap<PathBuf, Weak<Queue>>>> = LazyLock::new(Mutex::default);

/// The turn at some lock files, until it is dropped.
pub(super) struct Turn {
    _files: Vec<OwnedMutexGuard<()>>,
}

impl Turn {
    /// Waits for the turn at all of `paths`, first come, first served. They are sorted, so that no two wait for each other.
    ///
    /// Cancellation safe.
    pub(super) async fn wait(paths: &[PathBuf]) -> Self {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push(queue(path).lock_owned().await);
        }
        Self { _files: files }
    }
}

fn queue(path: &PathBuf) -> Arc<Queue> {
    let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(queue) = queues.get(path).and_then(Weak::upgrade) {
        return queue;
    }
    queues.retain(|_, queue| queue.strong_count() > 0);
    let queue = Arc::new(Queue::default());
    queues.insert(path.clone(), Arc::downgrade(&queue));
    queue
}
