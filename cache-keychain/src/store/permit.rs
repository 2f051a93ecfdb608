//! Who has the say over a write that is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lock::LockGuard;

/// Permission to write, between the caller that may give up and the keychain's thread that may be late.
///
/// A thread that hangs in a call may come back much later. It must then not replace the manifest for a caller who was told that nothing
/// happened, and the lock must not be another's while it still may: so the lock goes with the work and not with the caller, and
/// whoever comes first of the two decides.
pub(super) struct Permit(Mutex<State>);

enum State {
    /// Nobody began.
    Waiting(LockGuard),
    /// Nothing was decided: chunks may be there, the manifest is as it was.
    Working,
    /// The manifest is being replaced.
    Committing,
    /// The caller gave up before that.
    Revoked,
}

impl Permit {
    pub(super) fn new(guard: LockGuard) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting(guard))))
    }

    /// Begins the work, if the caller still wants it. Whoever works keeps the lock.
    pub(super) fn begin(&self) -> Option<LockGuard> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Working) {
            State::Waiting(guard) => Some(guard),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Asks to replace the manifest. Whether the caller still wants it.
    pub(super) fn commit(&self) -> bool {
        let mut state = self.lock();
        if matches!(*state, State::Working) {
            *state = State::Committing;
        }
        matches!(*state, State::Committing)
    }

    /// Gives up. Whether the manifest is certain to stay as it was.
    pub(super) fn revoke(&self) -> bool {
        let mut state = self.lock();
        if !matches!(*state, State::Committing) {
            *state = State::Revoked;
        }
        matches!(*state, State::Revoked)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up for a caller whose future is dropped.
pub(super) struct RevokeOnDrop(pub(super) Arc<Permit>);

impl Drop for RevokeOnDrop {
    fn drop(&mut self) {
        self.0.revoke();
    }
}
