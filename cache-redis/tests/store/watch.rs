//! The channel of changes when things go wrong.

use std::sync::Arc;
use std::time::Duration;

use cache_core::store::{PutOptions, Store, Watch, WatchEvent};
use cache_core::time::{Clock, SystemClock};
use cache_redis::RedisStore;
use cache_testkit::clock::ManualClock;
use cache_testkit::redis::{RedisServer, Sentinels};
use futures_util::StreamExt;

use crate::support::{config, expect, key, next, open, pause};

#[tokio::test]
async fn a_connection_that_was_killed_is_a_gap_and_comes_back() {
    let server = RedisServer::start().await.unwrap();
    let (store, other) = (open(&server.url()).await, open(&server.url()).await);
    let mut events = store.subscribe();
    server
        .command(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .await
        .unwrap();
    assert_eq!(next(&mut events).await, WatchEvent::Lost, "the loss");
    assert_eq!(
        next(&mut events).await,
        WatchEvent::Lost,
        "and what came while nobody listened"
    );
    let version = other
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    expect(&mut events, WatchEvent::Changed(key("a"), Some(version))).await;
}

#[tokio::test]
async fn a_subscription_during_an_outage_is_told_when_it_is_over() {
    let mut server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut before = store.subscribe();
    server.stop().await.unwrap();
    assert_eq!(next(&mut before).await, WatchEvent::Lost);
    let mut during = store.subscribe();
    server.restart().await.unwrap();
    assert_eq!(next(&mut during).await, WatchEvent::Lost);
    assert_eq!(next(&mut before).await, WatchEvent::Lost);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_a_gap() {
    let server = RedisServer::start().await.unwrap();
    let clock = ManualClock::new();
    let config = config(&server.url())
        .clock(Arc::new(clock.clone()))
        .watch_ping_interval(Duration::from_secs(5))
        .response_timeout(Duration::from_secs(2));
    let store = RedisStore::open(config).await.unwrap();
    let mut events = store.subscribe();
    server.pause().unwrap();
    clock.wait_for_sleepers(2).await;
    clock.advance(Duration::from_secs(5));
    // The ping waits for its answer now, and the other check for its next time.
    clock.wait_for_sleepers(2).await;
    clock.advance(Duration::from_secs(2));
    assert_eq!(next(&mut events).await, WatchEvent::Lost);
    server.resume().unwrap();
}

#[tokio::test]
async fn a_server_that_answers_is_no_gap() {
    let server = RedisServer::start().await.unwrap();
    let config = config(&server.url()).watch_ping_interval(Duration::from_millis(10));
    let store = RedisStore::open(config).await.unwrap();
    let mut events = store.subscribe();
    pause(200).await;
    let version = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(
        next(&mut events).await,
        WatchEvent::Changed(key("a"), Some(version))
    );
}

#[tokio::test]
async fn a_store_that_opens_disturbs_nobody_and_a_stranger_does() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut events = store.subscribe();
    let other = open(&server.url()).await;
    let version = other
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(
        next(&mut events).await,
        WatchEvent::Changed(key("a"), Some(version))
    );
    server
        .command(&["PUBLISH", "tokenkeep:changes:0", "something newer"])
        .await
        .unwrap();
    assert_eq!(next(&mut events).await, WatchEvent::Lost);
}

#[tokio::test]
async fn a_write_that_conflicts_announces_nothing() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut events = store.subscribe();
    let version = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    expect(&mut events, WatchEvent::Changed(key("a"), Some(version))).await;
    store
        .put(&key("a"), "2".into(), PutOptions::create())
        .await
        .unwrap_err();
    store.delete(&key("none"), None).await.unwrap();
    store.delete(&key("a"), None).await.unwrap();
    assert_eq!(next(&mut events).await, WatchEvent::Changed(key("a"), None));
}

#[tokio::test]
async fn a_closed_or_dropped_store_ends_its_watches() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut events = store.subscribe();
    store.close().await;
    assert_eq!(events.next().await, None);
    assert_eq!(store.subscribe().next().await, None);
    let store = open(&server.url()).await;
    let mut events = store.subscribe();
    drop(store);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn sentinels_that_fall_silent_delay_no_check() {
    let sentinels = Sentinels::start(1, 1).await.unwrap();
    let config = config(&sentinels.url())
        .watch_ping_interval(Duration::from_millis(200))
        .response_timeout(Duration::from_millis(200));
    let store = RedisStore::open(config).await.unwrap();
    sentinels.pause_sentinels().unwrap();
    // They are asked, and given five seconds to answer a connection.
    pause(600).await;
    let mut events = store.subscribe();
    sentinels.servers()[0].pause().unwrap();
    let started = SystemClock.monotonic();
    assert_eq!(next(&mut events).await, WatchEvent::Lost);
    let took = SystemClock.monotonic().saturating_sub(started);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_watch_ends_with_the_runtime_of_its_store() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let server = second.block_on(RedisServer::start()).unwrap();
    let store = first.block_on(open(&server.url()));
    let mut events = store.subscribe();
    drop(first);
    second.block_on(async {
        let end = tokio::select! {
            event = events.next() => event,
            () = pause(10_000) => panic!("the watch goes on, and nobody listens"),
        };
        assert_eq!(end, None);
        assert_eq!(store.subscribe().next().await, None);
    });
}
