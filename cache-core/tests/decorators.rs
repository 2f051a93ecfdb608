//! What each decorator adds to the store inside it.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::random::OsRandom;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{Edit, MemoryStore, PutOptions, RetryPolicy, Store, StoreExt, StoreKey, WatchEvent};
use cache_core::time::{Clock, UnixMillis};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use cache_testkit::random::{FailingRandom, SeededRandom};
use futures_util::{StreamExt, TryStreamExt};

fn key(name: impl AsRef<str>) -> StoreKey {
    StoreKey::new(name).unwrap()
}

/// A faulty store over memory, all on one clock.
fn faulty() -> (FaultStore, MemoryStore, ManualClock) {
    let clock = ManualClock::new();
    let memory = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
    let store = FaultStore::new(Arc::new(memory.clone()), Arc::new(clock.clone()));
    (store, memory, clock)
}

#[tokio::test]
async fn prefix_shows_its_part_only() {
    let backend = MemoryStore::new();
    let store = backend.clone().with_prefix("app/").unwrap();
    backend
        .put(&key("other"), "x".into(), PutOptions::create())
        .await
        .unwrap();
    backend
        .put(
            &key("app/"),
            "a key that is nothing but the prefix".into(),
            PutOptions::create(),
        )
        .await
        .unwrap();
    store
        .put(&key("a"), "x".into(), PutOptions::create())
        .await
        .unwrap();
    assert!(backend.exists(&key("app/a")).await.unwrap());
    assert_eq!(store.collect_keys("").await.unwrap(), [key("a")]);
    assert!(!store.exists(&key("other")).await.unwrap());
    let error = store
        .get(&key("k".repeat(StoreKey::MAX_BYTES)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::InvalidArgument, Operation::Get)
    );
    assert!(backend.with_prefix("has space").is_err());
}

#[tokio::test]
async fn prefix_passes_on_its_changes_only() {
    let backend = MemoryStore::new();
    let store = backend.clone().with_prefix("app/").unwrap();
    let mut events = store.watch().unwrap().subscribe();
    backend
        .put(&key("other"), "x".into(), PutOptions::create())
        .await
        .unwrap();
    let version = store
        .put(&key("a"), "x".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(
        events.next().await,
        Some(WatchEvent::Changed(key("a"), Some(version)))
    );
}

#[tokio::test]
async fn timeout_tells_reads_from_writes() {
    let (faulty, _, clock) = faulty();
    faulty.inject(Fault::delay(Duration::from_secs(60)));
    let store = Arc::new(faulty.with_timeout(Duration::from_secs(2), Arc::new(clock.clone())));
    let k = key("a");
    let (a, b, c, d) = (
        Arc::clone(&store),
        Arc::clone(&store),
        Arc::clone(&store),
        Arc::clone(&store),
    );
    let (ka, kb, kc) = (k.clone(), k.clone(), k);
    let get = tokio::spawn(async move { a.get(&ka).await.map(|_| ()) });
    let put = tokio::spawn(async move { b.put(&kb, Bytes::new(), PutOptions::create()).await.map(|_| ()) });
    let delete = tokio::spawn(async move { c.delete(&kc, None).await });
    let scan = tokio::spawn(async move { d.scan("").try_collect::<Vec<_>>().await.map(|_| ()) });
    // Each of the four waits twice: for its delay and for its limit.
    clock.wait_for_sleepers(8).await;
    clock.advance(Duration::from_secs(2));
    for (task, retry) in [
        (get, Retry::Yes),
        (put, Retry::OutcomeUnknown),
        (delete, Retry::OutcomeUnknown),
        (scan, Retry::Yes),
    ] {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Timeout, retry),
            "{error}"
        );
    }
    assert_eq!(clock.sleepers(), 0, "what ran out was dropped");
}

