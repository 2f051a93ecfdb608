//! Gate 5, its other half: what tasks are told of one record is what one record could have done.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreError, StoreKey, Version};
use cache_core::time::SystemClock;
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::fault::{Fault, FaultStore};
use rand::Rng;
use rand::rngs::StdRng;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::Action::{Call, Response};
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::gate::{Doing, Gate, GateError};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 5,
    name: "histories",
    title: "Tasks read, write and delete one record at once, through a store that loses requests and replies of each",
    must: "every history linearizable, no version twice",
    unit: "histories",
    full_size: 20_000,
    test_size: 120,
    batch: 1_000,
    limits: &[
        "Stores in memory and in SQLite, the latter by two connections as two processes have; Redis is held to the same rules by the conformance suite, and by its failovers.",
    ],
    floors: &[("conflicts", 1.0), ("operations of unknown outcome", 0.5)],
    run,
};

const TASKS: usize = 5;
const OPERATIONS: usize = 7;

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let folder = stage.folder()?;
    runtime()?.block_on(async {
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let mut databases = Vec::<Arc<dyn Store>>::new();
        for _ in 0..2 {
            let store = SqliteStore::open(SqliteConfig::new(folder.path().join("cache.db"))).await;
            databases.push(Arc::new(store.doing("could not open the database")?));
        }
        let mut tally = Tally::default();
        for case in cases {
            let stores = if case % 4 == 0 {
                [Arc::clone(&memory), Arc::clone(&memory)]
            } else {
                [Arc::clone(&databases[0]), Arc::clone(&databases[1])]
            };
            let told = Told::by(stores, case).await?;
            told.judge(case, &mut tally);
        }
        Ok(tally)
    })
}

/// One operation and its end, as the specification sees it. Each write has a number of its own, which is what it writes.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// What was read: the number of a write.
    Read(Option<usize>),
    /// A read whose request or reply was lost. It says nothing.
    Unread,
    Write {
        number: usize,
        condition: Condition,
        end: End,
    },
    Delete {
        condition: Condition,
        end: End,
    },
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    None,
    /// There must be no record.
    Absent,
    /// The record must be the one with this write.
    Is(usize),
}

impl Condition {
    fn holds(self, record: Option<usize>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => record.is_none(),
            Self::Is(number) => record == Some(number),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Conflict,
    /// It was done at some time after it began, or never: which is as good as after everything else.
    Unknown,
}

/// A record, as the contract of a store has it.
struct OneRecord;

impl Specification for OneRecord {
    type State = Option<usize>;
    type Operation = Step;

    fn init() -> Self::State {
        None
    }

