//! A Cluster whose slots move, and one that lost some.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache_core::store::Store;
use cache_core::store::error::{ErrorKind, Retry};
use cache_redis::RedisStore;
use cache_testkit::redis::{RedisCluster, RedisServer};

use crate::client::{PREFIX, assert_failed, config, create, key, open, put, text, until};
use crate::load::count;

/// A Redis key in the slot of the record `counter`.
async fn place(cluster: &RedisCluster) -> String {
    for server in cluster.servers() {
        let found = server
            .command(&["KEYS", &format!("{PREFIX}*:counter")])
            .await
            .unwrap();
        if !found.is_empty() {
            return found;
        }
    }
    panic!("no server has the record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_may_move_while_its_records_are_written() {
    let cluster = RedisCluster::start(3, 0).await.unwrap();
    let store = Arc::new(open(&cluster.url()).await);
    create(&store, "counter", "0").await.unwrap();
    // Another that learns of the moves only from what the servers answer.
    let other = Arc::new(open(&cluster.url()).await);
    let place = place(&cluster).await;

    let done = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = [Arc::clone(&store), Arc::clone(&store), other]
        .into_iter()
        .map(|store| {
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let mut counted = 0;
                while !done.load(Ordering::SeqCst) {
                    count(&store, "counter", 1, true).await;
                    counted += 1;
                }
                counted
            })
        })
        .collect();
    for _ in 0..6 {
        let owner = cluster.primary_of(&place).await.unwrap();
        let target = (owner + 1) % 3;
        let source = cluster.begin_migration(&place, target).await.unwrap();
        // For a while some of the slot's keys are here and some are there.
        create(&store, "counter2", "x").await.ok();
        cluster.finish_migration(&place, source, target).await.unwrap();
        cluster.wait_until_whole().await.unwrap();
        assert_eq!(cluster.primary_of(&place).await.unwrap(), target);
    }
    done.store(true, Ordering::SeqCst);
    let mut counted = 0;
    for task in tasks {
        counted += task.await.unwrap();
    }
    assert!(counted > 100, "only {counted}");
    assert_eq!(text(&store, "counter").await.unwrap(), counted.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_some_of_its_slots_is_unavailable_until_they_are_back() {
    let mut cluster = RedisCluster::start(3, 0).await.unwrap();
    let store = open(&cluster.url()).await;
    for number in 0..20 {
        put(&store, &number.to_string(), "text").await.unwrap();
    }
    cluster.servers()[1].command(&["SAVE"]).await.unwrap();
    cluster.servers_mut()[1].kill();
    // Everything is refused once the others have noticed, and nothing hangs.
    until("a cluster that is down", async || {
        let mut refused = 0;
        for number in 0..20 {
            if let Err(error) = store.get(&key(&number.to_string())).await {
                assert!(
                    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
                    "{error:?}"
                );
                assert_eq!(error.retry(), Retry::Yes, "{error:?}");
                refused += 1;
            }
        }
        refused == 20
    })
    .await;
    assert_failed(
        put(&store, "1", "refused").await,
        ErrorKind::Unavailable,
        Retry::Yes,
    );
    cluster.servers_mut()[1].restart().await.unwrap();
    cluster.wait_until_whole().await.unwrap();
    for number in 0..20 {
        assert_eq!(
            text(&store, &number.to_string()).await.as_deref(),
            Some("text"),
            "{number}"
        );
    }
    put(&store, "1", "after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_is_no_cluster_and_a_node_is_no_single_server() {
    let server = RedisServer::start().await.unwrap();
    let url = format!("redis-cluster://127.0.0.1:{}", server.port());
    assert_failed(
        RedisStore::open(config(&url)).await,
        ErrorKind::InvalidArgument,
        Retry::No,
    );
    let node = RedisServer::builder()
        .directive("cluster-enabled", "yes")
        .start()
        .await
        .unwrap();
    let words = assert_failed(
        RedisStore::open(config(&node.url())).await,
        ErrorKind::InvalidArgument,
        Retry::No,
    );
    assert!(words.contains("redis-cluster://"), "{words}");
}
