//! Gate 11, its other half: primaries of Redis that are cut off with clients beside them.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use tokio::task::JoinHandle;

use crate::failover::clients::Clients;
use crate::failover::exchange::Exchange;
use crate::failover::score::{Score, Shared, open};
use crate::failover::topology::{Topology, Wires};
use crate::failover::workload::{Told, USERS, Workload};
use crate::failover::{Arrangement, Promise, witness};
use crate::fleet::scene::in_each;
use crate::gate::{Doing, Gate, GateError};
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 11,
    name: "redis-partition",
    title: "The Redis primary is cut off from its replica, from who decides and from most clients, while others stay beside it; then the cut heals",
    must: "0 wrong reads; with `Replicated` by all replicas, 0 acknowledged writes lost and 0 acknowledged by the old primary alone",
    unit: "cuts, 100 for each of two modes behind Sentinels and in a Cluster",
    full_size: 400,
    test_size: 4,
    batch: 20,
    limits: &[
        "The network is cut by proxies that stop passing bytes and keep connections open, on one machine.",
        "`Acknowledged` promises no more than right reads of what there is: what the old primary acknowledges alone is lost, and who is beside it reads what is older than what others were told. Both are counted, and no violations.",
        "All Sentinels, and two of three primaries of the Cluster, are on the other side of the cut.",
        "The clients of each side are two stores and two caches in one process. Their caches ask the store at each look; how long memory may serve in an outage is a setting, and tested elsewhere.",
    ],
    run,
};

/// How many replicas each primary has.
const REPLICAS: usize = 1;

/// How many writes of each task come before a cut, and how many must come after it.
const WRITES: u64 = 5;

/// How long clients go on after there is another primary, and after the cut has healed while the old one does not know that yet.
const LINGERS: Duration = Duration::from_millis(700);

/// Between two looks at everything that the other side wrote.
const LOOK: Duration = Duration::from_millis(20);

/// The users beside the primaries that are cut off begin here: others for each cut.
const BESIDE: u32 = 1_000;

fn run(_: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let arrangements = Arrangement::ALL.len();
    runtime()?.block_on(in_each(&Arrangement::ALL, cases, arrangements, cut))
}

async fn cut(arrangement: Arrangement, cases: Vec<u64>) -> Result<Tally, GateError> {
    let mut topology = Topology::start(arrangement, REPLICAS, Wires::Cuttable).await?;
    let mut tally = Tally::default();
    topology.version(&mut tally).await?;
    let clients = Clients::open(&topology.url(), arrangement.promise.mode(REPLICAS)).await?;
    let exchange = Arc::new(Exchange::default());
    let workload = Workload::start(arrangement, &clients, &exchange, "count", 1)?;
    for case in cases {
        let round = case / Arrangement::ALL.len() as u64;
        workload.until_all_write(WRITES).await?;
        let record = workload.told().name_of_counter(round);
        let old = topology.primary_of(&record).await?;
        let mut beside = Beside::start(
            arrangement,
            &topology.url_beside(old),
            &exchange,
            round,
            &workload,
        )
        .await?;
        let lost = workload.lost();
        _ = workload.take_longest_gaps();

        topology.cut_off(old);
        beside.workload.each(Score::mark);
        topology.until_replaced(&record, old).await?;
        workload.until_all_read(1).await?;
        let (_, reads) = workload.take_longest_gaps();
        if arrangement.promise == Promise::Acknowledged {
            // Else a write has too few replicas to wait for until the cut has healed.
            workload.until_all_write(WRITES).await?;
        }
        SystemClock.sleep(LINGERS).await;
        beside.tell_what_is_acknowledged_alone(&mut tally);

        topology.rejoin(old);
        SystemClock.sleep(LINGERS).await;
        beside.stop().await?;
        topology.until_whole().await?;
        workload.until_all_write(WRITES).await?;
        let (writes, _) = workload.take_longest_gaps();
        tally.at_most(
            &format!("{arrangement}: slowest recovery of reads in ms"),
            millis(reads),
        );
        tally.at_most(
            &format!("{arrangement}: slowest recovery of writes in ms"),
            millis(writes),
        );
        beside.finish(&clients, &mut tally).await?;
        tally.add(&format!("{arrangement}: cuts"), 1);
        let has_lost = workload.lost() > lost;
        tally.add(
            &format!("{arrangement}: cuts that lost writes which the other side acknowledged"),
            has_lost.into(),
        );
    }
    workload.finish(&clients, &mut tally).await?;
    Ok(tally)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Clients on the side of the old primary.
struct Beside {
    arrangement: Arrangement,
    workload: Workload,
    /// Reads what the other side was told that it wrote.
    watching: JoinHandle<()>,
    saw: Shared<Score>,
}

impl Beside {
    async fn start(
        arrangement: Arrangement,
        url: &str,
        exchange: &Arc<Exchange>,
        round: u64,
        others: &Workload,
    ) -> Result<Self, GateError> {
        let clients = Clients::open(url, arrangement.promise.mode(REPLICAS)).await?;
        let users = BESIDE + USERS * u32::try_from(round).doing("too many cuts")?;
        let name = format!("beside/{round}");
        let workload = Workload::start(arrangement, &clients, exchange, &name, users)?;
        let saw = Arc::new(Mutex::new(Score::new(arrangement.promise)));
        let watching = tokio::spawn(watch(clients, others.told().clone(), Arc::clone(&saw)));
        workload.until_all_write(WRITES).await?;
        Ok(Self {
            arrangement,
            workload,
            watching,
            saw,
        })
    }

    /// What was acknowledged since the cut, which nobody but the old primary can have. Told before the cut heals.
    fn tell_what_is_acknowledged_alone(&self, tally: &mut Tally) {
        let arrangement = self.arrangement;
        let alone = self.workload.each(|score| score.since_mark).iter().sum();
        tally.add(
            &format!("{arrangement}: acknowledged by the old primary alone"),
            alone,
        );
        if arrangement.promise == Promise::Durable && alone > 0 {
            tally.violation(format_args!(
                "{arrangement}: {alone} writes were acknowledged by the old primary alone"
            ));
        }
    }

    async fn stop(&mut self) -> Result<(), GateError> {
        self.watching.abort();
        self.workload.stop().await
    }

    /// Compares what they were told with what there is, as clients of the other side see it.
    async fn finish(self, clients: &Clients, tally: &mut Tally) -> Result<(), GateError> {
        open(&self.saw).tell_of_witness(self.arrangement, "beside the old primary", tally);
        self.workload.finish(clients, tally).await
    }
}

async fn watch(clients: Clients, told: Told, saw: Shared<Score>) {
    for turn in 0.. {
        let [client, _] = clients.in_turn(turn);
        witness::glance(client, &told, &saw).await;
        SystemClock.sleep(LOOK).await;
    }
}
