//! The token cache's records in Redis or Valkey, shared by the processes of many machines.
//!
//! ```no_run
//! use cache_core::store::{PutOptions, Store, StoreKey};
//! use cache_redis::{RedisConfig, RedisStore};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // Any number of stores, on any machine, may open one server.
//! let store = RedisStore::open(RedisConfig::from_url("redis://127.0.0.1/0")?).await?;
//!
//! let key = StoreKey::new("tokenkeep/user/1")?;
//! let version = store.put(&key, "sealed".into(), PutOptions::create()).await?;
//! assert_eq!(store.head(&key).await?, Some(version));
//! store.close().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It speaks to Redis 6.2 and newer and to Valkey: to one server, to the primary that Sentinels name, or to a
//! Cluster; by TCP, TLS or unix socket; see [`RedisConfig::from_url`].
//!
//! # How it works
//!
//! **Records.** A record is a hash of its version, its payload and its expiry. Every put and delete is *one* request that runs
//! a script in the server: it compares, writes, keeps the index and announces the change as one step. A server that
//! does not have the script (it was restarted, flushed, or took over) says so without running anything, and is
//! given the text. Reads are one request; one more where there is no record.
//!
//! **Connections.** All requests share one connection to each server, so that those that come at once travel together;
//! one more connection listens to the changes. Connections are made anew when they break.
//!
//! **Nothing is sent twice** that may have been carried out. What a Cluster's node answers with a redirection was
//! not, and follows it.
//!
//! # The layout
//!
//! ```text
//! tokenkeep:{3f}:KEY      hash         v  16 bytes of version, d  payload, e  expiry in ms
//! tokenkeep:{3f}          sorted set   the store keys of the bucket, all with score 0
//! tokenkeep:{3f}!         sorted set   those with an expiry, by the time of their removal
//! tokenkeep:changes:0     channel      "VERSION KEY", or "- KEY" for a removal; the number is the database
//! ```
//!
//! **Listing.** The keys of a prefix are divided into 256 buckets by a hash of the store key, and the bucket is the
//! hash tag. So a record and its index are in one slot of a Cluster, which lets one script write both; the buckets
//! spread over all nodes; and no index grows into one big key. In an index all scores are equal, so the server keeps it in
//! the order of the keys and any prefix is a range of it. A scan asks the 256 indexes page by page, several at a time, and
//! reads the versions of what it finds. It costs 256 short requests, and then what it lists; never a walk over the
//! database, as `KEYS` or `SCAN` would, and never a long command that blocks the server.
//!
//! **Expiry.** An expired record is absent from the moment of its expiry *by the injected clock*. The server removes it
//! five minutes later, counted from the same clock: neither a wrong time of the server nor a client whose clock is
//! a little behind makes a live record disappear. Its index entry is removed by the next write
//! to the bucket that is more than an update of a record that lives on, or by the first scan that meets it.
//!
//! # Durability
//!
//! | mode | a durable put, or a delete, returns when | survives | is lost by |
//! |---|---|---|---|
//! | [`Acknowledged`](DurabilityMode::Acknowledged) | the primary has it in memory | the end of this process | a crash of the primary before its log (`appendfsync`) or a replica has it; a primary that is cut off from the others and goes on taking writes until it notices |
//! | [`Replicated`](DurabilityMode::Replicated) | so many replicas have it in memory too | a failover to one of them | the crash of all of them at once; a failover to another replica |
//!
//! In `Replicated` mode such a write goes over a connection of its own, with `WAIT` right after it; up to 16 wait at the same
//! time. When too few replicas answer in time the error says how many did, and its outcome is unknown: the write stands
//! on the primary, others may read it, and a failover may lose it. A `Relaxed` put never waits. Opening does not
//! fail for lack of replicas, so that a process can still read; it warns, and each durable write says so.
//!
//! # Watching
//!
//! The script that changes a record publishes its key and version. Every store listens from before
//! [`open`](RedisStore::open) returns, on a connection of its own. When that breaks, subscribers are told
//! [`Lost`](cache_core::store::WatchEvent::Lost) at once, and again when it listens anew (after 50 ms at first, then up to 2 s). A
//! connection that died without a word is noticed by a ping: after
//! [`watch_ping_interval`](RedisConfig::watch_ping_interval) and [`response_timeout`](RedisConfig::response_timeout) at the
//! latest, 10 s by default. The same check asks the Sentinels whether it is still the primary, and a Cluster's
//! node whether it still sees most of the others. Whoever reads too slowly is told `Lost` after 1,024 changes. Removal by
//! expiry is not announced. A message that is not understood counts as `Lost`.
//!
//! # Errors
//!
//! | condition | kind | may be sent again |
//! |---|---|---|
//! | no answer in time | `Timeout` | a write: outcome unknown; a read: yes |
//! | the connection broke before the answer | `Unavailable` | a write: outcome unknown; a read: yes |
//! | no connection: refused, no such host, too slow, too many clients | `Unavailable` | yes |
//! | `LOADING`, `BUSY`, `MASTERDOWN`, `CLUSTERDOWN`, `TRYAGAIN`, `NOREPLICAS` | `Unavailable` | yes |
//! | `READONLY`: a replica, or a primary that was demoted | `ReadOnly` | yes; the primary is looked up anew |
//! | `OOM`; `MISCONF` (cannot save to disk) | `Full` | no |
//! | `NOPERM`, `NOAUTH`, `WRONGPASS`, protected mode; a certificate is not trusted, ours is refused | `PermissionDenied` | no |
//! | the key holds something else | `Corrupt` | no; it is left as it is |
//! | no such database; wrong scheme for the server; certificates that cannot be read | `InvalidArgument` | no |
//! | too old a server, or a command that it does not know | `Unsupported` | no |
//! | too few replicas acknowledged | `Timeout` | outcome unknown |
//!
//! No error, log or `Debug` shows a password, a private key or a payload, nor any part of a URL that could not be read.
//!
//! # How to configure the server
//!
//! - `maxmemory-policy noeviction`. Any other policy lets the server throw away records when its memory is full, and an
//!   evicted record is a user who has to sign in again. [`RedisStore::eviction`] and [`RedisStore::describe`] tell, and
//!   opening such a server logs a warning.
//! - `appendonly yes`, or a crash of the server loses what came after its last snapshot. `appendfsync everysec` loses a
//!   second, `always` nothing.
//! - With replicas: `min-replicas-to-write 1` and `min-replicas-max-lag 10` bound how long a primary that is cut
//!   off goes on taking writes. Combine them with `Replicated` where a lost write is not acceptable.
//! - In a Cluster with `Replicated`: `cluster-migration-barrier` of at least as many replicas as each primary has. Otherwise a primary
//!   that has lost all of its replicas for five seconds is given one of another's, for good, and durable writes to that other one fail
//!   until an operator gives it a replica again.
//! - A user of its own, with nothing but
//!   `~tokenkeep:* &tokenkeep:* +hmget +exists +zrangebylex +evalsha +eval +hset +hdel +del +persist +pexpireat +zadd +zrem
//!   +zrangebyscore +time +publish +subscribe +ping +select`, and `+info` to be described; `+role` behind Sentinels;
//!   `+cluster|slots +cluster|info +asking` in a Cluster; `+wait` for replicated durability. A user that may not use
//!   the channel is refused by `open`, because its writes would leave stale copies in other processes.
//! - TLS wherever the network is not yours alone. Behind Sentinels and in a Cluster the certificates must be valid for the
//!   names or addresses by which the servers announce themselves. What the cache puts is sealed unless you chose otherwise; what the
//!   server could do nonetheless is withhold, delete or roll back records.
//!
//! # What it does not do
//!
//! It does not encrypt; the cache seals above it. It never reads from replicas. It does not protect against who may
//! write to the same keys: that user can remove records, and announce changes that never were.
//! Connecting and waiting for answers is in real time; only expiries, backoff and pings follow the injected clock.
//! The first TLS connection makes aws-lc-rs the process's default provider of rustls, unless there is one.

mod address;
mod cluster;
mod condition;
mod config;
mod connection;
mod connector;
mod durability;
mod error;
mod info;
mod inspect;
mod keys;
pub mod layout;
mod link;
mod record;
mod scan;
mod script;
mod sentinel;
mod shared;
mod store;
mod watch;

pub use config::{DurabilityMode, RedisConfig};
pub use info::{Arrangement, Eviction, ServerInfo};
pub use store::RedisStore;
