//! What is in the source, and what of it the target can keep.

use std::collections::{BTreeMap, HashSet};

use futures_util::TryStreamExt;

use super::carrier::is_of_the_record;
use super::journal::Journal;
use super::report::{NotKept, NotKeptBecause, StayingRecords};
use super::sameness::is_kept_whole;
use crate::cache::{CacheError, Inner, ProofKeyOwner};
use crate::schema::{Partition, PartitionKey};
use crate::seal::RecordKind;
use crate::store::{Record, Store, StoreKey};

/// By how much a record in the journal is longer than its content, at the most, beside the name that it repeats.
const ENTRY_BYTES: usize = 512;

/// A record of the source that a migration moves.
pub(super) struct Item {
    pub(super) kind: RecordKind,
    pub(super) stored_key: StoreKey,
    pub(super) bytes: u64,
    pub(super) content: Content,
    /// Why the target has no place for it.
    pub(super) not_kept: Option<NotKeptBecause>,
}

pub(super) enum Content {
    Partition {
        key: PartitionKey,
        /// For a user, its sessions.
        sessions: Vec<PartitionKey>,
        /// For a session, the account that it acts for.
        account: Option<PartitionKey>,
    },
    Keys(ProofKeyOwner),
    Unreadable(CacheError),
}

/// What is in the source.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) items: Vec<Item>,
    pub(super) stays: Vec<StayingRecords>,
}

impl Survey {
    /// Opens every record of `source` but those in `seen`.
    pub(super) async fn of(
        source: &Inner,
        target: &Inner,
        seen: &HashSet<StoreKey>,
    ) -> Result<Self, CacheError> {
        let namespace = source.sealer.namespace();
        let prefix = namespace.prefix();
        // Collected first, because a scan may not be held open across writes.
        let found: Vec<StoreKey> = source
            .store
            .scan(&prefix)
            .map_ok(|(key, _)| key)
            .try_collect()
            .await?;
        let takes_records = Journal::fits_into(target).await?;
        let mut survey = Self::default();
        let mut stays: BTreeMap<&str, StayingRecords> = BTreeMap::new();
        for stored_key in found {
            match RecordKind::of(namespace, &stored_key) {
                Some(RecordKind::Migration) => {}
                Some(
                    kind @ (RecordKind::User
                    | RecordKind::App
                    | RecordKind::Session
                    | RecordKind::Residue
                    | RecordKind::ProofKey),
                ) => {
                    if !seen.contains(&stored_key) {
                        survey
                            .take(source, target, takes_records, kind, stored_key)
                            .await?;
                    }
                }
                kind => {
                    let staying = stays.entry(kind.map_or("", RecordKind::tag));
                    staying.or_insert(StayingRecords { kind, count: 0 }).count += 1;
                }
            }
        }
        survey.stays = stays.into_values().collect();
        survey.hold_together();
        Ok(survey)
    }

    /// What the target has no place for.
    pub(super) fn not_kept(&self) -> Vec<NotKept> {
        let refused = self.items.iter().filter_map(|item| {
            Some(NotKept {
                key: item.stored_key.clone(),
                kind: item.kind,
                because: item.not_kept?,
            })
        });
        refused.collect()
    }

    async fn take(
        &mut self,
        source: &Inner,
        target: &Inner,
        takes_records: bool,
        kind: RecordKind,
        stored_key: StoreKey,
    ) -> Result<(), CacheError> {
        let known = source.rollback.before_read(&stored_key);
        let record = match source.store.get(&stored_key).await.map_err(CacheError::from) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(error) if is_of_the_record(&error) => {
                self.push(kind, stored_key, 0, Content::Unreadable(error), None);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let bytes = record.payload.len() as u64;
        let taken = if kind == RecordKind::ProofKey {
            let owner = source.proof_key_owner(&stored_key, &record).await;
            owner.map(|owner| {
                (
                    Content::Keys(owner),
                    refusal_of_keys(target, takes_records, &record),
                )
            })
        } else {
            let opened = source.open(&stored_key, &record, kind, known).await;
            opened.and_then(|loaded| content_of(target, takes_records, &loaded.partition))
        };
        let (content, not_kept) = match taken {
            Ok(taken) => taken,
            Err(error) if is_of_the_record(&error) => (Content::Unreadable(error), None),
            Err(error) => return Err(error),
        };
        self.push(kind, stored_key, bytes, content, not_kept);
        Ok(())
    }

    fn push(
        &mut self,
        kind: RecordKind,
        stored_key: StoreKey,
        bytes: u64,
        content: Content,
        not_kept: Option<NotKeptBecause>,
    ) {
        self.items.push(Item {
            kind,
            stored_key,
            bytes,
            content,
            not_kept,
        });
    }

    /// An account whose keys or sessions cannot move stays with them: it would lose them otherwise.
    fn hold_together(&mut self) {
        let (mut by_keys, mut by_sessions) = (HashSet::new(), HashSet::new());
        for item in self.items.iter().filter(|item| item.not_kept.is_some()) {
            match &item.content {
                Content::Keys(owner) => by_keys.extend(owner.account()),
                Content::Partition { account, .. } => by_sessions.extend(account.clone()),
                Content::Unreadable(_) => {}
            }
        }
        for item in self.items.iter_mut().filter(|item| item.not_kept.is_none()) {
            if let Content::Partition { key, .. } = &item.content {
                if by_keys.contains(key) {
                    item.not_kept = Some(NotKeptBecause::ItsProofKeys);
                } else if by_sessions.contains(key) {
                    item.not_kept = Some(NotKeptBecause::ItsSessions);
                }
            }
        }
    }
}

fn refusal_of_keys(target: &Inner, takes_records: bool, record: &Record) -> Option<NotKeptBecause> {
    if !takes_records {
        return Some(NotKeptBecause::NoPlace);
    }
    let limit = target.store.capabilities().max_value_bytes;
    (record.payload.len() > limit).then_some(NotKeptBecause::TooLarge)
}

fn content_of(
    target: &Inner,
    takes_records: bool,
    partition: &Partition,
) -> Result<(Content, Option<NotKeptBecause>), CacheError> {
    let sessions = partition.sessions.iter();
    let content = Content::Partition {
        key: partition.key.clone(),
        sessions: sessions
            .filter_map(|link| PartitionKey::from_bytes(&link.key))
            .collect(),
        account: partition
            .anchor
            .as_ref()
            .and_then(|anchor| PartitionKey::from_bytes(&anchor.user)),
    };
    let shared = target.shared.as_ref();
    if let Some(shared) = shared.filter(|shared| shared.has_place_for(&partition.key)) {
        let is_whole = is_kept_whole(shared.as_kept(partition)?.as_ref(), partition);
        return Ok((content, (!is_whole).then_some(NotKeptBecause::Lossy)));
    }
    if !takes_records {
        return Ok((content, Some(NotKeptBecause::NoPlace)));
    }
    let limit = target.store.capabilities().max_value_bytes;
    let length = target.codecs[0].encode(partition)?.len() + partition.key.to_bytes().len() + ENTRY_BYTES;
    Ok((content, (length > limit).then_some(NotKeptBecause::TooLarge)))
}
