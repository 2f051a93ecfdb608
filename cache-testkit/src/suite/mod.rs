//! The rules of the storage contract, each as a function that any backend can be held to.
//!
//! A rule is a named function over [`&dyn Store`](Store): it returns when the store keeps the rule and panics,
//! saying what it expected and what it got, when it does not. None is skipped: where a store lacks a
//! capability, the function asserts what the contract says of a store without it.
//!
//! A backend describes itself once, as a [`Harness`], and gets one test a rule from
//! [`conformance_tests!`](crate::conformance_tests). The functions work on keys of their own, so that they may
//! share one store; [`run`] does that.

pub mod basic;
pub mod capabilities;
mod check;
pub mod conditional;
pub mod expiry;
pub mod instances;
mod list;
pub mod race;
pub mod scan;
pub mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::store::Store;

pub use list::CASES;

use crate::clock::ManualClock;

/// What the suite needs to know of a backend: how to open it, and which clock it reads.
///
/// One harness stands for one place where records are kept (a file, a server's database, a map). It starts
/// empty. Each [`open`](Self::open) is another client of that same place.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens another, independent instance over this harness's records.
    ///
    /// "Independent" means that they share nothing but the records: two connections, two file handles. The
    /// instance must read its time from [`clock`](Self::clock). It may panic when it cannot be opened.
    async fn open(&self) -> Arc<dyn Store>;

    /// The clock that every instance reads.
    ///
    /// Where a server expires records by a clock of its own, start this one at the present
    /// ([`ManualClock::at`]): the suite only ever moves it forward.
    fn clock(&self) -> &ManualClock;
}

/// One rule of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name of the function that holds the rule.
    pub name: &'static str,
    /// Opens what the function needs from a harness and calls it.
    run: for<'a> fn(&'a dyn Harness) -> CaseFuture<'a>,
}

type CaseFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Case {
    /// The rule of that name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        CASES.iter().copied().find(|case| case.name == name)
    }

    /// Holds the backend to this rule.
    ///
    /// # Panics
    /// When the store breaks the rule.
    pub async fn check(&self, harness: &dyn Harness) {
        (self.run)(harness).await;
    }
}

/// Holds a backend to every rule in turn, over one harness.
///
/// # Panics
/// When the store breaks a rule.
pub async fn run(harness: &dyn Harness) {
    for case in CASES {
        case.check(harness).await;
    }
}

/// How long one rule may take in a test: far more than the slowest backend needs, to end one that hangs.
const TEST_LIMIT: Duration = Duration::from_secs(300);

/// What a test of [`conformance_tests!`](crate::conformance_tests) does: checks the named rule on a runtime of
/// two threads, because a store that is only safe on one is not a store.
///
/// # Panics
/// When the store breaks the rule, or hangs, or there is no rule of that name.
#[doc(hidden)]
pub fn test(name: &str, harness: &dyn Harness) {
    let case = Case::named(name).unwrap_or_else(|| panic!("the suite has no rule {name:?}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime for the test: {error}"));
    #[allow(
        clippy::disallowed_methods,
        reason = "a store that hangs must not hang its tests"
    )]
    let ended = runtime.block_on(async { tokio::time::timeout(TEST_LIMIT, case.check(harness)).await });
    assert!(
        ended.is_ok(),
        "the store hangs: {name} did not end within {TEST_LIMIT:?}"
    );
}
