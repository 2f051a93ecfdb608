//! Where the broken stores keep their records.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cache_core::store::{PutOptions, Record, StoreKey, Version};
use cache_core::time::{Clock, UnixMillis};

use super::Flaw;
use super::watch::Changes;
use crate::clock::ManualClock;

/// Records that several instances share, and the flaw that they all have.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) flaw: Option<Flaw>,
    pub(super) changes: Changes,
    /// Connections that a dropped operation kept, for [`Flaw::DroppedScanLeaks`] and [`Flaw::DroppedWriteLeaks`].
    pub(super) leaked: AtomicUsize,
    clock: ManualClock,
    rows: Mutex<BTreeMap<StoreKey, Row>>,
    /// Held from the check of a condition to its write.
    atomic: Mutex<()>,
    writes: AtomicU64,
}

/// A record as it is stored; deleted ones stay as tombstones.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) record: Record,
    pub(super) deleted: bool,
    /// How many writes this row has seen, for the flaws that make versions of it.
    writes: u64,
}

impl Place {
    pub(super) fn new(flaw: Option<Flaw>, clock: ManualClock) -> Self {
        Self {
            flaw,
            changes: Changes::new(flaw),
            leaked: AtomicUsize::new(0),
            clock,
            rows: Mutex::default(),
            atomic: Mutex::default(),
            writes: AtomicU64::new(0),
        }
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, BTreeMap<StoreKey, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn atomically(&self) -> MutexGuard<'_, ()> {
        self.atomic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    pub(super) fn was_written(&self) -> bool {
        self.writes.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_expired(&self, row: &Row) -> bool {
        let now = self.now();
        row.record.expires_at.is_some_and(|expiry| match self.flaw {
            Some(Flaw::IgnoresExpiry) => false,
            Some(Flaw::ExpiresTooLate) => now > expiry,
            _ => now >= expiry,
        })
    }

    pub(super) fn is_live(&self, row: &Row) -> bool {
        !row.deleted && !self.is_expired(row)
    }

    /// The row that a write makes of the one before it.
    pub(super) fn next_row(&self, before: Option<&Row>, payload: bytes::Bytes, options: &PutOptions) -> Row {
        let write = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let restarts = before.is_none_or(|row| match self.flaw {
            Some(Flaw::VersionRestartsAfterExpiry) => self.is_expired(row),
            _ => row.deleted,
        });
        let writes = if restarts {
            1
        } else {
            before.map_or(0, |row| row.writes) + 1
        };
        let version = match self.flaw {
            Some(Flaw::VersionRestartsAfterDelete | Flaw::VersionRestartsAfterExpiry) => writes,
            Some(Flaw::VersionIsContentHash) => {
                let mut hasher = DefaultHasher::new();
                payload.hash(&mut hasher);
                hasher.finish()
            }
            _ => write,
        };
        let expires_at = match (self.flaw, before) {
            (Some(Flaw::KeepsTheOldExpiry), Some(row)) if self.is_live(row) => row.record.expires_at,
            (Some(Flaw::RoundsTheExpiry), _) => {
                options.expires_at.map(|moment| moment.to_seconds().to_millis())
            }
            _ => options.expires_at,
        };
        Row {
            record: Record {
                payload,
                version: Version::from_bytes(u128::from(version).to_be_bytes()),
                expires_at,
            },
            deleted: false,
            writes,
        }
    }
}
