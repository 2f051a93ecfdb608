//! Removing a record, if it is still what was read.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::writes::Writes;
use crate::cache::{CacheError, Inner};
use crate::random::jitter;
use crate::schema::{Partition, PartitionKey};
use crate::store::Store;
use crate::store::error::Retry;

/// How often it is tried.
const MAX_ATTEMPTS: u32 = 32;
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What became of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removed {
    Yes,
    /// Somebody else had removed it.
    Gone,
    /// It holds something else by now, and stays.
    Changed,
}

/// Removes the partition's record while it holds `read`, and settles that.
///
/// It is no commit, because a commit cannot tell its own removal from a sign-out that was faster, and a sign-out must not be undone. Only where the
/// acknowledgement was lost are the two alike; then it counts as our own.
pub(super) async fn remove_if_same(
    cache: &Arc<Inner>,
    key: &PartitionKey,
    read: &Partition,
) -> Result<Removed, CacheError> {
    let removed = try_remove(cache, key, read).await;
    if !matches!(removed, Ok(Removed::Changed)) {
        let stored_key = cache.stored_key(key);
        cache.written_behind.cancel(key);
        cache.gone(&stored_key);
        cache.remove_copy(&stored_key).await?;
    }
    removed
}

async fn try_remove(cache: &Arc<Inner>, key: &PartitionKey, read: &Partition) -> Result<Removed, CacheError> {
    let stored_key = cache.stored_key(key);
    let mut writes = Writes::new(&*cache.store);
    let mut may_be_ours = false;
    for attempt in 0..MAX_ATTEMPTS {
        if attempt > 0 {
            let longest = Duration::from_millis(1 << attempt.min(10)).min(LONGEST_PAUSE);
            cache.clock.sleep(longest.mul_f64(jitter(&*cache.random)?)).await;
        }
        let loaded = match cache.load(key, &stored_key).await {
            Err(CacheError::Store(error)) if error.retry() != Retry::No && attempt + 1 < MAX_ATTEMPTS => {
                continue;
            }
            loaded => loaded?,
        };
        let Some(loaded) = loaded else {
            if !may_be_ours {
                return Ok(Removed::Gone);
            }
            if writes.must_settle(false) && !cache.settle_removal(key, &stored_key, &mut writes).await? {
                continue;
            }
            return Ok(Removed::Yes);
        };
        if loaded.partition != *read {
            return Ok(Removed::Changed);
        }
        match cache
            .store
            .delete(&stored_key, Some(loaded.origin().version))
            .await
        {
            Ok(()) => return Ok(Removed::Yes),
            Err(error) => {
                may_be_ours |= error.is_outcome_unknown();
                writes.note_failed(error)?;
            }
        }
    }
    match writes.into_refusal() {
        Some(error) => Err(error.into()),
        None => Err(CacheError::Contended {
            attempts: MAX_ATTEMPTS,
        }),
    }
}
