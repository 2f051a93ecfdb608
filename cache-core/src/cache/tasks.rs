//! The tasks that a cache has under way, so that a program can wait for them before it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::TokenCache;
use crate::time::with_deadline;

impl TokenCache {
    /// Takes no new work and waits, for at most `deadline`, until refreshes and writes under way are stored. What waits for a store that
    /// could not be reached gets one more attempt. Gives how many tasks have not ended. A program that ends without this may lose a
    /// refresh token that it has just obtained.
    ///
    /// Cancellation safe: the work goes on either way.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        self.inner.tasks.close();
        let _ = with_deadline(&*self.inner.clock, deadline, self.inner.tasks.idle()).await;
        self.inner.tasks.count()
    }
}

/// Counts tasks. A task holds a ticket until it ends, however it ends.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: Arc<Running>,
    closing: watch::Sender<bool>,
}

/// Every caller that misses takes a ticket, so taking one is a single write.
#[derive(Debug, Default)]
struct Running {
    count: AtomicUsize,
    ended: Notify,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            running: Arc::default(),
            closing: watch::Sender::new(false),
        }
    }

    /// Runs `work` as a task that is waited for.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ticket = self.ticket();
        tokio::spawn(async move {
            let _ticket = ticket;
            work.await;
        });
    }

    /// A ticket for new work; `None` once the cache is closing.
    ///
    /// Counted first and checked then: either [`idle`](Self::idle) sees the ticket, or this sees that it is too late.
    pub(crate) fn admit(&self) -> Option<Ticket> {
        let ticket = self.ticket();
        (!self.is_closing()).then_some(ticket)
    }

    /// A ticket for work that runs elsewhere and belongs to work that was admitted.
    pub(crate) fn ticket(&self) -> Ticket {
        self.running.count.fetch_add(1, Ordering::SeqCst);
        Ticket {
            running: Arc::clone(&self.running),
        }
    }

    /// From now on nothing is [admitted](Self::admit).
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Waits until the cache is closing.
    pub(crate) async fn closing(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives as long as `self`, so this ends only when it is.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    pub(crate) fn count(&self) -> usize {
        self.running.count.load(Ordering::SeqCst)
    }

    /// Waits until no task is running.
    pub(crate) async fn idle(&self) {
        loop {
            // Made before the look at the count: it hears of whatever ends from now on.
            let ended = self.running.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Held by a running task.
#[derive(Debug)]
pub(crate) struct Ticket {
    running: Arc<Running>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.running.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.running.ended.notify_waiters();
        }
    }
}
