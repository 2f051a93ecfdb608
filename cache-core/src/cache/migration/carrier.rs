//! Moving one partition: a state machine over what the journal, the source and the target hold.

use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::journal::{Entry, Journal, Written};
use super::placing::{Placed, Returned};
use super::removal::{Removed, remove_if_same};
use super::report::{ConflictCause, LeftBecause};
use super::sameness::{OF_DOCUMENTS, is_same, is_same_life};
use crate::cache::changes::Waiter;
use crate::cache::new_epochs::NewEpochs;
use crate::cache::record::Loaded;
use crate::cache::{CacheError, Inner};
use crate::schema::{Partition, PartitionKey, merge};
use crate::seal::SealError;
use crate::store::Version;
use crate::store::error::ErrorKind;
use crate::strategy::spend;
use crate::time::UnixMillis;

/// How often a record is looked at anew because others changed it meanwhile.
pub(super) const MAX_ROUNDS: u32 = 16;

/// What moves partitions from one cache to another.
pub(super) struct Carrier {
    pub(super) source: Arc<Inner>,
    pub(super) target: Arc<Inner>,
    /// `None` where neither store takes a record of our own.
    pub(super) journal: Option<Journal>,
    /// Which cache the source is.
    pub(super) source_id: [u8; 32],
    pub(super) options: Options,
}

/// What became of a partition.
pub(super) enum Moved {
    /// The target has it, and had it not before. Its length in the source, in bytes.
    Now(u64),
    AlreadyThere,
    /// It was gone when its turn came.
    Gone,
    Left(LeftBecause),
    Conflict(ConflictCause),
}

impl Carrier {
    /// Moves the partition, or goes on where an earlier run stopped.
    ///
    /// # Errors
    /// That a store failed. The content is in the source, in the journal or in the target; another call goes on.
    pub(super) async fn carry(&self, key: &PartitionKey) -> Result<Moved, CacheError> {
        if *key == PartitionKey::Residue {
            return self.carry_residue().await;
        }
        if let Some(copied) = self.options.copy {
            return self.copy(key, copied).await;
        }
        match &self.journal {
            Some(journal) => self.carry_by_journal(key, journal).await,
            None => self.carry_directly(key).await,
        }
    }

    async fn carry_by_journal(&self, key: &PartitionKey, journal: &Journal) -> Result<Moved, CacheError> {
        let mut give_up_at = None;
        let mut round = 0;
        while round < MAX_ROUNDS {
            // The journal is read before the source: what another run writes between the two is then a conflict, and never overwritten.
            let entry = journal.read(key).await?;
            if entry
                .as_ref()
                .is_some_and(|(entry, _)| entry.source != self.source_id)
            {
                return Ok(Moved::Conflict(ConflictCause::OtherMigration));
            }
            let found = match self.find(key).await? {
                Ok(found) => found,
                Err(left) => return Ok(Moved::Left(left)),
            };
            let (entry, found) = match (entry, found) {
                (None, None) => return Ok(Moved::Gone),
                (Some((entry, version)), None) => return self.place(journal, entry, version).await,
                (entry, Some(found)) => (entry, found),
            };
            let expected = match entry {
                Some((entry, version))
                    if !is_same_life(&entry, &found, self.options.source_name.is_some()) =>
                {
                    // A user who came back while this was on its way: that is another sign-in, and this one goes first.
                    match self.place(journal, entry, version).await? {
                        Moved::Now(_) | Moved::AlreadyThere | Moved::Gone => {}
                        stopped => return Ok(stopped),
                    }
                    round += 1;
                    continue;
                }
                entry => entry.map(|(_, version)| version),
            };
            if let Some(until) = spend::being_spent_until(&found.partition, self.source.clock.now()) {
                if !self.wait(key, until, &mut give_up_at).await? {
                    return Ok(Moved::Left(LeftBecause::BeingSpent));
                }
                continue;
            }
            if let Some(held) = self.target.load(key, &self.target.stored_key(key)).await? {
                return self.meet(key, &found, &held.partition, journal, expected).await;
            }
            round += 1;
            let entry = self.entry(&found)?;
            let version = match journal.write(&entry, expected).await {
                Ok(Written::At(version)) => version,
                Ok(Written::Conflict) => continue,
                Err(error) if is_of_the_record(&error) => {
                    return Ok(Moved::Left(LeftBecause::Refused(error)));
                }
                Err(error) => return Err(error),
            };
            // Before anything is removed: what lies there now must be what was read.
            match journal.read(key).await? {
                Some((kept, at)) if at == version => {
                    if kept.partition != entry.partition {
                        return Ok(Moved::Left(LeftBecause::NotVerified));
                    }
                }
                Some(_) => continue,
                None => return Ok(Moved::Left(LeftBecause::NotVerified)),
            }
            match self.remove(key, &found.partition).await? {
                Removed::Yes => return self.place(journal, entry, version).await,
                Removed::Changed => {}
                Removed::Gone => {
                    // Signed out meanwhile, or moved by another run.
                    journal.remove(key, version).await?;
                    return Ok(Moved::Gone);
                }
            }
        }
        Ok(Moved::Left(LeftBecause::Contended))
    }

