//! Failures on demand: a store that does what the one inside does, until a test says otherwise.
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::store::error::{ErrorKind, Operation};
//! use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
//! use cache_testkit::clock::ManualClock;
//! use cache_testkit::fault::{Fault, FaultStore};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(ManualClock::new()));
//! let key = StoreKey::new("user/1")?;
//!
//! // The write is applied, but its writer does not hear of it.
//! store.inject(Fault::lost_reply().on(Operation::Put).once());
//! let error = store.put(&key, "payload".into(), PutOptions::create()).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Timeout);
//! assert!(error.is_outcome_unknown());
//! assert!(store.get(&key).await?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod plan;
mod store;

pub use plan::{Fault, PausePoint};
pub use store::FaultStore;
