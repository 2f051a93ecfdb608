//! What MSAL programs keep in Redis themselves, so that they and programs of this project share one cache: **unsealed by nature**.
//!
//! An [`MsalCacheStore`] goes beneath a cache that is opened with
//! [`open_plaintext_shared`](cache_core::cache::TokenCacheBuilder::open_plaintext_shared). What that protects, and what it cannot, is
//! in [`cache_core::layout`]. A [`RedisStore`](crate::RedisStore) keeps its records elsewhere and never sees these.
//!
//! | layout | a record | expiry |
//! |---|---|---|
//! | [`NodeLayout`] | a string: the document | `EX`, 24 hours after each write |
//! | [`AspNetCoreLayout`] | a hash of `data` (the document), `absexp`, `sldexp` | in the fields and, for the server, `EXPIRE` |
//!
//! - A version is the beginning of the SHA-1 of the content, which the server's script compares: another program's write is a
//!   conflict like any other. There is no room in these layouts for a version that never recurs.
//! - There is no watch: these programs announce nothing. A cache sees their changes when its memory is
//!   [stale](cache_core::strategy::MemoryTier::max_staleness), at the latest.
//! - MSAL .NET and Node write without a condition. What they read before and write after a change of ours undoes it.
//! - Microsoft.Identity.Web can encrypt what it stores (`Encrypt`) and other adapters compress it. Nobody else can read that: it
//!   is reported as [`Corrupt`](cache_core::store::error::ErrorKind::Corrupt) and left alone.
//! - Microsoft.Identity.Web keeps a memory cache in front of Redis, until the entry's absolute expiry where one is set and without
//!   end elsewhere. A .NET process may serve a user for as long after a sign-out here, and spend a refresh token that was replaced
//!   here. Its option `DisableL1Cache` ends that.
//! - A hit in this program's own memory reads nothing, and so does not begin a sliding expiry anew.
//!
//! ```no_run
//! use std::sync::Arc;
//! use cache_core::cache::TokenCache;
//! use cache_core::layout::MsalLayout;
//! use cache_core::seal::Namespace;
//! use cache_core::strategy::{SealPolicy, Strategy};
//! use cache_redis::layout::{MsalCacheStore, NodeLayout};
//! use cache_redis::RedisConfig;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MsalCacheStore::open_node(RedisConfig::from_url("redis://localhost")?, NodeLayout::default()).await?;
//! let cache = TokenCache::builder(Arc::new(store))
//!     .strategy(Strategy::web_front_end().seal(SealPolicy::PlaintextAllowed))
//!     .open_plaintext_shared(Namespace::default(), MsalLayout::node())?;
//! # Ok(())
//! # }
//! ```

mod aspnet_core;
mod listing;
mod node;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, CompareAndSwap, Persistence, PutMode, PutOptions, Record, Store, StoreError, StoreKey,
    Version, Versions, Watch,
};
use cache_core::time::{Clock, UnixMillis};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use redis::Value;

pub use aspnet_core::AspNetCoreLayout;
pub use node::NodeLayout;

use crate::config::{DurabilityMode, RedisConfig};
use crate::connection::{Connection, Request};
use crate::connector::Connector;
use crate::error::Failure;
use crate::inspect;
use crate::keys::{KeySpace, slot_of, version_of};
use crate::script::{ScriptCall, ScriptText};

/// A store of the documents that MSAL programs keep in Redis. Nothing in it is encrypted; see the [module](self).
pub struct MsalCacheStore {
    connection: Arc<Connection>,
    layout: Layout,
    prefix: String,
    clock: Arc<dyn Clock>,
    closed: AtomicBool,
}

#[derive(Clone, Debug)]
enum Layout {
    Node(NodeLayout),
    AspNetCore(AspNetCoreLayout),
}

/// What a script found: the hash of the content, when it expires, and the content where it was asked for.
struct Entry {
    version: Version,
    expires_at: Option<UnixMillis>,
    data: Vec<u8>,
}

/// The condition of a write, as the scripts take it.
struct Condition {
    mode: &'static str,
    hash: String,
}

impl MsalCacheStore {
    /// The longest document, in bytes (16 MiB).
    pub const MAX_VALUE_BYTES: usize = 16 << 20;