    /// Source and target both have a record.
    async fn meet(
        &self,
        key: &PartitionKey,
        found: &Loaded,
        held: &Partition,
        journal: &Journal,
        entry: Option<Version>,
    ) -> Result<Moved, CacheError> {
        let moved = if !is_same(&self.target, held, &found.partition) {
            Moved::Conflict(ConflictCause::TargetDiffers)
        } else {
            match self.remove(key, &found.partition).await? {
                Removed::Changed => Moved::Conflict(ConflictCause::TargetDiffers),
                Removed::Yes | Removed::Gone => Moved::AlreadyThere,
            }
        };
        // The source, or the target, has all of it. An entry that stayed would bring back what is signed out later.
        if let Some(version) = entry {
            journal.remove(key, version).await?;
        }
        Ok(moved)
    }

    /// The last part of the way: the source has nothing of the entry any more.
    async fn place(&self, journal: &Journal, entry: Entry, version: Version) -> Result<Moved, CacheError> {
        let key = entry.partition.key.clone();
        let expiry = self.expiry(&key, entry.expires_at);
        if expiry.is_some_and(|moment| moment <= self.target.clock.now()) {
            // On its way since an interrupted run.
            journal.remove(&key, version).await?;
            return Ok(Moved::Gone);
        }
        let mut rounds = 0;
        let placed = loop {
            match self.put(&entry.partition, entry.expires_at).await? {
                Placed::Unheard | Placed::NotVerified | Placed::Other
                    if journal.read(&key).await?.is_none() =>
                {
                    // Signed out as soon as it was there: that took the entry along.
                    self.target.relist(&key).await;
                    return Ok(Moved::Gone);
                }
                // A sign-out of what had arrived takes the entry in its own store along, so this was not stored; or that is about to do so.
                Placed::Unheard if journal.lies_in(&self.target) && rounds < MAX_ROUNDS => rounds += 1,
                placed => break placed,
            }
        };
        let moved = match placed {
            Placed::New => Moved::Now(entry.bytes),
            Placed::Known => Moved::AlreadyThere,
            Placed::Unheard => return Ok(Moved::Left(LeftBecause::Unheard)),
            Placed::NotVerified => return Ok(Moved::Left(LeftBecause::NotVerified)),
            Placed::Other => match self.put_back(&entry, journal).await? {
                Returned::Yes => Moved::Conflict(ConflictCause::TargetDiffers),
                Returned::Gone => return Ok(Moved::Gone),
                Returned::SourceDiffers => return Ok(Moved::Conflict(ConflictCause::BothDiffer)),
                Returned::Unheard => return Ok(Moved::Left(LeftBecause::Unheard)),
            },
            Placed::Refused(error) => match self.put_back(&entry, journal).await? {
                Returned::Yes => Moved::Left(LeftBecause::Refused(error)),
                Returned::Gone => return Ok(Moved::Gone),
                Returned::SourceDiffers => return Ok(Moved::Conflict(ConflictCause::BothDiffer)),
                Returned::Unheard => return Ok(Moved::Left(LeftBecause::Unheard)),
            },
        };
        journal.remove(&key, version).await?;
        self.target.relist(&key).await;
        Ok(moved)
    }

