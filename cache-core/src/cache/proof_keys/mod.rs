//! Software keys that tokens are bound to (DPoP, RFC 9449), in sealed records of their own.
//!
//! There is a record for each client and account, so that no key tells a resource that two accounts are one person's, and
//! one for each client itself. They are no partitions: nothing lists, exports or merges them.
//!
//! # A key and the refresh token that is bound to it
//!
//! At a sign-in nobody knows the account before the tokens are there, so its key is made first and stored with the account's
//! *before* the tokens are. A crash between the two leaves the older tokens, which are bound to the older key; so the record
//! keeps both, each new key with the hash of the refresh token that came with it. The stored refresh token thus says which
//! key is its own: the one that names it, else the one in use. Before a sign-in's refresh token is spent for the first time its
//! key becomes the one in use, since its successors will have other hashes.

mod moving;
mod record;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{CacheError, Inner, TokenCache, TokenSource};
use crate::codec::CodecError;
use crate::schema::index::IndexedPartition;
use crate::schema::{AuthorityIdentity, Partition, PartitionKey};
use crate::seal::{Freshness, Incarnation, RecordKind};
use crate::secret::Secret;
use crate::store::error::Retry;
use crate::store::{Durability, PutMode, PutOptions, Store, StoreKey, Version};

pub(super) use moving::KeysCopied;
pub use record::ProofKey;
use record::{Keys, SCHEMA};

/// How often a change is tried before it is [`CacheError::Contended`].
const MAX_ATTEMPTS: u32 = 32;

/// Of how many owners the name of the key is remembered.
const MOST_NAMED: usize = 1024;

/// Which key an account has, while its rows are the same: each sign-in and each refresh changes those after the keys.
#[derive(Default)]
pub(crate) struct NamedKeys(Mutex<HashMap<Vec<u8>, NamedKey>>);

struct NamedKey {
    /// It keeps the address of the rows from being used again, and nothing of what was in them.
    rows: Weak<IndexedPartition>,
    key_id: Arc<str>,
}

impl NamedKeys {
    fn find(&self, owner: &[u8], rows: &Arc<IndexedPartition>) -> Option<Arc<str>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = known.get(owner)?;
        std::ptr::eq(named.rows.as_ptr(), Arc::as_ptr(rows)).then(|| Arc::clone(&named.key_id))
    }

    fn note(&self, owner: Vec<u8>, rows: &Arc<IndexedPartition>, key_id: &Arc<str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_NAMED {
            known.clear();
        }
        let named = NamedKey {
            rows: Arc::downgrade(rows),
            key_id: Arc::clone(key_id),
        };
        known.insert(owner, named);
    }
}

/// Whose keys they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofKeyOwner {
    /// The authority.
    pub authority: AuthorityIdentity,
    /// The client.
    pub client_id: String,
    /// The account; `None` for the client's own key, which no sign-out removes.
    pub home_account_id: Option<String>,
}

impl ProofKeyOwner {
    /// Netstrings, so that no two owners share an encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let account = self.home_account_id.as_deref();
        let parts = [
            "proof-key",
            self.authority.kind().tag(),
            self.authority.id(),
            &self.client_id,
            if account.is_some() { "account" } else { "client" },
            account.unwrap_or_default(),
        ];
        parts
            .map(|part| format!("{}:{part},", part.len()))
            .concat()
            .into_bytes()
    }

    fn user(&self) -> Option<PartitionKey> {
        Some(PartitionKey::User {
            authority: self.authority.clone(),
            home_account_id: self.home_account_id.clone()?,
        })
    }
}

impl TokenCache {
    /// The key that the owner's stored refresh token is bound to, or the newest where there is none.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// That the store failed, or a record cannot be opened.
    pub async fn proof_key(&self, owner: &ProofKeyOwner) -> Result<Option<ProofKey>, CacheError> {
        let inner = &self.inner;
        let Some((keys, _)) = inner.load_keys(owner).await? else {
            return Ok(None);
        };
        let token = inner.refresh_token_of(owner).await?;
        Ok(keys.choose(token.as_ref()).map(|entry| entry.key.clone()))
    }