    /// Connects to the servers of `config`, where MSAL Node keeps its cache.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// As [`RedisStore::open`](crate::RedisStore::open); `InvalidArgument` when `config` has a key prefix, which is the layout's to
    /// set here; `Unsupported` for [`DurabilityMode::Replicated`], which would only hold for half of the writers.
    pub async fn open_node(config: RedisConfig, layout: NodeLayout) -> Result<Self, StoreError> {
        let prefix = layout.prefix().to_owned();
        let opened = Box::pin(Self::connect(&config, Layout::Node(layout), prefix)).await;
        opened.map_err(|failure| failure.during(Operation::Open))
    }

    /// Connects to the servers of `config`, where ASP.NET Core's distributed cache has its entries.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// As [`open_node`](Self::open_node).
    pub async fn open_aspnet_core(config: RedisConfig, layout: AspNetCoreLayout) -> Result<Self, StoreError> {
        let prefix = layout.prefix().to_owned();
        let opened = Box::pin(Self::connect(&config, Layout::AspNetCore(layout), prefix)).await;
        opened.map_err(|failure| failure.during(Operation::Open))
    }

    async fn connect(config: &RedisConfig, layout: Layout, prefix: String) -> Result<Self, Failure> {
        config.validate()?;
        if config.has_key_prefix() {
            let context =
                "a layout of other programs has its own key prefix; set it there, not in the configuration";
            return Err(Failure::new(ErrorKind::InvalidArgument, context));
        }
        if config.durability != DurabilityMode::Acknowledged {
            let context =
                "a layout of other programs, who do not wait for replicas, has acknowledged durability only";
            return Err(Failure::new(ErrorKind::Unsupported, context));
        }
        KeySpace::new(&prefix, config.address.database)?;
        let topology = &config.address.topology;
        let connection = Arc::new(Connection::new(topology, Arc::new(Connector::new(config))));
        inspect::inspect(&connection, topology.arrangement(), config.durability).await?;
        Ok(Self {
            connection,
            layout,
            prefix,
            clock: Arc::clone(&config.clock),
            closed: AtomicBool::new(false),
        })
    }

