//! Tasks that read and write all the time, and check what they read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Store, StoreError, StoreKey};
use cache_core::time::{Clock, SystemClock};
use cache_redis::RedisStore;
use tokio::task::JoinHandle;

use crate::ledger::Ledger;

pub(crate) const TASKS: usize = 8;

/// Between two operations of a task, so that servers and tasks share two cores in peace.
const PAUSE: Duration = Duration::from_millis(5);

/// Running tasks, each with a counter of its own that nobody else writes to.
pub(crate) struct Workload {
    ledgers: Vec<Arc<Mutex<Ledger>>>,
    tasks: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Workload {
    pub(crate) fn start(store: &Arc<RedisStore>) -> Self {
        let ledgers: Vec<_> = (0..TASKS).map(|_| Arc::default()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = ledgers.iter().enumerate().map(|(number, ledger)| {
            let (store, ledger, stop) = (Arc::clone(store), Arc::clone(ledger), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::SeqCst) {
                    increment(&*store, number, &ledger).await;
                    exchange(&*store, number, turn).await;
                    turn += 1;
                    SystemClock.sleep(PAUSE).await;
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            ledgers,
            stop,
        }
    }

    /// Waits until every task has succeeded `times` more often than now.
    ///
    /// # Panics
    /// When one does not for a minute, or has panicked.
    pub(crate) async fn until_all_succeed(&self, times: u64) {
        let before: Vec<_> = self.each(|ledger| ledger.successes);
        for _ in 0..6_000 {
            assert!(
                self.tasks.iter().all(|task| !task.is_finished()),
                "a task panicked"
            );
            let now = self.each(|ledger| ledger.successes);
            if now
                .iter()
                .zip(&before)
                .all(|(now, before)| *now >= before + times)
            {
                return;
            }
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "not every task succeeded again: {:?}",
            self.each(|ledger| ledger.clone())
        );
    }

    /// What `of` says of each task's ledger.
    pub(crate) fn each<T>(&self, of: impl Fn(&mut Ledger) -> T) -> Vec<T> {
        self.ledgers.iter().map(|ledger| of(&mut open(ledger))).collect()
    }

    /// Ends the tasks.
    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }

    /// Ends the tasks, and returns their ledgers after a last look at what is stored.
    pub(crate) async fn finish(mut self, store: &RedisStore) -> Vec<Ledger> {
        self.stop().await;
        for (number, ledger) in self.ledgers.iter().enumerate() {
            let record = store
                .get(&counter(number))
                .await
                .unwrap()
                .expect("a counter is gone");
            open(ledger).read(parse(number, &record.payload));
        }
        self.each(|ledger| ledger.clone())
    }
}

/// The key of a task's counter.
pub(crate) fn counter(task: usize) -> StoreKey {
    StoreKey::new(format!("counter/{task}")).unwrap()
}

/// Adds one to the task's counter by compare-and-swap.
async fn increment(store: &dyn Store, task: usize, ledger: &Mutex<Ledger>) {
    let key = counter(task);
    let record = match store.get(&key).await {
        Ok(record) => record,
        Err(error) => return failed(&error, ledger).await,
    };
    let (number, options) = match record {
        Some(record) => (parse(task, &record.payload), PutOptions::update(record.version)),
        None => (0, PutOptions::create()),
    };
    open(ledger).read(number);
    let next = number + 1;
    match store
        .put(&key, Bytes::from(format!("{key} {next}")), options)
        .await
    {
        Ok(_) => open(ledger).wrote(next),
        Err(error) => failed(&error, ledger).await,
    }
}

/// Writes and reads records that all tasks share, whole and long ones.
async fn exchange(store: &dyn Store, task: usize, turn: usize) {
    let write = StoreKey::new(format!("shared/{}", (task + turn) % TASKS)).unwrap();
    let letter = char::from(b'a' + u8::try_from((task + turn) % 26).unwrap());
    let length = 1 + (turn * 997 + task * 131) % 8_000;
    let body = letter.to_string().repeat(length);
    let written = store
        .put(
            &write,
            Bytes::from(format!("{write} {length} {body}")),
            PutOptions::overwrite(),
        )
        .await;
    written.map_or_else(|error| assert_is_typed(&error), drop);

    let read = StoreKey::new(format!("shared/{}", (task + turn * 3) % TASKS)).unwrap();
    match store.get(&read).await {
        Ok(None) => {}
        Ok(Some(record)) => {
            let text = std::str::from_utf8(&record.payload).expect("a torn record");
            let [key, length, body] = text.split(' ').collect::<Vec<_>>()[..] else {
                panic!("a torn record: {text}");
            };
            assert_eq!(key, read.as_str(), "a record of another partition");
            assert_eq!(length.parse(), Ok(body.len()), "a torn record");
            assert!(
                body.bytes().all(|byte| byte == body.as_bytes()[0]),
                "a torn record: {body}"
            );
        }
        Err(error) => assert_is_typed(&error),
    }
}

/// The number in a counter's payload, which names its key.
fn parse(task: usize, payload: &[u8]) -> u64 {
    let text = std::str::from_utf8(payload).expect("a torn record");
    let (key, number) = text.split_once(' ').expect("a torn record");
    assert_eq!(key, counter(task).as_str(), "a record of another partition");
    number.parse().expect("a torn record")
}

async fn failed(error: &StoreError, ledger: &Mutex<Ledger>) {
    assert_is_typed(error);
    {
        let mut ledger = open(ledger);
        ledger.failures += 1;
        ledger.unknown += u64::from(error.is_outcome_unknown());
    }
    SystemClock.sleep(PAUSE * 2).await;
}

/// A failover is one of these, and nothing else.
fn assert_is_typed(error: &StoreError) {
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Conflict | ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::ReadOnly
        ),
        "{error:?}"
    );
}

fn open(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().expect("a task panicked")
}
