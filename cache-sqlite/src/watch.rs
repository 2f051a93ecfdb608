//! Notification of changes: those of this store at once, those of other processes by reading the log of changes.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::store::{StoreKey, Version, WatchEvent, broadcast_events};
use cache_core::time::Clock;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use crate::error::Failure;
use crate::reader::{LoggedChange, Read};

/// How many changes a slow subscriber may lag behind before it is told [`WatchEvent::Lost`].
const BACKLOG: usize = 1024;

/// How many changes one look at the log takes.
const PAGE: i64 = 512;

/// Tells the subscribers of this store what changed.
pub(crate) struct Announcer {
    /// `None` once the store is closed.
    events: Mutex<Option<broadcast::Sender<WatchEvent>>>,
    /// Every change up to this sequence number was announced, or was there before the store was opened.
    announced: AtomicI64,
    /// Somebody subscribed.
    wake: Notify,
}

impl Announcer {
    /// `newest` is the newest change at the time of opening.
    pub(crate) fn new(newest: i64) -> Self {
        Self {
            events: Mutex::new(Some(broadcast::Sender::new(BACKLOG))),
            announced: AtomicI64::new(newest),
            wake: Notify::new(),
        }
    }

    pub(crate) fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        let receiver = self.with_sender(broadcast::Sender::subscribe);
        // The first look at the log starts where this store last knew it, so that nothing falls between the
        // subscription and that look. It may repeat older changes.
        self.wake.notify_one();
        match receiver {
            Some(receiver) => broadcast_events(receiver),
            None => stream::empty().boxed(),
        }
    }

    /// This store committed `changes`; the last of them has the sequence number `newest`.
    pub(crate) fn committed(&self, newest: i64, changes: Vec<(StoreKey, Option<Version>)>) {
        let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        for (key, version) in changes {
            self.announce(WatchEvent::Changed(key, version));
        }
        // When another process committed in between, the log is read from there and ours are told twice.
        let _ = self.announced.compare_exchange(
            newest.saturating_sub(count),
            newest,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Ends every subscription.
    pub(crate) fn close(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn announce(&self, event: WatchEvent) {
        // An error only says that nobody listens.
        self.with_sender(|sender| sender.send(event).ok());
    }

    fn has_subscribers(&self) -> bool {
        self.with_sender(|sender| sender.receiver_count() > 0)
            .unwrap_or(false)
    }

    fn with_sender<T>(&self, act: impl FnOnce(&broadcast::Sender<WatchEvent>) -> T) -> Option<T> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.as_ref().map(act)
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer")
            .field("announced", &self.announced)
            .finish_non_exhaustive()
    }
}

/// Looks for the changes of other processes every `interval`, while anybody is subscribed. Runs until it is
/// aborted or the readers are gone.
pub(crate) async fn follow(
    announcer: Arc<Announcer>,
    reads: mpsc::WeakSender<Read>,
    clock: Arc<dyn Clock>,
    interval: Duration,
) {
    loop {
        if !announcer.has_subscribers() {
            announcer.wake.notified().await;
            continue;
        }
        let Some(reads) = reads.upgrade() else {
            return;
        };
        match catch_up(&announcer, &reads).await {
            Ok(more) if more => continue,
            Ok(_) => {}
            // The place in the log is kept, so nothing is lost but time.
            Err(failure) => tracing::debug!(?failure, "cannot look for changes; trying again later"),
        }
        drop(reads);
        clock.sleep(interval).await;
    }
}

/// Announces what the log has beyond the last announced change; true when it may have more.
async fn catch_up(announcer: &Announcer, reads: &mpsc::Sender<Read>) -> Result<bool, Failure> {
    let known = announcer.announced.load(Ordering::Acquire);
    let changes = read(reads, |answer| Read::Changes {
        from: known,
        limit: PAGE,
        answer,
    })
    .await??;
    if is_gap(known, &changes) {
        let newest = read(reads, Read::NewestChange).await??;
        announcer.announced.store(newest, Ordering::Release);
        announcer.announce(WatchEvent::Lost);
        return Ok(false);
    }
    let full = changes.len() as u64 >= PAGE.unsigned_abs();
    for change in changes {
        // Our own commits may have been announced since the log was read.
        if change.sequence > announcer.announced.load(Ordering::Acquire) {
            announcer.announce(WatchEvent::Changed(change.key, change.version));
            announcer.announced.fetch_max(change.sequence, Ordering::AcqRel);
        }
    }
    Ok(full)
}

/// Whether the log no longer reaches back to `known`: it was trimmed, or the file was restored from a copy.
fn is_gap(known: i64, changes: &[LoggedChange]) -> bool {
    match changes.first() {
        Some(first) if known == 0 => first.sequence != 1,
        Some(first) => first.sequence != known,
        None => known != 0,
    }
}

async fn read<T>(
    reads: &mpsc::Sender<Read>,
    request: impl FnOnce(oneshot::Sender<T>) -> Read,
) -> Result<T, Failure> {
    let (answer, answered) = oneshot::channel();
    reads.send(request(answer)).await.map_err(|_| Failure::closed())?;
    answered.await.map_err(|_| Failure::closed())
}
