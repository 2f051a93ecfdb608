//! What no program uses: unknown sections, and rows that nobody understands.

use super::carrier::{Carrier, MAX_ROUNDS, Moved, is_of_the_record};
use super::removal::Removed;
use super::report::LeftBecause;
use crate::cache::CacheError;
use crate::cache::commit::Verdict;
use crate::codec::msal;
use crate::schema::{Partition, PartitionKey};
use crate::store::Durability;

impl Carrier {
    /// Joins the source's residue to what the target has of it: most imports leave some. It serves nobody, so that it is in both places
    /// for a moment does no harm, and it needs no journal.
    pub(super) async fn carry_residue(&self) -> Result<Moved, CacheError> {
        let key = PartitionKey::Residue;
        for _ in 0..MAX_ROUNDS {
            let found = match self.find(&key).await? {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(Moved::Gone),
                Err(left) => return Ok(Moved::Left(left)),
            };
            let was_there = match self.join(&found.partition).await {
                Ok(was_there) => was_there,
                Err(error) if is_of_the_record(&error) => {
                    return Ok(Moved::Left(LeftBecause::Refused(error)));
                }
                Err(error) => return Err(error),
            };
            let held = self.target.load(&key, &self.target.stored_key(&key)).await?;
            if !held.is_some_and(|held| msal::has_residue(&held.partition, &found.partition)) {
                return Ok(Moved::Left(LeftBecause::NotVerified));
            }
            let moved = if was_there {
                Moved::AlreadyThere
            } else {
                Moved::Now(found.bytes())
            };
            if self.options.copy.is_some() {
                return Ok(moved);
            }
            match self.remove(&key, &found.partition).await? {
                Removed::Yes | Removed::Gone => return Ok(moved),
                Removed::Changed => {}
            }
        }
        Ok(Moved::Left(LeftBecause::Contended))
    }

    /// Whether the target had all of it.
    async fn join(&self, residue: &Partition) -> Result<bool, CacheError> {
        let residue = residue.clone();
        let key = residue.key.clone();
        let joined = self
            .target
            .commit(&key, Durability::Durable, move |held| match held {
                Some(held) if msal::has_residue(&held, &residue) => (Verdict::Keep(Some(held)), true),
                held => {
                    let mut joined = held.unwrap_or_else(|| Partition::new(residue.key.clone()));
                    msal::merge_residue(&mut joined, &residue);
                    (Verdict::Store(joined), false)
                }
            });
        let (was_there, _) = joined.await?;
        Ok(was_there)
    }
}
