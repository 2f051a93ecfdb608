//! How much work the store has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a store has done since it was opened; see [`SqliteStore::statistics`](crate::SqliteStore::statistics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Puts and deletes that were carried out, conflicts among them.
    pub writes: u64,
    /// Transactions that were committed for them. Fewer than the writes where writes waited together.
    pub transactions: u64,
    /// Records, versions and pages that were read, and looks at the log of changes.
    pub reads: u64,
    /// Statements that were run for them. Fewer than the reads where reads waited together.
    pub read_statements: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    writes: AtomicU64,
    transactions: AtomicU64,
    reads: AtomicU64,
    read_statements: AtomicU64,
}

impl Counters {
    pub(crate) fn count_transaction(&self, writes: usize) {
        self.writes.fetch_add(writes as u64, Ordering::Relaxed);
        self.transactions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_read(&self, reads: usize) {
        self.reads.fetch_add(reads as u64, Ordering::Relaxed);
        self.read_statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self) -> Statistics {
        Statistics {
            writes: self.writes.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            read_statements: self.read_statements.load(Ordering::Relaxed),
        }
    }
}
