//! Sealing: what lies in a store is encrypted, authenticated, and bound to its place.
//!
//! A store is untrusted. Whoever reads it learns sizes, counts and timing, and nothing else; whoever writes to it can
//! make records disappear, but cannot change one, move one to another user, or put one of their own in its place.
//!
//! ```text
//!   KeySource ──▶ key-encryption key          never in the store
//!                        │ opens
//!                        ▼
//!            {namespace}/keyring/ring         the key ring: one primary key, older read-only keys, the location key
//!                        │ opens
//!                        ▼
//!            {namespace}/user/{blinded}       records, each under the key that its header names
//! ```
//!
//! # Opening a cache
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::random::OsRandom;
//! use cache_core::seal::{FixedKeySource, Incarnation, Namespace, RecordKind, RecordMeta, Sealer, SecretKey};
//! use cache_core::store::{MemoryStore, PutOptions, Store};
//! use cache_core::time::SystemClock;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = Arc::new(MemoryStore::new());
//! let source = Arc::new(FixedKeySource::new(SecretKey::random(&OsRandom)?)); // or a FileKeySource, …
//! let namespace = Namespace::new("example")?;
//! let sealer =
//!     Sealer::open(store.clone(), namespace, source, Arc::new(SystemClock), Arc::new(OsRandom)).await?;
//!
//! let key = sealer.stored_key(RecordKind::User, b"the logical key of a partition");
//! let meta =
//!     RecordMeta { codec: 1, schema: 1, incarnation: Incarnation::random(&OsRandom)?, generation: 1 };
//! sealer.freshen().await?; // before each write: see "Writers must stay fresh" at `Sealer`
//! let record = sealer.seal(RecordKind::User, &key, meta, b"payload")?;
//! store.put(&key, record, PutOptions::create()).await?;
//!
//! let stored = store.get(&key).await?.ok_or("it was just put")?;
//! let opened = sealer.open_or_reload(RecordKind::User, &key, &stored.payload).await?;
//! assert_eq!(opened.payload.expose(), b"payload");
//! assert_eq!(opened.meta, meta);
//!
//! // The same bytes elsewhere are refused, and nothing is deleted.
//! let elsewhere = sealer.stored_key(RecordKind::User, b"somebody else's partition");
//! let error = sealer.open_record(RecordKind::User, &elsewhere, &stored.payload).unwrap_err();
//! assert!(error.is_wrong_location());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rotating a key
//!
//! 1. [`Sealer::rotate`] adds a key and makes it primary ([`Sealer::add_key`] and [`Sealer::promote`] do it in two steps,
//!    for fleets that want every process to have the key before the first record needs it);
//! 2. processes that meet the new key in a record reload the ring once;
//! 3. records move to it as they are written, and by [`Sealer::reseal`];
//! 4. [`Sealer::retire`] wipes the old key, once no writer can still use it and no record names it.
//!
//! The bytes of every record are in the module [`format`](mod@format).
//!
//! # What is not promised
//!
//! A store's expiry and versions are not authenticated. A rollback of the whole store is noticed only by a process that
//! has seen the later state ([`RollbackGuard`], and the ring's generation): after a restart it is not. Keys and payloads
//! are wiped from memory when they are dropped, but copies that the compiler made on a stack, and whatever whoever can
//! read this process's memory finds, are beyond that.

mod active;
mod aead;
mod envelope;
mod error;
pub mod format;
mod key;
pub mod key_source;
mod location;
mod manage;
mod peek;
mod plaintext;
mod quarantine;
mod reseal;
mod ring;
mod ring_record;
mod ring_store;
mod rollback;
mod sealed;
mod sealer;

pub use aead::{AeadCipher, AeadError, AeadProvider, NONCE_BYTES, Suite, TAG_BYTES, Xaes256GcmProvider};
pub use envelope::{
    FormatError, Incarnation, PLAINTEXT_HEADER_BYTES, RecordFormat, RecordMeta, SEALED_HEADER_BYTES,
};
pub use error::SealError;
pub use key::{KeyId, SecretKey};
pub use key_source::{
    EnvironmentKeySource, FileKeySource, FixedKeySource, KeySource, KeySourceError, PassphraseCost,
    PassphraseKeySource, SourceDescription,
};
pub use location::{InvalidNamespace, Namespace, RecordKind};
pub use peek::{HeaderInfo, peek_header};
pub use quarantine::{Quarantine, Quarantined};
pub use reseal::ResealReport;
pub use ring::{KeyState, KeyStatus, MAX_KEYS, RingError, WRITER_WINDOW};
pub use rollback::{Freshness, Known, RollbackGuard, RollbackPolicy};
pub use sealer::{Opened, Sealer};
