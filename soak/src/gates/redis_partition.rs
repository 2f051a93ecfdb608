//! Gate 11, its other half: primaries of Redis that are cut off with clients beside them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::failover::clients::Clients;
use crate::failover::exchange::Exchange;
use crate::failover::score::{Score, Shared, open};
use crate::failover::topology::{Topology, Wires};
use crate::failover::workload::{Told, USERS, Workload};
use crate::failover::{Arrangement, Deciders, Promise, ended, note_recovery, witness};
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
    batch: 40,
    limits: &[
        "The network is cut by proxies that stop passing bytes and keep connections open, on one machine.",
        "`Acknowledged` promises no more than right reads of what there is: what the old primary acknowledges alone is lost, and who is beside it reads what is older than what others were told. Both are counted, and no violations.",
        "All Sentinels, and two of three primaries of the Cluster, are on the other side of the cut.",
        "The clients of each side are two stores and two caches in one process. Their caches ask the store at each look; how long memory may serve in an outage is a setting, and tested elsewhere.",
    ],
    floors: &[],
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

/// Sentinels tell an old primary only after eight seconds that it is none any more: meanwhile others of theirs are at work.
const AT_ONCE_BEHIND_SENTINELS: u64 = 2;

fn run(_: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let mut shares = BTreeMap::<(u64, u64), Vec<u64>>::new();
    for case in cases {
        let (round, arrangement) = (case / ARRANGEMENTS, case % ARRANGEMENTS);
        let lane = match arrangement_of(case).deciders {
            Deciders::Sentinel => round % AT_ONCE_BEHIND_SENTINELS,
            Deciders::Cluster => 0,
        };
        shares.entry((arrangement, lane)).or_default().push(case);
    }
    let runs = shares
        .into_values()
        .map(|cases| cut(arrangement_of(cases[0]), cases));
    let tallies = runtime()?.block_on(join_all(runs));
    tallies.into_iter().try_fold(Tally::default(), |mut all, tally| {
        all.merge(tally?);
        Ok(all)
    })
}

const ARRANGEMENTS: u64 = Arrangement::ALL.len() as u64;

fn arrangement_of(case: u64) -> Arrangement {
    Arrangement::ALL[usize::try_from(case % ARRANGEMENTS).unwrap_or_default()]
}

async fn cut(arrangement: Arrangement, cases: Vec<u64>) -> Result<Tally, GateError> {
    let mut cutting = Cutting::start(arrangement).await?;
    let ran = cutting.cut_all(&cases).await;
    cutting.workload.tell(&mut cutting.tally);
    ended(ran, arrangement, &cutting.topology, cutting.tally).await
}

/// Servers of which one is cut off after the other, and the clients of the other side.
struct Cutting {
    arrangement: Arrangement,
    topology: Topology,
    clients: Clients,
    exchange: Arc<Exchange>,
    workload: Workload,
    tally: Tally,
}

impl Cutting {
    async fn start(arrangement: Arrangement) -> Result<Self, GateError> {
        let topology = Topology::start(arrangement, REPLICAS, Wires::Cuttable).await?;
        let mut tally = Tally::default();
        topology.version(&mut tally).await?;
        let clients = Clients::open(&topology.url(), arrangement.promise.mode(REPLICAS)).await?;
        let exchange = Arc::new(Exchange::default());
        Ok(Self {
            arrangement,
            workload: Workload::start(arrangement, &clients, &exchange, "count", 1)?,
            topology,
            clients,
            exchange,
            tally,
        })
    }

    async fn cut_all(&mut self, cases: &[u64]) -> Result<(), GateError> {
        for case in cases {
            let round = case / ARRANGEMENTS;
            self.workload.until_all_write(WRITES).await?;
            let record = self.workload.told().name_of_counter(round);
            let old = self.topology.primary_of(&record).await?;
            let url = self.topology.url_beside(old);
            let mut beside =
                Beside::start(self.arrangement, &url, &self.exchange, round, &self.workload).await?;
            let ran = self.cut(old, &record, &mut beside).await;
            beside.tell(&mut self.tally);
            ran?;
        }
        self.workload.end(&self.clients).await
    }

    async fn cut(&mut self, old: usize, record: &str, beside: &mut Beside) -> Result<(), GateError> {
        let Self {
            arrangement,
            topology,
            workload,
            tally,
            ..
        } = self;
        let lost = workload.lost();
        _ = workload.take_longest_gaps();

        topology.cut_off(old);
        beside.workload.each(Score::mark);
        topology.until_replaced(record, old).await?;
        workload.until_all_read(1).await?;
        let (_, reads) = workload.take_longest_gaps();
        if arrangement.promise == Promise::Acknowledged {
            // Else a write has too few replicas to wait for until the cut has healed.
            workload.until_all_write(WRITES).await?;
        }
        SystemClock.sleep(LINGERS).await;
        beside.tell_what_is_acknowledged_alone(tally);

        topology.rejoin(old);
        SystemClock.sleep(LINGERS).await;
        beside.stop().await?;
        topology.until_whole().await?;
        workload.until_all_write(WRITES).await?;
        let (writes, _) = workload.take_longest_gaps();
        beside.workload.end(&self.clients).await?;

        note_recovery(*arrangement, "reads", reads, tally);
        note_recovery(*arrangement, "writes", writes, tally);
        let mut add = |what: &str, number: u64| tally.add(&format!("{arrangement}: {what}"), number);
        add("cuts", 1);
        let has_lost = workload.lost() > lost;
        add("cuts that lost what the other side acknowledged", has_lost.into());
        Ok(())
    }
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

    fn tell(&self, tally: &mut Tally) {
        open(&self.saw).tell_of_witness(self.arrangement, "beside the old primary", tally);
        self.workload.tell(tally);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn watch(clients: Clients, told: Told, saw: Shared<Score>) {
    for turn in 0.. {
        let [client, _] = clients.in_turn(turn);
        witness::glance(client, &told, &saw).await;
        SystemClock.sleep(LOOK).await;
    }
}
