//! Two applications that share the records.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::{Namespace, RollbackPolicy};
use cache_core::store::CircuitBreaker;
use cache_core::strategy::{MemoryTier, Strategy};
use cache_redis::{DurabilityMode, RedisConfig, RedisStore};

use crate::gate::{Doing, GateError};
use crate::scene::key_source;

/// For a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Two stores with nothing in common but the servers, and a cache over each.
#[derive(Clone, Debug)]
pub struct Clients {
    clients: [Client; 2],
}

/// One application.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its store.
    pub store: Arc<RedisStore>,
    /// Its cache over that. It asks the store at each look whether what it has in memory is still right.
    pub cache: TokenCache,
}

impl Clients {
    /// Opens both.
    ///
    /// # Errors
    ///
    /// As [`Client::open`].
    pub async fn open(url: &str, durability: DurabilityMode) -> Result<Self, GateError> {
        let first = Client::open(url, durability).await?;
        let second = Client::open(url, durability).await?;
        Ok(Self {
            clients: [first, second],
        })
    }

    /// The one and the other, which change places in such a way that each does everything.
    #[must_use]
    pub fn in_turn(&self, turn: u64) -> [&Client; 2] {
        let [first, second] = &self.clients;
        match turn % 4 {
            0 => [first, second],
            1 => [second, first],
            2 => [first, first],
            _ => [second, second],
        }
    }

    /// Both.
    #[must_use]
    pub fn both(&self) -> [&Client; 2] {
        self.in_turn(0)
    }
}

impl Client {
    /// Opens the store and the cache.
    ///
    /// # Errors
    ///
    /// When no server answers, or the key ring cannot be read.
    pub async fn open(url: &str, durability: DurabilityMode) -> Result<Self, GateError> {
        let config = RedisConfig::from_url(url)
            .doing("not the URL of servers")?
            .durability(durability)
            .connect_timeout(PATIENCE)
            .response_timeout(PATIENCE);
        let store = RedisStore::open(config).await.doing("could not open Redis")?;
        let store = Arc::new(store);
        // As on a server, but that nothing serves in an outage: what is read here was asked of the store.
        let strategy = Strategy::desktop_tool()
            .memory_tier(MemoryTier::bounded(8 << 20).max_staleness(Duration::ZERO))
            .circuit_breaker(Some(CircuitBreaker::default()))
            .rollback(RollbackPolicy::MissAndReport);
        let cache = TokenCache::builder(store.clone())
            .strategy(strategy)
            .open_sealed(Namespace::default(), key_source())
            .await
            .doing("could not open the cache")?;
        Ok(Self { store, cache })
    }
}
