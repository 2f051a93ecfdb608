//! Writes that can be seen and may yet be lost.
//!
//! A store that replicates shows a write to everybody as soon as its primary has it, and says that the outcome is unknown where too few
//! replicas have it in time. To find one's own bytes by reading again proves nothing then: a failover can still undo them, and a refresh
//! token must not be sent on a marker that may vanish, nor a sign-out be reported. Only a write that the replicas acknowledge settles the
//! matter, for itself and for all that came before it on that primary. So it is written again.

use std::time::Duration;

use super::commit::again;
use super::{CacheError, Inner};
use crate::schema::{Partition, PartitionKey};
use crate::store::{Persistence, PutOptions, Store, StoreError, StoreKey};

/// How often a commit is written again for want of replicas. Each time takes as long as the store waits for them.
const MOST_DOUBTS: u32 = 3;

/// How long an empty record may stand whose removal failed.
const EMPTY_RECORD: Duration = Duration::from_secs(60);

/// What a commit knows of its own writes.
pub(super) struct Doubt {
    /// Whether the store shows writes that it may lose.
    is_possible: bool,
    raised: u32,
}

impl Doubt {
    pub(super) fn new(store: &dyn Store) -> Self {
        Self {
            is_possible: store.capabilities().persistence == Persistence::Replicated,
            raised: 0,
        }
    }

    /// Whether a write that failed so is visible perhaps, and not safe.
    pub(super) fn concerns(&self, error: &StoreError) -> bool {
        self.is_possible && error.is_outcome_unknown()
    }

    /// Whether a write of this commit is still in doubt.
    pub(super) fn is_raised(&self) -> bool {
        self.raised > 0
    }

    /// Notes a write that is in doubt.
    ///
    /// # Errors
    /// That it was written again often enough: the replicas are not there.
    pub(super) fn raise(&mut self, error: StoreError) -> Result<(), CacheError> {
        self.raised += 1;
        if self.raised > MOST_DOUBTS {
            return Err(error.into());
        }
        Ok(())
    }
}

impl Inner {
    /// Settles that a record is gone, by a record without rows in its place that the replicas acknowledge. It is created and
    /// not forced there: somebody may have signed in meanwhile. `false` when the commit must look again.
    pub(super) async fn settle_removal(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
        doubt: &mut Doubt,
    ) -> Result<bool, CacheError> {
        let empty = Partition::new(key.clone());
        let (payload, _) = self.encode(key, stored_key, &empty, None).await?;
        let expires_at = self.clock.now().saturating_add(EMPTY_RECORD);
        let options = PutOptions::create().expires_at(Some(expires_at));
        match self.store.put(stored_key, payload, options).await {
            Ok(version) => {
                // Whether this is known to have been done makes no difference: the record is empty, and expires.
                let _ = self.store.delete(stored_key, Some(version)).await;
                Ok(true)
            }
            Err(error) if doubt.concerns(&error) => doubt.raise(error).map(|()| false),
            Err(error) if again(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
