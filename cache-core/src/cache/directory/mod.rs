//! The directory of accounts: who is in the cache, when each was last used and who must sign in again, without opening every partition.
//!
//! # What it promises
//!
//! It is a hint, never authority: the partition of an account decides whether there is a token. An account is listed before its
//! first sign-in is stored, and taken off after its sign-out is; so one that is listed may be gone, and is taken off
//! when somebody meets it: an [`acquire`](super::TokenCache::acquire) that finds [no account](super::InteractionReason::NoAccount), a listing that is
//! [verified](DirectoryQuery::verified), or a [`rebuild`](Directory::rebuild). One that is there and not listed is entered when it is next used.
//! Nothing that concerns tokens ever fails because of the directory: a sign-in or a sign-out that could not be entered is logged and counted, and succeeds.
//!
//! Its pages never expire. An account whose partition has, after the strategy's
//! [idle lifetime](crate::strategy::Strategy::idle_lifetime), stays listed until somebody meets it.
//!
//! Accounts are those of users' partitions. Sessions (on-behalf-of, web sessions) are none, and their use is not counted.
//!
//! # How it is stored
//!
//! A trie of sealed pages over a keyed hash of each partition's key. A page is a leaf of up to 64 entries and 32 KiB; beyond that it
//! splits into sixteen, and from then on names these. So the cost of a change does not grow with the number of accounts, no record is written by all, and
//! a listing reads pages in the order of the hash: its cursor is a place in that order, which neither splits nor other accounts move.
//! A listing therefore has each account that is there throughout exactly once. The store learns how many pages there are.
//!
//! # What it costs
//!
//! A sign-in and a sign-out, one durable write each more. A use, nothing while the partition is in memory; where the store is asked anyway, a comparison,
//! and at most once in [`touch_every`](crate::strategy::DirectoryPolicy::On) for each account and client, in the background, a write.

mod change;
mod entry;
mod keeping;
mod listing;
mod pages;
mod query;
mod queue;
mod rebuild;
mod record;

use std::fmt;

use change::Change;
pub use entry::{DirectoryClient, DirectoryEntry, InteractionCause, NeedsInteraction};
pub use query::{DirectoryCursor, DirectoryPage, DirectoryQuery, InvalidDirectoryCursor};
pub(crate) use queue::DirectoryQueue;
use queue::Task;
pub use rebuild::RebuildReport;

use super::{CacheError, TokenCache};
use crate::schema::PartitionKey;
use crate::store::Durability;

/// The directory of a cache's accounts. Clones share everything.
///
/// A cache whose strategy has it [off](crate::strategy::DirectoryPolicy::Off) can still read, mark and rebuild what others keep.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cache_core::cache::{DirectoryQuery, TokenCache};
/// use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
/// use cache_core::store::MemoryStore;
/// use cache_core::strategy::Strategy;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let cache = TokenCache::builder(Arc::new(MemoryStore::new()))
///     .strategy(Strategy::background_worker())
///     .open_sealed(Namespace::default(), Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))))
///     .await?;
///
/// let idle = DirectoryQuery::new().idle_for(Duration::from_secs(6 * 3600)).needs_interaction(false).limit(50);
/// let mut query = idle.clone();
/// loop {
///     let page = cache.directory().page(query).await?;
///     for entry in &page.entries {
///         // acquire a token for entry.cached_account(), and do what there is to do
///     }
///     let Some(next) = page.next else { break };
///     query = idle.clone().after(next);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Directory {
    cache: TokenCache,
}

impl TokenCache {
    /// The directory of the accounts in this cache.
    #[must_use]
    pub fn directory(&self) -> Directory {
        Directory { cache: self.clone() }
    }
}

impl Directory {
    /// The accounts that match, up to the query's limit.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// That the store failed. A page that cannot be opened is reported in the listing.
    pub async fn page(&self, query: DirectoryQuery) -> Result<DirectoryPage, CacheError> {
        self.cache.inner.list_directory(&query).await
    }

    /// What the directory says of one account; `None` when it is not listed.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// That the store failed, or the page cannot be opened.
    pub async fn entry(&self, key: &PartitionKey) -> Result<Option<DirectoryEntry>, CacheError> {
        self.cache.inner.directory_entry(key).await
    }

    /// Notes durably that the user of an account must sign in again before `client_id` can act for it, until a sign-in, a refresh or
    /// [`clear_needs_interaction`](Self::clear_needs_interaction) says otherwise. `false` when the client has no such account.
    ///
    /// The cache notes by itself what its own requests meet; this is for what a program learns elsewhere, such as a claims challenge of an API.
    ///
    /// Cancellation safe: it goes on.
    ///
    /// # Errors
    /// That the store failed, or the page cannot be opened.
    pub async fn mark_needs_interaction(
        &self,
        key: &PartitionKey,
        client_id: &str,
    ) -> Result<bool, CacheError> {
        let needs = NeedsInteraction {
            because: InteractionCause::Marked,
            since: self.cache.inner.clock.now().to_seconds(),
            request: None,
        };
        let client_id = client_id.to_owned();
        self.change(key, Change::Needs { client_id, needs }).await
    }

    /// Takes back durably that the user must sign in again. `false` when the client has no such account.
    ///
    /// Cancellation safe: it goes on.
    ///
    /// # Errors
    /// As [`mark_needs_interaction`](Self::mark_needs_interaction).
    pub async fn clear_needs_interaction(
        &self,
        key: &PartitionKey,
        client_id: &str,
    ) -> Result<bool, CacheError> {
        let client_id = client_id.to_owned();
        self.change(key, Change::Cleared { client_id }).await
    }

    /// Compares the whole directory with the partitions and mends it: for a store that was used before the directory was on, or by
    /// programs that have it off. It scans the store and opens every user's partition; it can be run at any time, and again.
    ///
    /// Cancellation safe: what was mended stays.
    ///
    /// # Errors
    /// That the store failed. What cannot be opened is reported, and kept as it is.
    pub async fn rebuild(&self) -> Result<RebuildReport, CacheError> {
        self.cache.inner.rebuild_directory().await
    }

    /// Waits until what this cache has noted in the background so far is entered. [`shutdown`](TokenCache::shutdown) does so too.
    ///
    /// Cancellation safe.
    pub async fn flush(&self) {
        self.cache.inner.flush_directory().await;
    }

    async fn change(&self, key: &PartitionKey, change: Change) -> Result<bool, CacheError> {
        if !matches!(key, PartitionKey::User { .. }) {
            return Ok(false);
        }
        let task = Task::Change(change);
        let effect = self.cache.inner.enter(key, task, Durability::Durable).await?;
        Ok(!effect.is_missing)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("cache", &self.cache).finish()
    }
}
