//! Gate 11: primaries of Redis that are killed.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::failover::clients::{Client, Clients};
use crate::failover::exchange::Exchange;
use crate::failover::score::{Score, open};
use crate::failover::topology::{Return, Topology, Wires};
use crate::failover::workload::Workload;
use crate::failover::{Arrangement, Promise, witness};
use crate::fleet::scene::in_each;
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 11,
    name: "redis-failover",
    title: "The Redis primary is killed, behind Sentinels and in a Cluster, while clients count, exchange records, sign in and out",
    must: "0 wrong reads; with `Replicated` by all replicas, 0 acknowledged writes lost",
    unit: "kills, 100 for each of two modes behind Sentinels and in a Cluster",
    full_size: 400,
    test_size: 4,
    batch: 40,
    limits: &[
        "`Acknowledged` promises no more than right reads of what there is: what it loses is counted, and is no violation.",
        "One server is killed at a time, and the next one when all replicas have everything again. When all that have a write are killed at once, it is gone.",
        "The clients are two stores and two caches in one process. Their caches ask the store at each look; how long memory may serve in an outage is a setting, and tested elsewhere.",
    ],
    run,
};

/// How many replicas each primary has. Of two, the one may be promoted that has received less.
const REPLICAS: usize = 2;

/// How many writes of each task come before a kill, and how many must come after it.
const WRITES: u64 = 5;

/// In one of so many kills the server comes back unprepared.
const UNPREPARED: u64 = 4;

fn run(_: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let arrangements = Arrangement::ALL.len();
    runtime()?.block_on(in_each(&Arrangement::ALL, cases, arrangements, kill))
}

async fn kill(arrangement: Arrangement, cases: Vec<u64>) -> Result<Tally, GateError> {
    let mut topology = Topology::start(arrangement, REPLICAS, Wires::Fixed).await?;
    let mut tally = Tally::default();
    topology.version(&mut tally).await?;
    let (url, mode) = (topology.url(), arrangement.promise.mode(REPLICAS));
    let clients = Clients::open(&url, mode).await?;
    let sleeper = Client::open(&url, mode).await?;
    let slept = Mutex::new(Score::new(arrangement.promise));
    let exchange = Arc::new(Exchange::default());
    let workload = Workload::start(arrangement, &clients, &exchange, "count", 1)?;
    for case in cases {
        let round = case / Arrangement::ALL.len() as u64;
        workload.until_all_write(WRITES).await?;
        witness::look(&sleeper, workload.told(), &slept).await?;
        _ = workload.take_longest_gaps();
        let lost = workload.lost();

        let record = workload.told().name_of_counter(round);
        let killed = topology.primary_of(&record).await?;
        topology.kill(killed);
        topology.until_replaced(&record, killed).await?;
        if arrangement.promise == Promise::Acknowledged {
            workload.until_all_write(WRITES).await?;
        }
        let how = if round.is_multiple_of(UNPREPARED) {
            Return::Unprepared
        } else {
            Return::AsReplica
        };
        topology.restart(killed, how).await?;
        // It used no connection meanwhile, and may find another server where its primary was.
        witness::look(&sleeper, workload.told(), &slept).await?;
        topology.until_whole().await?;
        // Where all replicas must have a write, nothing is acknowledged before the killed server is back.
        workload.until_all_write(WRITES).await?;

        let (writes, reads) = workload.take_longest_gaps();
        let mut at_most = |what: &str, time: Duration| {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            tally.at_most(
                &format!("{arrangement}: slowest recovery of {what} in ms"),
                millis,
            );
        };
        at_most("writes", writes);
        at_most("reads", reads);
        tally.add(&format!("{arrangement}: kills"), 1);
        let has_lost = workload.lost() > lost;
        tally.add(
            &format!("{arrangement}: kills that lost acknowledged writes"),
            has_lost.into(),
        );
        let unprepared = how == Return::Unprepared;
        tally.add(
            &format!("{arrangement}: servers that came back unprepared"),
            unprepared.into(),
        );
    }
    open(&slept).tell_of_witness(arrangement, "after sleeping through a failover", &mut tally);
    workload.finish(&clients, &mut tally).await?;
    Ok(tally)
}
