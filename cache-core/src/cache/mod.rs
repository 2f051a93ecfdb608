//! The typed token cache: find, acquire, sign in, sign out.
//!
//! A [`TokenCache`] stands on four parts that you choose: a [`Store`] for the bytes, a
//! [`Sealer`] for the encryption, a [`Codec`] for the form, and a [`Strategy`] for everything that trades speed,
//! memory, durability and load.
//!
//! # The three rules that it keeps
//!
//! 1. **No update is lost.** Every change is a merge into the *latest* rows, written by compare-and-swap.
//! 2. **No refresh token is spent twice.** Whoever sends one has first written a marker on its row, durably; everybody
//!    else, in every process that shares the store, waits for the outcome. See [`acquire`](TokenCache::acquire).
//! 3. **No sign-out is undone.** A refresh only ever replaces the very row that it spent. If that row is gone, its
//!    tokens are thrown away.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::cache::TokenCache;
//! use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
//! use cache_core::store::MemoryStore;
//! use cache_core::strategy::Strategy;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let cache = TokenCache::builder(Arc::new(MemoryStore::new()))
//!     .strategy(Strategy::desktop_tool())
//!     .open_sealed(Namespace::default(), Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))))
//!     .await?;
//! assert!(cache.accounts().await?.accounts.is_empty());
//! cache.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accounts;
mod acquire;
pub(crate) mod acquired;
mod app;
mod app_writes;
pub(crate) mod arguments;
mod authority_call;
mod backoff;
mod builder;
mod changes;
mod commit;
mod commit_queue;
mod copies;
mod directory;
mod error;
mod events;
mod exchange;
mod fallback;
mod find;
mod inspect;
mod lineage_locks;
mod lookup;
pub mod migration;
mod new_epochs;
mod observe;
mod outage;
mod place;
mod prepared;
mod proof_keys;
mod record;
mod refresh;
mod reply;
mod sessions;
mod sign_out;
mod tasks;
mod writes;
mod written_behind;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tracing::Instrument;

pub use accounts::{AccountListing, CachedAccount};
pub use acquired::{AcquireOptions, Acquired, Freshness, RefreshReason, TokenSource};
pub use authority_call::{
    AppTokenCall, AuthorityCall, AuthorityRefusal, CallError, CallOutcome, Redemption, RefusedBecause,
};
pub use builder::TokenCacheBuilder;
pub use directory::{
    Directory, DirectoryClient, DirectoryCursor, DirectoryEntry, DirectoryPage, DirectoryQuery,
    InteractionCause, InvalidDirectoryCursor, NeedsInteraction, RebuildReport,
};
pub use error::{CacheError, InteractionReason, InteractionRequired};
pub use events::{AccountName, CacheChange, CacheEvent, Events};
pub use exchange::{Export, ImportReport};
pub use inspect::{Contents, RecordInfo};
pub use lookup::{Lookup, PartitionRef};
pub use prepared::{PeekedToken, PreparedRequest};
pub use proof_keys::{ProofKey, ProofKeyOwner};
use sessions::Asked;
pub use sessions::SessionLookup;
pub use sign_out::RemovedTokens;

pub use crate::schema::merge::SignOutScope;
pub use crate::strategy::UnknownOutcomePolicy;

use crate::codec::Codec;
use crate::codec::msal::RowOrigin;
use crate::layout::SharedStore;
use crate::random::Random;
use crate::schema::{AuthorityIdentity, PartitionKey, TokenRequest, TokenResponse};
use crate::seal::{Quarantine, Quarantined, RollbackGuard, Sealer};
use crate::store::{Store, StoreKey};
use crate::strategy::Strategy;
use crate::strategy::flights::Flights;
use crate::strategy::memory_tier::Memory;
use crate::time::Clock;

/// A token cache. Clones share everything.
#[derive(Clone)]
pub struct TokenCache {
    inner: Arc<Inner>,
    /// Ends the listening task with the last clone.
    _listening: Arc<Listening>,
}

