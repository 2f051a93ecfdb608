//! Gate 11: primaries of Redis that are killed.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::failover::clients::{Client, Clients};
use crate::failover::score::{Score, open};
use crate::failover::topology::{Return, Topology, Wires};
use crate::failover::workload::Workload;
use crate::failover::{Arrangement, Promise, ended, note_recovery, witness};
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
        "On a busy machine Sentinels also depose a primary that lives, which goes on acknowledging for seconds: most of what is lost where nothing else is promised is lost so.",
        "One server is killed at a time, and the next one when all replicas have everything again. When all that have a write are killed at once, it is gone.",
        "The clients are two stores and two caches in one process. Their caches ask the store at each look; how long memory may serve in an outage is a setting, and tested elsewhere.",
    ],
    floors: &[],
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
    let mut killing = Killing::start(arrangement).await?;
    let ran = killing.kill_all(&cases).await;
    killing.tell();
    ended(ran, arrangement, &killing.topology, killing.tally).await
}

/// Servers of which one is killed after the other, and their clients.
struct Killing {
    arrangement: Arrangement,
    topology: Topology,
    clients: Clients,
    workload: Workload,
    /// A client that does nothing while others see a failover.
    sleeper: Client,
    slept: Mutex<Score>,
    tally: Tally,
}

impl Killing {
    async fn start(arrangement: Arrangement) -> Result<Self, GateError> {
        let topology = Topology::start(arrangement, REPLICAS, Wires::Fixed).await?;
        let mut tally = Tally::default();
        topology.version(&mut tally).await?;
        let (url, mode) = (topology.url(), arrangement.promise.mode(REPLICAS));
        let clients = Clients::open(&url, mode).await?;
        let workload = Workload::start(arrangement, &clients, &Arc::default(), "count", 1)?;
        Ok(Self {
            arrangement,
            topology,
            sleeper: Client::open(&url, mode).await?,
            slept: Mutex::new(Score::new(arrangement.promise)),
            clients,
            workload,
            tally,
        })
    }

    async fn kill_all(&mut self, cases: &[u64]) -> Result<(), GateError> {
        for case in cases {
            self.kill(case / Arrangement::ALL.len() as u64).await?;
        }
        self.workload.end(&self.clients).await
    }

    async fn kill(&mut self, round: u64) -> Result<(), GateError> {
        let Self {
            arrangement,
            topology,
            workload,
            sleeper,
            slept,
            tally,
            ..
        } = self;
        workload.until_all_write(WRITES).await?;
        witness::look(sleeper, workload.told(), slept).await?;
        let lost = workload.lost();
        _ = workload.take_longest_gaps();

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
        witness::look(sleeper, workload.told(), slept).await?;
        topology.until_whole().await?;
        // Where all replicas must have a write, nothing is acknowledged before the killed server is back.
        workload.until_all_write(WRITES).await?;

        let (writes, reads) = workload.take_longest_gaps();
        note_recovery(*arrangement, "writes", writes, tally);
        note_recovery(*arrangement, "reads", reads, tally);
        let mut add = |what: &str, number: u64| tally.add(&format!("{arrangement}: {what}"), number);
        add("kills", 1);
        let has_lost = workload.lost() > lost;
        add("kills that lost acknowledged writes", has_lost.into());
        let is_unprepared = how == Return::Unprepared;
        add("servers that came back unprepared", is_unprepared.into());
        Ok(())
    }

    fn tell(&mut self) {
        let who = "after sleeping through a failover";
        open(&self.slept).tell_of_witness(self.arrangement, who, &mut self.tally);
        self.workload.tell(&mut self.tally);
    }
}
