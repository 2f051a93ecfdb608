//! The store: what callers hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::random::Random;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, CompareAndSwap, Durability, Persistence, PutMode, PutOptions, Record, Store, StoreError,
    StoreKey, Version, Versions, Watch, WatchEvent,
};
use cache_core::time::{Clock, UnixMillis};
use futures_core::stream::BoxStream;
use redis::Value;
use tokio::task::AbortHandle;

use crate::config::{DurabilityMode, RedisConfig};
use crate::connection::Connection;
use crate::connector::Connector;
use crate::error::Failure;
use crate::keys::{Bucket, KeySpace, announcement};
use crate::scan;
use crate::script::{DELETE, PUT, ScriptCall, ScriptText};
use crate::watch::{Announcer, Listener};

/// How much later than its expiry the server removes a record. The injected clock decides what is expired; the server
/// only collects garbage, and must not do so while a client whose clock is behind still counts the record as live.
const REMOVAL_DELAY: Duration = Duration::from_secs(300);

/// A lifetime that no server needs to be told of, and that a later moment than it can hold might come from.
const LONGEST_LIFETIME: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A store in Redis or Valkey; see the [crate documentation](crate).
pub struct RedisStore {
    inner: Inner,
    announcer: Arc<Announcer>,
    listener: AbortHandle,
    closed: AtomicBool,
}

/// What every operation needs.
pub(crate) struct Inner {
    pub(crate) connection: Arc<Connection>,
    pub(crate) keys: KeySpace,
    pub(crate) clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    durability: DurabilityMode,
}

