//! A primary that is cut off from its replicas and from the Sentinels, with clients on its side of the cut.
//!
//! The cut is a proxy that stops passing bytes, so that it needs neither root nor network namespaces.

use std::sync::Arc;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_redis::{DurabilityMode, RedisStore};
use cache_testkit::redis::Sentinels;

use crate::ledger::Ledger;
use crate::rounds::Rounds;
use crate::workload::Workload;
use crate::{config, replicated};

/// After this, whatever was under way when the cable was pulled has ended: longer than a replica may take.
const SETTLES: Duration = Duration::from_millis(600);

/// How long the clients go on writing after there is another primary.
const LINGERS: Duration = Duration::from_secs(2);

/// What the clients on the wrong side of the cut were told, and what became of it.
struct Outcome {
    /// Acknowledgements while the primary was cut off.
    acknowledged_alone: u64,
    /// Acknowledgements whose write was gone afterwards.
    lost: u64,
    /// Writes whose outcome was said to be unknown.
    unknown: u64,
}

/// Cuts the primary off while clients write to it, lets the others choose another, and heals the cut.
async fn cut_off(what: &str, durability: DurabilityMode) -> Outcome {
    let sentinels = Sentinels::start_with_proxies(1, 3).await.unwrap();
    // Through no Sentinel: on this side of the cut there is the old primary only.
    let url = sentinels.servers()[0].url();
    let old = RedisStore::open(config(&url, durability)).await.unwrap();
    let mut workload = Workload::start(&Arc::new(old));
    workload.until_all_succeed(20).await;

    sentinels.cut_off(0);
    SystemClock.sleep(SETTLES).await;
    let successes = |workload: &Workload| workload.each(|ledger| ledger.successes).iter().sum::<u64>();
    let before = successes(&workload);
    assert_eq!(sentinels.wait_for_new_primary(0).await.unwrap(), 1);
    SystemClock.sleep(LINGERS).await;
    workload.stop().await;
    let acknowledged_alone = successes(&workload) - before;

    sentinels.rejoin(0);
    sentinels.wait_until_whole().await.unwrap();
    let store = RedisStore::open(config(&sentinels.url(), durability))
        .await
        .unwrap();
    let ledgers = workload.finish(&store).await;
    let sum = |of: fn(&Ledger) -> u64| ledgers.iter().map(of).sum::<u64>();
    let outcome = Outcome {
        acknowledged_alone,
        lost: sum(|ledger| ledger.lost),
        unknown: sum(|ledger| ledger.unknown),
    };
    println!(
        "{what}, primary cut off: {acknowledged_alone} increments acknowledged by it alone, {} acknowledged ones lost, {} \
         with an unknown outcome",
        outcome.lost, outcome.unknown
    );
    // Afterwards everything goes on where the majority was.
    let again = Workload::start(&Arc::new(store));
    again.until_all_succeed(5).await;
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_cut_off_loses_what_it_alone_acknowledged() {
    let outcome = cut_off("Acknowledged", DurabilityMode::Acknowledged).await;
    // That is the promise of this mode, and the reason for the other.
    assert!(outcome.acknowledged_alone > 0);
    assert!(outcome.lost >= outcome.acknowledged_alone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_cut_off_acknowledges_nothing_that_must_be_replicated() {
    let outcome = cut_off("Replicated", replicated(1)).await;
    assert_eq!(outcome.lost, 0, "acknowledged writes are lost");
    assert_eq!(outcome.acknowledged_alone, 0, "nobody else can have had these");
    assert!(outcome.unknown > 0, "the writes must say that they may be lost");
}

/// Nothing is refused when a primary is cut off: its clients find out by a time limit only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_on_the_other_side_of_the_cut_go_on_with_another_primary() {
    let sentinels = Sentinels::start_with_proxies(2, 3).await.unwrap();
    let store = RedisStore::open(config(&sentinels.url(), replicated(1)))
        .await
        .unwrap();
    let store = Arc::new(store);
    let workload = Workload::start(&store);
    let mut rounds = Rounds::default();
    rounds.before(&workload).await;
    sentinels.cut_off(0);
    sentinels.wait_for_new_primary(0).await.unwrap();
    rounds.after(&workload).await;
    sentinels.rejoin(0);
    sentinels.wait_until_whole().await.unwrap();
    workload.until_all_succeed(20).await;
    let ledgers = workload.finish(&store).await;
    let lost = rounds.report("Sentinel, replicated, primary cut off", &ledgers);
    assert_eq!(lost, 0, "acknowledged writes are lost");
}
