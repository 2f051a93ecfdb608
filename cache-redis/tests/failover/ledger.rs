//! What each task was told, against what the servers have.

use std::time::Duration;

use cache_core::time::{Clock, SystemClock};

/// What one task saw so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The highest number that a server acknowledged.
    acknowledged: u64,
    /// Acknowledged writes that were gone when they were read again.
    pub(crate) lost: u64,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) unknown: u64,
    /// When the latest write succeeded.
    last_success: Option<Duration>,
    /// The longest time between two successes.
    longest_gap: Duration,
}

impl Ledger {
    /// The counter was read, and showed this.
    pub(crate) fn read(&mut self, number: u64) {
        if number < self.acknowledged {
            self.lost += self.acknowledged - number;
            // They are counted once.
            self.acknowledged = number;
        }
    }

    /// A write of this number was acknowledged.
    pub(crate) fn wrote(&mut self, number: u64) {
        let now = SystemClock.monotonic();
        if let Some(last) = self.last_success {
            self.longest_gap = self.longest_gap.max(now - last);
        }
        self.last_success = Some(now);
        self.acknowledged = number;
        self.successes += 1;
    }

    /// The longest time between two successes since this was last asked.
    pub(crate) fn take_longest_gap(&mut self) -> Duration {
        std::mem::take(&mut self.longest_gap)
    }
}
