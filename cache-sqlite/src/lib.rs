//! The token cache's records in an SQLite file that the processes of one machine share.
//!
//! ```
//! use cache_core::store::{PutOptions, Store, StoreKey};
//! use cache_sqlite::{SqliteConfig, SqliteStore};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("tokens/cache.db");
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // Any number of stores, here or in other processes, may open one file.
//! let store = SqliteStore::open(SqliteConfig::new(&path)).await?;
//! let other = SqliteStore::open(SqliteConfig::new(&path).create(false)).await?;
//!
//! let key = StoreKey::new("tokenkeep/user/1")?;
//! let version = store.put(&key, "sealed".into(), PutOptions::create()).await?;
//! assert_eq!(other.head(&key).await?, Some(version));
//!
//! // Optional: dropping the stores commits and closes in the background.
//! other.close().await;
//! store.close().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! ```text
//!  get, head, scan ──> queue ──> read connections ─┐
//!                                                  ├── cache.db, cache.db-wal, cache.db-shm
//!  put, delete ──────> queue ──> one writer ───────┘        ▲
//!                                  │                        │ every 50 ms while somebody watches
//!  watch <── announcements <───────┴── follower ────────────┘
//! ```
//!
//! **Reads.** A read that comes alone goes straight to a connection. Those that come meanwhile wait for another one
//! in a task, which takes all of them and answers them with one statement, so that many concurrent reads cost
//! little more than one. A reader never waits for a writer.
//!
//! **Writes.** One task takes every write that waits, decides each in turn against what is stored, and commits
//! them in one transaction. Each `put` returns only after that commit, with its own result: a conflict of one is
//! no failure of its neighbours. Other processes are kept out by SQLite's write lock while a batch is
//! decided, which is what makes conditional writes atomic between them.
//!
//! **Durability.** A [`Durable`](cache_core::store::Durability::Durable) write and every delete is forced to the disk
//! (`synchronous=FULL`) before it returns. A batch of [`Relaxed`](cache_core::store::Durability::Relaxed) writes
//! only is not: it survives the end of the process, and a crash of the machine may undo it.
//!
//! **Errors.** Busy and locked databases are `Unavailable` and certainly unchanged. A write whose commit failed in
//! a way that leaves open whether the log has it says so with
//! [`Retry::OutcomeUnknown`](cache_core::store::error::Retry::OutcomeUnknown).
//!
//! **Expiry.** An expired record is absent from the moment of its expiry. Each write batch removes up to 64
//! expired records, so that a store that is written to does not grow with what it no longer holds.
//!
//! **Watching.** Changes of this store are announced at once. Each is also appended to a log in the database,
//! which the stores of other processes read while somebody watches them. The log keeps the newest 4,096
//! changes at least; whoever falls further behind is told
//! [`Lost`](cache_core::store::WatchEvent::Lost).
//!
//! # The file
//!
//! It is created with permissions 0600, in a directory of 0700 if that is missing too; SQLite's companions get the
//! same. Permissions of group and others on a file that is there already are taken away. Refused, and left as they
//! are: symbolic links, hard links, files of another user, files in a directory that everybody may write to,
//! databases of another program (`application_id`) or of a newer version (`user_version`), and what is no
//! database at all.
//!
//! Deleted content is overwritten where that costs no extra write (`secure_delete=FAST`). What remains in free
//! pages and in the log is what the cache put, which is sealed unless you chose otherwise.
//!
//! The file must be on a local file system: the write-ahead log needs shared memory between the processes.
//! A file that is removed or replaced while a store has it open makes every later operation of that store fail.
//!
//! **Do not open the file yourself** (to copy it, to look at it) in a process that has a store open on it: POSIX drops all
//! locks that a process holds on a file when it closes *any* descriptor of it, and SQLite's are among them. Other
//! processes could then take the log away under this one. Do it in another process, or while no store is open.
//!
//! # What it does not do
//!
//! It does not encrypt; the cache seals above it. It does not protect against a process of the same
//! user or against root.

mod batch;
mod complaint;
mod config;
mod connection;
mod error;
mod file;
mod reader;
mod schema;
mod statement;
mod statistics;
mod store;
mod watch;
mod writer;

pub use config::SqliteConfig;
pub use statistics::Statistics;
pub use store::SqliteStore;
