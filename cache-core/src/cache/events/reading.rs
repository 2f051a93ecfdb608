//! Reading records for whoever looks on, without a trace in memory.

use std::sync::Arc;

use futures_util::StreamExt;

use super::compare;
use super::event::CacheChange;
use super::snapshot::{Contents, Rows, Seen};
use crate::cache::{CacheError, Inner};
use crate::seal::{RecordKind, SealError, peek_header};
use crate::store::error::ErrorKind;
use crate::store::{Record, Store, StoreKey, Version};

/// What a record of a kind that is looked into holds: `Ok(None)` for one that was rolled back, `Err` for one that cannot be opened.
pub(super) type Opened = Option<Result<Option<Contents>, CacheError>>;

/// Reads a record and what is in it; `None` when there is none. An error is the store's.
pub(super) async fn read(
    inner: &Arc<Inner>,
    key: &StoreKey,
    kind: Option<RecordKind>,
) -> Result<Option<(Record, Opened)>, CacheError> {
    let mut refused = None;
    loop {
        let known = inner.rollback.before_read(key);
        let Some(record) = inner.store.get(key).await? else {
            return Ok(None);
        };
        let Some(kind @ (RecordKind::User | RecordKind::App | RecordKind::Session | RecordKind::Residue)) =
            kind
        else {
            return Ok(Some((record, None)));
        };
        let opened = match inner.open(key, &record, kind, known).await {
            Ok(loaded) => Ok(loaded
                .origin()
                .lineage()
                .map(|(incarnation, generation)| Contents {
                    incarnation,
                    generation,
                    key_id: peek_header(&record.payload).ok().and_then(|header| header.key_id),
                    rows: Rows::of(&loaded.partition),
                })),
            Err(CacheError::Store(error)) => return Err(CacheError::Store(error)),
            Err(CacheError::Seal(error)) if matches!(*error, SealError::Store(_)) => {
                return Err(CacheError::Seal(error));
            }
            Err(error) => Err(error),
        };
        // Between the read and the opening it may have been sealed anew, and the key that it was under retired.
        if opened.is_err() && refused != Some(record.version) {
            refused = Some(record.version);
            continue;
        }
        return Ok(Some((record, Some(opened))));
    }
}

pub(super) fn after_removal(kind: Option<RecordKind>, before: Option<Seen>) -> Vec<CacheChange> {
    let mut changes = Vec::new();
    if let Some(contents) = before.and_then(|before| before.contents) {
        compare::removed(&contents.rows, &mut changes);
    }
    if changes.is_empty() {
        changes.push(match kind {
            Some(RecordKind::ProofKey) => CacheChange::ProofKeysRemoved,
            kind => CacheChange::Removed { kind },
        });
    }
    changes
}

/// Every record of the cache.
pub(super) async fn listed(inner: &Inner) -> Result<Vec<(StoreKey, Version)>, CacheError> {
    let prefix = inner.sealer.namespace().prefix();
    let mut scan = inner.store.scan(&prefix);
    let mut listed = Vec::new();
    while let Some(found) = scan.next().await {
        listed.push(found?);
    }
    Ok(listed)
}

pub(super) fn is_closed(error: &CacheError) -> bool {
    let cause = match error {
        CacheError::Store(cause) => cause,
        CacheError::Seal(error) => match &**error {
            SealError::Store(cause) => return cause.kind() == ErrorKind::Closed,
            _ => return false,
        },
        _ => return false,
    };
    cause.kind() == ErrorKind::Closed
}