    fn apply(step: &Step, record: &Self::State) -> (bool, Self::State) {
        let (condition, end, after) = match *step {
            Step::Read(found) => return (found == *record, *record),
            Step::Unread => return (true, *record),
            Step::Write {
                number,
                condition,
                end,
            } => (condition, end, Some(number)),
            Step::Delete { condition, end } => (condition, end, None),
        };
        match (condition.holds(*record), end) {
            (true, End::Done | End::Unknown) => (true, after),
            (false, End::Conflict | End::Unknown) => (true, *record),
            (true, End::Conflict) | (false, End::Done) => (false, *record),
        }
    }
}

/// What the tasks did, and what they were told, in the order in which it happened.
#[derive(Default)]
struct Told {
    actions: Vec<(usize, Action<Step>)>,
    /// What ended unknown: open until the end.
    open: Vec<(usize, Step)>,
    /// The write that each version is of.
    versions: HashMap<Version, usize>,
    twice: Vec<Version>,
    operations: usize,
}

type Shared = Arc<Mutex<Told>>;

fn lock(told: &Shared) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Told {
    async fn by(stores: [Arc<dyn Store>; 2], case: u64) -> Result<Self, GateError> {
        let told = Shared::default();
        let key = StoreKey::new(format!("record/{case}")).doing("a key")?;
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let mut chance = chance(GATE.number, case * TASKS as u64 + task as u64);
                let store = faulty(&stores[task % 2], &mut chance);
                let (told, key) = (Arc::clone(&told), key.clone());
                tokio::spawn(async move { work(&store, &key, &told, &mut chance).await })
            })
            .collect();
        for task in tasks {
            task.await.doing("a task ended")?.doing("an operation failed")?;
        }
        let told = std::mem::take(&mut *lock(&told));
        Ok(told)
    }

    /// A new operation: its number, which is its write's too.
    fn begins(&mut self) -> usize {
        self.operations += 1;
        // What it is follows with its end; the checker looks at nothing else.
        self.actions.push((self.operations, Call(Step::Read(None))));
        self.operations
    }

    fn ends(&mut self, number: usize, step: Step) {
        match step {
            Step::Write {
                end: End::Unknown, ..
            }
            | Step::Delete {
                end: End::Unknown, ..
            } => self.open.push((number, step)),
            _ => self.actions.push((number, Response(step))),
        }
    }

    fn is_of(&mut self, version: Version, write: usize) {
        if self
            .versions
            .insert(version, write)
            .is_some_and(|known| known != write)
        {
            self.twice.push(version);
        }
    }

    fn judge(mut self, case: u64, tally: &mut Tally) {
        let steps = |end: End| {
            self.actions.iter().filter(move |(_, action)| {
                matches!(action, Response(Step::Write { end: of, .. } | Step::Delete { end: of, .. }) if *of == end)
            })
        };
        tally.add("conflicts", steps(End::Conflict).count() as u64);
        tally.add("operations", self.operations as u64);
        tally.add("operations of unknown outcome", self.open.len() as u64);
        let deletes = self
            .open
            .iter()
            .filter(|(_, step)| matches!(step, Step::Delete { .. }));
        tally.add("deletes of unknown outcome", deletes.count() as u64);
        let unread = self
            .actions
            .iter()
            .filter(|(_, action)| matches!(action, Response(Step::Unread)));
        tally.add("reads that were lost", unread.count() as u64);
        tally.check(self.twice.is_empty(), || {
            format!("history {case}: a version recurred")
        });
        self.actions
            .extend(self.open.drain(..).map(|(number, step)| (number, Response(step))));
        let shown = format!("{:?}", self.actions);
        let holds = WGLChecker::<OneRecord>::is_linearizable(History::from_actions(self.actions));
        tally.check(holds, || format!("history {case} is not linearizable: {shown}"));
    }
}

/// A store between which and its task a request or a reply may get lost.
fn faulty(store: &Arc<dyn Store>, chance: &mut StdRng) -> Arc<dyn Store> {
    let faults = FaultStore::new(Arc::clone(store), Arc::new(SystemClock));
    if chance.random_bool(0.5) {
        let fault = if chance.random_bool(0.5) {
            Fault::lost_reply()
        } else {
            Fault::lost_request()
        };
        // Most operations are writes, and a task may delete once or never.
        let (operation, among) = match chance.random_range(0..10) {
            0..5 => (Operation::Put, OPERATIONS / 2),
            5..8 => (Operation::Delete, 1),
            _ => (Operation::Get, 2),
        };
        let after = chance.random_range(0..among);
        faults.inject(fault.on(operation).after(after).once());
    }
    Arc::new(faults)
}

