//! One run of a migration: in which order, and what is told of it.

mod keys;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::carrier::{Carrier, Moved};
use super::error::MigrationError;
use super::journal::{Journal, PLACE};
use super::report::{
    ConflictCause, LeftBecause, LeftRecord, MigrationConflict, MigrationObserver, MigrationProgress,
    MigrationReport,
};
use super::sameness::is_same;
use super::survey::{Content, Item, Survey};
use crate::cache::proof_keys::KeysCopied;
use crate::cache::{CacheError, ProofKeyOwner};
use crate::random::random_bytes;
use crate::schema::PartitionKey;
use crate::seal::RecordKind;
use crate::store::{PutOptions, Store, StoreKey};
use crate::strategy::spend;

/// How often the source is looked through again for records that programs made meanwhile.
const MOST_PASSES: u32 = 4;

/// How long the record that tells whether two places are one may stay if it cannot be removed.
const PROBE: Duration = Duration::from_secs(60);

/// A run.
pub(super) struct Run {
    pub(super) carrier: Carrier,
    pub(super) observer: Option<Arc<dyn MigrationObserver>>,
    pub(super) report: MigrationReport,
    pub(super) progress: MigrationProgress,
    /// Records that this run has seen to.
    seen: HashSet<StoreKey>,
    /// Accounts that stay in the source, so that what belongs to them must stay too.
    staying: HashSet<PartitionKey>,
}

impl Run {
    pub(super) fn new(carrier: Carrier, observer: Option<Arc<dyn MigrationObserver>>) -> Self {
        Self {
            carrier,
            observer,
            report: MigrationReport::default(),
            progress: MigrationProgress::default(),
            seen: HashSet::new(),
            staying: HashSet::new(),
        }
    }

    /// Whether a record that is written to the target appears in the source.
    pub(super) async fn is_same_place(&self) -> Result<bool, CacheError> {
        let (source, target) = (&self.carrier.source, &self.carrier.target);
        if Arc::ptr_eq(source, target) {
            return Ok(true);
        }
        let probe = target.sealer.stored_key(RecordKind::Migration, PLACE);
        // Sealed caches name records by keys of their own, and so do those of other namespaces: only one and the same, or a copy, has these names.
        if source.sealer.stored_key(RecordKind::Migration, PLACE) != probe
            || !Journal::fits_into(target).await?
        {
            return Ok(false);
        }
        let mark: [u8; 32] = random_bytes(&*target.random)?;
        let expires_at = Some(target.clock.now().saturating_add(PROBE));
        let options = PutOptions::overwrite().expires_at(expires_at);
        target
            .store
            .put(&probe, bytes::Bytes::copy_from_slice(&mark), options)
            .await?;
        let found = source.store.get(&probe).await;
        target.store.delete(&probe, None).await?;
        Ok(found?.is_some_and(|found| *found.payload == mark))
    }

    /// Moves everything, and then what programs made meanwhile.
    pub(super) async fn go(&mut self, leave_behind: bool) -> Result<(), MigrationError> {
        for pass in 0..MOST_PASSES {
            let surveyed = Survey::of(&self.carrier.source, &self.carrier.target, &self.seen).await;
            let mut survey = surveyed.map_err(|error| self.stopped(error))?;
            let stays = std::mem::take(&mut survey.stays);
            if pass == 0 {
                self.report.stays = stays;
            }
            let not_kept = survey.not_kept();
            if !not_kept.is_empty() && !leave_behind && pass == 0 {
                return Err(MigrationError::NotKept(not_kept));
            }
            let waiting = self.waiting(pass).await.map_err(|error| self.stopped(error))?;
            if survey.items.is_empty() && waiting.is_empty() {
                break;
            }
            let moved = self.pass(survey, waiting).await;
            if moved.map_err(|error| self.stopped(error))?.is_break() {
                self.report.interrupted = true;
                return Ok(());
            }
            if self.carrier.options.copy.is_some() {
                break;
            }
        }
        self.mend_directories().await;
        Ok(())
    }

    fn stopped(&self, source: CacheError) -> MigrationError {
        let progress = self.progress;
        MigrationError::Stopped { progress, source }
    }

