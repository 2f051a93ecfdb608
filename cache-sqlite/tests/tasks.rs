//! What the reader, writer and follower tasks do between a caller and the file.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::store::error::ErrorKind;
use cache_core::store::{Durability, PutOptions, Store, StoreError, Watch, WatchEvent};
use cache_core::time::Clock;
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::clock::ManualClock;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use support::{key, open, raw, within};
use tempfile::tempdir;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn concurrent_durable_writes_share_transactions() {
    let directory = tempdir().unwrap();
    let store = open(&directory.path().join("cache.db")).await;
    let keys: Vec<_> = (0..500).map(|number| key(&number.to_string())).collect();
    let puts = keys
        .iter()
        .map(|key| store.put(key, "payload".into(), PutOptions::create()));
    for result in join_all(puts).await {
        result.unwrap();
    }
    let statistics = store.statistics();
    assert_eq!(statistics.writes, 500);
    assert!(
        statistics.transactions <= 50,
        "{} transactions",
        statistics.transactions
    );

    let gets = join_all(keys.iter().map(|key| store.get(key))).await;
    assert!(gets.into_iter().all(|record| record.unwrap().is_some()));
    let statistics = store.statistics();
    assert_eq!(statistics.reads, 500);
    assert!(
        statistics.read_statements <= 100,
        "{} statements",
        statistics.read_statements
    );
}

#[tokio::test]
async fn conflict_in_a_batch_is_the_conflict_of_one() {
    let directory = tempdir().unwrap();
    let store = open(&directory.path().join("cache.db")).await;
    let contested = key("contested");
    let first = store
        .put(&contested, "first".into(), PutOptions::create())
        .await
        .unwrap();
    let keys: Vec<_> = (0..20).map(|number| key(&number.to_string())).collect();
    let contenders = (0..20).map(|_| store.put(&contested, "second".into(), PutOptions::update(first)));
    let others = keys
        .iter()
        .map(|key| store.put(key, "payload".into(), PutOptions::create()));
    let (contenders, others) = tokio::join!(join_all(contenders), join_all(others));
    assert!(others.iter().all(Result::is_ok));
    let winners: Vec<_> = contenders.iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert!(
        contenders
            .iter()
            .filter_map(|result| result.as_ref().err())
            .all(StoreError::is_conflict)
    );
    assert_eq!(store.head(&contested).await.unwrap(), Some(*winners[0]));
}

#[tokio::test]
async fn dropped_put_does_not_disturb_the_others() {
    let directory = tempdir().unwrap();
    let store = open(&directory.path().join("cache.db")).await;
    let abandoned = key("abandoned");
    for number in 0..100 {
        let put = store.put(
            &abandoned,
            Bytes::from(vec![number; 1000]),
            PutOptions::overwrite(),
        );
        let get = store.get(&abandoned);
        tokio::select! {
            biased;
            _ = put => {}
            _ = get => {}
            () = tokio::task::yield_now() => {}
        }
    }
    let key = key("kept");
    let version = store
        .put(&key, "payload".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(store.head(&key).await.unwrap(), Some(version));
    let record = store
        .get(&abandoned)
        .await
        .unwrap()
        .expect("the last dropped put was queued");
    assert_eq!(record.payload, vec![record.payload[0]; 1000], "whole, not torn");
}

#[tokio::test]
async fn close_commits_what_was_put_and_refuses_the_rest() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    let store = Arc::new(open(&path).await);
    let mut events = store.subscribe();
    let puts: Vec<_> = (0..50)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let options = PutOptions::create().durability(Durability::Relaxed);
                store
                    .put(&key(&number.to_string()), "payload".into(), options)
                    .await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    within(PATIENCE, "closing", store.close()).await;
    within(PATIENCE, "closing again", store.close()).await;

    let mut stored = 0;
    for put in puts {
        match put.await.unwrap() {
            Ok(_) => stored += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        }
    }
    assert!(stored > 0, "nothing was queued before the store was closed");
    let closed = |error: StoreError| assert_eq!(error.kind(), ErrorKind::Closed);
    closed(store.get(&key("1")).await.unwrap_err());
    closed(store.head(&key("1")).await.unwrap_err());
    closed(
        store
            .put(&key("1"), "payload".into(), PutOptions::overwrite())
            .await
            .unwrap_err(),
    );
    closed(store.delete(&key("1"), None).await.unwrap_err());
    closed(store.scan("").next().await.unwrap().unwrap_err());
    within(PATIENCE, "the end of the subscription", async {
        while events.next().await.is_some() {}
    })
    .await;
    assert_eq!(store.subscribe().next().await, None);

    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "the last one to close leaves no log"
    );
    assert_eq!(open(&path).await.scan("").count().await, stored);
}

