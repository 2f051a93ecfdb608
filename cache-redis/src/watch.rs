//! Notification of changes: a connection of its own that listens to the channel of the key prefix.
//!
//! It listens from before `open` returns. Whenever it has to connect again, subscribers are told that changes may
//! have been missed: when the loss is noticed, and when the new connection listens.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::random::{Random, jitter, random_bytes};
use cache_core::store::error::ErrorKind;
use cache_core::store::{WatchEvent, broadcast_events};
use cache_core::time::{Clock, with_deadline};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::broadcast;

use crate::address::Endpoint;
use crate::connection::Connection;
use crate::error::Failure;
use crate::keys::announced;

/// How many changes a slow subscriber may lag behind before it is told [`WatchEvent::Lost`].
const BACKLOG: usize = 1024;

/// How long the first reconnection waits.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// How long any waits at most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// Tells the subscribers of this store what changed.
pub(crate) struct Announcer {
    /// `None` once the store is closed.
    events: Mutex<Option<broadcast::Sender<WatchEvent>>>,
}

impl Announcer {
    pub(crate) fn new() -> Self {
        Self {
            events: Mutex::new(Some(broadcast::Sender::new(BACKLOG))),
        }
    }

    pub(crate) fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match &*events {
            Some(sender) => broadcast_events(sender.subscribe()),
            None => stream::empty().boxed(),
        }
    }

    /// Ends every subscription.
    pub(crate) fn close(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn announce(&self, event: WatchEvent) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*events {
            // An error only says that nobody listens.
            let _ = sender.send(event);
        }
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}

/// Listens to the channel and announces what it hears.
pub(crate) struct Listener {
    pub(crate) connection: Arc<Connection>,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) channel: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) ping_interval: Duration,
    pub(crate) response_timeout: Duration,
}

/// Also when its task ends with the runtime that the store was opened on: whoever else reads a watch must see its end,
/// rather than wait for changes that nobody hears.
impl Drop for Listener {
    fn drop(&mut self) {
        self.announcer.close();
    }
}

/// A connection that the server has confirmed to listen.
pub(crate) struct Subscription {
    endpoint: Endpoint,
    sink: PubSubSink,
    messages: PubSubStream,
}

impl Listener {
    /// Starts to listen. Every change that is committed after this returned is heard, or its loss is noticed.
    pub(crate) async fn subscribe(&self) -> Result<Subscription, Failure> {
        // Not all processes at the same node of a Cluster. Without randomness, so be it.
        let first = random_bytes(&*self.random).map_or(0, u16::from_le_bytes);
        let (endpoint, pub_sub) = self.connection.pub_sub(usize::from(first)).await?;
        let (mut sink, messages) = pub_sub.split();
        let confirmed =
            with_deadline(&*self.clock, self.response_timeout, sink.subscribe(&self.channel)).await;
        match confirmed {
            Some(Ok(())) => Ok(Subscription {
                endpoint,
                sink,
                messages,
            }),
            Some(Err(error)) => Err(Failure::connecting(&endpoint, &error)),
            None => {
                let context = "the server did not confirm the subscription within the time limit";
                Err(Failure::new(ErrorKind::Unavailable, context).at(&endpoint))
            }
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(self, subscription: Option<Subscription>) {
        let mut subscription = match subscription {
            Some(subscription) => subscription,
            None => self.listen_again().await,
        };
        loop {
            self.listen(&mut subscription).await;
            tracing::warn!(server = %subscription.endpoint, "the channel of changes was lost; connecting again");
            self.announcer.announce(WatchEvent::Lost);
            drop(subscription);
            subscription = self.listen_again().await;
        }
    }

    /// Connects, however long that takes, and says that changes may have been missed until now.
    async fn listen_again(&self) -> Subscription {
        let subscription = self.reconnect().await;
        tracing::info!(server = %subscription.endpoint, "listening to the channel of changes again");
        self.announcer.announce(WatchEvent::Lost);
        subscription
    }

    /// Announces what comes, until the connection is lost or does not answer.
    async fn listen(&self, subscription: &mut Subscription) {
        let Subscription {
            endpoint,
            sink,
            messages,
        } = subscription;
        // Side by side: who else is asked may take longer than the bound for noticing a connection that died.
        let mut silent = Box::pin(self.is_silent(sink));
        let mut elsewhere = Box::pin(self.is_elsewhere(endpoint));
        loop {
            // Checks may take their time; messages do not wait for them.
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else {
                        return;
                    };
                    if let Some(event) = announced(message.get_payload_bytes()) {
                        self.announcer.announce(event);
                    }
                }
                () = &mut silent => return,
                () = &mut elsewhere => return,
            }
        }
    }

    /// Returns when the server does not answer on this connection. A cut network shows in no other way.
    async fn is_silent(&self, sink: &mut PubSubSink) {
        loop {
            self.clock.sleep(self.ping_interval).await;
            let ping = sink.ping::<redis::Value>();
            let answer = with_deadline(&*self.clock, self.response_timeout, ping).await;
            if !matches!(answer, Some(Ok(_))) {
                return;
            }
        }
    }

    /// Returns when changes are published elsewhere.
    async fn is_elsewhere(&self, endpoint: &Endpoint) {
        loop {
            self.clock.sleep(self.ping_interval).await;
            if !self.connection.still_hears(endpoint).await {
                return;
            }
        }
    }

    async fn reconnect(&self) -> Subscription {
        let mut backoff = FIRST_BACKOFF;
        loop {
            match self.subscribe().await {
                Ok(subscription) => return subscription,
                Err(failure) => tracing::debug!(
                    ?failure,
                    "cannot listen to the channel of changes; trying again later"
                ),
            }
            // Without jitter all processes would come back at once. Without randomness, so be it.
            let jitter = jitter(&*self.random).unwrap_or(0.5);
            self.clock.sleep(backoff.mul_f64(0.5 + jitter / 2.0)).await;
            backoff = LONGEST_BACKOFF.min(backoff * 2);
        }
    }
}
