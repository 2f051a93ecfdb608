//! Sentinel and Cluster: the right server is found, and found again.

use std::time::Duration;

use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Store, Version, Watch, WatchEvent};
use cache_redis::{Arrangement, DurabilityMode, RedisStore};
use cache_testkit::redis::{RedisCluster, Sentinels};
use futures_util::TryStreamExt;

use crate::support::{config, expect, key, next, open, pause};

#[tokio::test]
async fn sentinels_name_the_primary_before_and_after_a_failover() {
    let mut sentinels = Sentinels::start(2, 3).await.unwrap();
    let store = open(&sentinels.url()).await;
    assert_eq!(store.describe().await.unwrap().arrangement, Arrangement::Sentinel);
    let mut events = store.subscribe();
    let version = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    expect(&mut events, WatchEvent::Changed(key("a"), Some(version))).await;

    let killed = sentinels.kill_primary().await.unwrap();
    assert_eq!(next(&mut events).await, WatchEvent::Lost);
    sentinels.wait_for_new_primary(killed).await.unwrap();
    let version = write_until_it_works(&store, "b").await;
    assert_eq!(store.head(&key("b")).await.unwrap(), Some(version));
    assert_eq!(next(&mut events).await, WatchEvent::Lost, "listening again");
    let version = store
        .put(&key("c"), "1".into(), PutOptions::overwrite())
        .await
        .unwrap();
    expect(&mut events, WatchEvent::Changed(key("c"), Some(version))).await;
}

#[tokio::test]
async fn a_primary_that_falls_silent_is_left_for_the_new_one() {
    let sentinels = Sentinels::start_with_proxies(2, 3).await.unwrap();
    let config = config(&sentinels.url())
        .connect_timeout(Duration::from_millis(500))
        .response_timeout(Duration::from_millis(500))
        .watch_ping_interval(Duration::from_millis(200));
    let store = RedisStore::open(config).await.unwrap();
    let mut events = store.subscribe();
    let version = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    expect(&mut events, WatchEvent::Changed(key("a"), Some(version))).await;

    sentinels.cut_off(0);
    assert_eq!(next(&mut events).await, WatchEvent::Lost);
    let unanswered = store
        .put(&key("a"), "2".into(), PutOptions::overwrite())
        .await
        .unwrap_err();
    assert!(
        matches!(unanswered.kind(), ErrorKind::Timeout | ErrorKind::Unavailable),
        "{unanswered}"
    );
    sentinels.wait_for_new_primary(0).await.unwrap();
    write_until_it_works(&store, "b").await;
    assert_eq!(next(&mut events).await, WatchEvent::Lost);
    let version = store
        .put(&key("c"), "1".into(), PutOptions::overwrite())
        .await
        .unwrap();
    expect(&mut events, WatchEvent::Changed(key("c"), Some(version))).await;
}

async fn write_until_it_works(store: &RedisStore, name: &str) -> Version {
    for _ in 0..600 {
        match store.put(&key(name), "1".into(), PutOptions::overwrite()).await {
            Ok(version) => return version,
            Err(_) => pause(50).await,
        }
    }
    panic!("the new primary takes no writes");
}

