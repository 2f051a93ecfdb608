//! For those who write a token-cache backend, and for those who test what stands on one.
//!
//! # I wrote a backend. Is it right?
//!
//! A backend implements [`cache_core::store::Store`]. The rules are in that module's documentation; here each
//! of them is a test. Two steps hold your store to all of them.
//!
//! **1. Say how your store is opened.** A [`Harness`](suite::Harness) is one place where records are kept,
//! empty at first. Each `open` is another client of it: another connection, another file handle.
//!
//! ```
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use cache_core::random::OsRandom;
//! use cache_core::store::{MemoryStore, Store};
//! use cache_testkit::clock::ManualClock;
//! use cache_testkit::suite::{self, Harness};
//!
//! struct MyBackend {
//!     clock: ManualClock,
//!     // The path of a file in a temporary directory, the URL of a server's empty database …
//!     place: MemoryStore,
//! }
//!
//! impl MyBackend {
//!     fn new() -> Self {
//!         let clock = ManualClock::new();
//!         let place = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
//!         Self { clock, place }
//!     }
//! }
//!
//! #[async_trait]
//! impl Harness for MyBackend {
//!     async fn open(&self) -> Arc<dyn Store> {
//!         Arc::new(self.place.clone())
//!     }
//!
//!     fn clock(&self) -> &ManualClock {
//!         &self.clock
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! // Every rule in turn, over one place; panics at the first that is broken.
//! suite::run(&MyBackend::new()).await;
//! # });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **2. Make one test of each rule**, in `tests/conformance.rs` of your crate, so that a failure has a name:
//!
//! ```
//! # use std::sync::Arc;
//! # use async_trait::async_trait;
//! # use cache_core::store::{MemoryStore, Store};
//! # use cache_testkit::clock::ManualClock;
//! # struct MyBackend;
//! # impl MyBackend { fn new() -> Self { Self } }
//! # #[async_trait]
//! # impl cache_testkit::suite::Harness for MyBackend {
//! #     async fn open(&self) -> Arc<dyn Store> { Arc::new(MemoryStore::new()) }
//! #     fn clock(&self) -> &ManualClock { panic!("never run") }
//! # }
//! cache_testkit::conformance_tests!(MyBackend::new());
//! ```
//!
//! No rule is skipped. Where your store's [`Capabilities`](cache_core::store::Capabilities) say that it cannot
//! do something, the rule asserts what is promised of a store that cannot. Two things that authors stumble over:
//!
//! - **The clock.** Your store takes a [`Clock`](cache_core::time::Clock) and compares expiries with it, also when
//!   its server removes expired records by itself. If the server does, start the manual clock at the present:
//!   `ManualClock::at(SystemClock.now())`.
//! - **Unit tests.** A crate that this one depends on (`cache-core`) can use it in `tests/*.rs` only: in a unit
//!   test its types would be compiled twice. Your backend may use it anywhere in its tests.
//!
//! # How do I know that the suite would notice?
//!
//! [`broken`] has stores that break one rule each, and a test of this crate proves that each rule catches its
//! own.
//!
//! # How does my program behave when its store does not?
//!
//! [`fault::FaultStore`] fails, delays, loses answers, crashes and pauses on demand, between your program and any
//! store. [`clock::ManualClock`] and [`random::SeededRandom`] make what depends on time and chance repeatable,
//! [`declared::DeclaredStore`] denies what a store can do, [`issuer::Issuer`] stands for an OpenID provider, and [`turnstile::Turnstile`] goes through the orders in which several
//! programs can come to one store.
//!
//! # How does my backend behave when the system does not?
//!
//! `system_calls`, behind the feature `system-calls` and on Linux, fails the calls of a process and says what a disk holds after the power
//! failed.

#[cfg(feature = "authority")]
pub mod authority;
pub mod broken;
#[cfg(feature = "chromium")]
pub mod chromium;
pub mod clock;
pub mod declared;
pub mod fault;
#[cfg(feature = "glewlwyd")]
pub mod glewlwyd;
pub mod issuer;
#[cfg(feature = "managed-identity")]
pub mod managed_identity;
#[cfg(any(feature = "msal-node", feature = "msal-python"))]
pub mod msal_program;
#[cfg(feature = "oidc-provider")]
pub mod oidc_provider;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod random;
#[cfg(all(unix, feature = "redis"))]
pub mod redis;
#[cfg(all(target_os = "linux", feature = "secret-service"))]
pub mod secret_service;
pub mod suite;
#[cfg(all(target_os = "linux", feature = "system-calls"))]
pub mod system_calls;
pub mod turnstile;