    /// What an interrupted run has in the journal. What of it cannot be opened is reported.
    async fn waiting(&mut self, pass: u32) -> Result<Vec<PartitionKey>, CacheError> {
        let (Some(journal), 0) = (&self.carrier.journal, pass) else {
            return Ok(Vec::new());
        };
        let waiting = journal.entries(&self.carrier.source_id).await?;
        self.report.unfinished_of_others = waiting.of_others;
        for (key, error) in waiting.unreadable {
            self.left(key, RecordKind::Migration, LeftBecause::Unreadable(error));
        }
        Ok(waiting.own)
    }

    async fn pass(
        &mut self,
        survey: Survey,
        waiting: Vec<PartitionKey>,
    ) -> Result<ControlFlow<()>, CacheError> {
        let mut items: HashMap<StoreKey, Item> = HashMap::new();
        let mut order: Vec<(u8, StoreKey)> = Vec::new();
        for item in survey.items {
            let rank = match item.kind {
                RecordKind::ProofKey => 0,
                RecordKind::App => 1,
                RecordKind::User => 2,
                RecordKind::Session => 3,
                _ => 4,
            };
            order.push((rank, item.stored_key.clone()));
            items.insert(item.stored_key.clone(), item);
        }
        order.sort();
        // An account that an earlier run had begun to move has been taken out of the source by it.
        let resumed: Vec<_> = waiting
            .into_iter()
            .filter(|key| !items.contains_key(&self.carrier.source.stored_key(key)))
            .collect();
        let accounts: HashSet<PartitionKey> = items
            .values()
            .filter(|item| item.kind == RecordKind::User)
            .filter_map(|item| match &item.content {
                Content::Partition { key, .. } => Some(key.clone()),
                _ => None,
            })
            .collect();
        self.progress.total += (items.len() + resumed.len()) as u64;
        if self.tell().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        for key in resumed {
            let stored_key = self.carrier.source.stored_key(&key);
            if self.carry(&key, stored_key).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let mut owners = Vec::new();
        for (_, stored_key) in order {
            let Some(item) = items.remove(&stored_key) else {
                continue;
            };
            let flow = self.see_to(item, &mut items, &accounts, &mut owners).await?;
            if flow.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        for (stored_key, owner, copied) in owners {
            self.remove_keys(stored_key, &owner, copied).await?;
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn see_to(
        &mut self,
        item: Item,
        others: &mut HashMap<StoreKey, Item>,
        accounts: &HashSet<PartitionKey>,
        owners: &mut Vec<(StoreKey, ProofKeyOwner, KeysCopied)>,
    ) -> Result<ControlFlow<()>, CacheError> {
        if let Some(because) = item.not_kept {
            if let Content::Partition { key, .. } = item.content {
                self.staying.insert(key);
            }
            self.left(item.stored_key.clone(), item.kind, LeftBecause::NotKept(because));
            return Ok(self.done(item.stored_key, 0));
        }
        let (key, sessions, account) = match item.content {
            Content::Partition {
                key,
                sessions,
                account,
            } => (key, sessions, account),
            Content::Unreadable(error) => {
                self.left(item.stored_key.clone(), item.kind, LeftBecause::Unreadable(error));
                return Ok(self.done(item.stored_key, 0));
            }
            Content::Keys(owner) => {
                return self
                    .copy_keys(item.stored_key, item.bytes, owner, accounts, owners)
                    .await;
            }
        };
        if account.is_some_and(|account| self.staying.contains(&account)) {
            self.left(item.stored_key.clone(), item.kind, LeftBecause::AccountStays);
            return Ok(self.done(item.stored_key, 0));
        }
        if self.staying.contains(&key) {
            self.left(item.stored_key.clone(), item.kind, LeftBecause::ProofKeysStay);
            return Ok(self.done(item.stored_key, 0));
        }
        // Before the account: a program that meets a session whose account has gone ends it.
        if !sessions.is_empty() {
            match self.can_move(&key).await? {
                Err(because) => {
                    self.staying.insert(key);
                    self.left(item.stored_key.clone(), item.kind, because);
                    return Ok(self.done(item.stored_key, 0));
                }
                Ok(true) => {
                    if self.carry_sessions(sessions, others).await?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(false) => {}
            }
        }
        self.carry(&key, item.stored_key).await
    }

    async fn carry_sessions(
        &mut self,
        sessions: Vec<PartitionKey>,
        others: &mut HashMap<StoreKey, Item>,
    ) -> Result<ControlFlow<()>, CacheError> {
        for session in sessions {
            let stored_key = self.carrier.source.stored_key(&session);
            if others.get(&stored_key).is_none_or(|item| item.not_kept.is_some()) {
                continue;
            }
            others.remove(&stored_key);
            if self.carry(&session, stored_key).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether nothing in the target is in an account's way, once nobody spends a token of it any more; or why it stays.
    async fn can_move(&self, key: &PartitionKey) -> Result<Result<bool, LeftBecause>, CacheError> {
        let (source, target) = (&self.carrier.source, &self.carrier.target);
        let mut give_up_at = None;
        let found = loop {
            let found = match self.carrier.find(key).await? {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(Ok(false)),
                Err(because) => return Ok(Err(because)),
            };
            match spend::being_spent_until(&found.partition, source.clock.now()) {
                Some(until) if self.carrier.options.copy.is_none() => {
                    if !self.carrier.wait(key, until, &mut give_up_at).await? {
                        return Ok(Err(LeftBecause::BeingSpent));
                    }
                }
                _ => break found,
            }
        };
        let held = target.load(key, &target.stored_key(key)).await?;
        Ok(Ok(held.is_none_or(|held| {
            is_same(target, &held.partition, &found.partition)
        })))
    }

    async fn carry(
        &mut self,
        key: &PartitionKey,
        stored_key: StoreKey,
    ) -> Result<ControlFlow<()>, CacheError> {
        let kind = key.record_kind();
        let mut bytes = 0;
        let mut stays = true;
        match self.carrier.carry(key).await? {
            Moved::Now(length) => {
                self.report.moved += 1;
                bytes = length;
                stays = false;
            }
            Moved::AlreadyThere => {
                self.report.already_there += 1;
                stays = false;
            }
            Moved::Gone => {
                self.report.gone += 1;
                stays = false;
            }
            Moved::Left(because) => self.left(stored_key.clone(), kind, because),
            Moved::Conflict(cause) => self.conflict(stored_key.clone(), kind, cause),
        }
        if stays {
            self.staying.insert(key.clone());
            self.seen.insert(stored_key.clone());
        } else {
            // A program may sign in there again, and the next pass sees that.
            self.seen.remove(&stored_key);
        }
        self.progress.done += 1;
        self.progress.bytes += bytes;
        self.report.bytes += bytes;
        Ok(self.tell())
    }

    fn left(&mut self, key: StoreKey, kind: RecordKind, because: LeftBecause) {
        self.report.left.push(LeftRecord { key, kind, because });
    }

    fn conflict(&mut self, key: StoreKey, kind: RecordKind, cause: ConflictCause) {
        self.report.conflicts.push(MigrationConflict { key, kind, cause });
    }

    fn done(&mut self, key: StoreKey, bytes: u64) -> ControlFlow<()> {
        self.seen.insert(key);
        self.progress.done += 1;
        self.progress.bytes += bytes;
        self.report.bytes += bytes;
        self.tell()
    }

    fn tell(&self) -> ControlFlow<()> {
        match &self.observer {
            Some(observer) => observer.progress(&self.progress),
            None => ControlFlow::Continue(()),
        }
    }

    /// The directories are made anew where there was one. They are hints: nothing fails for them.
    async fn mend_directories(&self) {
        let had_pages = |stays: &super::StayingRecords| stays.kind == Some(RecordKind::Directory);
        if !self.report.stays.iter().any(had_pages) {
            return;
        }
        let (source, target) = (&self.carrier.source, &self.carrier.target);
        if target.shared.is_none()
            && let Err(error) = target.rebuild_directory().await
        {
            tracing::warn!(error = %error, "the directory of the target could not be made");
        }
        if self.carrier.options.copy.is_none()
            && let Err(error) = source.rebuild_directory().await
        {
            tracing::warn!(error = %error, "the directory of the source still lists accounts that have moved");
        }
    }
}
