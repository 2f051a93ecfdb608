//! What a cache does while its store cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use crate::store::Store;

/// What happens to lookups while the store cannot be reached or does not answer.
///
/// An outage is `Unavailable`, `Timeout`, or an open [circuit](crate::store::CircuitBreakerStore). Any other failure (a damaged record,
/// a missing permission, a full disk) is the caller's error whatever the policy says.
///
/// Whatever serves in an outage says so: [`Acquired::served_during_outage`](crate::cache::Acquired::served_during_outage), the metric
/// `tokenkeep_served_during_outage_total`, and a warning when the outage begins. It never serves past a token's expiry.
///
/// # What every policy keeps to
///
/// - **No refresh token is sent** without a marker that is stored durably, so none is sent in an outage.
/// - **A sign-out in this process** fails with the store's error, and is not served in this process from that moment until
///   the store can be read again. It must be repeated: what is in the store is still there.
/// - **Recovery needs nothing.** The first operation that is answered ends the outage. Nothing that was served in it is written back,
///   but tokens of applications that were obtained meanwhile.
///
/// # What it costs
///
/// A sign-out by *another* process is noticed at the latest when [`max_staleness`](super::MemoryTier::max_staleness) **plus `at_most`**
/// have passed since the store was last asked. A record that the store's watch reported as changed is not served at all.
///
/// ```
/// use std::time::Duration;
/// use cache_core::strategy::{OutagePolicy, Strategy};
///
/// let at_most = Duration::from_secs(120);
/// let strategy = Strategy::web_front_end().outage(OutagePolicy::ServeFromMemory { at_most });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OutagePolicy {
    /// Every lookup that needs the store fails with its error.
    Fail,
    /// A partition in memory goes on serving for `at_most` longer than it may without asking the store. Tokens of applications that are
    /// not in memory are obtained from the authority, and stored when the store is back.
    ServeFromMemory {
        /// For how long beyond [`max_staleness`](super::MemoryTier::max_staleness).
        at_most: Duration,
    },
    /// As `ServeFromMemory`; and what memory does not have is read from `store`, where copies of what this process reads and
    /// writes are kept: access tokens, ID tokens and accounts, **never a refresh token**. So it also serves a process that was
    /// started in the outage, and partitions that memory has no room for.
    ///
    /// - The copies are sealed, under a key ring of their own in `store` that the same key source protects. The cache's own
    ///   ring is kept there as well, as it is in the store, so that a cache can be opened in an outage.
    /// - They are written in the background, once for each change and again after a quarter of `at_most`. So a copy serves for between
    ///   three quarters of `at_most` and the whole, and then the store's answer is needed.
    /// - They go by the wall clock, as they outlive a process: while that is set back by some time, they serve for as much longer.
    /// - They are removed with a sign-out, or when the store or its watch says that a record is gone or another.
    /// - They are disposable: when the cache's key source has been changed they are thrown away at the next start, and made anew.
    /// - **Nothing in them is ever written to the store**, nor does anybody refresh by them: who needs a refresh waits for the store.
    /// - A sign-out whose copy cannot be removed returns an error although the store has done it. This process does not serve the
    ///   copy, and others of the machine do so within the bound.
    /// - One fallback store serves the processes of one machine and one cache: a process elsewhere does not remove its copies.
    Fallback {
        /// Where the copies are: a file of this machine, such as an SQLite store, beside a server.
        store: Arc<dyn Store>,
        /// For how long beyond [`max_staleness`](super::MemoryTier::max_staleness).
        at_most: Duration,
    },
}

impl OutagePolicy {
    /// How long beyond its staleness a partition serves, if it does.
    pub(crate) fn at_most(&self) -> Option<Duration> {
        match self {
            Self::Fail => None,
            Self::ServeFromMemory { at_most } | Self::Fallback { at_most, .. } => Some(*at_most),
        }
    }
}
