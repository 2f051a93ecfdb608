//! The cache file of MSAL programs, shared with them: **plaintext by nature**.
//!
//! Whoever signed in with the Azure CLI, or with any program that keeps its cache by MSAL's extensions for Python, Node, Go, Java or .NET,
//! has the tokens in a file on Linux. An [`MsalFileStore`] is that file as a store of one record, which goes beneath a cache that is
//! opened with [`open_plaintext_shared`](cache_core::cache::TokenCacheBuilder::open_plaintext_shared). What is in it, and what sharing
//! it means for tokens, is in [`cache_core::layout`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use cache_core::cache::TokenCache;
//! use cache_core::layout::MsalLayout;
//! use cache_core::seal::Namespace;
//! use cache_core::strategy::{SealPolicy, Strategy};
//! use cache_keychain::msal_file::{MsalFileConfig, MsalFileStore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MsalFileStore::open(MsalFileConfig::azure_cli("/home/alice/.azure")).await?;
//! let layout = MsalLayout::single_record(store.record());
//! let cache = TokenCache::builder(Arc::new(store))
//!     .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
//!     .open_plaintext_shared(Namespace::default(), layout)?;
//! # let _ = cache;
//! # Ok(())
//! # }
//! ```
//!
//! # The record
//!
//! - Its key is [`MsalFileStore::record`]. Under any other key there is nothing, and a write is refused as
//!   [`Unsupported`](cache_core::store::error::ErrorKind::Unsupported).
//! - It is a JSON object. Other payloads are [`InvalidArgument`](cache_core::store::error::ErrorKind::InvalidArgument), and so is an expiry
//!   `Unsupported`, because the file has no place for it. A cache over a
//!   [`single_record`](cache_core::layout::MsalLayout::single_record) sets none.
//! - A version is the beginning of the content's SHA-256: another program's write is a conflict like any other, and content that recurs
//!   has the version that it had. A compare-and-swap holds between all processes of the machine that take the lock.
//! - A deleted record leaves `{}` behind. MSAL Python and Node, when they find no file, go on with what they have in memory, and write it
//!   back. An empty file, which Node makes before it has something to write, is no record either.
//! - What is no JSON object is [`Corrupt`](cache_core::store::error::ErrorKind::Corrupt), and stays as it is: a file that its program
//!   encrypts, and one whose writer was killed halfway.
//!
//! # Writing
//!
//! The new content goes into a temporary file beside the old one, is forced to the disk, and is renamed over it under the lock: whoever
//! reads, with a lock or without, sees the one or the other. A process that is killed at any moment leaves a whole file, and at most a
//! temporary file, which the next store that is opened removes, and a lock file, of which below.
//!
//! A new file is its owner's alone (0600, in a directory of 0700 if that is missing too). One that is there keeps its mode, and its owner,
//! where that is possible; access-control lists, extended attributes and hard links are not kept. A symbolic link is followed, and stays.
//! Refused are directories of other users (root's excepted), directories that everybody may write to, and files of other users; to
//! root, files of others are theirs to keep.
//!
//! # Reading
//!
//! Most programs with MSAL truncate the file and then write into it. So a read that finds no end, or nothing, waits some milliseconds and
//! reads again, at last under the lock; only what is incomplete then is `Corrupt`, or absent. A file that has not changed since it was read
//! last, by its inode, length and times, is not read again: a `get` or `head` then costs a `stat`, about a microsecond, which is made on
//! the calling thread. Times that were taken within one tick of the file system's clock are not trusted.
//!
//! While somebody [watches](cache_core::store::Store::watch), one task looks at the file every
//! [`watch_interval`](MsalFileConfig::watch_interval) for all who do.
//!
//! # The lock
//!
//! It is the file `<path>.lockfile`, as MSAL's extensions have it, and all of their protocols are taken at once:
//!
//! | program | holds it while | meets a holder that was killed |
//! |---|---|---|
//! | MSAL Python with portalocker | the file exists, and `flock` on it | waits for 5 s, then passes over it |
//! | MSAL Python without (its default since 1.3), MSAL Node | the file exists | fails after 5 s or 50 s, until the file is removed |
//! | MSAL Go, MSAL .NET | `flock` on the file | does not notice |
//! | MSAL Java | the file exists, and `fcntl` on it | waits, then passes over it |
//!
//! (Both locks of msal-extensions 1.3.1, the first of which is the only one of 1.0 to 1.2, and the lock of msal-node-extensions 5.6.0 were tried as
//! they are shipped; those of microsoft-authentication-extensions for Go, .NET and Java by programs that do what their sources say.)
//!
//! It is held while the file is compared and renamed, well below a millisecond, and never while anything is waited for. Tasks of one process
//! take turns; between processes nobody is let in by an order: who waits looks again after a few milliseconds, at random, for at most [`LockLimits::patience`].
//!
//! **A holder that was killed** leaves the file. It is taken over when nobody has the kernel's locks on it, and its process does not exist
//! ([`LockLimits::ended_after`]) or it has not changed for long ([`LockLimits::abandoned_after`]). So a store here puts in order what would bar
//! Python and Node for ever, its own leavings too. A program that was stopped for longer and goes on then may write over what was written meanwhile.
//!
//! **What remains.** The protocols do not agree with each other, and this store cannot make them. Python and Go
//! remove the lock file *after* they have given up their locks, and may remove one that somebody else made in between; Go and .NET do not look
//! whether the file that they locked is still there. Before each rename it is checked that the lock is still held, so what is left are
//! microseconds. Programs that take no lock (MSAL's own samples write the file at their end) lose what they did not read, and make others lose it.
//!
//! # Limits
//!
//! - The file must be on a local file system. On NFS, `flock` and `fcntl` are one lock, which would be waited for in vain.
//! - Windows' file is encrypted for its user by the system (DPAPI), and macOS' cache is an item of the keychain: neither is here, and this
//!   module is not built on Windows. The Azure CLI keeps a plain file on macOS as on Linux; all of this was run on Linux only.
//! - It protects nothing: whoever can read the file has the tokens in it.

mod config;
pub(crate) mod error;
mod file;
pub(crate) mod json;
pub(crate) mod lock;
mod place;
pub(crate) mod reading;
mod store;
mod temporary;
mod watch;
mod writing;

pub use config::MsalFileConfig;
pub use lock::LockLimits;
pub use store::{FileHold, MsalFileStore};
