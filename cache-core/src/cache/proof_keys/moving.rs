//! Carrying the keys of an owner into another cache.
//!
//! A key is no token: to have it in two places harms nobody, and a token without its key is worth nothing. So keys are copied before the tokens
//! that are bound to them move, and removed from where they were after that.

use std::sync::Arc;

use super::record::Keys;
use super::{MAX_ATTEMPTS, ProofKeyOwner};
use crate::cache::{CacheError, Inner};
use crate::codec::CodecError;
use crate::schema::partition::netstrings;
use crate::schema::{AuthorityIdentity, AuthorityKind, PartitionKey};
use crate::seal::RecordKind;
use crate::store::error::Retry;
use crate::store::{Record, Store, StoreKey};

/// What became of the keys of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeysCopied {
    /// The target has them now.
    New,
    /// The target had them, and perhaps later ones.
    AlreadyThere,
    /// The target has others.
    Differ,
}

impl ProofKeyOwner {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let parts = netstrings(bytes)?;
        let text = |index: usize| std::str::from_utf8(parts.get(index)?).ok().map(str::to_owned);
        let authority = AuthorityIdentity::from_parts(AuthorityKind::from_tag(&text(1)?)?, text(2)?);
        let owner = Self {
            authority,
            client_id: text(3)?,
            home_account_id: if text(4)? == "account" {
                Some(text(5)?)
            } else {
                None
            },
        };
        (owner.to_bytes() == bytes).then_some(owner)
    }

    /// The partition of the account that the keys are for; `None` for a client's own.
    pub(crate) fn account(&self) -> Option<PartitionKey> {
        self.user()
    }
}

impl Inner {
    /// Whose keys a record holds.
    pub(crate) async fn proof_key_owner(
        &self,
        key: &StoreKey,
        record: &Record,
    ) -> Result<ProofKeyOwner, CacheError> {
        let opened = self
            .sealer
            .open_or_reload(RecordKind::ProofKey, key, &record.payload)
            .await?;
        let owner = Keys::owner(opened.payload.expose()).and_then(ProofKeyOwner::from_bytes);
        let owner = owner.ok_or_else(|| CodecError::Malformed {
            codec: "proof-key",
            reason: "it names no owner".to_owned(),
        })?;
        if self.keys_at(&owner) != *key {
            return Err(CacheError::WrongPartition { key: key.to_string() });
        }
        Ok(owner)
    }

    /// Gives `target` the owner's keys, durably, unless it has them or others.
    pub(crate) async fn copy_keys_to(
        &self,
        target: &Self,
        owner: &ProofKeyOwner,
    ) -> Result<Option<KeysCopied>, CacheError> {
        let Some((keys, _)) = self.load_keys(owner).await? else {
            return Ok(None);
        };
        let mut is_tried = false;
        let copied = target.change_keys(owner, |held| {
            if held.0.is_empty() {
                held.0.clone_from(&keys.0);
                is_tried = true;
                return (true, KeysCopied::New);
            }
            let copied = match (held.include(&keys), is_tried) {
                (true, true) => KeysCopied::New,
                (true, false) => KeysCopied::AlreadyThere,
                (false, _) => KeysCopied::Differ,
            };
            (false, copied)
        });
        let copied = copied.await?;
        if copied == KeysCopied::New {
            let held = target.load_keys(owner).await?;
            if !held.is_some_and(|(held, _)| held.include(&keys)) {
                return Ok(Some(KeysCopied::Differ));
            }
        }
        Ok(Some(copied))
    }

    /// Removes the owner's keys, which `target` has; `false` when it has not, or they changed meanwhile. `is_settled` says that the tokens which they are for are
    /// in the target, whose keys have gone their own way since.
    pub(crate) async fn remove_copied_keys(
        self: &Arc<Self>,
        target: &Self,
        owner: &ProofKeyOwner,
        is_settled: bool,
    ) -> Result<bool, CacheError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some((keys, read)) = self.load_keys(owner).await? else {
                return Ok(true);
            };
            let Some((held, _)) = target.load_keys(owner).await? else {
                return Ok(false);
            };
            if !is_settled && !held.include(&keys) {
                return Ok(false);
            }
            match self.store.delete(&self.keys_at(owner), Some(read.version)).await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_conflict() || error.retry() != Retry::No => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CacheError::Contended {
            attempts: MAX_ATTEMPTS,
        })
    }
}
