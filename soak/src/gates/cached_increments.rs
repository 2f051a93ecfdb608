//! Gate 5, through all of the cache: processes that count together in refresh tokens.

use std::ops::Range;

use futures_util::future::try_join_all;

use crate::fleet::counter::{self, Counting};
use crate::fleet::orders::{Answer, Order};
use crate::fleet::place::{Backend, Ground};
use crate::fleet::scene::in_each;
use crate::fleet::{Fleet, Issuer, PROCESSES, Setup, unexpected};
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 5,
    name: "cached-increments",
    title: "16 processes × 8 tasks of compare-and-swap through all of the cache, over SQLite and over Redis",
    must: "0 lost updates",
    unit: "increments",
    full_size: 200_000,
    test_size: 2_560,
    batch: 20_000,
    limits: &[
        "Each increment opens, merges and seals a partition, so there are fewer of them than of those of the stores alone.",
    ],
    floors: &[
        ("increments acknowledged over SQLite", 0.4),
        ("increments acknowledged over Redis", 0.4),
    ],
    run,
};

const TASKS: u64 = 8;
/// Few enough that some tasks of other processes are always at the same one.
const COUNTERS: u64 = 64;

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    runtime()?.block_on(in_each(&Backend::ALL, cases, 1, async |backend, increments| {
        count(stage, backend, increments.len() as u64).await
    }))
}

async fn count(stage: &Stage, backend: Backend, increments: u64) -> Result<Tally, GateError> {
    let ground = Ground::prepare(stage, backend, false).await?;
    let setup = Setup {
        coalesced: false,
        ..Setup::new(&ground, Issuer::nobody())
    };
    let cache = setup.cache().await?;
    for number in 0..COUNTERS {
        counter::begin(&cache, number).await?;
    }
    let fleet = Fleet::start(stage, &setup, PROCESSES)?;
    let processes = PROCESSES as u64;
    // Neighbours overlap, and all come by all counters.
    let counting = fleet.members.iter().zip(0..).map(|(member, process)| {
        member.ask(Order::Count(Counting {
            tasks: TASKS,
            increments: increments / processes + u64::from(process < increments % processes),
            counters: COUNTERS,
            from: 2 * process,
        }))
    });
    let answers = try_join_all(counting).await?;
    fleet.end().await?;

    let mut tally = Tally::default();
    let mut acknowledged = 0;
    for answer in answers {
        let Answer::Counted(counted) = answer else {
            return Err(unexpected(&answer));
        };
        acknowledged += counted.acknowledged;
        for failed in counted.failed {
            tally.violation(format_args!("{backend}: {failed}"));
        }
    }
    let mut stored = 0;
    for number in 0..COUNTERS {
        stored += counter::end(&cache, number).await?;
    }
    if let Some(version) = ground.version().await? {
        tally.version("Redis", version);
    }
    tally.check(stored == acknowledged, || {
        format!("{backend}: {acknowledged} increments were acknowledged, and the counters stand at {stored}")
    });
    tally.add(&format!("increments acknowledged over {backend}"), acknowledged);
    Ok(tally)
}
