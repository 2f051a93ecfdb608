//! Gate 5: processes that count together.

use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::store::{InvalidStoreKey, PutOptions, Store, StoreKey};
use cache_sqlite::{SqliteConfig, SqliteStore};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::child::{Child, Task, report};
use crate::gate::{Doing, Gate, GateError};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 5,
    name: "compare-and-swap",
    title: "16 processes × 8 tasks of compare-and-swap on one SQLite database",
    must: "0 lost updates",
    unit: "increments",
    full_size: 1_000_000,
    test_size: 2_560,
    batch: 25_600,
    limits: &["One host: SQLite's file is not for network file systems, which the store refuses."],
    floors: &[
        ("increments acknowledged", 1.0),
        ("conflicts, tried again", 0.0005),
    ],
    run,
};

const PROCESSES: u64 = 16;
const TASKS: u64 = 8;
/// Few enough that most increments meet another, enough that the writes do not queue at one record.
const COUNTERS: usize = 32;

/// One of the processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counting {
    database: PathBuf,
    /// Its place in the records.
    process: u64,
    increments: u64,
    seed: u64,
}

/// What a process was told of its increments, counter by counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    acknowledged: Vec<u64>,
    /// Those of which the store said that it does not know.
    unknown: Vec<u64>,
    conflicts: u64,
}

impl Counting {
    pub(crate) fn perform(self) -> Result<(), GateError> {
        runtime()?.block_on(async {
            let store = SqliteStore::open(SqliteConfig::new(&self.database)).await;
            let store = Arc::new(store.doing("could not open the database")?);
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let share = self.increments / TASKS + u64::from(task < self.increments % TASKS);
                    tokio::spawn(count(
                        Arc::clone(&store),
                        self.process,
                        share,
                        self.seed * TASKS + task,
                    ))
                })
                .collect();
            let mut all = Counted::empty();
            for task in tasks {
                let counted = task.await.doing("a task ended")?.doing("an increment failed")?;
                all.merge(&counted);
            }
            store.close().await;
            report(&all)
        })
    }
}

impl Counted {
    fn empty() -> Self {
        Self {
            acknowledged: vec![0; COUNTERS],
            unknown: vec![0; COUNTERS],
            conflicts: 0,
        }
    }

    fn merge(&mut self, other: &Self) {
        for counter in 0..COUNTERS {
            self.acknowledged[counter] += other.acknowledged[counter];
            self.unknown[counter] += other.unknown[counter];
        }
        self.conflicts += other.conflicts;
    }
}

async fn count(
    store: Arc<SqliteStore>,
    process: u64,
    increments: u64,
    seed: u64,
) -> Result<Counted, Box<dyn Error + Send + Sync>> {
    let mut chance = chance(GATE.number, seed);
    let mut counted = Counted::empty();
    for _ in 0..increments {
        let counter = chance.random_range(0..COUNTERS);
        let key = key(counter)?;
        loop {
            let (mut counts, options) = match store.get(&key).await? {
                Some(record) => (Counts::from(record.payload), PutOptions::update(record.version)),
                None => (Counts::default(), PutOptions::create()),
            };
            counts.0[process as usize] += 1;
            match store.put(&key, counts.into(), options).await {
                Ok(_) => {
                    counted.acknowledged[counter] += 1;
                    break;
                }
                Err(error) if error.is_conflict() => counted.conflicts += 1,
                Err(error) if error.is_outcome_unknown() => {
                    counted.unknown[counter] += 1;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(counted)
}

/// A record: how often each process has counted. A lost update takes a count from a process that was told that it counts.
#[derive(Default)]
struct Counts([u64; PROCESSES as usize]);

impl From<Bytes> for Counts {
    fn from(payload: Bytes) -> Self {
        let mut counts = Self::default();
        for (count, bytes) in counts.0.iter_mut().zip(payload.chunks_exact(8)) {
            *count = bytes
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
        }
        counts
    }
}

impl From<Counts> for Bytes {
    fn from(counts: Counts) -> Self {
        counts.0.iter().flat_map(|count| count.to_le_bytes()).collect()
    }
}

fn key(counter: usize) -> Result<StoreKey, InvalidStoreKey> {
    StoreKey::new(format!("counter/{counter}"))
}

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let folder = stage.folder()?;
    let database = folder.path().join("cache.db");
    let increments = cases.end - cases.start;
    let mut children = (0..PROCESSES)
        .map(|process| {
            stage.start(&Task::Count(Counting {
                database: database.clone(),
                process,
                increments: increments / PROCESSES + u64::from(process < increments % PROCESSES),
                seed: cases.start * PROCESSES + process,
            }))
        })
        .collect::<Result<Vec<Child>, _>>()?;
    let counted = children
        .iter_mut()
        .map(Child::report)
        .collect::<Result<Vec<Counted>, _>>()?;

    let mut tally = Tally::default();
    runtime()?.block_on(async {
        let store = SqliteStore::open(SqliteConfig::new(&database)).await;
        let store = store.doing("could not open the database")?;
        for counter in 0..COUNTERS {
            let record = store.get(&key(counter).doing("a key")?).await.doing("could not read")?;
            let stored = record.map_or_else(Counts::default, |record| Counts::from(record.payload));
            for (process, (counted, stored)) in counted.iter().zip(stored.0).enumerate() {
                let acknowledged = counted.acknowledged[counter];
                let at_most = acknowledged + counted.unknown[counter];
                tally.check((acknowledged..=at_most).contains(&stored), || {
                    format!("counter {counter} has {stored} of process {process}, which was told of {acknowledged}")
                });
                tally.add("increments acknowledged", acknowledged);
                tally.add("increments of unknown outcome", counted.unknown[counter]);
            }
        }
        store.close().await;
        Ok::<(), GateError>(())
    })?;
    for counted in &counted {
        tally.add("conflicts, tried again", counted.conflicts);
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_their_record() {
        let mut counts = Counts::default();
        counts.0[3] = 513;
        let payload = Bytes::from(counts);
        assert_eq!(Counts::from(payload).0[..5], [0, 0, 0, 513, 0]);
    }
}