/// What stands under a key, live or not.
pub(crate) struct StoredVersion {
    version: Version,
    expires_at: Option<UnixMillis>,
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
        Self::connect(&config)
            .await
            .map_err(|failure| failure.during(Operation::Open))
    }

    async fn connect(config: &RedisConfig) -> Result<Self, Failure> {
        config.validate()?;
        let keys = KeySpace::new(&config.key_prefix, config.address.database)?;
        let connector = Arc::new(Connector::new(config));
        let connection = Arc::new(Connection::open(&config.address.topology, connector).await?);
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
        let subscription = listener.subscribe().await?;
        let listener = tokio::spawn(listener.run(subscription)).abort_handle();
        Ok(Self {
            inner: Inner {
                connection,
                keys,
                clock: Arc::clone(&config.clock),
                random: Arc::clone(&config.random),
                durability: config.durability,
            },
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
        self.inner.connection.close().await;
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
            .field("key_prefix", &self.inner.keys.prefix())
            .field("durability", &self.inner.durability)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for RedisStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.check_open(Operation::Get)?;
        let read = self.inner.record(key).await;
        read.map_err(|failure| failure.during(Operation::Get))
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.check_open(Operation::Head)?;
        let read = self.inner.stored_version(key).await;
        let stored = read.map_err(|failure| failure.during(Operation::Head))?;
        Ok(stored.and_then(|stored| stored.live_at(self.inner.clock.now())))
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.check_open(Operation::Put)?;
        if payload.len() > Self::MAX_VALUE_BYTES {
            let context = format!("{} bytes; at most {}", payload.len(), Self::MAX_VALUE_BYTES);
            return Err(StoreError::new(ErrorKind::TooLarge, Operation::Put, context));
        }
        let version = Version::random(&*self.inner.random)?;
        let written = self.inner.put(key, &payload, version, options).await;
        match written.map_err(|failure| failure.during(Operation::Put))? {
            Outcome::Applied => Ok(version),
            Outcome::Conflict => Err(StoreError::conflict(Operation::Put)),
        }
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.check_open(Operation::Delete)?;
        let removed = self.inner.delete(key, expected).await;
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
        scan::scan(&self.inner, prefix)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: CompareAndSwap::Cluster,
            versions: Versions::Unique,
            native_expiry: true,
            max_value_bytes: Self::MAX_VALUE_BYTES,
            persistence: match self.inner.durability {
                DurabilityMode::Acknowledged => Persistence::Server,
                DurabilityMode::Replicated { .. } => Persistence::Replicated,
            },
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

/// What a script says of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Applied,
    Conflict,
}

impl Inner {
    /// The record's key, and those of its bucket.
    pub(crate) fn script_keys(&self, key: &StoreKey) -> [String; 3] {
        let bucket = Bucket::of(key);
        [
            self.keys.record(key),
            self.keys.index(bucket),
            self.keys.expiries(bucket),
        ]
    }

    pub(crate) async fn stored_version(&self, key: &StoreKey) -> Result<Option<StoredVersion>, Failure> {
        let fields = self.fields(key, &["v", "e"]).await?;
        fields
            .map(|[version, expiry]| StoredVersion::read(version, expiry))
            .transpose()
    }

    async fn record(&self, key: &StoreKey) -> Result<Option<Record>, Failure> {
        let Some([version, expiry, payload]) = self.fields(key, &["v", "e", "d"]).await? else {
            return Ok(None);
        };
        let stored = StoredVersion::read(version, expiry)?;
        let payload = payload.ok_or_else(Failure::foreign)?;
        let expires_at = stored.expires_at;
        Ok(stored.live_at(self.clock.now()).map(|version| Record {
            payload: payload.into(),
            version,
            expires_at,
        }))
    }

    /// Some fields of the record's hash; `None` when there is no record.
    async fn fields<const N: usize>(
        &self,
        key: &StoreKey,
        names: &[&str; N],
    ) -> Result<Option<[Option<Vec<u8>>; N]>, Failure> {
        let (slot, name) = (Bucket::of(key).slot(), self.keys.record(key));
        let mut command = redis::cmd("HMGET");
        command.arg(&name).arg(names);
        let mut exists = redis::cmd("EXISTS");
        exists.arg(&name);
        // What is there without our fields may have been written since they were asked for; but not twice in a row.
        for _ in 0..3 {
            let fields: [_; N] = fields(self.connection.call(slot, &command).await?)?;
            if fields.iter().any(Option::is_some) {
                return Ok(Some(fields));
            }
            if self.connection.call(slot, &exists).await? == Value::Int(0) {
                return Ok(None);
            }
        }
        Err(Failure::foreign())
    }

    async fn put(
        &self,
        key: &StoreKey,
        payload: &[u8],
        version: Version,
        options: PutOptions,
    ) -> Result<Outcome, Failure> {
        let now = self.clock.now();
        let expected: &[u8] = match &options.mode {
            PutMode::Update(version) => version.as_bytes(),
            PutMode::Overwrite | PutMode::Create => b"",
        };
        let mode = match options.mode {
            PutMode::Overwrite => "overwrite",
            PutMode::Create => "create",
            PutMode::Update(_) => "update",
        };
        let lifetime = Lifetime::until(options.expires_at, now);
        let stays = !matches!(lifetime, Lifetime::Over);
        let (now, lifetime) = (now.to_string(), lifetime.argument());
        let expires_at = options
            .expires_at
            .map(|moment| moment.to_string())
            .unwrap_or_default();
        let announcement = announcement(key, stays.then_some(version));
        let arguments = vec![
            mode.as_bytes(),
            expected,
            now.as_bytes(),
            version.as_bytes(),
            payload,
            expires_at.as_bytes(),
            lifetime.as_bytes(),
            key.as_str().as_bytes(),
            self.keys.channel().as_bytes(),
            announcement.as_bytes(),
        ];
        self.write(&PUT, key, arguments, options.durability).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<Outcome, Failure> {
        let now = self.clock.now().to_string();
        let announcement = announcement(key, None);
        let settle = matches!(self.durability, DurabilityMode::Replicated { .. });
        let arguments = vec![
            expected.as_ref().map_or(&b""[..], |version| version.as_bytes()),
            now.as_bytes(),
            key.as_str().as_bytes(),
            self.keys.channel().as_bytes(),
            announcement.as_bytes(),
            if settle { b"1" } else { b"0" },
        ];
        self.write(&DELETE, key, arguments, Durability::Durable).await
    }

    async fn write(
        &self,
        script: &'static ScriptText,
        key: &StoreKey,
        arguments: Vec<&[u8]>,
        durability: Durability,
    ) -> Result<Outcome, Failure> {
        let call = ScriptCall::new(script, self.script_keys(key), arguments);
        let slot = Bucket::of(key).slot();
        let answer = match (self.durability, durability) {
            _ => self.connection.run(slot, &call).await?,
        };
        match answer {
            Value::Int(1) => Ok(Outcome::Applied),
            Value::Int(0) => Ok(Outcome::Conflict),
            Value::Int(-1) => Err(Failure::foreign()),
            _ => Err(Failure::unexpected("a script")),
        }
    }
}

impl StoredVersion {
    fn read(version: Option<Vec<u8>>, expiry: Option<Vec<u8>>) -> Result<Self, Failure> {
        let version = version.and_then(|bytes| bytes.try_into().ok());
        let version = Version::from_bytes(version.ok_or_else(Failure::foreign)?);
        let expires_at = match expiry {
            Some(digits) => {
                let moment = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok());
                Some(UnixMillis(moment.ok_or_else(Failure::foreign)?))
            }
            None => None,
        };
        Ok(Self { version, expires_at })
    }

    /// The version, unless the record is expired.
    pub(crate) fn live_at(self, now: UnixMillis) -> Option<Version> {
        let live = self.expires_at.is_none_or(|moment| now < moment);
        live.then_some(self.version)
    }
}

/// How long the server keeps a record.
enum Lifetime {
    Forever,
    Over,
    Millis(u128),
}

impl Lifetime {
    fn until(expires_at: Option<UnixMillis>, now: UnixMillis) -> Self {
        let Some(moment) = expires_at else {
            return Self::Forever;
        };
        if moment <= now {
            return Self::Over;
        }
        // By the distance from the injected clock: the server's own may show another time.
        let left = moment.duration_since(now);
        if left > LONGEST_LIFETIME {
            return Self::Forever;
        }
        Self::Millis((left + REMOVAL_DELAY).as_millis())
    }

    fn argument(&self) -> String {
        match self {
            Self::Forever => String::new(),
            Self::Over => "0".to_owned(),
            Self::Millis(millis) => millis.to_string(),
        }
    }
}

fn fields<const N: usize>(value: Value) -> Result<[Option<Vec<u8>>; N], Failure> {
    let unexpected = || Failure::unexpected("HMGET");
    let Value::Array(values) = value else {
        return Err(unexpected());
    };
    let fields: Result<Vec<_>, _> = values
        .into_iter()
        .map(|value| match value {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes)),
            _ => Err(unexpected()),
        })
        .collect();
    fields?.try_into().map_err(|_| unexpected())
}
