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
        let ended = self.end_entry(key, async |_| {
            let held = self.load(key, &self.stored_key(key)).await?;
            Ok(held.map(|held| held.partition))
        });
        warn_of(ended.await);
    }

    /// After a removal: the same of what arrived between the two.
    pub(in crate::cache) async fn end_migration_of_removed(self: &Arc<Self>, removed: &Partition) {
        warn_of(
            self.end_entry(&removed.key, async |_| Ok(Some(removed.clone())))
                .await,
        );
    }

    /// Removes the journal's entry of a partition if it is of what is `held`.
    async fn end_entry(
        self: &Arc<Self>,
        key: &PartitionKey,
        held: impl AsyncFnOnce(&Partition) -> Result<Option<Partition>, CacheError>,
    ) -> Result<(), CacheError> {
        if self.only_documents {
            return Ok(());
        }
        let journal = Journal::new(Arc::clone(self));
        let Some((entry, version)) = journal.read(key).await? else {
            return Ok(());
        };
        let sent = &entry.partition;
        match held(sent).await? {
            Some(held) if is_same(self, &held, sent) || supersedes(&held, sent) => {
                journal.remove(key, version).await
            }
            _ => Ok(()),
        }
    }
}

fn warn_of(ended: Result<(), CacheError>) {
    if let Err(error) = ended {
        tracing::warn!(error = %error, "a migration that was interrupted may bring back what is signed out now");
    }
}
