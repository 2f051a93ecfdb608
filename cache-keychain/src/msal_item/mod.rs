//! The cache that MSAL programs keep in an item of the Secret Service: **unsealed by nature**.
//!
//! The Secret Service (GNOME Keyring, KWallet, KeePassXC) is where MSAL's extensions keep a cache on a Linux desktop. A
//! [`MsalSecretServiceStore`] is that one document as a store, beneath a cache that is opened with
//! [`open_plaintext_shared`](cache_core::cache::TokenCacheBuilder::open_plaintext_shared). What that protects, and what it cannot, is in
//! [`cache_core::layout`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use cache_core::cache::TokenCache;
//! use cache_core::layout::MsalLayout;
//! use cache_core::seal::Namespace;
//! use cache_core::store::Store;
//! use cache_core::strategy::{SealPolicy, Strategy};
//! use cache_keychain::{MsalSecretServiceConfig, MsalSecretServiceStore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // As the program's own configuration says it.
//! let config = MsalSecretServiceConfig::node("mytool", "cache").cache_path("/home/alice/.mytool/cache.json");
//! let store = MsalSecretServiceStore::open(config).await?;
//! let record = store.record();
//! let cache = TokenCache::builder(Arc::new(store))
//!     .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
//!     .open_plaintext_shared(Namespace::default(), MsalLayout::single_record(record))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which item
//!
//! | program | schema | attributes | content |
//! |---|---|---|---|
//! | MSAL Node's extensions, by keytar | `org.freedesktop.Secret.Generic` | `service`, `account` | JSON |
//! | MSAL Python's extensions | the program's, else the hash of the location | the program's, else none | JSON |
//! | MSAL .NET's, Go's and Java's extensions | the program's | the program's | Base64 of JSON |
//!
//! libsecret keeps the schema in an attribute, `xdg:schema`. An item that has more attributes than were named is found too,
//! as libsecret finds it. Where that is more than one item, libsecret takes any; here it is an error, and nothing is touched.
//!
//! The first two were tried, in both directions, and both encodings. That .NET, Go and Java write Base64 is what their sources say.
//!
//! # Writing
//!
//! - An item that is there keeps its keyring, attributes, label and encoding. A new one is made in the default keyring.
//! - The Secret Service has no conditional write. MSAL programs keep out of each other's way by a lock file at
//!   [`cache_path`](MsalSecretServiceConfig::cache_path), which they also give for an item; the same lock is taken here. Without the path,
//!   writes are conditional between the tasks of this process only.
//! - MSAL programs read the item again when the file at that path has changed, so its time is set with each write. Its content is not touched.
//! - Nothing is removed: a delete leaves an empty cache, and an item that holds anything but a cache is an error.
//! - A write whose call to the service ended in a way that leaves open whether it was made is
//!   [`OutcomeUnknown`](cache_core::store::error::Retry::OutcomeUnknown). One that did not begin in time is certainly not made, also later.
//! - A version is the beginning of the document's SHA-256. There is no watch.
//!
//! # When there is no keyring
//!
//! A service that is not there, an item that is locked, and a service that does not answer by the
//! [deadline](MsalSecretServiceConfig::deadline) are errors, with the [`KeychainError`](crate::KeychainError) as source. Nobody is asked to unlock anything:
//! a program without a desktop would wait for an answer for ever. A service that was replaced is connected to anew.
//!
//! Every program of the session may read the items of an unlocked keyring.

mod backend;
mod config;
mod encoding;
mod error;
mod item;
mod peers;

pub use backend::MsalSecretServiceStore;
pub use config::MsalSecretServiceConfig;
pub use encoding::ItemEncoding;
