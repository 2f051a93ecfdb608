//! Building a token cache.

use std::fmt;
use std::sync::Arc;

use super::directory::DirectoryQueue;
use super::fallback::{Fallback, Terms};
use super::outage::Outage;
use super::proof_keys::NamedKeys;
use super::sign_out::SignOuts;
use super::written_behind::WrittenBehind;
use super::{CacheError, Inner, TokenCache, backoff, changes, commit_queue, lineage_locks, tasks};
use crate::codec::{BincodeCodec, Codec, MsalJsonCodec};
use crate::layout::{MsalLayout, SharedStore};
use crate::random::{OsRandom, Random};
use crate::seal::{KeySource, Namespace, RollbackGuard, Sealer};
use crate::store::{Store, StoreExt, Versions};
use crate::strategy::flights::Flights;
use crate::strategy::memory_tier::Memory;
use crate::strategy::spend::LONGEST_SPEND;
use crate::strategy::{Coalescing, DirectoryPolicy, OutagePolicy, Partitioning, SealPolicy, Strategy};
use crate::time::{Clock, SystemClock};

/// Chooses the parts of a [`TokenCache`]. What is not chosen is as for a desktop tool.
#[must_use]
pub struct TokenCacheBuilder {
    store: Arc<dyn Store>,
    strategy: Strategy,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl TokenCacheBuilder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            strategy: Strategy::desktop_tool(),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
        }
    }

    /// Sets the strategy.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the source of randomness.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Opens the cache with every record encrypted under a key ring that `source` protects. The ring is made if the
    /// namespace is empty.
    ///
    /// Must be called within a tokio runtime, on which the cache then runs its tasks.
    ///
    /// # Errors
    /// That the ring cannot be opened or made, or that the strategy asks for what the store cannot give.
    pub async fn open_sealed(
        self,
        namespace: Namespace,
        source: Arc<dyn KeySource>,
    ) -> Result<TokenCache, CacheError> {
        let store = self.guarded()?;
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        let opened = Sealer::open(
            store.clone(),
            namespace.clone(),
            source.clone(),
            clock.clone(),
            random.clone(),
        );
        let opened = opened.await.map_err(CacheError::from);
        let fallback = match &self.strategy.outage {
            OutagePolicy::Fallback { store, at_most } => {
                let terms = Terms::new(*at_most, self.strategy.memory_tier.max_staleness);
                let open = || {
                    let (source, clock, random) = (source.clone(), clock.clone(), random.clone());
                    Fallback::open(store, terms, namespace.clone(), source, clock, random)
                };
                Some(match open().await {
                    // The source opens the cache and not the copies: they are of an earlier one. What they are copies of is there.
                    Err(CacheError::Seal(error)) if opened.is_ok() && error.is_about_ring() => {
                        Fallback::clear(store, &namespace).await?;
                        open().await?
                    }
                    fallback => fallback?,
                })
            }
            OutagePolicy::Fail | OutagePolicy::ServeFromMemory { .. } => None,
        };
        let sealer = match (opened, &fallback) {
            (Err(error), Some(fallback)) if error.is_store_unavailable() => {
                let copies = fallback.ring_store();
                let copied = Sealer::open_from_copy(copies, store.clone(), namespace, source, clock, random);
                let sealer = copied.await?.ok_or(error)?;
                tracing::warn!(
                    "the store cannot be reached; the cache was opened by the copy of its key ring"
                );
                sealer
            }
            (opened, _) => opened?,
        };
        let cache = self.finish(store, sealer, fallback)?;
        cache.inner.copy_ring().await;
        Ok(cache)
    }

    /// Opens the cache **without encryption**: whoever can read the store can read every token in it. Records go to a
    /// namespace of their own, and no sealed cache ever reads them.
    ///
    /// # Errors
    /// That the strategy requires encryption, as all presets do, or asks for what the store cannot give.
    pub fn open_plaintext(self, namespace: Namespace) -> Result<TokenCache, CacheError> {
        self.allow_plaintext()?;
        let sealer = Sealer::plaintext(&namespace);
        let fallback = match &self.strategy.outage {
            OutagePolicy::Fallback { store, at_most } => {
                let terms = Terms::new(*at_most, self.strategy.memory_tier.max_staleness);
                Some(Fallback::plaintext(store, terms, &namespace)?)
            }
            OutagePolicy::Fail | OutagePolicy::ServeFromMemory { .. } => None,
        };
        let store = self.guarded()?;
        self.finish(store, sealer, fallback)
    }

    /// Opens the cache **without encryption** over documents that MSAL programs read and write at the same time, as `layout` says.
    /// What they have no place for lies unsealed in `namespace`. See [`layout`](crate::layout) for what this cannot protect.
    ///
    /// The store beneath may have versions that are hashes of the content, also with
    /// [`Coalescing::Fleet`](crate::strategy::Coalescing::Fleet).
    ///
    /// # Errors
    /// That the strategy requires encryption, as all presets do, asks for partitions that MSAL does not have
    /// ([`Partitioning::AppByResource`](crate::strategy::Partitioning::AppByResource)), for a [fallback store](OutagePolicy::Fallback), or
    /// for the [directory](crate::cache::Directory) beside a [single record](MsalLayout::single_record), or has limits that make no sense.
    pub fn open_plaintext_shared(
        mut self,
        namespace: Namespace,
        layout: MsalLayout,
    ) -> Result<TokenCache, CacheError> {
        self.allow_plaintext()?;
        if self.strategy.partitioning == Partitioning::AppByResource {
            return Err(CacheError::Strategy(
                "MSAL programs divide the tokens of applications by tenant; choose Partitioning::ByTenant"
                    .into(),
            ));
        }
        if matches!(self.strategy.outage, OutagePolicy::Fallback { .. }) {
            return Err(CacheError::Strategy(
                "what MSAL programs write is not copied, so a fallback store could serve what is long replaced; choose another OutagePolicy"
                    .into(),
            ));
        }
        let only_documents = layout.keeps_only_documents();
        if only_documents && matches!(self.strategy.directory, DirectoryPolicy::On { .. }) {
            return Err(CacheError::Strategy(
                "the directory of accounts has no place beside a single record; choose DirectoryPolicy::Off, or another layout"
                    .into(),
            ));
        }
        let sealer = Sealer::legible_plaintext(&namespace);
        let clock = Arc::clone(&self.clock);
        let store = Arc::new(SharedStore::new(self.guarded()?, layout, sealer.clone(), clock));
        // The store above takes partitions in this form, and the documents beneath are MSAL's whatever the strategy says.
        self.strategy.codec = Arc::new(BincodeCodec);
        self.build(store.clone(), sealer, None, Some(store), only_documents)
    }

    /// Opens the cache with a sealer that was opened before.
    ///
    /// # Errors
    /// That the strategy asks for what the store cannot give, or for a [fallback store](OutagePolicy::Fallback), whose copies are sealed under
    /// a ring that only [`open_sealed`](Self::open_sealed) can make.
    pub fn open_with(self, sealer: Sealer) -> Result<TokenCache, CacheError> {
        if matches!(self.strategy.outage, OutagePolicy::Fallback { .. }) {
            return Err(CacheError::Strategy(
                "a fallback store needs the key source; open the cache with open_sealed".into(),
            ));
        }
        let store = self.guarded()?;
        self.finish(store, sealer, None)
    }

    /// The store, behind the circuit breaker that the strategy asks for.
    fn guarded(&self) -> Result<Arc<dyn Store>, CacheError> {
        let Some(policy) = self.strategy.circuit_breaker else {
            return Ok(Arc::clone(&self.store));
        };
        // A refreshed token is stored before the marker's deadline or never: an open circuit must leave time for that.
        let limit = self.strategy.limits.commit / 2;
        if policy.open_for > limit {
            return Err(CacheError::Strategy(format!(
                "a circuit that stays open for {:?} could keep a refreshed token from being stored in time; half of the limit for a commit ({limit:?}) is the most",
                policy.open_for
            )));
        }
        let (store, clock, random) = (&self.store, &self.clock, &self.random);
        Ok(Arc::new(Arc::clone(store).with_circuit_breaker(
            "cache",
            policy,
            Arc::clone(clock),
            Arc::clone(random),
        )))
    }

    fn finish(
        self,
        store: Arc<dyn Store>,
        sealer: Sealer,
        fallback: Option<Fallback>,
    ) -> Result<TokenCache, CacheError> {
        let capabilities = self.store.capabilities();
        if capabilities.versions == Versions::ContentHash && self.strategy.coalescing == Coalescing::Fleet {
            return Err(CacheError::Strategy(
                "this store's versions recur, so it cannot coordinate a fleet; choose Coalescing::Process"
                    .into(),
            ));
        }
        self.build(store, sealer, fallback, None, false)
    }

    fn allow_plaintext(&self) -> Result<(), CacheError> {
        if self.strategy.seal == SealPolicy::PlaintextAllowed {
            return Ok(());
        }
        Err(CacheError::Strategy(
            "the strategy requires encryption; say SealPolicy::PlaintextAllowed to go without it".into(),
        ))
    }

    fn build(
        self,
        store: Arc<dyn Store>,
        sealer: Sealer,
        fallback: Option<Fallback>,
        shared: Option<Arc<SharedStore>>,
        only_documents: bool,
    ) -> Result<TokenCache, CacheError> {
        let limits = self.strategy.limits;
        if limits.request.is_zero() || limits.commit.is_zero() || limits.spend() > LONGEST_SPEND {
            return Err(CacheError::Strategy(format!(
                "the limits for a request ({:?}) and its commit ({:?}) must both be more than nothing and {LONGEST_SPEND:?} together at most",
                limits.request, limits.commit
            )));
        }
        let others: [Arc<dyn Codec>; 2] = [Arc::new(BincodeCodec), Arc::new(MsalJsonCodec)];
        let others = others
            .into_iter()
            .filter(|codec| codec.id() != self.strategy.codec.id());
        let codecs = std::iter::once(Arc::clone(&self.strategy.codec))
            .chain(others)
            .collect();
        Ok(TokenCache::from_inner(Inner {
            memory: Memory::new(self.strategy.memory_tier),
            store,
            sealer,
            rollback: RollbackGuard::new(self.strategy.rollback, RollbackGuard::USUAL_RECORDS),
            codecs,
            written_behind: WrittenBehind::new(self.strategy.write_policy),
            strategy: self.strategy,
            clock: self.clock,
            random: self.random,
            flights: Flights::new(),
            commits: commit_queue::CommitQueue::default(),
            changes: changes::Changes::new(),
            ahead: backoff::Backoff::default(),
            lineage_locks: lineage_locks::LineageLocks::default(),
            outage: Outage::default(),
            fallback,
            shared,
            tasks: tasks::Tasks::new(),
            sign_outs: SignOuts::default(),
            named_keys: NamedKeys::default(),
            directory: DirectoryQueue::default(),
            only_documents,
        }))
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder")
            .field("store", &self.store)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}
