//! Replicas take over the slots of their primary.

use std::sync::Arc;

use cache_redis::{DurabilityMode, RedisStore};
use cache_testkit::redis::RedisCluster;

use crate::rounds::Rounds;
use crate::workload::{TASKS, Workload, counter};
use crate::{config, number_of_rounds, replicated};

/// Kills the primary of another counter in each round, and returns how many acknowledged writes were lost.
async fn kill_primaries(what: &str, replicas: usize, durability: DurabilityMode) -> u64 {
    let mut cluster = RedisCluster::start(3, replicas).await.unwrap();
    let store = RedisStore::open(config(&cluster.url(), durability))
        .await
        .unwrap();
    let store = Arc::new(store);
    let workload = Workload::start(&store);
    let mut rounds = Rounds::default();
    for round in 0..number_of_rounds() {
        rounds.before(&workload).await;
        let place = place(&cluster, round % TASKS).await;
        let killed = cluster.kill_primary_of(&place).await.unwrap();
        cluster.wait_for_new_primary_of(&place, killed).await.unwrap();
        if durability == DurabilityMode::Acknowledged {
            rounds.after(&workload).await;
        }
        cluster.servers_mut()[killed].restart().await.unwrap();
        cluster.wait_until_whole().await.unwrap();
        // With every replica to wait for, nothing is acknowledged before the killed server is back.
        if durability != DurabilityMode::Acknowledged {
            rounds.after(&workload).await;
        }
    }
    let ledgers = workload.finish(&store).await;
    rounds.report(what, &ledgers)
}

/// The Redis key of a task's counter.
async fn place(cluster: &RedisCluster, task: usize) -> String {
    for server in cluster.servers() {
        let pattern = format!("*:{}", counter(task));
        let found = server.command(&["KEYS", &pattern]).await.unwrap();
        if !found.is_empty() {
            return found;
        }
    }
    panic!("no server has {}", counter(task));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_go_on_with_another_primary() {
    // What the replica did not have yet may be lost: that is what this mode promises, and it is printed.
    kill_primaries("Cluster, acknowledged", 1, DurabilityMode::Acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicated_writes_survive_their_primary() {
    // Both of them: a Cluster may well promote the one of two that has received less.
    let lost = kill_primaries("Cluster, replicated by both", 2, replicated(2)).await;
    assert_eq!(lost, 0, "acknowledged writes are lost");
}
