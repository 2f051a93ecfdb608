//! Without a journal: where neither store takes one, and for copies, which need none. `impl Carrier`.

use super::CopiedTokens;
use super::carrier::{Carrier, MAX_ROUNDS, Moved};
use super::placing::Placed;
use super::removal::{Removed, remove_if_same};
use super::report::{ConflictCause, LeftBecause};
use super::sameness::is_same;
use crate::cache::CacheError;
use crate::schema::{Partition, PartitionKey};
use crate::strategy::spend;

impl Carrier {
    /// Neither store takes a journal: the target has the record before the source loses it.
    pub(super) async fn carry_directly(&self, key: &PartitionKey) -> Result<Moved, CacheError> {
        let mut give_up_at = None;
        let mut round = 0;
        // What this run wrote to the target.
        let mut written: Option<Partition> = None;
        while round < MAX_ROUNDS {
            let found = match self.find(key).await? {
                Ok(Some(found)) => found,
                Ok(None) => {
                    if let Some(written) = written {
                        // Signed out while it was in both places.
                        self.take_back(key, &written).await?;
                    }
                    return Ok(Moved::Gone);
                }
                Err(left) => return Ok(Moved::Left(left)),
            };
            if let Some(until) = spend::being_spent_until(&found.partition, self.source.clock.now()) {
                if !self.wait(key, until, &mut give_up_at).await? {
                    return Ok(Moved::Left(LeftBecause::BeingSpent));
                }
                continue;
            }
            round += 1;
            let bytes = found.bytes();
            if let Some(before) = written.take()
                && !is_same(&self.target, &before, &found.partition)
            {
                // The source was refreshed after it was read: the older content goes, unless somebody uses it.
                if self.take_back(key, &before).await? == Removed::Changed {
                    return Ok(Moved::Conflict(ConflictCause::TargetDiffers));
                }
            }
            let is_new = match self.put(&found.partition, found.origin().expires_at).await? {
                Placed::New => true,
                Placed::Known => {
                    let held = self.target.load(key, &self.target.stored_key(key)).await?;
                    if !held.is_some_and(|held| is_same(&self.target, &held.partition, &found.partition)) {
                        return Ok(Moved::Conflict(ConflictCause::TargetDiffers));
                    }
                    false
                }
                Placed::Other => return Ok(Moved::Conflict(ConflictCause::TargetDiffers)),
                Placed::Refused(error) => return Ok(Moved::Left(LeftBecause::Refused(error))),
                Placed::Unheard => return Ok(Moved::Left(LeftBecause::Unheard)),
                Placed::NotVerified => return Ok(Moved::Left(LeftBecause::NotVerified)),
            };
            let held = self.target.load(key, &self.target.stored_key(key)).await?;
            match self.remove(key, &found.partition).await? {
                Removed::Yes => {
                    // Two names of one place: what was removed from the one is gone from the other.
                    if self
                        .target
                        .load(key, &self.target.stored_key(key))
                        .await?
                        .is_none()
                    {
                        // It is nowhere else, so what was not heard of is stored again.
                        for _ in 0..MAX_ROUNDS {
                            let put = self.put(&found.partition, found.origin().expires_at).await?;
                            if !matches!(put, Placed::Unheard) {
                                break;
                            }
                        }
                        return Ok(Moved::Left(LeftBecause::NotVerified));
                    }
                    self.target.relist(key).await;
                    return Ok(if is_new {
                        Moved::Now(bytes)
                    } else {
                        Moved::AlreadyThere
                    });
                }
                Removed::Gone | Removed::Changed => written = held.map(|held| held.partition),
            }
        }
        Ok(Moved::Left(LeftBecause::Contended))
    }

    /// Removes from the target what this run has put there, if it is still the same.
    async fn take_back(&self, key: &PartitionKey, written: &Partition) -> Result<Removed, CacheError> {
        remove_if_same(&self.target, key, written).await
    }

    pub(super) async fn copy(&self, key: &PartitionKey, copied: CopiedTokens) -> Result<Moved, CacheError> {
        let mut found = match self.find(key).await? {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Moved::Gone),
            Err(left) => return Ok(Moved::Left(left)),
        };
        let bytes = found.bytes();
        if copied == CopiedTokens::WithoutRefreshTokens {
            found.partition.refresh_tokens.clear();
        } else if spend::being_spent_until(&found.partition, self.source.clock.now()).is_some() {
            return Ok(Moved::Left(LeftBecause::BeingSpent));
        }
        let held = self.target.load(key, &self.target.stored_key(key)).await?;
        if let Some(held) = held {
            let is_there = is_same(&self.target, &held.partition, &found.partition);
            return Ok(if is_there {
                Moved::AlreadyThere
            } else {
                Moved::Conflict(ConflictCause::TargetDiffers)
            });
        }
        Ok(
            match self.put(&found.partition, found.origin().expires_at).await? {
                Placed::New => {
                    self.target.relist(key).await;
                    Moved::Now(bytes)
                }
                Placed::Known => Moved::AlreadyThere,
                Placed::Other => Moved::Conflict(ConflictCause::TargetDiffers),
                Placed::Refused(error) => Moved::Left(LeftBecause::Refused(error)),
                Placed::Unheard => Moved::Left(LeftBecause::Unheard),
                Placed::NotVerified => Moved::Left(LeftBecause::NotVerified),
            },
        )
    }
}
