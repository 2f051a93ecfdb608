//! What is tried with each real keychain: the contract, several processes, and processes that are killed.

#![allow(dead_code, reason = "there may be no real keychain in this build")]
#![allow(clippy::expect_used, reason = "a test may panic")]
#![allow(
    clippy::print_stdout,
    reason = "a child tells its parent what was acknowledged"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::random::{OsRandom, jitter, random_bytes};
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::time::{Clock, SystemClock};
use cache_keychain::{Keychain, KeychainConfig, KeychainStore, KeychainStoreConfig};
use cache_testkit::clock::ManualClock;
use cache_testkit::suite::{self, Harness};

const KIND: &str = "TOKENKEEP_TEST_STORE_KIND";
const SERVICE: &str = "TOKENKEEP_TEST_STORE_SERVICE";
const LOCK: &str = "TOKENKEEP_TEST_STORE_LOCK";
const WORK: &str = "TOKENKEEP_TEST_STORE_WORK";

const PROCESSES: u64 = 6;
const INCREMENTS: u64 = 10;
const KILLS: usize = 25;
/// Of the test harness, and that the store is open; then come the writes.
const LINES_BEFORE_WRITES: usize = 3;
/// Longer than what is kept beside its key.
const LONG: usize = 6000;

/// Where a real keychain has a store.
pub(crate) struct Real {
    kind: String,
    pub(crate) service: String,
    lock: PathBuf,
    _folder: Option<tempfile::TempDir>,
    clock: ManualClock,
}

impl Real {
    /// A new store; `kind` is the constructor of [`Keychain`].
    pub(crate) fn new(kind: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let number = u64::from_le_bytes(random_bytes(&OsRandom).unwrap());
        Self {
            kind: kind.to_owned(),
            service: format!("tokenkeep-test-{number:x}"),
            lock: folder.path().join("keychain.lock"),
            _folder: Some(folder),
            clock: ManualClock::new(),
        }
    }

    /// That of the process which started this one.
    fn of_parent() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap();
        Self {
            kind: variable(KIND),
            service: variable(SERVICE),
            lock: variable(LOCK).into(),
            _folder: None,
            clock: ManualClock::new(),
        }
    }

    pub(crate) async fn store(&self, clock: Arc<dyn Clock>) -> KeychainStore {
        let config = KeychainConfig::new(&self.service)
            .clock(clock)
            .deadline(Duration::from_secs(20));
        let keychain = match self.kind.as_str() {
            "native" => Keychain::native(config),
            "keyutils" => Keychain::keyutils(config),
            other => panic!("no such keychain: {other}"),
        };
        let config = KeychainStoreConfig::new().lock_file(&self.lock);
        KeychainStore::open(keychain, config).await.unwrap()
    }

    /// This test binary again, to do `work` at the same store.
    fn process(&self, work: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "real::program", "--nocapture", "--test-threads=1"])
            .envs([(KIND, &self.kind), (SERVICE, &self.service)])
            .env(LOCK, Path::new(&self.lock))
            .env(WORK, work)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

#[async_trait]
impl Harness for Real {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store(Arc::new(self.clock.clone())).await)
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

/// Each rule in a store of its own, which stays as small as stores in keychains are; `done` is told when it is done with.
pub(crate) async fn the_contract_holds(kind: &str, done: impl Fn(&Real)) {
    for case in suite::CASES {
        let place = Real::new(kind);
        case.check(&place).await;
        done(&place);
    }
}

/// Processes that each add to one counter lose no addition.
pub(crate) async fn processes_count_together(place: &Real) {
    let children: Vec<_> = (0..PROCESSES).map(|_| place.process("count")).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    let store = place.store(Arc::new(SystemClock)).await;
    let record = store.get(&key()).await.unwrap().unwrap();
    assert_eq!(number(&record.payload), PROCESSES * INCREMENTS);
}

/// A process that is killed while it writes leaves a whole store with what it was told that it had written.
pub(crate) async fn killed_processes_leave_whole_records(place: &Real) {
    let mut acknowledged = 0;
    let mut answers = 0;
    for round in 0..KILLS {
        let mut child = place.process("write");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (ready, is_ready) = mpsc::channel();
        let lines = std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            let tell = |_: &String| {
                // Nobody waits for the later ones.
                let _ = ready.send(());
            };
            lines.inspect(tell).collect::<Vec<_>>()
        });
        // Now and then one is killed while it opens the store.
        if round % 5 > 0 {
            is_ready
                .into_iter()
                .nth(LINES_BEFORE_WRITES)
                .expect("the process writes");
        }
        let moment = jitter(&OsRandom).unwrap() * 0.1;
        SystemClock.sleep(Duration::from_secs_f64(moment)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.join().unwrap() {
            // A line that the kill cut short lacks its end.
            let number = line
                .split_once("acknowledged ")
                .and_then(|(_, rest)| rest.strip_suffix(" ."));
            if let Some(number) = number {
                acknowledged = number.parse().unwrap();
                answers += 1;
            }
        }
        let store = place.store(Arc::new(SystemClock)).await;
        let found = match store.get(&key()).await.unwrap() {
            Some(record) => number(&record.payload),
            None => 0,
        };
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {found} is stored after {acknowledged} was acknowledged"
        );
        acknowledged = found;
    }
    assert!(
        answers >= KILLS * 4 / 5,
        "only {answers} writes were acknowledged"
    );
    // What the killed ones left goes with the next write.
    let store = place.store(Arc::new(SystemClock)).await;
    store
        .put(&key(), "short".into(), PutOptions::overwrite())
        .await
        .unwrap();
    store
        .put(&key(), "short".into(), PutOptions::overwrite())
        .await
        .unwrap();
}

/// The other processes.
#[tokio::test]
async fn program() {
    let Ok(work) = std::env::var(WORK) else {
        return;
    };
    let store = Real::of_parent().store(Arc::new(SystemClock)).await;
    println!("open");
    let mut done = 0;
    loop {
        let found = store.get(&key()).await.unwrap();
        let options = match &found {
            None => PutOptions::create(),
            Some(record) => PutOptions::update(record.version),
        };
        let next = found.map_or(0, |record| number(&record.payload)) + 1;
        match store.put(&key(), payload(next).into(), options).await {
            Ok(_) => {
                done += 1;
                println!("acknowledged {next} .");
            }
            Err(error) => assert!(error.is_conflict(), "{error:?}"),
        }
        if work == "count" && done == INCREMENTS {
            return;
        }
    }
}

fn key() -> StoreKey {
    StoreKey::new("counter").unwrap()
}

/// The number over and over, so that no part of another write goes unseen.
fn payload(number: u64) -> String {
    format!("{number:08} ").repeat(LONG / 9)
}

fn number(payload: &[u8]) -> u64 {
    let text = std::str::from_utf8(payload).unwrap();
    let mut numbers = text.split_ascii_whitespace();
    let first = numbers.next().unwrap();
    assert!(numbers.all(|other| other == first), "a mixture of writes: {text}");
    assert_eq!(text.len(), LONG / 9 * 9);
    first.parse().unwrap()
}
