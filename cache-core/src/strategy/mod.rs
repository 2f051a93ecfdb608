//! Cache strategy: every choice that trades latency, durability, memory and load, in one visible place.
//!
//! A [`Strategy`] is a value. Start from the preset that says whom it is for and change what you know better:
//!
//! ```
//! use std::time::Duration;
//! use cache_core::strategy::{MemoryTier, Strategy};
//!
//! let strategy = Strategy::web_front_end()
//!     .memory_tier(MemoryTier::bounded(256 << 20).max_staleness(Duration::from_secs(5)));
//! ```
//!
//! | choice | desktop tool | web front end | background worker | high-volume daemon |
//! |---|---|---|---|---|
//! | memory tier | 8 MiB, 30 s | 64 MiB, 30 s | 32 MiB, 60 s | 256 MiB, 60 s |
//! | write policy | through | through | through | behind |
//! | partitioning | by tenant | by tenant | by tenant | by resource |
//! | refresh | on demand | ahead | ahead | ahead |
//! | coalescing | fleet | fleet | fleet | fleet |
//! | idle lifetime | none | 30 days | 90 days | 90 days |
//! | directory of accounts | off | on, 1 h | on, 1 h | off |
//! | store outage | fail | memory, 5 minutes | memory, 5 minutes | memory, 1 hour |
//! | circuit breaker | off | on | on | on |
//!
//! A desktop tool's store is a file: when that fails nothing is gained by going on without it, and a person is there to be told. A server's
//! store is across a network, and a failover takes seconds to minutes; 5 minutes bound how long a user who was signed out
//! elsewhere can still be served. A daemon acts as itself, so nobody can be signed out of what it keeps.
//!
//! All of them seal every record, write bincode, and refuse a record that went back in time.

pub(crate) mod answers;
pub mod flights;
pub(crate) mod memory_tier;
pub(crate) mod outage;
pub(crate) mod spend;
// Public for nothing but to be measured bare, beside what is built on it.
#[doc(hidden)]
pub mod table;

use std::sync::Arc;
use std::time::Duration;

use crate::codec::{BincodeCodec, Codec};
use crate::seal::RollbackPolicy;
use crate::store::CircuitBreaker;

pub use memory_tier::MemoryTier;
pub use outage::OutagePolicy;
pub use spend::UnknownOutcomePolicy;

/// How a [`TokenCache`](crate::cache::TokenCache) uses its memory, its store and its authority.
#[derive(Clone, Debug)]
pub struct Strategy {
    pub(crate) memory_tier: MemoryTier,
    pub(crate) write_policy: WritePolicy,
    pub(crate) partitioning: Partitioning,
    pub(crate) refresh: RefreshPolicy,
    pub(crate) coalescing: Coalescing,
    pub(crate) idle_lifetime: Option<Duration>,
    pub(crate) limits: TimeLimits,
    pub(crate) rollback: RollbackPolicy,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) seal: SealPolicy,
    pub(crate) directory: DirectoryPolicy,
    pub(crate) outage: OutagePolicy,
    pub(crate) circuit_breaker: Option<CircuitBreaker>,
}

impl Strategy {
    /// For a program that one person runs, often for a second: it trusts its memory little and the store much.
    #[must_use]
    pub fn desktop_tool() -> Self {
        Self {
            memory_tier: MemoryTier::bounded(8 << 20).max_staleness(Duration::from_secs(30)),
            write_policy: WritePolicy::Through,
            partitioning: Partitioning::ByTenant,
            refresh: RefreshPolicy::OnDemand,
            coalescing: Coalescing::Fleet,
            idle_lifetime: None,
            limits: TimeLimits::default(),
            rollback: RollbackPolicy::Refuse,
            codec: Arc::new(BincodeCodec),
            seal: SealPolicy::Required,
            directory: DirectoryPolicy::Off,
            outage: OutagePolicy::Fail,
            circuit_breaker: None,
        }
    }

    /// For a server that signs many users in and shares their sessions with its replicas and its workers.
    #[must_use]
    pub fn web_front_end() -> Self {
        Self {
            memory_tier: MemoryTier::bounded(64 << 20).max_staleness(Duration::from_secs(30)),
            refresh: RefreshPolicy::ahead(),
            idle_lifetime: Some(Duration::from_secs(30 * 86_400)),
            directory: DirectoryPolicy::on(),
            outage: OutagePolicy::ServeFromMemory {
                at_most: Duration::from_secs(300),
            },
            circuit_breaker: Some(CircuitBreaker::default()),
            ..Self::desktop_tool()
        }
    }

