//! Moving records to the primary key: `impl Sealer` for the sweep and the count.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;

use super::envelope::{RecordMeta, SealedHeader};
use super::error::SealError;
use super::key::KeyId;
use super::location::RecordKind;
use super::quarantine::original_key;
use super::ring_record::ring_key;
use super::sealer::Sealer;
use crate::store::{PutOptions, Record, StoreKey};

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResealReport {
    /// Records that this sweep sealed anew.
    pub resealed: u64,
    /// Records that were under the primary key already.
    pub current: u64,
    /// Records that somebody else changed or removed meanwhile. Left to the next sweep.
    pub conflicts: u64,
    /// Records that cannot be opened. They were not touched.
    pub unreadable: u64,
    /// Records that the limit left for the next sweep.
    pub postponed: u64,
    /// How many records name each key after the sweep, by what their headers say.
    pub by_key: BTreeMap<KeyId, u64>,
}

impl ResealReport {
    /// Whether every record that can be opened is under the primary key.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.conflicts == 0 && self.postponed == 0
    }
}

/// What became of one record in a sweep.
enum Outcome {
    Gone,
    Current(KeyId),
    Resealed(KeyId),
    Conflict(KeyId),
    Unreadable(Option<KeyId>),
    Postponed(KeyId),
}

/// The sweep that follows a rotation.
impl Sealer {
    /// Seals records under old keys anew under the primary key, at most `limit` of them.
    ///
    /// Each is replaced by compare-and-swap, keeps its incarnation and expiry, and counts one generation up. A record that
    /// changes meanwhile is skipped; one that cannot be opened is counted and left alone. Quarantined records that can be
    /// opened are resealed too. Cancellation safe: every record is either as it was or resealed.
    ///
    /// # Errors
    /// As [`reload`](Self::reload), or that the store failed; what was resealed until then stays.
    pub async fn reseal(&self, limit: u64) -> Result<ResealReport, SealError> {
        self.reload().await?;
        let mut report = ResealReport::default();
        for key in self.record_keys().await? {
            let outcome = self
                .reseal_one(&key, report.resealed + report.conflicts < limit)
                .await?;
            let named = match outcome {
                Outcome::Gone => None,
                Outcome::Current(id) => {
                    report.current += 1;
                    Some(id)
                }
                Outcome::Resealed(id) => {
                    report.resealed += 1;
                    Some(id)
                }
                Outcome::Conflict(id) => {
                    report.conflicts += 1;
                    Some(id)
                }
                Outcome::Unreadable(id) => {
                    report.unreadable += 1;
                    id
                }
                Outcome::Postponed(id) => {
                    report.postponed += 1;
                    Some(id)
                }
            };
            if let Some(id) = named {
                *report.by_key.entry(id).or_default() += 1;
            }
        }
        Ok(report)
    }

    /// How many records name key `id`, openable or not. Quarantined records count only if they can be opened: the
    /// others were put aside because they cannot.
    pub(super) async fn records_under(&self, id: KeyId) -> Result<u64, SealError> {
        let sealed = self.sealed()?;
        let mut count = 0;
        for key in self.record_keys().await? {
            let Some(record) = sealed.store.get(&key).await? else {
                continue;
            };
            if named_key(&record) != Some(id) {
                continue;
            }
            let aside = RecordKind::of(self.namespace(), &key) == Some(RecordKind::Quarantine);
            if !aside || self.open_in_place(&key, &record).is_some() {
                count += 1;
            }
        }
        Ok(count)
    }

    async fn reseal_one(&self, key: &StoreKey, within_limit: bool) -> Result<Outcome, SealError> {
        let sealed = self.sealed()?;
        let Some(record) = sealed.store.get(key).await? else {
            return Ok(Outcome::Gone);
        };
        let Some(id) = named_key(&record) else {
            return Ok(Outcome::Unreadable(None));
        };
        // A long sweep outlives the writer window.
        self.freshen().await?;
        let Some((kind, place, opened)) = self.open_in_place(key, &record) else {
            return Ok(Outcome::Unreadable(Some(id)));
        };
        if id == sealed.active().primary().status.id {
            return Ok(Outcome::Current(id));
        }
        if !within_limit {
            return Ok(Outcome::Postponed(id));
        }
        let Some(generation) = opened.meta.generation.checked_add(1) else {
            return Ok(Outcome::Unreadable(Some(id)));
        };
        let meta = RecordMeta {
            generation,
            ..opened.meta
        };
        let bytes = self.seal(kind, &place, meta, opened.payload.expose())?;
        let named = named_key_of(&bytes).unwrap_or(id);
        let options = PutOptions::update(record.version).expires_at(record.expires_at);
        match sealed.store.put(key, bytes, options).await {
            Ok(_) => Ok(Outcome::Resealed(named)),
            // Resealed or not, the next sweep sees.
            Err(error) if error.is_conflict() || error.is_outcome_unknown() => Ok(Outcome::Conflict(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the record at `key`, or the quarantined one that came from another key.
    fn open_in_place(
        &self,
        key: &StoreKey,
        record: &Record,
    ) -> Option<(RecordKind, StoreKey, super::Opened)> {
        let place = match RecordKind::of(self.namespace(), key)? {
            RecordKind::Quarantine => original_key(self.namespace(), key)?,
            _ => key.clone(),
        };
        let kind = RecordKind::of(self.namespace(), &place)?;
        let opened = self.open_record(kind, &place, &record.payload).ok()?;
        Some((kind, place, opened))
    }

    /// The keys of all records but the ring. Collected first, because a scan may not be held open across writes.
    async fn record_keys(&self) -> Result<Vec<StoreKey>, SealError> {
        let prefix = self.namespace().prefix();
        let ring = ring_key(self.namespace());
        let keys: Vec<_> = self
            .sealed()?
            .store
            .scan(&prefix)
            .map_ok(|(key, _)| key)
            .try_collect()
            .await?;
        Ok(keys.into_iter().filter(|key| *key != ring).collect())
    }
}

/// The key that the record's header names, which is not authenticated.
fn named_key(record: &Record) -> Option<KeyId> {
    named_key_of(&record.payload)
}

fn named_key_of(bytes: &[u8]) -> Option<KeyId> {
    SealedHeader::parse(bytes).ok().map(|header| header.key_id)
}