    /// What the source has, or why it stays there.
    pub(super) async fn find(
        &self,
        key: &PartitionKey,
    ) -> Result<Result<Option<Loaded>, LeftBecause>, CacheError> {
        match self.source.load(key, &self.source.stored_key(key)).await {
            // It was rolled back and reads as empty: to remove it would lose what it is not.
            Ok(Some(found)) if found.origin().lineage().is_none() => Ok(Err(LeftBecause::RolledBack)),
            Ok(found) => Ok(Ok(found)),
            Err(error) if is_of_the_record(&error) => Ok(Err(LeftBecause::Unreadable(error))),
            Err(error) => Err(error),
        }
    }

    /// Removes the record from the source if it is still what was read.
    pub(super) async fn remove(&self, key: &PartitionKey, read: &Partition) -> Result<Removed, CacheError> {
        let removed = remove_if_same(&self.source, key, read).await?;
        if removed != Removed::Changed {
            self.source.relist(key).await;
        }
        Ok(removed)
    }

    fn entry(&self, found: &Loaded) -> Result<Entry, CacheError> {
        let incarnation = found
            .origin()
            .lineage()
            .map_or(OF_DOCUMENTS, |(incarnation, _)| incarnation);
        let mut partition = found.partition.clone();
        if self.target.shared.is_none() {
            // As at an import: a program that never named sign-ins leaves them to us.
            let epochs = NewEpochs::draw(&*self.source.random)?;
            merge::add_epochs(&mut partition, |client_id| epochs.of(client_id));
        }
        Ok(Entry {
            source: self.source_id,
            incarnation,
            expires_at: found.origin().expires_at,
            bytes: found.bytes(),
            partition,
        })
    }

    /// Waits for whoever is spending a token; `false` when that takes too long.
    pub(super) async fn wait(
        &self,
        key: &PartitionKey,
        until: UnixMillis,
        give_up_at: &mut Option<Duration>,
    ) -> Result<bool, CacheError> {
        let now = self.source.clock.monotonic();
        let give_up_at = *give_up_at.get_or_insert(now + self.options.spend_wait);
        if now >= give_up_at {
            return Ok(false);
        }
        let soon = self.source.clock.now().saturating_add(give_up_at - now);
        let mut waiter = Waiter::new(&self.source, self.source.stored_key(key));
        waiter.wait(until.min(soon)).await?;
        Ok(true)
    }
}

/// Whether the record itself is the reason, and other records may fare better.
pub(super) fn is_of_the_record(error: &CacheError) -> bool {
    match error {
        CacheError::Codec(_)
        | CacheError::WrongPartition { .. }
        | CacheError::UnknownCodec { .. }
        | CacheError::PartitionTooLarge { .. } => true,
        CacheError::Seal(error) => {
            let is_of_the_cache = matches!(
                &**error,
                SealError::Store(_)
                    | SealError::Random(_)
                    | SealError::KeySource(_)
                    | SealError::StaleRing { .. }
                    | SealError::RingRolledBack { .. }
            );
            !is_of_the_cache && !error.is_about_ring()
        }
        CacheError::Store(error) => {
            matches!(
                error.kind(),
                ErrorKind::TooLarge | ErrorKind::Full | ErrorKind::Corrupt | ErrorKind::Unsupported
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeySourceError;

    #[test]
    fn a_key_source_that_cannot_be_used_is_no_defect_of_a_record() {
        let unavailable = KeySourceError::Unavailable {
            place: "the key".to_owned(),
            what: "locked".to_owned(),
            source: None,
        };
        let error = CacheError::from(SealError::KeySource(unavailable));
        assert!(!is_of_the_record(&error));
    }
}
