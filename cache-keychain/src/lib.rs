//! The operating system's keychain for the token cache: the key that seals it, small caches themselves, and the files and items that
//! MSAL programs keep.
//!
//! ```no_run
//! use std::sync::Arc;
//! use cache_core::cache::TokenCache;
//! use cache_core::seal::{FileKeySource, Namespace};
//! use cache_core::store::MemoryStore;
//! use cache_keychain::{KeyPolicy, Keychain, KeychainConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // The key lies in the user's keychain; where the machine has none, in a file, by decision and with a warning.
//! let keychain = Keychain::native(KeychainConfig::new("example"));
//! let policy = KeyPolicy::PreferKeychain { otherwise: Arc::new(FileKeySource::new("/home/me/.example/key")) };
//! let cache = TokenCache::builder(Arc::new(MemoryStore::new())) // or any other store
//!     .open_sealed(Namespace::new("example")?, policy.source(keychain))
//!     .await?;
//! # drop(cache);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which keychain
//!
//! | keychain | opened by | keeps items | asks its user | tested |
//! |---|---|---|---|---|
//! | Secret Service: GNOME Keyring, KWallet, KeePassXC | [`Keychain::native`] on Linux and the BSDs | on disk, until they are deleted | where [`Prompt`] allows it | with GNOME Keyring 42 and KeePassXC 2.7; not with KWallet |
//! | keyrings of the Linux kernel | [`Keychain::keyutils`] | in memory: until the machine restarts, and no longer than the user's persistent keyring (3 days after its last use, `/proc/sys/kernel/keys/persistent_keyring_expiry`); until the session ends where there is no such keyring | never | yes |
//! | login keychain of macOS | [`Keychain::native`] | on disk | by itself | **no**: neither compiled nor run by the developers |
//! | Credential Manager of Windows | [`Keychain::native`] | on disk, on this machine | never | **no**: neither compiled nor run by the developers |
//! | any store of the `keyring` family | [`Keychain::with_store`] | as it says | as it does | with one in memory |
//!
//! A cache whose key is in the kernel's keyrings is a cache for a session: once the key is gone the cache cannot be opened any more, and
//! its users sign in again, in another namespace or after its records were removed.
//!
//! # How it works
//!
//! ```text
//!  read, write, remove ──> queue ──> one thread ──> look: there? the one that was opened? unlocked? ──> the library's store
//!      deadline, each        │            │
//!                            │            └ hangs: left behind, at most 4; the next call has a new thread and connection
//!                            └ cancelled, or too late: not made
//! ```
//!
//! **One thread.** The libraries block, must not be called on a thread of an async runtime, and a panic poisons their locks for good. So
//! each [`Keychain`] makes its calls on one thread of its own, in order.
//!
//! **Deadlines.** A call fails after [`KeychainConfig::deadline`] (5 s) at the latest, whatever the keychain does. A write that timed out
//! may have been made.
//!
//! **Connections** are opened by the first call, and anew after an error of the keychain or when another program has taken its place.
//! The process's default store of `keyring-core` is never used.
//!
//! **A look before each call** finds what is wrong without asking the user: the libraries' stores prompt by themselves for a locked
//! keyring, and report a revoked one as a missing item.
//!
//! # Conditions and errors
//!
//! | condition | [`KeychainErrorKind`] | what helps |
//! |---|---|---|
//! | headless: no session bus; a kernel without keyrings | `Absent` | another key source |
//! | nobody offers secrets on the bus; the service has no default keyring | `Absent` | start a keychain, make a keyring |
//! | a sandbox or a container does not allow it; the session's keyring gives no permission | `Denied` | allow it, or another key source |
//! | locked, and asking is not allowed or was refused | `Locked` | unlock it |
//! | it does not answer, or its user does not | `TimedOut` | see why it hangs; it is used again as soon as it goes on |
//! | it ended during the call; the session's keyring was revoked or has expired | `Disconnected` | try again; sign in to a new session |
//! | it was replaced between two calls | none: it is opened anew | |
//! | it does not have the item, also because it was replaced by another | `Missing` | restore the item; it is not made again |
//! | the quota is exhausted, or the item too long | `TooLarge` | remove what is no longer needed |
//! | several items, or something else, under the name | `Ambiguous`, `Malformed` | look at it in the keychain's program |
//! | the program was built without; the keychain cannot do it | `Unsupported` | |
//!
//! None of them writes a secret anywhere else. [`Keychain::examine`] tells in advance, without asking anybody.
//!
//! # The key of a cache
//!
//! [`KeychainKeySource`] makes an item of its own for each key ring, under a random name that the ring record holds. What follows:
//!
//! - Of first starts that race one ring is stored and one key stays.
//! - A keychain that lost the item, or that is another one, is the error `Missing`, never a new key.
//! - The ring says which kind of source it needs. One that was made without a keychain does not move to it when there is one
//!   ([`Sealer::rewrap`](cache_core::seal::Sealer::rewrap) moves it), and one that was made with it does not fall back.
//! - Keys that rotation leaves are removed when you say so ([`KeychainKeySource::delete_former`]), as a replica or a backup may
//!   bring their ring back. [`KeychainKeySource::unused`] finds what no ring names.
//!
//! [`KeyPolicy`] decides what happens where there is no keychain. There is no policy that ends in plaintext.
//!
//! # What others see
//!
//! Keychains keep the attributes of items in clear, or as hashes without salt that are as good as clear. So an item's are the
//! application's name ([`KeychainConfig::new`]), which is its label too, and chance: neither user nor tenant nor client.
//!
//! Whatever runs as the same user can read the keychain, except on macOS, where it asks for each program. A keychain protects a copied
//! disk and a stolen machine, not against the user's own programs.
//!
//! # Features
//!
//! `native` (default), `keyutils`, `msal-file`, `msal-secret-service`. Each adds code and changes nothing else; a keychain without its
//! feature answers `Unsupported`.

mod config;
mod error;
mod key_policy;
mod key_source;
mod keychain;
#[cfg(all(unix, feature = "msal-file"))]
pub mod msal_file;
#[cfg(all(unix, not(target_vendor = "apple"), feature = "msal-secret-service"))]
pub mod msal_item;
mod platform;
mod report;
pub mod store;
mod worker;

pub use config::{KeychainConfig, Prompt};
pub use error::{KeychainError, KeychainErrorKind};
pub use key_policy::KeyPolicy;
pub use key_source::KeychainKeySource;
pub use keychain::Keychain;
#[cfg(all(unix, not(target_vendor = "apple"), feature = "msal-secret-service"))]
pub use msal_item::{ItemEncoding, MsalSecretServiceConfig, MsalSecretServiceStore};
pub use platform::{KeychainKind, KeychainPersistence};
pub use report::KeychainReport;
pub use store::{KeychainLimits, KeychainStore, KeychainStoreConfig};

// Tests have a manifest of features that the library alone does not need.
#[cfg(test)]
use {cache_sqlite as _, cache_testkit as _, flows as _, serde_json as _, tempfile as _};