    /// The name of the [`proof_key`](Self::proof_key) of an account. While the account's tokens are in memory, so is this.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// As [`proof_key`](Self::proof_key).
    pub async fn proof_key_id(&self, owner: &ProofKeyOwner) -> Result<Option<Arc<str>>, CacheError> {
        let inner = &self.inner;
        // Before the keys: a pair of older rows and newer keys is told from what follows.
        let rows = match owner.user() {
            Some(user) => inner.sight_rows(&user).await?.map(|rows| rows.partition),
            None => None,
        };
        let owner_bytes = owner.to_bytes();
        if let Some(rows) = &rows
            && let Some(known) = inner.named_keys.find(&owner_bytes, rows)
        {
            return Ok(Some(known));
        }
        let key_id = self.proof_key(owner).await?.map(|key| Arc::from(key.key_id));
        if let (Some(rows), Some(key_id)) = (&rows, &key_id) {
            inner.named_keys.note(owner_bytes, rows, key_id);
        }
        Ok(key_id)
    }

    /// The owner's key of this name.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// As [`proof_key`](Self::proof_key).
    pub async fn proof_key_named(
        &self,
        owner: &ProofKeyOwner,
        key_id: &str,
    ) -> Result<Option<ProofKey>, CacheError> {
        let keys = self.inner.load_keys(owner).await?;
        Ok(keys.and_then(|(keys, _)| Some(keys.by_id(key_id)?.key.clone())))
    }

    /// As [`proof_key`](Self::proof_key); where there is none, `fresh` becomes it. Of several processes that race, each gets the
    /// key of the one that was first. For an account that is not in the cache nothing is stored: no sign-out would ever remove it.
    ///
    /// Cancellation safe: the key is stored, or not.
    ///
    /// # Errors
    /// As [`proof_key`](Self::proof_key).
    pub async fn proof_key_or(&self, owner: &ProofKeyOwner, fresh: ProofKey) -> Result<ProofKey, CacheError> {
        if let Some(user) = owner.user()
            && self.inner.sight_rows_latest(&user).await?.is_none()
        {
            return Ok(fresh);
        }
        let token = self.inner.refresh_token_of(owner).await?;
        self.inner
            .change_keys(owner, |keys| {
                if let Some(known) = keys.choose(token.as_ref()) {
                    return (false, known.key.clone());
                }
                keys.add(&fresh, [0; 32]);
                keys.settle(&fresh.key_id);
                (true, fresh.clone())
            })
            .await
    }

    /// Stores the key of a sign-in, which brought `refresh_token`. Call it before [`sign_in`](Self::sign_in), or a crash between the two leaves
    /// a token that nobody can use, and once more after it: a sign-out of the same account that was under way may have
    /// taken the key for that of the tokens which it removed.
    ///
    /// Cancellation safe: the key is stored, or not.
    ///
    /// # Errors
    /// As [`proof_key`](Self::proof_key).
    pub async fn add_proof_key(
        &self,
        owner: &ProofKeyOwner,
        key: &ProofKey,
        refresh_token: Option<&Secret>,
    ) -> Result<(), CacheError> {
        let granted = refresh_token.map_or([0; 32], Secret::sha256);
        // Written even if it is there: a removal that has looked already then finds another version, and looks again.
        self.inner
            .change_keys(owner, |keys| (true, keys.add(key, granted)))
            .await
    }

    /// The key that `refresh_token`, which is about to be spent, is bound to. From then on it is the one in use.
    ///
    /// Cancellation safe: the change is stored, or not.
    ///
    /// # Errors
    /// As [`proof_key`](Self::proof_key). Nothing may be sent then.
    pub async fn spend_with_proof_key(
        &self,
        owner: &ProofKeyOwner,
        refresh_token: &Secret,
    ) -> Result<Option<ProofKey>, CacheError> {
        self.inner
            .change_keys(owner, |keys| {
                let Some(key) = keys.choose(Some(refresh_token)).map(|entry| entry.key.clone()) else {
                    return (false, None);
                };
                (keys.settle(&key.key_id), Some(key))
            })
            .await
    }
}

/// A record as it was read.
struct Read {
    version: Version,
    /// What the next write continues; `None` where it must begin anew.
    lineage: Option<(Incarnation, u64)>,
}

impl Inner {
    fn keys_at(&self, owner: &ProofKeyOwner) -> StoreKey {
        self.sealer.stored_key(RecordKind::ProofKey, &owner.to_bytes())
    }

    async fn load_keys(&self, owner: &ProofKeyOwner) -> Result<Option<(Keys, Read)>, CacheError> {
        let stored_key = self.keys_at(owner);
        let known = self.rollback.before_read(&stored_key);
        let Some(record) = self.store.get(&stored_key).await? else {
            return Ok(None);
        };
        let opened = self
            .sealer
            .open_or_reload(RecordKind::ProofKey, &stored_key, &record.payload)
            .await?;
        let meta = opened.meta;
        let version = record.version;
        if self.rollback.check(&stored_key, known, &meta)? != Freshness::Fresh {
            let read = Read {
                version,
                lineage: None,
            };
            return Ok(Some((Keys::default(), read)));
        }
        if meta.schema > SCHEMA {
            let (found, known) = (meta.schema, SCHEMA);
            return Err(CodecError::NewerSchema { found, known }.into());
        }
        let keys = Keys::decode(opened.payload.expose(), &owner.to_bytes()).ok_or_else(|| {
            let reason = "it is no record of this owner's proof keys".to_owned();
            let codec = "proof-key";
            CodecError::Malformed { codec, reason }
        })?;
        let lineage = Some((meta.incarnation, meta.generation));
        Ok(Some((keys, Read { version, lineage })))
    }