#[tokio::test]
async fn dropped_store_commits_what_waits_and_lets_go_of_the_file() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    let store = open(&path).await;
    let put_key = key("record");
    let mut put = store.put(&put_key, "payload".into(), PutOptions::create());
    // Far enough for the write to be queued.
    assert!((&mut put).now_or_never().is_none());
    drop(put);
    drop(store);
    within(PATIENCE, "the end of the tasks", async {
        while std::fs::read_dir(directory.path()).unwrap().count() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(open(&path).await.get(&put_key).await.unwrap().is_some());
}

#[tokio::test]
async fn log_is_read_only_while_somebody_watches() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    let clock = ManualClock::new();
    let store = manual(&path, &clock).await;
    store
        .put(&key("record"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(store.statistics().reads, 0);

    let events = store.subscribe();
    within(PATIENCE, "the first look", clock.wait_for_sleepers(1)).await;
    assert_eq!(store.statistics().reads, 1);
    drop(events);
    clock.advance(Duration::from_secs(1));
    while clock.sleepers() > 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(60));
    store.head(&key("record")).await.unwrap();
    assert_eq!(store.statistics().reads, 2, "the head, and no look at the log");
}

#[tokio::test]
async fn watcher_that_is_too_far_behind_is_told() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    let watching = open(&path).await;
    let writing = open(&path).await;
    let options = PutOptions::overwrite().durability(Durability::Relaxed);
    let record = key("record");
    for _ in 0..5 {
        for result in join_all((0..1000).map(|_| writing.put(&record, "payload".into(), options))).await {
            result.unwrap();
        }
    }
    let mut connection = raw(&path).await;
    let (logged,): (i64,) = sqlx::query_as("SELECT count(*) FROM changes")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!((4096..4500).contains(&logged), "the log has {logged} entries");

    let mut events = watching.subscribe();
    let first = within(PATIENCE, "the first event", events.next()).await;
    assert_eq!(first, Some(WatchEvent::Lost));
    let version = writing.put(&record, "payload".into(), options).await.unwrap();
    let next = within(PATIENCE, "the next event", events.next()).await;
    assert_eq!(next, Some(WatchEvent::Changed(record, Some(version))));
}

#[tokio::test]
async fn own_changes_are_told_once_and_at_once() {
    let directory = tempdir().unwrap();
    let clock = ManualClock::new();
    let store = manual(&directory.path().join("cache.db"), &clock).await;
    let mut events = store.subscribe();
    within(PATIENCE, "the first look", clock.wait_for_sleepers(1)).await;
    let mut expected = Vec::new();
    for number in 0..10 {
        let key = key(&number.to_string());
        let version = store
            .put(&key, "payload".into(), PutOptions::create())
            .await
            .unwrap();
        expected.push(WatchEvent::Changed(key, Some(version)));
    }
    for event in expected {
        assert_eq!(
            within(PATIENCE, "an event", events.next()).await,
            Some(event),
            "without the clock moving"
        );
    }
    clock.advance(Duration::from_secs(1));
    within(PATIENCE, "the second look", clock.wait_for_sleepers(1)).await;
    assert!(events.next().now_or_never().is_none(), "told a second time");
}

#[tokio::test]
async fn expired_records_are_removed_by_later_writes() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    let clock = ManualClock::new();
    let store = manual(&path, &clock).await;
    let soon = clock.now().saturating_add(Duration::from_secs(60));
    let keys: Vec<_> = (0..100).map(|number| key(&format!("expires/{number}"))).collect();
    let options = PutOptions::create().expires_at(Some(soon));
    for result in join_all(keys.iter().map(|key| store.put(key, "payload".into(), options))).await {
        result.unwrap();
    }
    clock.advance(Duration::from_secs(60));
    let mut connection = raw(&path).await;
    let mut left = Vec::new();
    for _ in 0..3 {
        store
            .put(&key("lasting"), "payload".into(), PutOptions::overwrite())
            .await
            .unwrap();
        let (rows,): (i64,) = sqlx::query_as("SELECT count(*) FROM records")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        left.push(rows);
    }
    assert_eq!(left, [37, 1, 1], "64 with each write, and the lasting one stays");
}

#[tokio::test]
async fn configuration_that_makes_no_sense_is_refused() {
    let directory = tempdir().unwrap();
    let config = || SqliteConfig::new(directory.path().join("cache.db"));
    for config in [
        config().read_connections(0),
        config().read_connections(SqliteConfig::MAX_READ_CONNECTIONS + 1),
        config().busy_timeout(Duration::from_secs(u64::MAX)),
        config().watch_interval(Duration::ZERO),
        config().mmap_bytes(u64::MAX),
    ] {
        let error = SqliteStore::open(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

async fn manual(path: &Path, clock: &ManualClock) -> SqliteStore {
    let config = SqliteConfig::new(path).clock(Arc::new(clock.clone()));
    SqliteStore::open(config).await.unwrap()
}