    /// Ends the connections. Every later operation fails with `Closed`. Dropping the store does the same.
    ///
    /// Cancellation safe.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.connection.close();
    }

    async fn read(&self, key: &StoreKey, wanted: &'static [u8]) -> Result<Option<Entry>, Failure> {
        let script = match self.layout {
            Layout::Node(_) => &*node::GET,
            Layout::AspNetCore(_) => &*aspnet_core::GET,
        };
        let found = match self.run(script, key, vec![wanted]).await? {
            Value::Nil => return Ok(None),
            Value::BulkString(_) => return Err(Failure::foreign()),
            found => Entry::parse(found, &self.layout)?,
        };
        let now = self.clock.now();
        Ok(Some(found).filter(|entry| entry.expires_at.is_none_or(|moment| now < moment)))
    }

    async fn write(
        &self,
        key: &StoreKey,
        condition: &Condition,
        payload: &[u8],
        expires_at: Option<UnixMillis>,
    ) -> Result<Option<Version>, Failure> {
        let now = self.clock.now();
        let (script, now, expiry) = match &self.layout {
            Layout::Node(layout) => (&*node::PUT, now.to_string(), layout.expiry(expires_at, now)),
            Layout::AspNetCore(layout) => (
                &*aspnet_core::PUT,
                aspnet_core::ticks(now),
                layout.expiry(expires_at, now),
            ),
        };
        let mut arguments = vec![
            condition.mode.as_bytes(),
            condition.hash.as_bytes(),
            now.as_bytes(),
            payload,
        ];
        arguments.extend(expiry.iter().map(String::as_bytes));
        match self.run(script, key, arguments).await? {
            Value::Nil => Ok(None),
            Value::BulkString(hash) if hash == b"broken" => Err(Failure::foreign()),
            // Of a delete.
            Value::BulkString(hash) if hash.is_empty() => Ok(Some(Version::from_bytes([0; 16]))),
            Value::BulkString(hash) => version(&hash).map(Some),
            _ => Err(Failure::unexpected("a script")),
        }
    }

    async fn run(
        &self,
        script: &'static ScriptText,
        key: &StoreKey,
        arguments: Vec<&[u8]>,
    ) -> Result<Value, Failure> {
        let name = format!("{}{key}", self.prefix);
        let slot = slot_of(name.as_bytes());
        let call = ScriptCall::new(script, [name], arguments);
        self.connection.send(slot, Request::Script(&call)).await
    }

    fn check_open(&self, operation: Operation) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Failure::closed().during(operation));
        }
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for MsalCacheStore {
    /// As the contract says. In ASP.NET Core's layout it also begins a sliding expiry anew, as a read by a .NET program does.
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.check_open(Operation::Get)?;
        let found = self.read(key, b"1").await;
        let found = found.map_err(|failure| failure.during(Operation::Get))?;
        Ok(found.map(|entry| Record {
            payload: entry.data.into(),
            version: entry.version,
            expires_at: entry.expires_at,
        }))
    }

    /// As the contract says, with the effect on a sliding expiry that [`get`](Self::get) has.
    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.check_open(Operation::Head)?;
        let found = self.read(key, b"0").await;
        let found = found.map_err(|failure| failure.during(Operation::Head))?;
        Ok(found.map(|entry| entry.version))
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.check_open(Operation::Put)?;
        if payload.len() > Self::MAX_VALUE_BYTES {
            let context = format!("{} bytes; at most {}", payload.len(), Self::MAX_VALUE_BYTES);
            return Err(StoreError::new(ErrorKind::TooLarge, Operation::Put, context));
        }
        let condition = match options.mode {
            PutMode::Overwrite => Condition::new("overwrite", None),
            PutMode::Create => Condition::new("create", None),
            PutMode::Update(version) => Condition::new("update", Some(version)),
        };
        let written = self.write(key, &condition, &payload, options.expires_at).await;
        let version = written.map_err(|failure| failure.during(Operation::Put))?;
        version.ok_or_else(|| StoreError::conflict(Operation::Put))
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.check_open(Operation::Delete)?;
        let removed = self
            .write(key, &Condition::new("delete", expected), b"", None)
            .await;
        let removed = removed.map_err(|failure| failure.during(Operation::Delete))?;
        removed
            .map(drop)
            .ok_or_else(|| StoreError::conflict(Operation::Delete))
    }

    /// Lists as the contract says. These layouts have no index, so it walks over the keys of the database (`SCAN`).
    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        if let Err(closed) = self.check_open(Operation::Scan) {
            return stream::once(async { Err(closed) }).boxed();
        }
        listing::scan(self, prefix)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: CompareAndSwap::Cluster,
            versions: Versions::ContentHash,
            native_expiry: true,
            max_value_bytes: Self::MAX_VALUE_BYTES,
            persistence: Persistence::Server,
            shows_early: false,
            watch: false,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        None
    }
}

impl fmt::Debug for MsalCacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsalCacheStore")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl Condition {
    fn new(mode: &'static str, version: Option<Version>) -> Self {
        Self {
            mode,
            hash: version.map(|version| version.to_string()).unwrap_or_default(),
        }
    }
}

impl Entry {
    fn parse(answer: Value, layout: &Layout) -> Result<Self, Failure> {
        let unexpected = || Failure::unexpected("a script");
        let Value::Array(parts) = answer else {
            return Err(unexpected());
        };
        let Ok(
            [
                Value::BulkString(hash),
                Value::BulkString(expiry),
                Value::BulkString(data),
            ],
        ) = <[Value; 3]>::try_from(parts)
        else {
            return Err(unexpected());
        };
        let expiry = std::str::from_utf8(&expiry).map_err(|_| Failure::foreign())?;
        let expires_at = match layout {
            Layout::Node(_) if expiry.is_empty() => None,
            Layout::Node(_) => Some(UnixMillis(expiry.parse().map_err(|_| unexpected())?)),
            Layout::AspNetCore(_) => aspnet_core::moment(expiry)?,
        };
        Ok(Self {
            version: version(&hash)?,
            expires_at,
            data,
        })
    }
}

/// The version of content with this SHA-1.
fn version(hash: &[u8]) -> Result<Version, Failure> {
    let hex = hash.get(..32).and_then(|hash| std::str::from_utf8(hash).ok());
    hex.and_then(version_of)
        .ok_or_else(|| Failure::unexpected("a script"))
}
