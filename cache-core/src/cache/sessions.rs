//! Sessions: tokens that live and die with a sign-in.
//!
//! A session has a partition of its own, and the user's partition lists it. Two things end it with the sign-in: the sign-out removes
//! what is listed, and a session is a miss as soon as the epoch that it was begun under is no longer the client's.
//! The second holds also for a session whose removal failed, or that was restored from somewhere.

use std::sync::Arc;
use std::time::Duration;

use super::acquired::Acquired;
use super::commit::Verdict;
use super::find::Sighted;
use super::{CacheError, Inner};
use crate::random::random_bytes;
use crate::schema::{ClientEpoch, Partition, PartitionKey, SessionAnchor, SessionLink, TokenResponse};
use crate::store::Durability;

/// How many sessions a user's partition lists. Those beyond it still end by their epoch, but their bytes stay until they expire.
const MOST_LISTED: usize = 1024;

impl Inner {
    pub(crate) async fn begin_session(
        self: &Arc<Self>,
        user: &PartitionKey,
        session: &PartitionKey,
        response: TokenResponse,
        lifetime: Duration,
    ) -> Result<Acquired, CacheError> {
        let (PartitionKey::User { home_account_id, .. }, PartitionKey::Session { client_id, .. }) =
            (user, session)
        else {
            return Err(CacheError::Strategy(
                "a session needs the key of a user's partition and that of a session".into(),
            ));
        };
        if response.home_account_id() != home_account_id || response.client_id != *client_id {
            return Err(CacheError::WrongAccount);
        }
        let link = SessionLink {
            key: session.to_bytes(),
            expires_at: self.clock.now().saturating_add(lifetime),
        };
        let fresh = random_bytes(&*self.random)?;
        let (user_, client_id, clock) = (user.clone(), client_id.clone(), Arc::clone(&self.clock));
        // Listed before it exists: a session that nobody lists would outlive the next sign-out in the store.
        let (epoch, _) = self
            .commit(user, Durability::Durable, move |partition| {
                let mut partition = partition.unwrap_or_else(|| Partition::new(user_.clone()));
                let epoch = epoch_of(&partition, &client_id).unwrap_or_else(|| {
                    let client_id = client_id.clone();
                    partition.epochs.push(ClientEpoch {
                        client_id,
                        epoch: fresh,
                    });
                    fresh
                });
                let now = clock.now();
                partition
                    .sessions
                    .retain(|known| known.expires_at > now && known.key != link.key);
                partition.sessions.sort_by_key(|known| known.expires_at);
                let surplus = (partition.sessions.len() + 1).saturating_sub(MOST_LISTED);
                partition.sessions.drain(..surplus);
                partition.sessions.push(link.clone());
                (Verdict::Store(partition), epoch)
            })
            .await?;
        let anchor = SessionAnchor {
            user: user.to_bytes(),
            epoch,
        };
        self.store_granted(session, response, Some(anchor)).await
    }

    /// What was found of a session, if the sign-in that it belongs to still lasts; anything else as it is.
    pub(crate) async fn anchored(
        &self,
        key: &PartitionKey,
        found: Option<Sighted>,
        latest: bool,
    ) -> Result<Option<Sighted>, CacheError> {
        let (PartitionKey::Session { client_id, .. }, Some(sighted)) = (key, &found) else {
            return Ok(found);
        };
        let Some(anchor) = &sighted.partition.partition().anchor else {
            return Ok(found);
        };
        let Some(user) = PartitionKey::from_bytes(&anchor.user) else {
            return Ok(None);
        };
        let user = if latest {
            self.sight_rows_latest(&user).await?
        } else {
            self.sight_rows(&user).await?
        };
        let lasts =
            user.is_some_and(|user| epoch_of(user.partition.partition(), client_id) == Some(anchor.epoch));
        Ok(found.filter(|_| lasts))
    }
}

fn epoch_of(partition: &Partition, client_id: &str) -> Option<[u8; 16]> {
    let mut epochs = partition.epochs.iter();
    Some(epochs.find(|known| known.client_id == client_id)?.epoch)
}
