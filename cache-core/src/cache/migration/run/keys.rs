//! Proof keys in a run: `impl Run`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::Run;
use crate::cache::migration::carrier::is_of_the_record;
use crate::cache::migration::report::{ConflictCause, LeftBecause};
use crate::cache::proof_keys::KeysCopied;
use crate::cache::{CacheError, ProofKeyOwner};
use crate::schema::PartitionKey;
use crate::seal::RecordKind;
use crate::store::StoreKey;

impl Run {
    pub(super) async fn copy_keys(
        &mut self,
        stored_key: StoreKey,
        bytes: u64,
        owner: ProofKeyOwner,
        accounts: &HashSet<PartitionKey>,
        owners: &mut Vec<(StoreKey, ProofKeyOwner, KeysCopied)>,
    ) -> Result<ControlFlow<()>, CacheError> {
        let account = owner.account();
        let copied = self
            .carrier
            .source
            .copy_keys_to(&self.carrier.target, &owner)
            .await;
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) if is_of_the_record(&error) => {
                self.staying.extend(account);
                self.left(
                    stored_key.clone(),
                    RecordKind::ProofKey,
                    LeftBecause::Refused(error),
                );
                return Ok(self.done(stored_key, 0));
            }
            Err(error) => return Err(error),
        };
        match copied {
            None => self.report.gone += 1,
            // The account has moved already, and the target's keys have gone their own way with it.
            Some(KeysCopied::Differ)
                if account
                    .as_ref()
                    .is_some_and(|account| !accounts.contains(account)) =>
            {
                owners.push((stored_key.clone(), owner, KeysCopied::AlreadyThere));
            }
            Some(KeysCopied::Differ) => {
                self.staying.extend(account);
                self.conflict(
                    stored_key.clone(),
                    RecordKind::ProofKey,
                    ConflictCause::ProofKeysDiffer,
                );
            }
            Some(copied) => {
                owners.push((stored_key.clone(), owner, copied));
                return Ok(self.done(stored_key, bytes));
            }
        }
        Ok(self.done(stored_key, 0))
    }

    /// The last step of keys, after the tokens that are bound to them.
    pub(super) async fn remove_keys(
        &mut self,
        stored_key: StoreKey,
        owner: &ProofKeyOwner,
        copied: KeysCopied,
    ) -> Result<(), CacheError> {
        let (source, target) = (&self.carrier.source, &self.carrier.target);
        let is_removed = if self.carrier.options.copy.is_some() {
            true
        } else {
            // The account came back, or could not move: its tokens need the keys.
            let is_there = match owner.account() {
                Some(account) => match source.load(&account, &source.stored_key(&account)).await {
                    Ok(found) => found.is_some(),
                    Err(error) if is_of_the_record(&error) => true,
                    Err(error) => return Err(error),
                },
                None => false,
            };
            let is_settled = owner.account().is_some();
            !is_there && source.remove_copied_keys(target, owner, is_settled).await?
        };
        match (is_removed, copied) {
            (false, _) => self.left(stored_key, RecordKind::ProofKey, LeftBecause::AccountStays),
            (true, KeysCopied::New) => self.report.moved += 1,
            (true, _) => self.report.already_there += 1,
        }
        Ok(())
    }
}