pub(crate) struct Inner {
    store: Arc<dyn Store>,
    sealer: Sealer,
    rollback: RollbackGuard,
    /// The first writes; all read.
    codecs: Vec<Arc<dyn Codec>>,
    strategy: Strategy,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    memory: Memory,
    flights: Flights<acquire::FlightKey, Result<Acquired, CacheError>>,
    commits: commit_queue::CommitQueue,
    changes: changes::Changes,
    ahead: backoff::Backoff,
    lineage_locks: lineage_locks::LineageLocks,
    written_behind: written_behind::WrittenBehind,
    outage: outage::Outage,
    fallback: Option<fallback::Fallback>,
    /// The documents of MSAL programs that partitions lie in, where they do.
    shared: Option<Arc<SharedStore>>,
    tasks: tasks::Tasks,
    sign_outs: sign_out::SignOuts,
    named_keys: proof_keys::NamedKeys,
    directory: directory::DirectoryQueue,
    /// Whether there is no place for what MSAL programs have no record for.
    only_documents: bool,
}

struct Listening(Option<AbortHandle>);

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl TokenCache {
    /// Starts to build a cache over `store`.
    pub fn builder(store: Arc<dyn Store>) -> TokenCacheBuilder {
        TokenCacheBuilder::new(store)
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        let listening = Arc::new(Listening(changes::listen(&inner)));
        Self {
            inner,
            _listening: listening,
        }
    }

    /// An access token for a user, silently: from memory, from the store, or by a refresh.
    ///
    /// When a refresh is needed, one caller of all processes that share the store sends the refresh token; the others wait
    /// for its reply, and get it. A refresh that fails never discards a token that is still valid: it is returned.
    ///
    /// Cancellation safe: a refresh that was begun goes on, and its tokens are stored.
    ///
    /// # Errors
    /// [`CacheError::InteractionRequired`] when only the user can help; others when the store or the authority fails, all of
    /// them within [`TimeLimits::acquire`](crate::strategy::TimeLimits::acquire) plus
    /// [`TimeLimits::spend`](crate::strategy::TimeLimits::spend).
    pub async fn acquire(
        &self,
        request: Arc<TokenRequest>,
        options: AcquireOptions,
        call: Arc<dyn AuthorityCall>,
    ) -> Result<Acquired, CacheError> {
        if let Some(acquired) = self.inner.at_once("user", &request, options) {
            return Ok(acquired);
        }
        // On the heap: what a hit returns through must be small.
        let work = Box::pin(self.inner.acquire(request, options, call));
        observe::acquisition("user", work).await
    }

    /// An access token for the application itself: from memory, from the store, or by one request for all who ask.
    ///
    /// Cancellation safe: a request that was begun goes on, and its token is stored.
    ///
    /// # Errors
    /// That the store or the authority failed.
    pub async fn acquire_app(
        &self,
        request: Arc<TokenRequest>,
        options: AcquireOptions,
        call: Arc<dyn AppTokenCall>,
    ) -> Result<Acquired, CacheError> {
        if let Some(acquired) = self.inner.at_once("application", &request, options) {
            return Ok(acquired);
        }
        let work = Box::pin(self.inner.obtain_once(request, options, app::Keeping::App, call));
        observe::acquisition("application", work).await
    }

    /// Stores the tokens of a new sign-in, durably.
    ///
    /// Where the strategy keeps the [directory](Directory), the account is listed there first.
    ///
    /// What others make of the sign-in meanwhile stands: what it answers may be refreshed, replaced or signed out by then. Do not call it
    /// again with the same reply after an error, which may have been stored all the same and its refresh token spent.
    ///
    /// Cancellation safe: the tokens are stored, or nothing is but a place in the directory.
    ///
    /// # Errors
    /// That the store failed, or that the reply has no access token or is for another account than that of `key`.
    pub async fn sign_in(&self, key: &PartitionKey, response: TokenResponse) -> Result<Acquired, CacheError> {
        let work = self.inner.sign_in(key, response);
        work.instrument(tracing::debug_span!("sign_in")).await
    }

    /// Begins a session that ends with its user's sign-in: stores what was granted in the partition `session`, and lists it in that of the
    /// user, for `lifetime`. A sign-out of the client, in whatever process, makes the session a miss at once and removes it.
    ///
    /// Both writes are durable, the listing first. Cancellation safe: at worst a session is listed that does not exist. After an error the
    /// same reply must not be stored again: see [`sign_in`](Self::sign_in).
    ///
    /// # Errors
    /// [`CacheError::WrongAccount`] when the reply is for another account or client than the keys; as
    /// [`sign_in`](Self::sign_in).
    pub async fn begin_session(
        &self,
        user: &PartitionKey,
        session: &PartitionKey,
        response: TokenResponse,
        lifetime: Duration,
    ) -> Result<Acquired, CacheError> {
        self.inner
            .begin_session(user, session, response, lifetime, Asked::default())
            .await
    }

    /// An access token of a session whose caller brings its own proof, such as the assertion of an on-behalf-of request: from memory, from
    /// the store, or by one request for all in this process who ask. It never spends a refresh token.
    ///
    /// The reply begins the session, or adds to it: under the sign-in of the account that it names, in the authority of the request's
    /// partition, as [`begin_session`](Self::begin_session) does. **A reply that names no account** is kept without a link to any user:
    /// no sign-out ends it. The session is kept for `longest` at the most, and without a refresh token no longer than its tokens.
    ///
    /// Cancellation safe: a request that was begun goes on, and its token is stored.
    ///
    /// # Errors
    /// That the store or the authority failed; that the user was signed out (by this process, if the reply was to begin the session), or the
    /// reply is for another account than the session, while it was under way; that the request is not for the partition of a session.
    pub async fn acquire_session(
        &self,
        request: Arc<TokenRequest>,
        options: AcquireOptions,
        call: Arc<dyn AppTokenCall>,
        longest: Duration,
    ) -> Result<Acquired, CacheError> {
        if !matches!(request.partition(), PartitionKey::Session { .. }) {
            return Err(CacheError::Strategy(
                "this needs a request for the partition of a session".into(),
            ));
        }
        if let Some(acquired) = self.inner.at_once("session", &request, options) {
            return Ok(acquired);
        }
        let keeping = app::Keeping::Session(longest);
        let work = Box::pin(self.inner.obtain_once(request, options, keeping, call));
        observe::acquisition("session", work).await
    }

    /// Ends one session: removes its tokens durably, and its link from its user's partition; `false` when there was none.
    ///
    /// A refresh that is under way, in whatever process, discards what it gets.
    ///
    /// Cancellation safe: what was begun goes on. At worst a session is listed that does not exist.
    ///
    /// # Errors
    /// That the store failed, and the session may go on; that `session` is not the key of one.
    pub async fn end_session(&self, session: &PartitionKey) -> Result<bool, CacheError> {
        Ok(self.inner.end_session(session).await?.found)
    }

    /// The accounts in the cache, of all authorities and clients, in no particular order. It opens every user partition.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// That the store failed. A record that cannot be opened is reported in the listing.
    pub async fn accounts(&self) -> Result<AccountListing, CacheError> {
        self.inner.accounts().await
    }

    /// Signs a client's user out: removes its tokens and its sessions durably; `false` when there was nothing.
    ///
    /// A refresh that is under way, in whatever process, finds its row gone and discards what it gets.
    ///
    /// Cancellation safe: the sign-out goes on.
    ///
    /// # Errors
    /// That the store failed; the account may then still be signed in.
    pub async fn sign_out(
        &self,
        key: &PartitionKey,
        client_id: &str,
        scope: SignOutScope,
    ) -> Result<bool, CacheError> {
        Ok(self.sign_out_with_tokens(key, client_id, scope).await?.found)
    }

    /// As [`sign_out`](Self::sign_out), and hands out the refresh tokens that it removed, to be revoked at the authority.
    ///
    /// Cancellation safe: the sign-out goes on; the tokens are then not handed out.
    ///
    /// # Errors
    /// As [`sign_out`](Self::sign_out).
    pub async fn sign_out_with_tokens(
        &self,
        key: &PartitionKey,
        client_id: &str,
        scope: SignOutScope,
    ) -> Result<RemovedTokens, CacheError> {
        let work = self.inner.sign_out(key, client_id, scope);
        work.instrument(tracing::debug_span!("sign_out")).await
    }

    /// Removes everything of an account, of every client; `false` when there was nothing.
    ///
    /// Cancellation safe: the removal goes on.
    ///
    /// # Errors
    /// As [`sign_out`](Self::sign_out).
    pub async fn forget_account(&self, key: &PartitionKey) -> Result<bool, CacheError> {
        Ok(self.inner.forget(key).await?.found)
    }

    /// Moves the record of a partition that cannot be opened aside, so that the user can sign in again. It is kept, and a key
    /// that turns up later can open it. Gives the key under which it is kept, or `None` when there was no record.
    ///
    /// # Errors
    /// That the store failed, or the record changed meanwhile.
    pub async fn quarantine(&self, key: &StoreKey) -> Result<Option<Quarantined>, CacheError> {
        let namespace = self.inner.sealer.namespace().clone();
        let quarantine = Quarantine::new(
            Arc::clone(&self.inner.store),
            namespace,
            Arc::clone(&self.inner.random),
        );
        let moved = quarantine.put_aside(key).await?;
        self.inner.gone(key);
        Ok(moved)
    }

    /// Takes in the rows of an MSAL cache file (MSAL unified JSON), durably. Nothing is swept, joined or trusted: expired rows are kept, rows
    /// that are here already are replaced only by newer ones, and what is not understood is kept for [`export`](Self::export).
    ///
    /// `identify` says which authority a row belongs to; [`RowOrigin::default_identity`](crate::codec::msal::RowOrigin::default_identity) is right for all but issuers that
    /// only the configuration knows. Rows of authorities that no client of this cache is configured for serve nobody. A
    /// refresh token that rotates must be *moved*, not copied: whichever of the two programs uses it first signs the other out.
    ///
    /// Cancellation safe: each partition is taken in wholly or not at all.
    ///
    /// # Errors
    /// That the file is not a cache, in which case nothing was changed; that the store failed.
    pub async fn import(
        &self,
        json: &[u8],
        identify: &(dyn Fn(&RowOrigin<'_>) -> AuthorityIdentity + Send + Sync),
    ) -> Result<ImportReport, CacheError> {
        self.inner.import(json, identify).await
    }

    /// All rows as an MSAL cache file, **in clear**. Rows that were imported and have not changed since are exactly as they were.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// That the store failed. Records that cannot be read are reported.
    pub async fn export(&self) -> Result<Export, CacheError> {
        self.inner.export().await
    }

    /// The records in this cache's namespace, sorted by name.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// That the store failed. Records that cannot be read are described as far as they can be.
    pub async fn inspect(&self) -> Result<Vec<RecordInfo>, CacheError> {
        self.inner.inspect().await
    }

    /// The name of a partition's record in the store.
    #[must_use]
    pub fn stored_key(&self, key: &PartitionKey) -> StoreKey {
        self.inner.stored_key(key)
    }

    /// The sealer, to manage its keys.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The clock that the cache goes by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The randomness that the cache draws from.
    #[must_use]
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.inner.random
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("store", &self.inner.store)
            .field("strategy", &self.inner.strategy)
            .finish_non_exhaustive()
    }
}
