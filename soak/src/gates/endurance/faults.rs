//! What went wrong meanwhile, and when.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cache_core::time::{Clock, SystemClock};

use crate::fleet::micros;

/// Something that went wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// What.
    pub(super) kind: Kind,
    /// From when, in microseconds on the clock that all processes share.
    pub(super) from: u64,
    /// Until when; the end of all time while it goes on.
    pub(super) to: u64,
}

/// What went wrong, as far as it matters to whom it befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The reply of the issuer did not come, or not in time.
    ReplyLost,
    /// The issuer answered that it failed.
    IssuerFailed,
    /// The issuer refused connections.
    IssuerAway,
    /// A process was killed.
    ProcessKilled,
    /// A process was stopped, and woken.
    ProcessStopped,
    /// Redis was away, paused, or closed its connections.
    StoreAway,
    /// Another process held the lock of the database.
    StoreLocked,
    /// The machine itself had no time, or its disk. Nobody did that.
    MachineStalled,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::ReplyLost,
        Self::IssuerFailed,
        Self::IssuerAway,
        Self::ProcessKilled,
        Self::ProcessStopped,
        Self::StoreAway,
        Self::StoreLocked,
        Self::MachineStalled,
    ];
}

impl Fault {
    /// Whether it was there at that time, or shortly before.
    pub(super) fn is_around(&self, began: u64, ended: u64, shortly: u64) -> bool {
        self.from <= ended && began <= self.to.saturating_add(shortly)
    }
}

/// All faults of an arrangement, of late.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Notes one that is over.
    pub(super) fn note(&self, kind: Kind, from: u64, to: u64) {
        self.faults().push(Fault { kind, from, to });
    }

    /// Notes one that begins; its beginning ends it.
    pub(super) fn begin(&self, kind: Kind) -> u64 {
        let from = now();
        self.note(kind, from, u64::MAX);
        from
    }

    /// Ends what began then.
    pub(super) fn end(&self, kind: Kind, from: u64) {
        let mut faults = self.faults();
        let begun = faults
            .iter_mut()
            .find(|fault| fault.kind == kind && fault.from == from);
        if let Some(fault) = begun {
            fault.to = now();
        }
    }

    /// Those that are known.
    pub(super) fn all(&self) -> Vec<Fault> {
        self.faults().clone()
    }

    /// Forgets what ended before.
    pub(super) fn forget(&self, before: u64) {
        self.faults().retain(|fault| fault.to >= before);
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On the clock that all processes share.
pub(super) fn now() -> u64 {
    micros(SystemClock.monotonic())
}
