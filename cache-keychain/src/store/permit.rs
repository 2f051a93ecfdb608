//! Who has the say over a write that is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Permission to write, between the caller that may give up and the keychain's thread that may be late.
///
/// A thread that hangs in a call may come back much later. It must then not replace the record for a caller who was told that nothing
/// happened, and the lock must not be another's while it still may: so the lock goes with the work and not with the caller, and
/// whoever comes first of the two decides.
pub(crate) struct Permit<G>(Mutex<State<G>>);

enum State<G> {
    /// Nobody began. The lock is held.
    Waiting(G),
    /// Nothing was decided: the record is as it was.
    Working,
    /// The record is being replaced.
    Committing,
    /// The caller gave up before that.
    Revoked,
}

impl<G> Permit<G> {
    pub(crate) fn new(guard: G) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting(guard))))
    }

    /// Begins the work, if the caller still wants it. Whoever works keeps the lock.
    pub(crate) fn begin(&self) -> Option<G> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Working) {
            State::Waiting(guard) => Some(guard),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Asks to replace the record. Whether the caller still wants it.
    pub(crate) fn commit(&self) -> bool {
        let mut state = self.lock();
        if matches!(*state, State::Working) {
            *state = State::Committing;
        }
        matches!(*state, State::Committing)
    }

    /// Gives up. Whether the record is certain to stay as it was.
    pub(crate) fn revoke(&self) -> bool {
        let mut state = self.lock();
        if !matches!(*state, State::Committing) {
            *state = State::Revoked;
        }
        matches!(*state, State::Revoked)
    }

    fn lock(&self) -> MutexGuard<'_, State<G>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up for a caller whose future is dropped.
pub(crate) struct RevokeOnDrop<G>(pub(crate) Arc<Permit<G>>);

impl<G> Drop for RevokeOnDrop<G> {
    fn drop(&mut self) {
        self.0.revoke();
    }
}
