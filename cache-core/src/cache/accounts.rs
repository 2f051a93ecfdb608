//! Accounts: signing in and listing.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;

use super::acquired::{Acquired, TokenSource};
use super::commit::{Earlier, Verdict};
use super::new_epochs::NewEpochs;
use super::{CacheError, Inner, TokenCache};
use crate::schema::index::IndexedPartition;
use crate::schema::merge::{self, Meanwhile, Met};
use crate::schema::{Account, IdToken, Partition, PartitionKey, RefreshToken, SessionAnchor, TokenResponse};
use crate::seal::RecordKind;
use crate::store::error::ErrorKind;
use crate::store::{Durability, Store, StoreKey};
use crate::time::UnixMillis;

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
    /// Whether there is a refresh token that a whole family of clients may redeem.
    pub has_family_token: bool,
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

impl TokenCache {
    /// The ID tokens that the client `client_id` has in the partition `key`, one a tenant. They were checked when they were
    /// received, and may have expired since: they say who signed in, and grant nothing.
    ///
    /// # Errors
    /// That the store failed, or the record cannot be opened.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn id_tokens(&self, key: &PartitionKey, client_id: &str) -> Result<Vec<IdToken>, CacheError> {
        self.inner.id_tokens(key, client_id).await
    }
}

impl Inner {
    pub(crate) async fn id_tokens(
        self: &Arc<Self>,
        key: &PartitionKey,
        client_id: &str,
    ) -> Result<Vec<IdToken>, CacheError> {
        let sighted = self.sight(key).await?;
        let rows = sighted
            .into_iter()
            .flat_map(|sighted| sighted.partition.rows_without_tokens().id_tokens);
        Ok(rows.filter(|row| row.client_id == client_id).collect())
    }

    pub(crate) async fn sign_in(
        self: &Arc<Self>,
        key: &PartitionKey,
        response: TokenResponse,
    ) -> Result<Acquired, CacheError> {
        if let PartitionKey::User { home_account_id, .. } = key
            && response.home_account_id() != home_account_id
        {
            return Err(CacheError::WrongAccount);
        }
        if response.access_token.is_none() {
            return Err(CacheError::NoAccessToken);
        }
        let client_id = response.client_id.clone();
        self.list_sign_in(key, &response).await;
        let stored = self.store_granted(key, response, None, None).await;
        self.confirm_sign_in(key, &client_id, stored.is_ok());
        stored
    }

    /// Stores what a sign-in granted; for a session, under the sign-in that it belongs to and until the moment that it ends.
    pub(crate) async fn store_granted(
        self: &Arc<Self>,
        key: &PartitionKey,
        response: TokenResponse,
        anchor: Option<SessionAnchor>,
        until: Option<UnixMillis>,
    ) -> Result<Acquired, CacheError> {
        let secret = response.access_token.clone().ok_or(CacheError::NoAccessToken)?;
        let alone = {
            let mut alone = Partition::new(key.clone());
            merge::write_granted(&mut alone, &response);
            alone
        };
        let mut epochs = NewEpochs::draw(&*self.random)?;
        let (clock, key_) = (Arc::clone(&self.clock), key.clone());
        let began = self.clock.monotonic();
        let mut met = Met::default();
        let ((), slot) = self
            .commit_knowing(key, Durability::Durable, move |partition, earlier| {
                epochs.begin_run();
                let (epoch, now) = (epochs.of(&response.client_id), clock.now().to_seconds());
                let anchor = anchor.as_ref();
                let meanwhile = match earlier {
                    Earlier::NotStored => {
                        met = Met::default();
                        Meanwhile::Nothing
                    }
                    Earlier::MayBeStored => met.meanwhile(partition.as_ref(), &response, anchor),
                };
                if meanwhile != Meanwhile::Nothing {
                    let Some(mut rows) = partition else {
                        return (Verdict::Keep(None), ());
                    };
                    let joins = meanwhile == Meanwhile::GoneOn
                        && merge::join_family(&mut rows, &response, epoch, now);
                    let verdict = if joins {
                        Verdict::Store
                    } else {
                        |rows| Verdict::Keep(Some(rows))
                    };
                    return (verdict(rows), ());
                }
                met.note(partition.as_ref(), &response, anchor);
                // What is left of a session under an earlier sign-in must not come to life again.
                let partition = partition.filter(|rows| rows.anchor.as_ref() == anchor);
                let mut partition = partition.unwrap_or_else(|| Partition::new(key_.clone()));
                partition.anchor = anchor.cloned();
                merge::sign_in(&mut partition, &response, epoch, now);
                let verdict = match until {
                    Some(until) => Verdict::StoreUntil(partition, until),
                    None => Verdict::Store(partition),
                };
                (verdict, ())
            })
            .await?;
        let stored = slot
            .map(|slot| slot.partition)
            .and_then(|partition| Some((partition.position(&secret)?, partition)));
        // Another sign-in or a sign-out may have replaced it already; it was granted all the same.
        let (index, partition) = match stored {
            Some(stored) => stored,
            None => (0, Arc::new(IndexedPartition::new(alone)?)),
        };
        Ok(Acquired {
            time_in_store: self.clock.monotonic().saturating_sub(began),
            ..Acquired::new(partition, index, TokenSource::Authority)
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
            let record = match self.store.get(&stored_key).await {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    visit(stored_key, Err(error.into()));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let opened = self.open(&stored_key, &record, kind, known).await;
            visit(stored_key, opened.map(|loaded| loaded.partition));
        }
        Ok(())
    }
}

pub(super) fn cached_accounts(partition: &Partition) -> impl Iterator<Item = CachedAccount> + '_ {
    partition.accounts.iter().map(|account| {
        // A family's token may still bear the name of a member that signed out and left it to the others.
        let left = |row: &&RefreshToken| {
            row.family_id.is_some()
                && partition
                    .app_metadata
                    .iter()
                    .any(|known| known.client_id == row.client_id && known.family_id.as_deref() == Some(""))
        };
        let refresh_tokens = partition.refresh_tokens.iter().filter(|row| !left(row));
        let mut clients: Vec<_> = partition
            .access_tokens
            .iter()
            .map(|row| &row.client_id)
            .chain(refresh_tokens.clone().map(|row| &row.client_id))
            .chain(partition.id_tokens.iter().map(|row| &row.client_id))
            .cloned()
            .collect();
        clients.sort_unstable();
        clients.dedup();
        let usable = |client: &&String| {
            refresh_tokens
                .clone()
                .any(|row| row.client_id == **client && !row.is_dead())
        };
        let silent_clients = clients.iter().filter(usable).cloned().collect();
        let has_family_token = partition
            .refresh_tokens
            .iter()
            .any(|row| row.family_id.is_some() && !row.is_dead());
        CachedAccount {
            partition: partition.key.clone(),
            account: account.clone(),
            clients,
            silent_clients,
            has_family_token,
        }
    })
}