async fn work(
    store: &Arc<dyn Store>,
    key: &StoreKey,
    told: &Shared,
    chance: &mut StdRng,
) -> Result<(), StoreError> {
    let mut seen = None;
    for _ in 0..OPERATIONS {
        match (chance.random_range(0..10), seen) {
            (0..3, _) => {
                let number = lock(told).begins();
                let record = match store.get(key).await {
                    Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => {
                        lock(told).ends(number, Step::Unread);
                        continue;
                    }
                    read => read?,
                };
                let found = record.as_ref().map(|record| number_in(&record.payload));
                let mut told = lock(told);
                told.ends(number, Step::Read(found));
                seen = record.map(|record| record.version);
                if let (Some(version), Some(found)) = (seen, found) {
                    told.is_of(version, found);
                }
            }
            (3, _) => {
                write(
                    store,
                    key,
                    told,
                    PutOptions::overwrite(),
                    Condition::None,
                    &mut seen,
                )
                .await?
            }
            (4, _) | (5..9, None) => {
                write(
                    store,
                    key,
                    told,
                    PutOptions::create(),
                    Condition::Absent,
                    &mut seen,
                )
                .await?;
            }
            (5..9, Some(version)) => {
                let condition = Condition::Is(write_of(told, version));
                write(
                    store,
                    key,
                    told,
                    PutOptions::update(version),
                    condition,
                    &mut seen,
                )
                .await?;
            }
            (_, expected) => {
                let condition =
                    expected.map_or(Condition::None, |version| Condition::Is(write_of(told, version)));
                let number = lock(told).begins();
                let end = end_of(store.delete(key, expected).await)?;
                lock(told).ends(number, Step::Delete { condition, end });
                seen = None;
            }
        }
    }
    Ok(())
}

async fn write(
    store: &Arc<dyn Store>,
    key: &StoreKey,
    told: &Shared,
    options: PutOptions,
    condition: Condition,
    seen: &mut Option<Version>,
) -> Result<(), StoreError> {
    let number = lock(told).begins();
    let written = store.put(key, payload(number), options).await;
    let version = written.as_ref().ok().copied();
    let end = end_of(written.map(|_| ()))?;
    let mut told = lock(told);
    told.ends(
        number,
        Step::Write {
            number,
            condition,
            end,
        },
    );
    if let Some(version) = version {
        told.is_of(version, number);
        *seen = Some(version);
    }
    Ok(())
}

fn end_of(result: Result<(), StoreError>) -> Result<End, StoreError> {
    match result {
        Ok(()) => Ok(End::Done),
        Err(error) if error.is_conflict() => Ok(End::Conflict),
        Err(error) if error.is_outcome_unknown() => Ok(End::Unknown),
        Err(error) => Err(error),
    }
}

/// The write that a version is of: whoever knows a version has read it or was given it.
fn write_of(told: &Shared, version: Version) -> usize {
    lock(told).versions.get(&version).copied().unwrap_or_default()
}

fn payload(number: usize) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

fn number_in(payload: &[u8]) -> usize {
    payload.try_into().map_or(0, usize::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: usize, condition: Condition, end: End) -> Action<Step> {
        Response(Step::Write {
            number,
            condition,
            end,
        })
    }

    fn is_linearizable(actions: Vec<(usize, Action<Step>)>) -> bool {
        WGLChecker::<OneRecord>::is_linearizable(History::from_actions(actions))
    }

    const BEGUN: Action<Step> = Call(Step::Read(None));

    #[test]
    fn a_lost_update_is_found() {
        let both_update = |second| {
            is_linearizable(vec![
                (1, BEGUN),
                (1, written(1, Condition::Absent, End::Done)),
                (2, BEGUN),
                (3, BEGUN),
                (2, written(2, Condition::Is(1), End::Done)),
                (3, written(3, Condition::Is(1), second)),
            ])
        };
        assert!(both_update(End::Conflict));
        assert!(!both_update(End::Done));
    }

    #[test]
    fn what_ended_unknown_may_show_later_or_never() {
        for (found, is_possible) in [(None, true), (Some(1), true), (Some(2), false)] {
            let history = vec![
                (1, BEGUN),
                (2, BEGUN),
                (2, Response(Step::Read(found))),
                (1, written(1, Condition::Absent, End::Unknown)),
            ];
            assert_eq!(is_linearizable(history), is_possible, "{found:?}");
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        assert!(!is_linearizable(vec![
            (1, BEGUN),
            (1, written(1, Condition::None, End::Done)),
            (2, BEGUN),
            (2, Response(Step::Read(None))),
        ]));
    }
}
