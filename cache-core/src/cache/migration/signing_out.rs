//! What a sign-out does about a migration that is under way, or was interrupted.

use std::sync::Arc;

use super::journal::Journal;
use super::sameness::{is_same, supersedes};
use crate::cache::{CacheError, Inner};
use crate::schema::{Partition, PartitionKey};

impl Inner {
    /// Before a removal: ends what the journal in this store says of a partition that is here all the same, that has not left yet, or has arrived.
    /// Otherwise the next run would bring back what is about to be removed.
    pub(in crate::cache) async fn end_migration_of(self: &Arc<Self>, key: &PartitionKey) {
        let ended = self.end_entry(key, async || {
            let held = self.load(key, &self.stored_key(key)).await?;
            Ok(held.map(|held| held.partition).into_iter().collect())
        });
        warn_of(ended.await);
    }

    /// After a removal: the same of what arrived between the two.
    pub(in crate::cache) async fn end_migration_of_removed(
        self: &Arc<Self>,
        key: &PartitionKey,
        removed: &[Partition],
    ) {
        warn_of(self.end_entry(key, async || Ok(removed.to_vec())).await);
    }

    /// Removes the journal's entry of a partition if it is of anything that is or was `held`.
    async fn end_entry(
        self: &Arc<Self>,
        key: &PartitionKey,
        held: impl AsyncFnOnce() -> Result<Vec<Partition>, CacheError>,
    ) -> Result<(), CacheError> {
        if self.only_documents {
            return Ok(());
        }
        let journal = Journal::new(Arc::clone(self));
        let Some((entry, version)) = journal.read(key).await? else {
            return Ok(());
        };
        let sent = &entry.partition;
        let is_of = |held: &Partition| is_same(self, held, sent) || supersedes(held, sent);
        if held().await?.iter().any(is_of) {
            journal.remove(key, version).await?;
        }
        Ok(())
    }
}

fn warn_of(ended: Result<(), CacheError>) {
    if let Err(error) = ended {
        tracing::warn!(error = %error, "a migration that was interrupted may bring back what is signed out now");
    }
}
