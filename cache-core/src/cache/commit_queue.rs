//! Commits that wait for one another: those to one partition from one process are written together.
//!
//! While one round trip is under way, the merges that arrive wait and are then applied together. The work runs in a task of its own, so a
//! caller that goes away leaves no half-made change and holds up nobody.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::commit::{Earlier, Verdict};
use super::{CacheError, Inner};
use crate::schema::{Partition, PartitionKey};
use crate::store::{Durability, StoreKey};
use crate::strategy::memory_tier::Slot;

pub(super) type Merge = Box<dyn FnMut(Option<Partition>, Earlier) -> Verdict + Send>;
pub(super) type Outcome = Result<Option<Slot>, CacheError>;

/// A merge that waits, or is being stored.
pub(super) struct Pending {
    pub(super) merge: Merge,
    /// What became of its runs. Kept here, because a batch that turns out too large is made again one by one.
    pub(super) earlier: Earlier,
    pub(super) durability: Durability,
    /// Whether somebody is signed out by it.
    pub(super) removes: bool,
    pub(super) done: oneshot::Sender<Outcome>,
}

/// The merges that wait, by record. A key is present exactly while a task works on it.
#[derive(Default)]
pub(crate) struct CommitQueue {
    waiting: Mutex<HashMap<StoreKey, Vec<Pending>>>,
}

impl CommitQueue {
    fn lock(&self) -> MutexGuard<'_, HashMap<StoreKey, Vec<Pending>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CommitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitQueue")
            .field("records", &self.lock().len())
            .finish()
    }
}

impl Inner {
    pub(super) fn enqueue(self: &Arc<Self>, key: &PartitionKey, pending: Pending) {
        let stored_key = self.stored_key(key);
        match self.commits.lock().entry(stored_key.clone()) {
            Entry::Occupied(mut waiting) => return waiting.get_mut().push(pending),
            Entry::Vacant(vacant) => _ = vacant.insert(vec![pending]),
        }
        let working = Working {
            inner: Arc::clone(self),
            stored_key,
            key: key.clone(),
            is_done: false,
        };
        // Not under the lock: a runtime that is ending drops the task at once, which takes the lock.
        self.tasks.spawn(working.run());
    }
}

/// Takes what is to be written together. A removal is the last of its batch: made again, it would take what the sign-in after it stored.
fn next_batch(waiting: &mut Vec<Pending>) -> Vec<Pending> {
    let removal = waiting.iter().position(|pending| pending.removes);
    let rest = waiting.split_off(removal.map_or(waiting.len(), |index| index + 1));
    std::mem::replace(waiting, rest)
}

/// The task that works on one record until nothing waits for it.
struct Working {
    inner: Arc<Inner>,
    stored_key: StoreKey,
    key: PartitionKey,
    /// Whether the key was handed back; from then on it may be another task's.
    is_done: bool,
}

impl Working {
    async fn run(mut self) {
        loop {
            let mut batch = {
                let mut waiting = self.inner.commits.lock();
                match waiting.get_mut(&self.stored_key) {
                    Some(pending) if !pending.is_empty() => next_batch(pending),
                    _ => {
                        waiting.remove(&self.stored_key);
                        self.is_done = true;
                        return;
                    }
                }
            };
            let outcome = self.commit_batch(&mut batch).await;
            if batch.len() > 1 && matches!(outcome, Err(CacheError::PartitionTooLarge { .. })) {
                // One caller's large token must not keep another's sign-out from being stored.
                for mut pending in batch {
                    let outcome = self.commit_batch(std::slice::from_mut(&mut pending)).await;
                    let _ = pending.done.send(outcome);
                }
                continue;
            }
            for pending in batch {
                // Nobody waits any more if the caller went away.
                let _ = pending.done.send(outcome.clone());
            }
        }
    }

    async fn commit_batch(&self, batch: &mut [Pending]) -> Outcome {
        self.inner.commit_batch(&self.key, &self.stored_key, batch).await
    }
}

impl Drop for Working {
    /// A panic in a merge must not leave the record locked: those who wait learn that the leader is lost.
    fn drop(&mut self) {
        if !self.is_done {
            self.inner.commits.lock().remove(&self.stored_key);
        }
    }
}