#[tokio::test]
async fn a_service_that_no_sentinel_knows_is_an_invalid_argument() {
    let sentinels = Sentinels::start(1, 3).await.unwrap();
    let url = sentinels.url();
    let (hosts, _) = url.rsplit_once('/').unwrap();
    let error = RedisStore::open(config(&format!("{hosts}/nobody")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[tokio::test]
async fn a_cluster_is_written_read_listed_and_watched_as_one() {
    let cluster = RedisCluster::start(3, 0).await.unwrap();
    let store = open(&cluster.url()).await;
    let info = store.describe().await.unwrap();
    assert_eq!(
        (info.arrangement, info.primaries.len()),
        (Arrangement::Cluster, 3)
    );
    let mut events = store.subscribe();
    for number in 0..60 {
        let key = key(&format!("k{number}"));
        let version = store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
        expect(&mut events, WatchEvent::Changed(key, Some(version))).await;
    }
    let listed: Vec<_> = store.scan("k").try_collect().await.unwrap();
    assert_eq!(listed.len(), 60);
    for (key, version) in listed {
        assert_eq!(store.head(&key).await.unwrap(), Some(version));
        store.delete(&key, Some(version)).await.unwrap();
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = RedisCluster::start(3, 0).await.unwrap();
    let store = open(&cluster.url()).await;
    let (there, new) = (key("there"), key("new"));
    let version = store.put(&there, "1".into(), PutOptions::create()).await.unwrap();
    let mut name = String::new();
    for server in cluster.servers() {
        name += server.command(&["KEYS", "*}:there"]).await.unwrap().trim();
    }
    let source = cluster.primary_of(&name).await.unwrap();
    let target = (source + 1) % 3;
    cluster.begin_migration(&name, target).await.unwrap();
    // The record is still at the source; a script touches several keys, which may answer TRYAGAIN meanwhile.
    assert_eq!(store.head(&there).await.unwrap(), Some(version));
    if let Err(error) = store.put(&there, "2".into(), PutOptions::update(version)).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    cluster.finish_migration(&name, source, target).await.unwrap();
    let version = store
        .put(&there, "3".into(), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(store.head(&there).await.unwrap(), Some(version));
    store.put(&new, "1".into(), PutOptions::create()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_does_not_name_the_host_means_its_own() {
    let cluster = RedisCluster::start(3, 0).await.unwrap();
    for server in cluster.servers() {
        let setting = [
            "CONFIG",
            "SET",
            "cluster-preferred-endpoint-type",
            "unknown-endpoint",
        ];
        server.command(&setting).await.unwrap();
    }
    let store = open(&cluster.url()).await;
    let version = store.put(&key("there"), "1".into(), PutOptions::create()).await;
    let mut name = String::new();
    for server in cluster.servers() {
        name += server.command(&["KEYS", "*}:there"]).await.unwrap().trim();
    }
    let source = cluster.primary_of(&name).await.unwrap();
    let target = (source + 1) % 3;
    cluster.begin_migration(&name, target).await.unwrap();
    cluster.finish_migration(&name, source, target).await.unwrap();
    assert_eq!(store.head(&key("there")).await.unwrap(), Some(version.unwrap()));
}

#[tokio::test]
async fn a_cluster_replaces_a_primary() {
    let mut cluster = RedisCluster::start(3, 1).await.unwrap();
    let timeout = Duration::from_secs(1);
    let mode = DurabilityMode::Replicated { replicas: 1, timeout };
    let replicated = RedisStore::open(config(&cluster.url()).durability(mode))
        .await
        .unwrap();
    let store = open(&cluster.url()).await;
    replicated
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    let mut name = String::new();
    for server in cluster.servers() {
        let found = server.command(&["KEYS", "*}:a"]).await.unwrap();
        if !found.trim().is_empty() {
            name = found.trim().to_owned();
        }
    }
    let killed = cluster.kill_primary_of(&name).await.unwrap();
    cluster.wait_for_new_primary_of(&name, killed).await.unwrap();
    for _ in 0..600 {
        match store.get(&key("a")).await {
            Ok(record) => {
                assert_eq!(record.unwrap().payload, "1");
                store
                    .put(&key("a"), "2".into(), PutOptions::overwrite())
                    .await
                    .unwrap();
                return;
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
                "{error}"
            ),
        }
        pause(50).await;
    }
    panic!("the new primary was not found");
}

#[tokio::test]
async fn the_wrong_scheme_is_told_from_an_outage() {
    let cluster = RedisCluster::start(3, 0).await.unwrap();
    let node = cluster.servers()[0].url();
    let error = RedisStore::open(config(&node)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let server = cache_testkit::redis::RedisServer::start().await.unwrap();
    let url = server.url().replace("redis://", "redis-cluster://");
    let error = RedisStore::open(config(&url)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}
