//! Tokens of applications that wait to be stored in the background: lookups see them already.
//!
//! Nothing else may wait here. A token of an application can be had again for a request, so that losing one is harmless; a refresh
//! token, a marker or a sign-out cannot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::acquired::{Acquired, TokenSource};
use super::commit::Verdict;
use crate::schema::index::{IndexedPartition, is_unexpired};
use crate::schema::{AccessTokenRef, Partition, PartitionKey, TokenRequest, TokenResponse, merge};
use crate::strategy::WritePolicy;
use crate::time::UnixSeconds;

/// How many tokens may wait where the policy does not say so, for then they wait in an outage only.
const USUAL_PLACES: usize = 1024;

/// The tokens that wait, by partition.
#[derive(Debug)]
pub(crate) struct WrittenBehind {
    waiting: Arc<Mutex<Queue>>,
    places: Arc<Semaphore>,
}

type Queue = HashMap<PartitionKey, Vec<Arc<Waiting>>>;

/// A token that waits to be stored.
#[derive(Debug)]
pub(crate) struct Waiting {
    request: Arc<TokenRequest>,
    response: TokenResponse,
    acquired: Acquired,
    /// It is of no use any more: its partition was removed, or a newer token asked for in the same way has come.
    is_cancelled: AtomicBool,
}

/// A place in the queue.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl WrittenBehind {
    pub(crate) fn new(policy: WritePolicy) -> Self {
        let places = match policy {
            WritePolicy::Behind { max_pending } => max_pending.clamp(1, Semaphore::MAX_PERMITS),
            WritePolicy::Through => USUAL_PLACES,
        };
        Self {
            waiting: Arc::default(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// A place; waits while all are taken. `None` only if there never will be one.
    ///
    /// Cancellation safe.
    pub(crate) async fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place { _permit: permit })
    }

    /// A place, if one is free.
    pub(crate) fn free_place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// The token that serves `request` among those that wait: one that was asked for in the same way before another.
    pub(crate) fn find(
        &self,
        request: &TokenRequest,
        usable: impl Fn(AccessTokenRef<'_>, &IndexedPartition) -> bool,
    ) -> Option<Acquired> {
        let queue = lock(&self.waiting);
        let serving = queue.get(request.partition())?.iter().filter(|waiting| {
            let rows = waiting.acquired.partition();
            rows.find(request, |token| usable(token, rows)).is_some()
        });
        let best = serving.max_by_key(|waiting| {
            let is_same = waiting.request.hash() == request.hash();
            (is_same, waiting.acquired.token().expires_on)
        })?;
        Some(Acquired {
            source: TokenSource::Memory,
            refresh_reason: None,
            ..best.acquired.clone()
        })
    }

    /// Shows the token until the entry is dropped. An older one that was asked for in the same way is not stored any more.
    pub(crate) fn insert(&self, waiting: Arc<Waiting>, place: Place) -> Entry {
        let mut queue = lock(&self.waiting);
        let same_partition = queue.entry(waiting.request.partition().clone()).or_default();
        same_partition.retain(|other| {
            let stays = other.request.hash() != waiting.request.hash();
            if !stays {
                other.cancel();
            }
            stays
        });
        same_partition.push(Arc::clone(&waiting));
        report(&queue);
        Entry {
            queue: Arc::clone(&self.waiting),
            waiting,
            _place: place,
        }
    }

    /// Whether anything waits for `partition`.
    pub(crate) fn has(&self, partition: &PartitionKey) -> bool {
        let queue = lock(&self.waiting);
        !queue.is_empty() && queue.contains_key(partition)
    }

    /// What waits for `partition`, oldest first.
    pub(crate) fn of(&self, partition: &PartitionKey) -> Vec<Arc<Waiting>> {
        lock(&self.waiting).get(partition).cloned().unwrap_or_default()
    }

    /// Nothing of what waits for `partition` is shown or stored any more.
    pub(crate) fn cancel(&self, partition: &PartitionKey) {
        let mut queue = lock(&self.waiting);
        for waiting in queue.remove(partition).into_iter().flatten() {
            waiting.cancel();
        }
        report(&queue);
    }
}

impl Waiting {
    pub(crate) fn new(request: Arc<TokenRequest>, response: TokenResponse, acquired: Acquired) -> Self {
        Self {
            request,
            response,
            acquired,
            is_cancelled: AtomicBool::new(false),
        }
    }

    pub(crate) fn partition(&self) -> &PartitionKey {
        self.request.partition()
    }

    pub(crate) fn is_unexpired(&self, now: UnixSeconds) -> bool {
        is_unexpired(self.acquired.token(), now)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
    }

    /// Merges the token into the latest rows, unless it is there already, of no use any more, or older than what it would replace: it may
    /// have waited long.
    pub(crate) fn merge(&self, partition: Option<Partition>, now: UnixSeconds) -> Verdict {
        match self.merged(partition.as_ref(), now) {
            Some(merged) => Verdict::Store(merged),
            None => Verdict::Keep(partition),
        }
    }

    /// As [`merge`](Self::merge): the new rows, if there are any.
    pub(crate) fn merged(&self, before: Option<&Partition>, now: UnixSeconds) -> Option<Partition> {
        let token = self.acquired.token();
        let before_rows = before.map_or(&[][..], |rows| &rows.access_tokens);
        if self.is_cancelled() || before_rows.iter().any(|row| row.secret == token.secret) {
            return None;
        }
        let mut merged = before
            .cloned()
            .unwrap_or_else(|| Partition::new(self.partition().clone()));
        merge::app_token(&mut merged, &self.response, now);
        let replaces_a_newer = before_rows.iter().any(|row| {
            row.cached_at > token.cached_at
                && is_unexpired(row, now)
                && merged.access_tokens.iter().all(|kept| kept.secret != row.secret)
        });
        (!replaces_a_newer).then_some(merged)
    }
}

/// Held by the task that stores the token.
pub(crate) struct Entry {
    queue: Arc<Mutex<Queue>>,
    pub(crate) waiting: Arc<Waiting>,
    _place: Place,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        let partition = self.waiting.partition();
        if let Some(waiting) = queue.get_mut(partition) {
            waiting.retain(|other| !Arc::ptr_eq(other, &self.waiting));
            if waiting.is_empty() {
                queue.remove(partition);
            }
        }
        report(&queue);
    }
}

fn report(queue: &Queue) {
    let pending: usize = queue.values().map(Vec::len).sum();
    #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
    metrics::gauge!("tokenkeep_writes_behind_pending").set(pending as f64);
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
