//! The fault store does what each fault says, and nothing without one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::random::OsRandom;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use cache_testkit::clock::ManualClock;
use cache_testkit::conformance_tests;
use cache_testkit::fault::{Fault, FaultStore};
use cache_testkit::suite::Harness;
use futures_util::TryStreamExt;

struct Faultless {
    store: MemoryStore,
    clock: ManualClock,
}

impl Faultless {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self {
            store: MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)),
            clock,
        }
    }
}

#[async_trait]
impl Harness for Faultless {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(FaultStore::new(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
        ))
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod without_faults {
    use super::*;
    conformance_tests!(Faultless::new());
}

fn key(name: &str) -> StoreKey {
    StoreKey::new(name).unwrap_or_else(|error| panic!("{error}"))
}

fn over(inner: &MemoryStore) -> FaultStore {
    FaultStore::new(Arc::new(inner.clone()), Arc::new(ManualClock::new()))
}

#[tokio::test]
async fn fails_only_what_it_names() {
    let store = over(&MemoryStore::new());
    let unavailable = Fault::fail(ErrorKind::Unavailable).on(Operation::Get);
    store.inject(unavailable.at_key(|key| key.as_str() == "a").after(1).times(2));
    let (a, b) = (key("a"), key("b"));
    assert!(store.get(&b).await.is_ok());
    assert!(store.get(&a).await.is_ok(), "the first is let pass");
    for _ in 0..2 {
        let error = store.get(&a).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unavailable, Retry::Yes)
        );
        assert_eq!(error.operation(), Operation::Get);
        assert!(store.head(&a).await.is_ok());
    }
    assert!(store.get(&a).await.is_ok(), "it strikes twice and no more");
    assert_eq!(
        (
            store.count(Operation::Get),
            store.count(Operation::Head),
            store.total()
        ),
        (5, 2, 7)
    );
    store.reset_counts();
    assert_eq!(store.total(), 0);
}

#[tokio::test]
async fn lost_reply_and_lost_request_look_the_same() {
    let inner = MemoryStore::new();
    let store = over(&inner);
    store.inject(Fault::lost_reply().on(Operation::Put).once());
    store.inject(Fault::lost_request().on(Operation::Put).after(1).once());
    let applied = store
        .put(&key("applied"), "x".into(), PutOptions::create())
        .await
        .unwrap_err();
    let not_applied = store
        .put(&key("not"), "x".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(applied.to_string(), not_applied.to_string());
    assert!(applied.is_outcome_unknown() && not_applied.is_outcome_unknown());
    assert!(inner.get(&key("applied")).await.unwrap().is_some());
    assert!(inner.get(&key("not")).await.unwrap().is_none());
}

#[tokio::test]
async fn crash_ends_everything_before_or_after_the_write() {
    for (fault, survives) in [(Fault::crash_before(), false), (Fault::crash_after(), true)] {
        let inner = MemoryStore::new();
        let store = over(&inner);
        store.inject(fault.on(Operation::Put));
        let error = store
            .put(&key("a"), "x".into(), PutOptions::create())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(store.has_crashed());
        assert_eq!(store.get(&key("a")).await.unwrap_err().kind(), ErrorKind::Closed);
        let scan: Result<Vec<_>, _> = store.scan("").try_collect().await;
        assert_eq!(scan.unwrap_err().kind(), ErrorKind::Closed);
        let reopened = over(&inner);
        assert_eq!(reopened.get(&key("a")).await.unwrap().is_some(), survives);
    }
}

#[tokio::test]
async fn crash_takes_paused_operations_with_it() {
    let inner = MemoryStore::new();
    let store = over(&inner);
    let (pause, point) = Fault::pause_before();
    store.inject(pause.on(Operation::Put));
    store.inject(Fault::crash_before().on(Operation::Get));
    let writer = tokio::spawn({
        let store = store.clone();
        async move { store.put(&key("a"), "x".into(), PutOptions::create()).await }
    });
    point.reached().await;
    assert!(store.get(&key("a")).await.is_err());
    point.release();
    assert_eq!(writer.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(inner.get(&key("a")).await.unwrap().is_none());
}

#[tokio::test]
async fn pause_holds_an_operation_before_or_after_it_is_applied() {
    for (applied, (pause, point)) in [(false, Fault::pause_before()), (true, Fault::pause_after())] {
        let inner = MemoryStore::new();
        let store = over(&inner);
        store.inject(pause.on(Operation::Put).once());
        let writer = tokio::spawn({
            let store = store.clone();
            async move { store.put(&key("a"), "x".into(), PutOptions::create()).await }
        });
        point.reached().await;
        assert_eq!(inner.get(&key("a")).await.unwrap().is_some(), applied);
        assert!(!writer.is_finished());
        point.release();
        assert!(writer.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn delay_waits_on_the_clock() {
    let clock = ManualClock::new();
    let store = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(clock.clone()));
    store.inject(Fault::delay(Duration::from_secs(5)));
    let reader = tokio::spawn({
        let store = store.clone();
        async move { store.get(&key("a")).await }
    });
    clock.wait_for_sleepers(1).await;
    clock.advance(Duration::from_millis(4999));
    tokio::task::yield_now().await;
    assert!(!reader.is_finished());
    clock.advance(Duration::from_millis(1));
    assert!(reader.await.unwrap().is_ok());
    store.heal();
    assert!(store.get(&key("a")).await.is_ok());
}
