//! A primary that is cut off from its replicas and from the Sentinels, with a client on its side of the cut.

use std::sync::Mutex;
use std::time::Duration;

use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock};
use cache_redis::{DurabilityMode, RedisStore};
use cache_testkit::redis::Sentinels;

use crate::ledger::Ledger;
use crate::workload::{counter, increment};
use crate::{REPLICATED, config};

/// How long the client goes on writing after there is another primary.
const LINGERS: Duration = Duration::from_secs(2);

/// What the client on the wrong side was told, and what became of it.
struct Outcome {
    ledger: Ledger,
    /// Acknowledgements while the primary was cut off.
    acknowledged_alone: u64,
}

/// Cuts the primary off while a client writes to it, lets the others choose another, and heals the cut.
async fn cut_off(what: &str, durability: DurabilityMode) -> Outcome {
    let sentinels = Sentinels::start_with_proxy(1, 3).await.unwrap();
    // Through no Sentinel: on this side of the cut there is the old primary only.
    let store = RedisStore::open(config(&sentinels.servers()[0].url(), durability))
        .await
        .unwrap();
    let ledger = Mutex::new(Ledger::default());
    for _ in 0..50 {
        increment(&store, 0, &ledger).await;
    }
    let together = ledger.lock().unwrap().successes;
    assert_eq!(together, 50, "a whole topology acknowledges everything");

    sentinels.cut_off_first();
    let writes = async {
        loop {
            increment(&store, 0, &ledger).await;
            SystemClock.sleep(Duration::from_millis(2)).await;
        }
    };
    let others = async {
        let new = sentinels.wait_for_new_primary(0).await.unwrap();
        SystemClock.sleep(LINGERS).await;
        new
    };
    let new = tokio::select! {
        new = others => new,
        () = writes => unreachable!("the client never stops by itself"),
    };
    assert_eq!(new, 1);
    let acknowledged_alone = ledger.lock().unwrap().successes - together;

    sentinels.rejoin_first();
    sentinels.wait_until_whole().await.unwrap();
    let store = RedisStore::open(config(&sentinels.url(), durability))
        .await
        .unwrap();
    let record = store
        .get(&counter(0))
        .await
        .unwrap()
        .expect("the counter is gone");
    let text = String::from_utf8(record.payload.to_vec()).unwrap();
    let mut ledger = ledger.into_inner().unwrap();
    ledger.read(text.split_once(' ').unwrap().1.parse().unwrap());
    println!(
        "{what}, primary cut off: {acknowledged_alone} writes acknowledged by it alone, {} lost; {} attempts failed, {} \
         of them with an unknown outcome",
        ledger.lost, ledger.failures, ledger.unknown
    );
    // Afterwards everything goes on where the majority was.
    let ledger_after = Mutex::new(Ledger::default());
    for _ in 0..10 {
        increment(&store, 0, &ledger_after).await;
    }
    assert_eq!(ledger_after.lock().unwrap().successes, 10);
    Outcome {
        ledger,
        acknowledged_alone,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_cut_off_loses_what_it_alone_acknowledged() {
    let outcome = cut_off("Acknowledged", DurabilityMode::Acknowledged).await;
    // That is the promise of this mode, and the reason for the other.
    assert!(outcome.acknowledged_alone > 0);
    assert_eq!(outcome.ledger.lost, outcome.acknowledged_alone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_cut_off_acknowledges_nothing_that_must_be_replicated() {
    let outcome = cut_off("Replicated", REPLICATED).await;
    assert_eq!(outcome.ledger.lost, 0, "acknowledged writes are lost");
    assert_eq!(outcome.acknowledged_alone, 0, "nobody else can have had these");
    assert!(
        outcome.ledger.unknown > 0,
        "the writes must say that they may be lost"
    );
}
