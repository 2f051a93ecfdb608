//! What a commit makes of writes that fail, above all of those that can be seen and may yet be lost.
//!
//! A store that replicates shows a write to everybody as soon as its primary has it, and says that the outcome is unknown where too few
//! replicas have it in time. To find one's own bytes by reading again proves nothing then: a failover can still undo them, and a refresh
//! token must not be sent on a marker that may vanish, nor a sign-out be reported. Only a write that the replicas acknowledge settles the
//! matter, for itself and for all that came before it on that primary. So it is written again. A disk is no better: what could not be forced
//! to it is read from the memory of the system, until the power fails.

use std::time::Duration;

use super::record::Encoded;
use super::{CacheError, Inner};
use crate::schema::{Partition, PartitionKey};
use crate::store::error::Retry;
use crate::store::{Persistence, PutOptions, Store, StoreError, StoreKey};

/// How often a commit is written again for want of replicas or of a disk. Each time takes as long as the store waits for them.
const MOST_DOUBTS: u32 = 3;

/// How long an empty record may stand whose removal failed.
const EMPTY_RECORD: Duration = Duration::from_secs(60);

/// What a commit knows of its own writes so far.
pub(super) struct Writes {
    /// Whether the store shows writes that it may lose.
    shows_early: bool,
    /// Whether that is because others must acknowledge them.
    is_replicated: bool,
    /// How many of them it may lose.
    in_doubt: u32,
    /// Whether one may have reached the store.
    sent: bool,
    /// Why the store took none, other than that somebody was faster.
    refused: Option<StoreError>,
}

impl Writes {
    pub(super) fn new(store: &dyn Store) -> Self {
        let capabilities = store.capabilities();
        Self {
            shows_early: capabilities.shows_early,
            is_replicated: capabilities.persistence >= Persistence::Replicated,
            in_doubt: 0,
            sent: false,
            refused: None,
        }
    }

    /// Whether to read back what is stored does not settle a durable write.
    pub(super) fn show_early(&self) -> bool {
        self.shows_early
    }

    /// Whether a write must succeed although there is nothing to change: after one that may be lost, and for every removal where replicas
    /// acknowledge. What is not found there may be missing only on a primary that was replaced and does not know it yet.
    pub(super) fn must_settle(&self, removes: bool) -> bool {
        self.in_doubt > 0 || removes && self.is_replicated
    }

    /// Whether nothing can have happened and nothing will before the circuit closes.
    pub(super) fn are_hopeless(&self, error: &StoreError) -> bool {
        error.is_circuit_open() && !self.sent
    }

    /// One was made in a larger batch, and may be stored.
    pub(super) fn note_earlier(&mut self) {
        self.sent = true;
        self.in_doubt = u32::from(self.shows_early);
    }

    /// Nobody knows what became of one.
    pub(super) fn note_unknown(&mut self) {
        self.sent = true;
    }

    /// One failed: the commit looks again, unless this is its end.
    ///
    /// # Errors
    /// The error, where another attempt would fail too, or was made often enough for want of replicas or of a disk.
    pub(super) fn note_failed(&mut self, error: StoreError) -> Result<(), CacheError> {
        if self.shows_early && error.is_outcome_unknown() {
            self.sent = true;
            self.in_doubt += 1;
            return if self.in_doubt > MOST_DOUBTS {
                Err(error.into())
            } else {
                Ok(())
            };
        }
        if self.are_hopeless(&error) || !(error.is_conflict() || error.retry() != Retry::No) {
            return Err(error.into());
        }
        self.sent |= !error.is_circuit_open();
        self.refused = Some(error).filter(|error| !error.is_conflict());
        Ok(())
    }

    /// Why all attempts failed, other than that somebody was always faster.
    pub(super) fn into_refusal(self) -> Option<StoreError> {
        self.refused
    }
}

impl Inner {
    /// Settles that a record is gone, by a record without rows in its place that the disk or the replicas acknowledge. It is
    /// created and not forced there: somebody may have signed in meanwhile. `false` when the commit must look again.
    pub(super) async fn settle_removal(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
        writes: &mut Writes,
    ) -> Result<bool, CacheError> {
        let empty = Partition::new(key.clone());
        let Encoded { payload, .. } = self.encode(key, stored_key, &empty, None).await?;
        let expires_at = self.clock.now().saturating_add(EMPTY_RECORD);
        let options = PutOptions::create().expires_at(Some(expires_at));
        match self.store.put(stored_key, payload, options).await {
            Ok(version) => {
                // Whether this is known to have been done makes no difference: the record is empty, and expires.
                let _ = self.store.delete(stored_key, Some(version)).await;
                Ok(true)
            }
            Err(error) => writes.note_failed(error).map(|()| false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::error::{ErrorKind, Operation};
    use crate::store::{CircuitOpen, MemoryStore};

    fn refused_by_the_circuit() -> StoreError {
        StoreError::new(ErrorKind::Unavailable, Operation::Put, "not asked")
            .with_retry(Retry::Yes)
            .with_source(CircuitOpen {
                retry_after: Duration::from_secs(1),
            })
    }

    #[test]
    fn a_circuit_that_opens_ends_a_commit_of_which_nothing_was_sent() {
        let mut writes = Writes::new(&MemoryStore::new());
        assert!(writes.note_failed(refused_by_the_circuit()).is_err());
    }

    #[test]
    fn a_circuit_that_opens_does_not_end_a_commit_of_which_a_write_may_have_arrived() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Conflict] {
            let mut writes = Writes::new(&MemoryStore::new());
            writes
                .note_failed(StoreError::new(kind, Operation::Put, "who knows"))
                .unwrap();
            writes.note_failed(refused_by_the_circuit()).unwrap();
            assert!(writes.into_refusal().unwrap().is_circuit_open());
        }
        let mut writes = Writes::new(&MemoryStore::new());
        writes.note_unknown();
        writes.note_failed(refused_by_the_circuit()).unwrap();
    }
}
