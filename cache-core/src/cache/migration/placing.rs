//! Putting what is moved into the target, or back into the source.

use std::sync::Arc;

use super::carrier::{Carrier, MAX_ROUNDS, is_of_the_record};
use super::journal::{Entry, Journal};
use super::sameness::{is_same, shares_sign_in, supersedes};
use crate::cache::commit::{Earlier, Verdict};
use crate::cache::{CacheError, Inner};
use crate::schema::{Partition, PartitionKey};
use crate::store::Durability;
use crate::time::UnixMillis;

/// What became of the content when it was put into the target.
pub(super) enum Placed {
    New,
    Known,
    /// Somebody else's is there.
    Other,
    /// The target cannot take it.
    Refused(CacheError),
    /// Nobody knows whether it was stored, and nothing is there: it was not, or it was signed out as soon as it was there.
    Unheard,
    /// It was stored, and is not there or is not the same.
    NotVerified,
}

/// What became of the content when it was put back into the source.
pub(super) enum Returned {
    Yes,
    /// It was signed out as soon as it was back.
    Gone,
    /// Somebody has signed in there since.
    SourceDiffers,
    /// As [`Placed::Unheard`].
    Unheard,
}

/// What a commit met that was to store where nothing is.
enum Found {
    Nothing,
    Held(Box<Partition>),
    /// As [`Placed::Unheard`].
    Unheard,
}

impl Carrier {
    /// Puts the content into the target if nothing is there, reads it back and compares.
    pub(super) async fn put(
        &self,
        content: &Partition,
        expires_at: Option<UnixMillis>,
    ) -> Result<Placed, CacheError> {
        let key = &content.key;
        let until = self.expiry(key, expires_at);
        match store_alone(&self.target, content, until).await {
            Ok(Found::Nothing) => {}
            Ok(Found::Held(held)) => {
                let is_ours = is_same(&self.target, &held, content) || supersedes(&held, content);
                return Ok(if is_ours { Placed::Known } else { Placed::Other });
            }
            Ok(Found::Unheard) => return Ok(Placed::Unheard),
            Err(error) if is_of_the_record(&error) => return Ok(Placed::Refused(error)),
            Err(error) => return Err(error),
        }
        let stored = self.target.load(key, &self.target.stored_key(key)).await?;
        let Some(stored) = stored else {
            return Ok(Placed::NotVerified);
        };
        // It may be in use already.
        if is_same(&self.target, &stored.partition, content) || supersedes(&stored.partition, content) {
            return Ok(Placed::New);
        }
        Ok(Placed::NotVerified)
    }

    /// When the target may forget what its source may forget at `expires_at`; `None` where it goes by its own strategy.
    pub(super) fn expiry(&self, key: &PartitionKey, expires_at: Option<UnixMillis>) -> Option<UnixMillis> {
        expires_at.filter(|_| {
            matches!(key, PartitionKey::Session { .. }) || self.target.strategy.idle_lifetime.is_none()
        })
    }

    /// Puts what cannot be placed back where it came from.
    pub(super) async fn put_back(&self, entry: &Entry, journal: &Journal) -> Result<Returned, CacheError> {
        let (content, key) = (&entry.partition, &entry.partition.key);
        let mut rounds = 0;
        let found = loop {
            match store_alone(&self.source, content, entry.expires_at).await? {
                Found::Unheard if journal.lies_in(&self.source) && rounds < MAX_ROUNDS => {
                    if journal.read(key).await?.is_none() {
                        self.source.relist(key).await;
                        return Ok(Returned::Gone);
                    }
                    rounds += 1;
                }
                found => break found,
            }
        };
        self.source.relist(key).await;
        Ok(match found {
            Found::Nothing => Returned::Yes,
            Found::Held(held) if *held == *content || shares_sign_in(&held, content) => Returned::Yes,
            Found::Held(_) => Returned::SourceDiffers,
            Found::Unheard => Returned::Unheard,
        })
    }
}

/// Stores the content where nothing is, once: what was stored unheard and is gone may have been signed out.
async fn store_alone(
    cache: &Arc<Inner>,
    content: &Partition,
    until: Option<UnixMillis>,
) -> Result<Found, CacheError> {
    let content_ = content.clone();
    let committed = cache.commit_knowing(&content.key, Durability::Durable, move |held, earlier| {
        match (held, until) {
            // What settles that nothing is there.
            (Some(held), _) if held.is_empty() => (Verdict::Keep(Some(held)), Found::Unheard),
            (Some(held), _) => (Verdict::Keep(Some(held.clone())), Found::Held(Box::new(held))),
            (None, _) if earlier == Earlier::MayBeStored => (Verdict::Keep(None), Found::Unheard),
            (None, None) => (Verdict::Store(content_.clone()), Found::Nothing),
            (None, Some(until)) => (Verdict::StoreUntil(content_.clone(), until), Found::Nothing),
        }
    });
    Ok(committed.await?.0)
}