#[tokio::test]
async fn retry_sends_again_what_was_not_applied_and_nothing_else() {
    let (faulty, memory, clock) = faulty();
    clock.auto_advance(true);
    let store = faulty.clone().with_retry(
        RetryPolicy::default(),
        Arc::new(clock.clone()),
        Arc::new(SeededRandom::new(1)),
    );

    faulty.inject(Fault::fail(ErrorKind::Unavailable).times(3));
    store
        .put(&key("a"), "x".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(faulty.count(Operation::Put), 4);
    assert!(clock.monotonic() > Duration::ZERO && clock.monotonic() <= Duration::from_millis(700));

    faulty.heal();
    faulty.inject(Fault::fail(ErrorKind::Unavailable).on(Operation::Get));
    assert_eq!(
        store.get(&key("a")).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(faulty.count(Operation::Get), 4, "attempts are bounded");

    faulty.heal();
    faulty.reset_counts();
    faulty.inject(Fault::lost_reply().once());
    let error = store
        .put(&key("b"), "x".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert!(error.is_outcome_unknown() && memory.exists(&key("b")).await.unwrap());
    assert_eq!(
        faulty.count(Operation::Put),
        1,
        "an unknown outcome is not sent again"
    );
    assert!(
        store
            .put(&key("b"), "x".into(), PutOptions::create())
            .await
            .unwrap_err()
            .is_conflict()
    );
    assert_eq!(faulty.count(Operation::Put), 2, "a conflict is not sent again");
}

#[tokio::test]
async fn retry_of_a_scan_repeats_no_item() {
    let (faulty, _, clock) = faulty();
    clock.auto_advance(true);
    let store = faulty
        .clone()
        .with_retry(RetryPolicy::default(), Arc::new(clock), Arc::new(FailingRandom));
    store
        .put(&key("a"), "x".into(), PutOptions::create())
        .await
        .unwrap();
    faulty.inject(Fault::fail(ErrorKind::Unavailable).on(Operation::Scan).times(2));
    assert_eq!(store.collect_keys("").await.unwrap(), [key("a")]);
    faulty.inject(Fault::lost_reply().on(Operation::Scan));
    let items: Vec<_> = store.scan("").collect().await;
    assert!(
        matches!(&items[..], [Ok(_), Err(_)]),
        "an error after the first item is passed on: {items:?}"
    );
}

#[tokio::test]
async fn limit_lets_so_many_in_and_no_more() {
    let (faulty, _, _) = faulty();
    let (pause, point) = Fault::pause_before();
    faulty.inject(pause.on(Operation::Get));
    let store = Arc::new(faulty.clone().with_limit(2));
    let readers: Vec<_> = (0..5)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.get(&key("a")).await })
        })
        .collect();
    point.reached_by(2).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(faulty.count(Operation::Get), 2);
    point.release();
    for reader in readers {
        assert!(reader.await.unwrap().is_ok());
    }
    assert_eq!(faulty.count(Operation::Get), 5);
}

#[tokio::test]
async fn limit_of_one_allows_reads_during_a_scan() {
    let store = MemoryStore::new().with_limit(1);
    store
        .put(&key("a"), "x".into(), PutOptions::create())
        .await
        .unwrap();
    let mut scan = store.scan("");
    while let Some(item) = scan.next().await {
        assert!(store.exists(&item.unwrap().0).await.unwrap());
    }
}

#[tokio::test]
async fn ended_scan_stays_ended() {
    let clock = ManualClock::new();
    let store = MemoryStore::new()
        .with_timeout(Duration::from_secs(1), Arc::new(clock.clone()))
        .with_limit(1)
        .with_retry(
            RetryPolicy::default(),
            Arc::new(clock.clone()),
            Arc::new(OsRandom),
        )
        .with_metrics("memory", Arc::new(clock))
        .with_prefix("app/")
        .unwrap();
    let mut scan = store.scan("");
    for _ in 0..3 {
        assert!(scan.next().await.is_none());
    }
}

#[tokio::test]
async fn update_with_begins_anew_after_a_conflict() {
    let store = MemoryStore::new();
    let rival = store.clone();
    let a = key("a");
    let attempts = NonZeroU32::new(2).unwrap();
    let mut calls = 0;
    let append = |current: Option<&cache_core::store::Record>| Edit::Write {
        payload: [current.map_or(&b""[..], |record| &record.payload), b"+"]
            .concat()
            .into(),
        expires_at: None,
    };
    let version = store
        .update_with(&key("a"), attempts, |current| {
            calls += 1;
            if calls == 1 {
                // Somebody else creates the record between read and write.
                let create = rival.put(&a, "rival".into(), PutOptions::create());
                futures_util::FutureExt::now_or_never(create).unwrap().unwrap();
            }
            append(current)
        })
        .await
        .unwrap();
    let record = store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(
        (calls, &record.payload[..], Some(record.version)),
        (2, &b"rival+"[..], version)
    );

    let always_late = store.update_with(&a, attempts, |current| {
        let overwrite = rival.put(&a, "rival".into(), PutOptions::overwrite());
        futures_util::FutureExt::now_or_never(overwrite).unwrap().unwrap();
        append(current)
    });
    assert!(always_late.await.unwrap_err().is_conflict());
    assert_eq!(
        store
            .update_with(&key("b"), attempts, |_| Edit::Delete)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        store
            .update_with(&key("a"), attempts, |_| Edit::Delete)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        store
            .update_with(&key("a"), attempts, |_| Edit::Keep)
            .await
            .unwrap(),
        None
    );
    assert!(!store.exists(&key("a")).await.unwrap());
}

#[tokio::test]
async fn try_create_says_whether_it_created() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let version = store.try_create(&key("a"), "x".into(), None).await.unwrap();
    assert_eq!(store.head(&key("a")).await.unwrap(), version);
    assert_eq!(store.try_create(&key("a"), "y".into(), None).await.unwrap(), None);
}

#[tokio::test]
async fn memory_sweeps_expired_records_out() {
    let clock = ManualClock::new();
    let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
    let soon = |clock: &ManualClock| Some(UnixMillis(clock.now().0 + 1));
    for number in 0..10_000 {
        let options = PutOptions::create().expires_at(soon(&clock));
        store
            .put(&key(format!("short-lived/{number}")), Bytes::new(), options)
            .await
            .unwrap();
        clock.advance(Duration::from_millis(1));
    }
    let shown = format!("{store:?}");
    let kept: usize = shown
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap();
    assert!(
        kept <= 65,
        "of 10,000 records of which none lives, {kept} are kept"
    );
}
