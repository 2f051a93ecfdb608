//! What a sign-out does about a migration that was interrupted.

use std::sync::Arc;

use super::journal::Journal;
use super::sameness::{is_same, supersedes};
use crate::cache::{CacheError, Inner};
use crate::schema::PartitionKey;

impl Inner {
    /// Ends what the journal in this store says of a partition that is here all the same: that has not left yet, or has arrived. Otherwise the next
    /// run would bring back what is about to be signed out.
    pub(in crate::cache) async fn end_migration_of(
        self: &Arc<Self>,
        key: &PartitionKey,
    ) -> Result<(), CacheError> {
        if self.only_documents {
            return Ok(());
        }
        let journal = Journal::new(Arc::clone(self));
        let Some((entry, version)) = journal.read(key).await? else {
            return Ok(());
        };
        let Some(held) = self.load(key, &self.stored_key(key)).await? else {
            return Ok(());
        };
        let (held, sent) = (&held.partition, &entry.partition);
        if is_same(self, held, sent) || supersedes(held, sent) {
            journal.remove(key, version).await?;
        }
        Ok(())
    }
}
