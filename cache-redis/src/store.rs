//! The store: what callers hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::random::Random;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, CompareAndSwap, Persistence, PutOptions, Record, Store, StoreError, StoreKey, Version,
    Versions, Watch, WatchEvent,
};
use futures_core::stream::BoxStream;
use tokio::task::AbortHandle;

use crate::config::{DurabilityMode, RedisConfig};
use crate::connection::Connection;
use crate::connector::Connector;
use crate::durability::Waiting;
use crate::error::Failure;
use crate::info::{Arrangement, Eviction, ServerInfo};
use crate::inspect;
use crate::keys::KeySpace;
use crate::record::{Outcome, Records};
use crate::scan;
use crate::watch::{Announcer, Listener};

/// A store in Redis or Valkey; see the [crate documentation](crate).
pub struct RedisStore {
    records: Records,
    random: Arc<dyn Random>,
    durability: DurabilityMode,
    arrangement: Arrangement,
    eviction: Eviction,
    announcer: Arc<Announcer>,
    listener: AbortHandle,
    closed: AtomicBool,
}

impl RedisStore {
    /// The longest payload, in bytes (16 MiB): a larger one is a mistake rather than a partition.
    pub const MAX_VALUE_BYTES: usize = 16 << 20;

    /// Connects to the servers, logs in, and listens to the channel of changes.
    ///
    /// Its tasks run on the current tokio runtime and end with it.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// `InvalidArgument` for a configuration that makes no sense, certificates that cannot be read, or a database that
    /// the server does not have; `Unavailable` when no server can be reached or it is starting; `PermissionDenied` when
    /// it refuses the login, the user may not use the channel of changes, or its certificate is not trusted;
    /// `Unsupported` when it is too old.
    pub async fn open(config: RedisConfig) -> Result<Self, StoreError> {
        // Boxed: its future is so deep that the compiler gives up at those of callers.
        let opened = Box::pin(Self::connect(&config)).await;
        opened.map_err(|failure| failure.during(Operation::Open))
    }

    async fn connect(config: &RedisConfig) -> Result<Self, Failure> {
        config.validate()?;
        let keys = KeySpace::new(&config.key_prefix, config.address.database)?;
        let connector = Arc::new(Connector::new(config));
        let topology = &config.address.topology;
        let connection = Arc::new(Connection::new(topology, Arc::clone(&connector)));
        let announcer = Arc::new(Announcer::new());
        let listener = Listener {
            connection: Arc::clone(&connection),
            announcer: Arc::clone(&announcer),
            channel: keys.channel().to_owned(),
            clock: Arc::clone(&config.clock),
            random: Arc::clone(&config.random),
            ping_interval: config.watch_ping_interval,
            response_timeout: config.response_timeout,
        };
        let met = async {
            let eviction = inspect::inspect(&connection, topology.arrangement(), config.durability).await?;
            inspect::greet(&connection, &keys).await?;
            if config.durability != DurabilityMode::Acknowledged {
                inspect::may_wait(&connection).await?;
            }
            let subscription = listener.subscribe().await;
            let subscription =
                subscription.map_err(|failure| inspect::on_channel(failure, "subscribe to", &keys))?;
            Ok::<_, Failure>((eviction, Some(subscription)))
        };
        let (eviction, subscription) = match met.await {
            Err(failure) if !config.require_server && failure.is_outage() => {
                tracing::warn!(error = %failure.during(Operation::Open), "no Redis server can be reached yet");
                (Eviction::Unknown, None)
            }
            met => met?,
        };
        let listener = tokio::spawn(listener.run(subscription)).abort_handle();
        Ok(Self {
            records: Records {
                connection,
                keys,
                clock: Arc::clone(&config.clock),
                waiting: match config.durability {
                    DurabilityMode::Acknowledged => None,
                    DurabilityMode::Replicated { replicas, timeout } => {
                        Some(Waiting::new(replicas, timeout, connector))
                    }
                },
            },
            random: Arc::clone(&config.random),
            durability: config.durability,
            arrangement: topology.arrangement(),
            eviction,
            announcer,
            listener,
            closed: AtomicBool::new(false),
        })
    }

    /// Ends the subscriptions and the connections. Every later operation fails with `Closed`; those that wait for an
    /// answer get it.
    ///
    /// Dropping the store does the same.
    ///
    /// Cancellation safe.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.listener.abort();
        self.announcer.close();
        self.records.connection.close();
        if let Some(waiting) = &self.records.waiting {
            waiting.disconnect();
        }
    }

    /// What the servers say of themselves, now. For a diagnosis.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// `PermissionDenied` when the user may not use `INFO`; `Unavailable` when a primary cannot be reached.
    pub async fn describe(&self) -> Result<ServerInfo, StoreError> {
        self.check_open(Operation::Open)?;
        let described = inspect::describe(&self.records.connection, self.arrangement).await;
        described.map_err(|failure| failure.during(Operation::Open))
    }

    /// Whether the server may remove records to make room, as it was when the store was opened.
    #[must_use]
    pub fn eviction(&self) -> Eviction {
        self.eviction
    }

    fn check_open(&self, operation: Operation) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Failure::closed().during(operation));
        }
        Ok(())
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.listener.abort();
        // Whoever still holds a stream of the watch must see its end.
        self.announcer.close();
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("key_prefix", &self.records.keys.prefix())
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for RedisStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.check_open(Operation::Get)?;
        let read = self.records.record(key).await;
        read.map_err(|failure| failure.during(Operation::Get))
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.check_open(Operation::Head)?;
        let read = self.records.stored_version(key).await;
        let stored = read.map_err(|failure| failure.during(Operation::Head))?;
        Ok(stored.and_then(|stored| stored.live_at(self.records.clock.now())))
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.check_open(Operation::Put)?;
        if payload.len() > Self::MAX_VALUE_BYTES {
            let context = format!("{} bytes; at most {}", payload.len(), Self::MAX_VALUE_BYTES);
            return Err(StoreError::new(ErrorKind::TooLarge, Operation::Put, context));
        }
        let version = Version::random(&*self.random)?;
        let written = self.records.put(key, &payload, version, options).await;
        match written.map_err(|failure| failure.during(Operation::Put))? {
            Outcome::Applied => Ok(version),
            Outcome::Conflict => Err(StoreError::conflict(Operation::Put)),
        }
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.check_open(Operation::Delete)?;
        let removed = self.records.delete(key, expected).await;
        match removed.map_err(|failure| failure.during(Operation::Delete))? {
            Outcome::Applied => Ok(()),
            Outcome::Conflict => Err(StoreError::conflict(Operation::Delete)),
        }
    }

    /// Lists as the contract says, by the index of each bucket; see the [crate documentation](crate).
    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        if let Err(closed) = self.check_open(Operation::Scan) {
            return Box::pin(futures_util::stream::once(async { Err(closed) }));
        }
        scan::scan(&self.records, prefix)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: CompareAndSwap::Cluster,
            versions: Versions::Unique,
            native_expiry: true,
            max_value_bytes: Self::MAX_VALUE_BYTES,
            persistence: match self.durability {
                DurabilityMode::Acknowledged => Persistence::Server,
                DurabilityMode::Replicated { .. } => Persistence::Replicated,
            },
            shows_early: matches!(self.durability, DurabilityMode::Replicated { .. }),
            watch: true,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        Some(self)
    }
}

impl Watch for RedisStore {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        self.announcer.subscribe()
    }
}
