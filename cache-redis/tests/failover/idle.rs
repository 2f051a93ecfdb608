//! A client that slept through a failover.

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
