//! Sentinels choose another primary.

use std::sync::Arc;

use cache_redis::{DurabilityMode, RedisStore};
use cache_testkit::redis::Sentinels;

use crate::rounds::Rounds;
use crate::workload::Workload;
use crate::{config, number_of_rounds, replicated};

/// Kills the primary in each round, and returns how many acknowledged writes were lost.
async fn kill_primaries(what: &str, durability: DurabilityMode) -> u64 {
    let mut sentinels = Sentinels::start(2, 3).await.unwrap();
    let store = RedisStore::open(config(&sentinels.url(), durability))
        .await
        .unwrap();
    let store = Arc::new(store);
    let workload = Workload::start(&store);
    let mut rounds = Rounds::default();
    for _ in 0..number_of_rounds() {
        rounds.before(&workload).await;
        let killed = sentinels.kill_primary().await.unwrap();
        sentinels.wait_for_new_primary(killed).await.unwrap();
        if durability == DurabilityMode::Acknowledged {
            rounds.after(&workload).await;
        }
        sentinels.restart_as_replica(killed).await.unwrap();
        sentinels.wait_until_whole().await.unwrap();
        // With every replica to wait for, nothing is acknowledged before the killed server is back.
        if durability != DurabilityMode::Acknowledged {
            rounds.after(&workload).await;
        }
    }
    let ledgers = workload.finish(&store).await;
    rounds.report(what, &ledgers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_go_on_with_another_primary() {
    // What the replicas did not have yet may be lost: that is what this mode promises, and it is printed. On a busy machine
    // it is much at times: the Sentinels then also depose a primary that lives, and goes on acknowledging until it is told.
    kill_primaries("Sentinel, acknowledged", DurabilityMode::Acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicated_writes_survive_their_primary() {
    // Both of them: the Sentinels may well promote the one of two that has received less.
    let lost = kill_primaries("Sentinel, replicated by both", replicated(2)).await;
    assert_eq!(lost, 0, "acknowledged writes are lost");
}
