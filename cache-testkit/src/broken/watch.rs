//! How the broken stores report changes.

use std::sync::{Mutex, PoisonError};

use cache_core::store::{StoreKey, Version, WatchEvent};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future, stream};
use tokio::sync::broadcast;

use super::Flaw;

/// The changes of one place, on their way to its subscribers.
#[derive(Debug)]
pub(super) struct Changes {
    flaw: Option<Flaw>,
    sender: Mutex<broadcast::Sender<Change>>,
    /// Senders that nobody uses any more, kept so that their subscribers' streams do not end.
    silenced: Mutex<Vec<broadcast::Sender<Change>>>,
}

/// A change, and which instance made it.
#[derive(Clone, Debug)]
struct Change {
    instance: u64,
    event: WatchEvent,
}

const BACKLOG: usize = 64;

impl Changes {
    pub(super) fn new(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            sender: Mutex::new(broadcast::Sender::new(BACKLOG)),
            silenced: Mutex::default(),
        }
    }

    pub(super) fn announce_put(
        &self,
        instance: u64,
        key: &StoreKey,
        replaced: Option<Version>,
        new: Version,
    ) {
        match self.flaw {
            Some(Flaw::WatchDropsPuts) => {}
            Some(Flaw::WatchReportsOldVersions) => {
                self.announce(instance, key, Some(replaced.unwrap_or(new)))
            }
            _ => self.announce(instance, key, Some(new)),
        }
    }

    pub(super) fn announce_delete(&self, instance: u64, key: &StoreKey) {
        if self.flaw != Some(Flaw::WatchDropsDeletes) {
            self.announce(instance, key, None);
        }
    }

    pub(super) fn subscribe(&self, instance: u64) -> BoxStream<'static, WatchEvent> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if self.flaw == Some(Flaw::WatchHasOneSubscriber) {
            let silenced = std::mem::replace(&mut *sender, broadcast::Sender::new(BACKLOG));
            self.silenced
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(silenced);
        }
        let receiver = sender.subscribe();
        drop(sender);
        let flaw = self.flaw;
        changes_or_gaps(receiver)
            .filter_map(move |change| {
                future::ready(match (change, flaw) {
                    (None, Some(Flaw::WatchHidesGaps)) => None,
                    (None, _) => Some(WatchEvent::Lost),
                    (Some(change), Some(Flaw::WatchIsLocal)) if change.instance != instance => None,
                    (Some(change), _) => Some(change.event),
                })
            })
            .boxed()
    }

    fn announce(&self, instance: u64, key: &StoreKey, version: Option<Version>) {
        let event = WatchEvent::Changed(key.clone(), version);
        // An error only says that nobody listens.
        let _ = self
            .sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(Change { instance, event });
    }
}

/// What the receiver hears, with `None` where it fell behind.
fn changes_or_gaps(receiver: broadcast::Receiver<Change>) -> BoxStream<'static, Option<Change>> {
    stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(change) => Some((Some(change), receiver)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((None, receiver)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    })
    .boxed()
}
