//! A client that slept through a failover.

use std::time::Duration;

use bytes::Bytes;
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_redis::{DurabilityMode, RedisStore};
use cache_testkit::redis::{RedisCluster, Sentinels};

use crate::config;

/// The old primary is back, empty, and does not know yet that it is none any more. It must not be taken for one: a
/// session that is there would look signed out, and a write would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_asks_the_sentinels_before_it_connects_again() {
    let mut sentinels = Sentinels::start(1, 3).await.unwrap();
    let url = sentinels.url();
    let idle = RedisStore::open(config(&url, DurabilityMode::Acknowledged))
        .await
        .unwrap();
    let key = StoreKey::new("session").unwrap();
    idle.put(&key, Bytes::from("there"), PutOptions::create())
        .await
        .unwrap();
    sentinels.servers()[0]
        .command(&["WAIT", "1", "10000"])
        .await
        .unwrap();

    let killed = sentinels.kill_primary().await.unwrap();
    sentinels.wait_for_new_primary(killed).await.unwrap();
    sentinels.servers_mut()[killed].restart().await.unwrap();
    let record = loop {
        match idle.get(&key).await {
            Ok(record) => break record,
            Err(error) => assert_ne!(error.retry(), cache_core::store::error::Retry::No, "{error:?}"),
        }
    };
    assert_eq!(record.expect("the record looks gone").payload, "there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_learns_who_owns_a_slot_when_it_comes_back() {
    let mut cluster = RedisCluster::start(3, 1).await.unwrap();
    let idle = RedisStore::open(config(&cluster.url(), DurabilityMode::Acknowledged))
        .await
        .unwrap();
    let keys: Vec<_> = (0..30)
        .map(|number| StoreKey::new(format!("session/{number}")).unwrap())
        .collect();
    for key in &keys {
        idle.put(key, Bytes::from("there"), PutOptions::create())
            .await
            .unwrap();
    }
    for server in cluster.servers() {
        server.command(&["WAIT", "1", "1000"]).await.ok();
    }
    let killed = cluster.kill_primary_of("a").await.unwrap();
    cluster.wait_for_new_primary_of("a", killed).await.unwrap();
    cluster.servers_mut()[killed].restart().await.unwrap();
    for key in &keys {
        let record = loop {
            match idle.get(key).await {
                Ok(record) => break record,
                Err(error) => assert_ne!(error.retry(), cache_core::store::error::Retry::No, "{error:?}"),
            }
        };
        assert_eq!(record.expect("the record looks gone").payload, "there");
    }
}

/// Nothing failed: the Sentinels moved the primary elsewhere, and the old one ended its connections and went on as a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_does_not_read_from_a_primary_that_was_demoted() {
    let sentinels = Sentinels::start(1, 3).await.unwrap();
    // Without the check that finds it out later.
    let config =
        config(&sentinels.url(), DurabilityMode::Acknowledged).watch_ping_interval(Duration::from_secs(3600));
    let idle = RedisStore::open(config).await.unwrap();
    let key = StoreKey::new("session").unwrap();
    idle.put(&key, Bytes::from("there"), PutOptions::create())
        .await
        .unwrap();
    let old = sentinels.fail_over().await.unwrap();
    sentinels.wait_until_whole().await.unwrap();
    let reads = async || {
        let statistics = sentinels.servers()[old].command(&["INFO", "commandstats"]).await;
        let statistics = statistics.unwrap();
        let line = statistics.lines().find(|line| line.starts_with("cmdstat_hmget:"));
        line.map(|line| line.split(',').next().unwrap_or_default().to_owned())
    };
    let before = reads().await;
    for _ in 0..5 {
        idle.get(&key).await.unwrap().expect("it is there");
    }
    assert_eq!(reads().await, before, "a replica was asked");
}
