//! What passed on one connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::secret::SecretBytes;
use cache_core::time::{Clock, SystemClock};

/// How much of what a client says is kept: more than any form of these tests has.
const MOST: usize = 64 * 1024;

/// What passed on one connection, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What the client sent and the authority got, 64 KiB of it at most. It may hold secrets.
    pub request: SecretBytes,
    /// The status of the reply, if it began as one of HTTP, whether or not the client got it.
    pub status: Option<u16>,
    /// Whether the client was there when the reply began, and all that the authority said was sent on to it.
    pub is_replied: bool,
    /// When it began, on the monotonic clock of the system.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
}

/// Listens in on a connection.
pub(super) struct Overheard {
    began: Duration,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    request: Vec<u8>,
    /// Its first bytes, to the end of the status.
    reply: Vec<u8>,
}

/// `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

impl Overheard {
    pub(super) fn new() -> Self {
        Self {
            began: SystemClock.monotonic(),
            said: Mutex::default(),
        }
    }

    pub(super) fn request(&self, piece: &[u8]) {
        keep(&mut self.said().request, piece, MOST);
    }

    pub(super) fn reply(&self, piece: &[u8]) {
        keep(&mut self.said().reply, piece, STATUS_LINE);
    }

    /// Whether the authority has said anything.
    pub(super) fn has_reply(&self) -> bool {
        !self.said().reply.is_empty()
    }

    pub(super) fn end(self, is_replied: bool) -> Exchange {
        let said = std::mem::take(&mut *self.said());
        let status = std::str::from_utf8(&said.reply).ok();
        let status = status.and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
        Exchange {
            request: SecretBytes::new(said.request),
            status,
            is_replied,
            began: self.began,
            ended: SystemClock.monotonic(),
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(kept: &mut Vec<u8>, piece: &[u8], most: usize) {
    let room = most.saturating_sub(kept.len()).min(piece.len());
    kept.extend_from_slice(&piece[..room]);
}
