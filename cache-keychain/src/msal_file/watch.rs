//! Tells who wants to know that the file changed.

use std::sync::{Arc, Mutex, PoisonError};

use cache_core::store::{StoreKey, Version, Watch, WatchEvent, broadcast_events};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, broadcast};

use super::file::CacheFile;
use super::reading::Stamp;

/// How many changes a slow subscriber may lag behind before it is told [`WatchEvent::Lost`].
const BACKLOG: usize = 64;

/// Those who want to know.
#[derive(Debug)]
pub(super) struct Announcer {
    record: StoreKey,
    /// `None` once the store is closed.
    events: Mutex<Option<broadcast::Sender<WatchEvent>>>,
    subscribed: Notify,
}

impl Announcer {
    pub(super) fn new(record: StoreKey) -> Self {
        Self {
            record,
            events: Mutex::new(Some(broadcast::Sender::new(BACKLOG))),
            subscribed: Notify::new(),
        }
    }

    pub(super) fn announce(&self, version: Option<Version>) {
        let event = WatchEvent::Changed(self.record.clone(), version);
        // An error only says that nobody listens.
        self.with_sender(|sender| sender.send(event).ok());
    }

    /// Ends every subscription.
    pub(super) fn close(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
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

impl Watch for Announcer {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        let receiver = self.with_sender(broadcast::Sender::subscribe);
        self.subscribed.notify_one();
        match receiver {
            Some(receiver) => broadcast_events(receiver),
            None => stream::empty().boxed(),
        }
    }
}

/// Looks at the file every so often while anybody is subscribed, and announces what it finds when it differs. Runs until it is aborted.
///
/// The first look after a subscription always announces: the file may have changed between the two.
pub(super) async fn follow(file: Arc<CacheFile>) {
    let mut known: Option<(Option<Stamp>, Option<Version>)> = None;
    loop {
        if !file.announcer.has_subscribers() {
            known = None;
            file.announcer.subscribed.notified().await;
            continue;
        }
        // Before the content, so that a change between the two is found by the next look.
        if let Ok(stamp) = Stamp::at(file.place.named()) {
            // A file that cannot be read has changed as well; whoever reads it will see why.
            let version = match file.current().await {
                Ok(content) => content.version(),
                Err(_) => None,
            };
            let found = Some((stamp, version));
            if known != found {
                known = found;
                file.announcer.announce(version);
            }
        }
        file.clock.sleep(file.watch_interval).await;
    }
}
