//! Accounts: signing in, listing, signing out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::acquired::{Acquired, TokenSource};
use super::commit::Verdict;
use super::{CacheError, Inner};
use crate::random::random_bytes;
use crate::schema::merge::{self, SignOutScope};
use crate::schema::{Account, Partition, PartitionKey, TokenResponse};
use crate::seal::RecordKind;
use crate::store::{Durability, Store, StoreKey};

/// An account in the cache and the clients that have tokens for it.
#[derive(Clone, PartialEq, Eq)]
pub struct CachedAccount {
    /// The partition that it lives in, which identifies it: authority and home account ID.
    pub partition: PartitionKey,
    /// The account.
    pub account: Account,
    /// The clients that have tokens for it.
    pub clients: Vec<String>,
    /// The clients whose refresh token works, as far as is known, without asking the user.
    pub silent_clients: Vec<String>,
}

impl fmt::Debug for CachedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedAccount")
            .field("account", &self.account)
            .field("clients", &self.clients)
            .finish()
    }
}

/// The accounts of a cache.
#[derive(Debug, Default)]
pub struct AccountListing {
    /// Those that could be read.
    pub accounts: Vec<CachedAccount>,
    /// Records that could not be read. They are kept as they are; see [`TokenCache::quarantine`](super::TokenCache::quarantine).
    pub unreadable: Vec<(StoreKey, CacheError)>,
}

impl Inner {
    pub(crate) async fn sign_in(
        self: &Arc<Self>,
        key: &PartitionKey,
        response: TokenResponse,
    ) -> Result<Acquired, CacheError> {
        let secret = response.access_token.clone().ok_or(CacheError::NoAccessToken)?;
        let epoch = random_bytes(&*self.random)?;
        let (clock, key_) = (Arc::clone(&self.clock), key.clone());
        let began = self.clock.monotonic();
        let ((), slot) = self
            .commit(key, Durability::Durable, move |partition| {
                let mut partition = partition.unwrap_or_else(|| Partition::new(key_.clone()));
                merge::sign_in(&mut partition, &response, epoch, clock.now().to_seconds());
                (Verdict::Store(partition), ())
            })
            .await?;
        let partition = slot.ok_or(CacheError::LeaderLost)?.partition;
        let tokens = &partition.partition().access_tokens;
        let index = tokens
            .iter()
            .position(|row| row.secret == secret)
            .ok_or(CacheError::NoAccessToken)?;
        Ok(Acquired {
            index,
            partition,
            source: TokenSource::Authority,
            refresh_reason: None,
            time_in_store: self.clock.monotonic().saturating_sub(began),
            time_in_authority: Duration::ZERO,
        })
    }

    pub(crate) async fn accounts(&self) -> Result<AccountListing, CacheError> {
        let mut listing = AccountListing::default();
        self.for_each_partition(RecordKind::User, |stored_key, result| match result {
            Ok(partition) => listing.accounts.extend(cached_accounts(&partition)),
            Err(error) => listing.unreadable.push((stored_key, error)),
        })
        .await?;
        Ok(listing)
    }

    /// Opens every record of `kind`. A record that cannot be opened is reported and does not end the walk.
    pub(crate) async fn for_each_partition(
        &self,
        kind: RecordKind,
        mut visit: impl FnMut(StoreKey, Result<Partition, CacheError>),
    ) -> Result<(), CacheError> {
        let prefix = format!("{}{}/", self.sealer.namespace().prefix(), kind.tag());
        let mut keys = self.store.scan(&prefix);
        while let Some(found) = keys.next().await {
            let (stored_key, _) = found?;
            let known = self.rollback.before_read(&stored_key);
            // It may have been removed since it was listed.
            let Some(record) = self.store.get(&stored_key).await? else {
                continue;
            };
            let opened = self.open(&stored_key, &record, kind, known).await;
            visit(stored_key, opened.map(|loaded| loaded.partition));
        }
        Ok(())
    }

    pub(crate) async fn sign_out(
        self: &Arc<Self>,
        key: &PartitionKey,
        client_id: &str,
        scope: SignOutScope,
    ) -> Result<bool, CacheError> {
        let client_id = client_id.to_owned();
        self.remove(key, move |partition| {
            merge::sign_out(partition, &client_id, scope)
        })
        .await
    }

    pub(crate) async fn forget(self: &Arc<Self>, key: &PartitionKey) -> Result<bool, CacheError> {
        self.remove(key, |partition| {
            *partition = Partition::new(partition.key.clone())
        })
        .await
    }

    /// Applies `change`, and with it removes the sessions that are no longer linked. `false` when nothing was there.
    async fn remove(
        self: &Arc<Self>,
        key: &PartitionKey,
        change: impl Fn(&mut Partition) + Send + 'static,
    ) -> Result<bool, CacheError> {
        let (unlinked, _) = self
            .commit(key, Durability::Durable, move |partition| {
                let Some(mut partition) = partition else {
                    return (Verdict::Keep(None), None);
                };
                let before = partition.clone();
                change(&mut partition);
                if partition == before {
                    return (Verdict::Keep(Some(partition)), None);
                }
                let unlinked: Vec<_> = before
                    .sessions
                    .into_iter()
                    .filter(|link| !partition.sessions.contains(link))
                    .collect();
                let verdict = if partition.is_empty() {
                    Verdict::Delete
                } else {
                    Verdict::Store(partition)
                };
                (verdict, Some(unlinked))
            })
            .await?;
        let Some(unlinked) = unlinked else {
            return Ok(false);
        };
        // The sign-in's epoch is gone, so these sessions are dead already; this only takes their bytes away.
        for link in unlinked {
            if let Some(session) = PartitionKey::from_bytes(&link.key) {
                self.commit(&session, Durability::Durable, |_| (Verdict::Delete, ()))
                    .await?;
            }
        }
        Ok(true)
    }
}

fn cached_accounts(partition: &Partition) -> impl Iterator<Item = CachedAccount> + '_ {
    partition.accounts.iter().map(|account| {
        let mut clients: Vec<_> = partition
            .access_tokens
            .iter()
            .map(|row| &row.client_id)
            .chain(partition.refresh_tokens.iter().map(|row| &row.client_id))
            .chain(partition.id_tokens.iter().map(|row| &row.client_id))
            .cloned()
            .collect();
        clients.sort_unstable();
        clients.dedup();
        let usable = |client: &&String| {
            partition
                .refresh_tokens
                .iter()
                .any(|row| row.client_id == **client && !row.is_dead())
        };
        let silent_clients = clients.iter().filter(usable).cloned().collect();
        CachedAccount {
            partition: partition.key.clone(),
            account: account.clone(),
            clients,
            silent_clients,
        }
    })
}