    /// For jobs that act for users while they are away.
    #[must_use]
    pub fn background_worker() -> Self {
        Self {
            memory_tier: MemoryTier::bounded(32 << 20).max_staleness(Duration::from_secs(60)),
            idle_lifetime: Some(Duration::from_secs(90 * 86_400)),
            ..Self::web_front_end()
        }
    }

    /// For a daemon that calls many resources of many tenants as itself.
    #[must_use]
    pub fn high_volume_daemon() -> Self {
        Self {
            memory_tier: MemoryTier::bounded(256 << 20).max_staleness(Duration::from_secs(60)),
            write_policy: WritePolicy::behind(),
            partitioning: Partitioning::AppByResource,
            directory: DirectoryPolicy::Off,
            outage: OutagePolicy::ServeFromMemory {
                at_most: Duration::from_secs(3600),
            },
            ..Self::background_worker()
        }
    }

    /// Sets how decoded partitions are kept in memory.
    #[must_use]
    pub fn memory_tier(mut self, memory_tier: MemoryTier) -> Self {
        self.memory_tier = memory_tier;
        self
    }

    /// Sets whether callers wait for writes that may be lost without harm.
    #[must_use]
    pub fn write_policy(mut self, write_policy: WritePolicy) -> Self {
        self.write_policy = write_policy;
        self
    }

    /// Sets how tokens of applications are divided among partitions.
    #[must_use]
    pub fn partitioning(mut self, partitioning: Partitioning) -> Self {
        self.partitioning = partitioning;
        self
    }

    /// Sets when tokens are replaced.
    #[must_use]
    pub fn refresh(mut self, refresh: RefreshPolicy) -> Self {
        self.refresh = refresh;
        self
    }

    /// Sets among whom simultaneous requests are merged into one.
    #[must_use]
    pub fn coalescing(mut self, coalescing: Coalescing) -> Self {
        self.coalescing = coalescing;
        self
    }

    /// Sets how long a partition lives after the last write to it; `None` for ever. A partition in use is written at each refresh.
    /// A shorter lifetime does not shorten that of partitions which are there already.
    #[must_use]
    pub fn idle_lifetime(mut self, idle_lifetime: Option<Duration>) -> Self {
        self.idle_lifetime = idle_lifetime;
        self
    }

    /// Sets what happens to a record that is older than one that this process has seen.
    #[must_use]
    pub fn rollback(mut self, rollback: RollbackPolicy) -> Self {
        self.rollback = rollback;
        self
    }

    /// Sets how partitions are written. Partitions written by the crate's other codecs can still be read.
    #[must_use]
    pub fn codec(mut self, codec: Arc<dyn Codec>) -> Self {
        self.codec = codec;
        self
    }

    /// Sets whether records must be encrypted.
    #[must_use]
    pub fn seal(mut self, seal: SealPolicy) -> Self {
        self.seal = seal;
        self
    }

    /// Sets whether the cache keeps the [directory of accounts](crate::cache::Directory).
    #[must_use]
    pub fn directory(mut self, directory: DirectoryPolicy) -> Self {
        self.directory = directory;
        self
    }

    /// Sets what happens while the store cannot be reached.
    #[must_use]
    pub fn outage(mut self, outage: OutagePolicy) -> Self {
        self.outage = outage;
        self
    }

    /// Sets when the cache leaves a store alone that does not answer; `None` for never. The cache puts a
    /// [`CircuitBreakerStore`](crate::store::CircuitBreakerStore) named `cache` around the store that it is given, so wrap no other
    /// around that.
    #[must_use]
    pub fn circuit_breaker(mut self, circuit_breaker: Option<CircuitBreaker>) -> Self {
        self.circuit_breaker = circuit_breaker;
        self
    }

