//! Changes that others make: what the watch says, and how to wait for a record to change.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::broadcast;

use super::{CacheError, Inner};
use crate::random::jitter;
use crate::store::{Store, StoreKey, WatchEvent};
use crate::time::UnixMillis;

const SHORTEST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(250);

/// Passes the store's hints on to the memory tier and to those who wait for a row.
#[derive(Debug)]
pub(crate) struct Changes {
    events: broadcast::Sender<WatchEvent>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            events: broadcast::Sender::new(256),
        }
    }

    /// The hints from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<WatchEvent> {
        self.events.subscribe()
    }
}

/// Starts listening to the store, if it can be listened to. The task ends with the cache.
pub(crate) fn listen(inner: &Arc<Inner>) -> Option<tokio::task::AbortHandle> {
    let mut hints = inner.store.watch()?.subscribe();
    let weak: Weak<Inner> = Arc::downgrade(inner);
    let task = tokio::spawn(async move {
        while let Some(event) = hints.next().await {
            let Some(inner) = weak.upgrade() else { return };
            match &event {
                WatchEvent::Changed(key, version) => {
                    if !inner.memory.changed(key, *version) {
                        inner.copy_changed(key, *version);
                    }
                }
                WatchEvent::Lost => inner.memory.lost(),
            }
            // An error only says that nobody waits.
            let _ = inner.changes.events.send(event);
        }
        // A store whose reports end says nothing of what comes: from here on only the staleness bound holds.
        if let Some(inner) = weak.upgrade() {
            inner.memory.lost();
        }
    });
    Some(task.abort_handle())
}

/// Waits for one record to change. Made *before* the record is read, so that no change falls between.
pub(crate) struct Waiter {
    inner: Arc<Inner>,
    key: StoreKey,
    events: broadcast::Receiver<WatchEvent>,
    poll: Duration,
}

impl Waiter {
    pub(crate) fn new(inner: &Arc<Inner>, key: StoreKey) -> Self {
        let events = inner.changes.events.subscribe();
        Self {
            inner: Arc::clone(inner),
            key,
            events,
            poll: SHORTEST_POLL,
        }
    }

    /// Returns when the record may have changed, and at the latest at `until`. Hints may be lost and some stores have none, so it
    /// also returns after growing, jittered pauses.
    pub(crate) async fn wait(&mut self, until: UnixMillis) -> Result<(), CacheError> {
        let left = until.duration_since(self.inner.clock.now());
        let pause = self.poll.mul_f64(0.5 + 0.5 * jitter(&*self.inner.random)?);
        self.poll = (self.poll * 2).min(LONGEST_POLL);
        // One millisecond at least: a deadline that rounds to now must not spin.
        let pause = pause.min(left).max(Duration::from_millis(1));
        let clock = Arc::clone(&self.inner.clock);
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = changed(&mut self.events, &self.key) => {}
        }
        Ok(())
    }
}

async fn changed(events: &mut broadcast::Receiver<WatchEvent>, key: &StoreKey) {
    loop {
        match events.recv().await {
            Ok(WatchEvent::Changed(changed, _)) if changed != *key => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
