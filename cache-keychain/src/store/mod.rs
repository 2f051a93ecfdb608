//! Small caches in a keychain.
//!
//! For a tool with a handful of tokens and no place of its own for a file. A cache that grows, or that many processes write to, belongs
//! into a database whose *key* is in the keychain: each write here is several calls to a daemon that may write its whole file anew.
//!
//! ```no_run
//! use cache_core::store::{PutOptions, Store, StoreKey};
//! use cache_keychain::{Keychain, KeychainConfig, KeychainStore, KeychainStoreConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let keychain = Keychain::native(KeychainConfig::new("mytool"));
//! let config = KeychainStoreConfig::new().lock_file("/home/alice/.local/share/mytool/keychain.lock");
//! let store = KeychainStore::open(keychain, config).await?;
//!
//! let key = StoreKey::new("tokenkeep/user/1")?;
//! let version = store.put(&key, "sealed".into(), PutOptions::create()).await?;
//! assert_eq!(store.head(&key).await?, Some(version));
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! ```text
//!  item "token-cache"  manifest: pending items, and the list of records   <- replacing it is the write
//!  item "3f09…"        a piece of a value                                 <- written before, under a name that nothing ever had
//!  item "a7c2…"        a piece of a value, or of the list
//! ```
//!
//! **Writes.** A write that needs items first replaces the manifest by one that names them as pending, writes them, and then replaces the
//! manifest by one in which the record points to them. Keychains replace one item as a whole, so that is the moment of the write; a
//! process that dies before leaves the store as it was, and items that the manifest names as pending. Whoever writes next
//! removes those first, and needs no search to find them. A value of at most 4 KiB, or of a quarter of an item, is in the manifest
//! itself, and its write is one replacement.
//!
//! **Conditions.** Keychains have none, so a write holds a lock: between the tasks of a process always, between
//! processes where there is a [`lock_file`](KeychainStoreConfig::lock_file), by the system's file lock, which ends with its
//! process. The lock goes with the work: as long as a call hangs in a daemon, nobody else writes, so that a call that comes back late
//! replaces nothing newer; a write whose lock file somebody removed meanwhile is not made. Waiting for the lock and the work itself take
//! at most the keychain's deadline each.
//!
//! **Reads** take no lock. What does not fit together, because a writer removed the items of the record before, is read again.
//!
//! **Errors.** A write that failed before the manifest was being replaced is certainly not made, also if the keychain hangs; afterwards
//! it is [`OutcomeUnknown`](cache_core::store::error::Retry::OutcomeUnknown), unless the keychain said why it
//! refused. An absent or a locked keychain is `Unavailable`, one that does not answer `Timeout`, a full one `Full`; the source is the
//! [`KeychainError`](crate::KeychainError).
//!
//! **Expiry.** An expired record is absent from the moment of its expiry. Each write removes what has expired.
//!
//! **Sizes** are the keychain's: [`KeychainLimits`]. `max_value_bytes` is what one record may have; many records may fill a keychain earlier,
//! which is `Full`, or `TooLarge` where the list of records itself has no room.
//!
//! # What others see
//!
//! Item names are the store's name and random numbers. The keys of records are in the content only, because keychains keep names and
//! attributes in clear or as hashes without salt. The keychain protects the content from other users and, locked, from whoever
//! has the disk; it does not protect it from other programs of the same user. The cache seals above it.
//!
//! # What it does not do
//!
//! - It does not notify: there is no [`watch`](cache_core::store::Store::watch).
//! - Removing the manifest's item by hand leaves the other items, whose names nothing knows any more. Remove all of the application.
//! - Windows and macOS were not tried. There the same protocol runs over items that are replaced as a whole.
//! - The kernel's keyrings end with the machine, and by default 3 days after their last use; each login session that is to share them must
//!   reach the user's persistent keyring.

mod backend;
mod config;
pub(crate) mod failure;
mod items;
mod limits;
pub(crate) mod lock;
mod manifest;
pub(crate) mod permit;
mod wire;
mod work;

pub use backend::KeychainStore;
pub use config::KeychainStoreConfig;
pub use limits::KeychainLimits;
