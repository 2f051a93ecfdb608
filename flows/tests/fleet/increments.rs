//! Sixteen processes of eight tasks each count together, through the cache: no increment that was acknowledged is lost.

use cache_core::strategy::Coalescing;
use cache_core::time::{Clock, SystemClock};
use futures_util::future::join_all;
use serde_json::json;

use crate::fleet::Fleet;
use crate::place::{Backend, Ground};
use crate::setup::Setup;
use crate::{PROCESSES, counter, rounds};

const TASKS: u64 = 8;

/// Few enough that some tasks of other processes are always at the same one.
const COUNTERS: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost_on_sqlite() {
    no_increment_is_lost(Backend::Sqlite, rounds(32)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost_on_redis() {
    no_increment_is_lost(Backend::Redis, rounds(80)).await;
}

/// Each of the tasks adds one `each` times.
async fn no_increment_is_lost(backend: Backend, each: u64) {
    let ground = Ground::prepare(backend).await;
    let setup = Setup {
        coalescing: Coalescing::None,
        ..Setup::of_ground(&ground)
    };
    let cache = setup.cache().await;
    for number in 0..COUNTERS {
        counter::begin(&cache, number).await;
    }
    let fleet = Fleet::start(&setup, PROCESSES);
    let began = SystemClock.monotonic();
    // Neighbours overlap, and all come by all counters.
    let counting = fleet.members.iter().zip((0..).step_by(2)).map(|(member, from)| {
        member.ask(json!({ "do": "count", "tasks": TASKS, "each": each, "counters": COUNTERS, "from": from }))
    });
    let answers = join_all(counting).await;
    let took = SystemClock.monotonic() - began;
    fleet.end().await;

    let acknowledged = answers
        .iter()
        .map(|answer| answer["acknowledged"].as_u64().unwrap());
    let acknowledged: u64 = acknowledged.sum();
    assert_eq!(acknowledged, u64::try_from(PROCESSES).unwrap() * TASKS * each);
    let mut stored = 0;
    for number in 0..COUNTERS {
        stored += counter::end(&cache, number).await;
    }
    assert_eq!(stored, acknowledged);
    println!("{backend:?}: {acknowledged} increments acknowledged in {took:.1?}, none lost");
}