    /// Applies `change` to the latest keys, and stores them if it says so.
    async fn change_keys<T>(
        &self,
        owner: &ProofKeyOwner,
        mut change: impl FnMut(&mut Keys) -> (bool, T),
    ) -> Result<T, CacheError> {
        let stored_key = self.keys_at(owner);
        for _ in 0..MAX_ATTEMPTS {
            let (mut keys, read) = match self.load_keys(owner).await? {
                Some((keys, read)) => (keys, Some(read)),
                None => (Keys::default(), None),
            };
            let (is_changed, value) = change(&mut keys);
            if is_changed && self.only_documents {
                return Err(CacheError::Unsupported(
                    "place for proof keys beside the one record that it shares with MSAL programs",
                ));
            }
            if !is_changed {
                return Ok(value);
            }
            let meta = self.successor(read.as_ref().and_then(|read| read.lineage), 0, SCHEMA)?;
            let plaintext = keys.encode(&owner.to_bytes());
            let payload = self
                .seal_fresh(RecordKind::ProofKey, &stored_key, meta, &plaintext)
                .await?;
            let options = PutOptions {
                mode: read.map_or(PutMode::Create, |read| PutMode::Update(read.version)),
                // It must outlive every token that is bound to it, and nothing renews it.
                expires_at: None,
                durability: Durability::Durable,
            };
            match self.store.put(&stored_key, payload, options).await {
                Ok(_) => {
                    self.rollback.record(&stored_key, &meta);
                    return Ok(value);
                }
                // Where it is not known whether it was written, the next round finds out.
                Err(error) if error.is_conflict() || error.retry() != Retry::No => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CacheError::Contended {
            attempts: MAX_ATTEMPTS,
        })
    }

    /// Removes the keys of a client that was signed out, unless it has been signed in anew.
    pub(crate) async fn remove_keys(self: &Arc<Self>, owner: &ProofKeyOwner) -> Result<(), CacheError> {
        let Some(user) = owner.user() else { return Ok(()) };
        let stored_key = self.keys_at(owner);
        for _ in 0..MAX_ATTEMPTS {
            // Its version alone is needed: a record that cannot be opened any more goes too.
            let Some(version) = self.store.head(&stored_key).await? else {
                return Ok(());
            };
            let rows = self.sight_rows_latest(&user).await?;
            let partition = rows.map(|rows| rows.partition.rows());
            if partition.is_some_and(|partition| clients_of(&partition).contains(&owner.client_id)) {
                return Ok(());
            }
            match self.store.delete(&stored_key, Some(version)).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_conflict() || error.retry() != Retry::No => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CacheError::Contended {
            attempts: MAX_ATTEMPTS,
        })
    }

    /// The refresh token that the owner's account would be refreshed with: the client's own.
    async fn refresh_token_of(self: &Arc<Self>, owner: &ProofKeyOwner) -> Result<Option<Secret>, CacheError> {
        let Some(user) = owner.user() else { return Ok(None) };
        let rows = match self.sight_rows(&user).await? {
            // A copy in a fallback store has no refresh token, and so cannot tell which key is the right one.
            Some(rows) if rows.during_outage && rows.source == TokenSource::Store => {
                self.sight_rows_latest(&user).await?
            }
            rows => rows,
        };
        let Some(rows) = rows else { return Ok(None) };
        let mut tokens = rows.partition.rows().refresh_tokens.into_iter();
        let own = tokens.find(|row| row.client_id == owner.client_id);
        Ok(own.map(|row| row.secret))
    }
}

/// The clients that have anything in a user's partition.
pub(super) fn clients_of(partition: &Partition) -> Vec<String> {
    let mut clients: Vec<_> = partition.epochs.iter().map(|row| row.client_id.clone()).collect();
    clients.extend(partition.refresh_tokens.iter().map(|row| row.client_id.clone()));
    clients.extend(partition.access_tokens.iter().map(|row| row.client_id.clone()));
    clients.sort_unstable();
    clients.dedup();
    clients
}