    /// Sets how long requests and waits may take.
    #[must_use]
    pub fn limits(mut self, limits: TimeLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// Whether records must be encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SealPolicy {
    /// Every record is sealed; a cache without encryption cannot be opened.
    #[default]
    Required,
    /// [`open_plaintext`](crate::cache::TokenCacheBuilder::open_plaintext) may be called: whoever can read the store can read every
    /// token. For stores that are protected by other means.
    PlaintextAllowed,
}

/// Whether a cache keeps the [directory of accounts](crate::cache::Directory) up to date.
///
/// Everybody who shares a store should say the same: accounts that sign in where it is off are not listed until somebody uses
/// them where it is on, or [rebuilds](crate::cache::Directory::rebuild) it; those that sign out there stay listed until somebody meets them.
///
/// It is off for desktop tools, whose few accounts [`accounts`](crate::cache::TokenCache::accounts) reads as fast and which should not
/// pay a second write at each sign-in, and for daemons, which act for themselves and have no accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryPolicy {
    /// The cache writes nothing to it. It can still be read, rebuilt and marked by who asks for that.
    Off,
    /// Sign-ins and sign-outs are entered at once; uses, in the background, at most once in `touch_every` for each account and client.
    On {
        /// How coarse the time of last use is.
        touch_every: Duration,
    },
}

impl DirectoryPolicy {
    /// On, with uses noted once an hour.
    #[must_use]
    pub const fn on() -> Self {
        Self::On {
            touch_every: Duration::from_secs(3600),
        }
    }
}

/// Whether callers wait for writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePolicy {
    /// Every write is stored before its caller goes on.
    Through,
    /// Tokens of applications, which cost nothing but a request to obtain again, are stored in the background.
    /// Whatever concerns a refresh token or a sign-out is still stored before the caller goes on, and after what waits for the same
    /// partition; a removal cancels that instead. Lookups see what waits. A write that fails because the store is down is
    /// tried again for as long as the [outage policy](OutagePolicy) lasts and the token serves, and dropped then.
    /// [`shutdown`](crate::cache::TokenCache::shutdown) stores what it can.
    Behind {
        /// How many such writes may wait before callers wait too, for at most [`TimeLimits::commit`], and in an outage not at all. The
        /// token is then served and not stored.
        max_pending: usize,
    },
}

impl WritePolicy {
    /// Behind, with at most 1,024 writes waiting.
    #[must_use]
    pub const fn behind() -> Self {
        Self::Behind { max_pending: 1024 }
    }
}

/// How tokens of applications are divided among partitions. (Users always have one each.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// One partition for each client and tenant, as MSAL does.
    ByTenant,
    /// One for each client, tenant and set of scopes: for daemons that call hundreds of resources.
    AppByResource,
}

/// When a token is replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RefreshPolicy {
    /// When somebody asks and it no longer serves.
    OnDemand,
    /// When somebody asks after the moment that the authority recommends (`refresh_in`); the caller gets the old token at
    /// once and the new one is fetched in the background, once for the whole fleet.
    Ahead {
        /// How far, as a fraction of the time between that moment and the expiry, each token's moment is put off at random, so that tokens that
        /// were obtained together are not refreshed together.
        jitter: f64,
    },
}

impl RefreshPolicy {
    /// Ahead, spread over a quarter of the time that is left.
    #[must_use]
    pub const fn ahead() -> Self {
        Self::Ahead { jitter: 0.25 }
    }
}

/// Among whom simultaneous requests for one token are merged into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalescing {
    /// Nobody: every caller sends its own. With an issuer that rotates refresh tokens this **revokes sessions**; it exists to be
    /// measured against, and for issuers whose refresh tokens may be used twice.
    None,
    /// The tasks of this process: right only when no other process uses the store.
    Process,
    /// All processes that share the store, by a marker on the refresh token.
    Fleet,
}

/// How long requests and waits may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// For one request to an authority, to the last byte of its reply.
    pub request: Duration,
    /// For storing the reply. The marker on a refresh token holds for `request` + `commit`, which may be ten minutes at most.
    pub commit: Duration,
    /// For a caller that waits for somebody else's refresh, from its first moment.
    pub acquire: Duration,
}

impl TimeLimits {
    /// How long the marker on a refresh token holds.
    #[must_use]
    pub fn spend(&self) -> Duration {
        self.request.saturating_add(self.commit)
    }
}

impl Default for TimeLimits {
    /// 30 seconds for a request, 10 for its commit, 90 for a caller.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(30),
            commit: Duration::from_secs(10),
            acquire: Duration::from_secs(90),
        }
    }
}
