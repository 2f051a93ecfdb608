//! Several processes on one file: conditional writes, notification, and death at any moment.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::print_stdout,
    reason = "a child tells its parent what was acknowledged"
)]

mod support;

use std::collections::HashMap;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::random::{OsRandom, jitter};
use cache_core::store::error::Retry;
use cache_core::store::{PutOptions, Store, StoreKey, Watch, WatchEvent};
use futures_util::StreamExt;
use support::{database, is_child, key, lines, must_succeed, open, process, within};
use tempfile::tempdir;

const PROCESSES: usize = 16;
const INCREMENTS: u64 = 25;
const KILLS: usize = 20;
const TASKS: usize = 4;

#[test]
fn processes_that_count_together_lose_no_increment() {
    if is_child() {
        return child_that_counts();
    }
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    let children: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            process("processes_that_count_together_lose_no_increment", &path)
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    runtime().block_on(async {
        let count = number(&open(&path).await, &key("counter")).await;
        assert_eq!(count, PROCESSES as u64 * INCREMENTS);
    });
}

fn child_that_counts() {
    runtime().block_on(async {
        let store = open(&database()).await;
        let counter = key("counter");
        for _ in 0..INCREMENTS {
            loop {
                let record = store.get(&counter).await.unwrap();
                let (count, options) = match record {
                    None => (0, PutOptions::create()),
                    Some(record) => (decode(&record.payload), PutOptions::update(record.version)),
                };
                match store.put(&counter, encode(count + 1), options).await {
                    Ok(_) => break,
                    Err(error) => assert!(error.is_conflict(), "an increment failed: {error:?}"),
                }
            }
        }
        store.close().await;
    });
}

#[test]
fn killed_writer_leaves_every_acknowledged_write() {
    if is_child() {
        return child_that_writes_until_it_is_killed();
    }
    let lasting = tempdir().unwrap();
    let mut checked = 0;
    for round in 0..KILLS {
        // Every other time the file is new, so that its creation is interrupted too.
        let fresh = tempdir().unwrap();
        let (directory, longest) = if round % 2 == 0 {
            (&lasting, 0.2)
        } else {
            (&fresh, 0.05)
        };
        let path = directory.path().join("cache.db");
        let mut child = process("killed_writer_leaves_every_acknowledged_write", &path)
            .spawn()
            .unwrap();
        let acknowledgements = lines(&mut child, "acknowledged ");
        let listener = std::thread::spawn(|| acknowledgements.collect::<Vec<_>>());
        wait(Duration::from_secs_f64(jitter(&OsRandom).unwrap() * longest));
        child.kill().unwrap();
        child.wait().unwrap();

        let mut last: HashMap<StoreKey, u64> = HashMap::new();
        for line in listener.join().unwrap() {
            // A line that the kill cut short lacks its end.
            let Some((name, count)) = line.strip_suffix(" .").and_then(|line| line.split_once(' ')) else {
                continue;
            };
            last.insert(key(name), count.parse().unwrap());
        }
        runtime().block_on(async {
            let store = open(&path).await;
            checked += last.len();
            for (key, acknowledged) in last {
                let stored = number(&store, &key).await;
                assert!(
                    stored == acknowledged || stored == acknowledged + 1,
                    "round {round}: {key} has {stored} after {acknowledged} was acknowledged"
                );
            }
            let listed = store.scan("").collect::<Vec<_>>().await;
            assert!(listed.len() <= TASKS, "round {round}: {} records", listed.len());
            assert!(listed.iter().all(Result::is_ok), "round {round}: {listed:?}");
            store.close().await;
        });
    }
    assert!(checked > KILLS, "only {checked} keys had an acknowledged write");
}

fn child_that_writes_until_it_is_killed() {
    runtime().block_on(async {
        let store = Arc::new(open(&database()).await);
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let key = key(&format!("task-{task}"));
                    let mut count = match store.get(&key).await.unwrap() {
                        Some(record) => decode(&record.payload),
                        None => 0,
                    };
                    loop {
                        count += 1;
                        store
                            .put(&key, encode(count), PutOptions::overwrite())
                            .await
                            .unwrap();
                        println!("acknowledged {key} {count} .");
                    }
                })
            })
            .collect();
        for task in tasks {
            let never: Result<(), _> = task.await;
            never.unwrap();
        }
    });
}

#[test]
fn change_of_another_process_is_reported() {
    if is_child() {
        return child_that_writes_once();
    }
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    runtime().block_on(async {
        let store = open(&path).await;
        let mut events = store.subscribe();
        let written = tokio::task::spawn_blocking(move || {
            must_succeed(process("change_of_another_process_is_reported", &path))
        });
        let awaited = key("from-the-child");
        let version = within(Duration::from_secs(20), "the report", async {
            loop {
                match events.next().await {
                    Some(WatchEvent::Changed(key, Some(version))) if key == awaited => break version,
                    Some(_) => {}
                    None => panic!("the subscription ended"),
                }
            }
        })
        .await;
        written.await.unwrap();
        assert_eq!(store.head(&awaited).await.unwrap(), Some(version));
    });
}

fn child_that_writes_once() {
    runtime().block_on(async {
        let store = open(&database()).await;
        let key = key("from-the-child");
        store
            .put(&key, "payload".into(), PutOptions::create())
            .await
            .unwrap();
        store.close().await;
    });
}

#[test]
fn write_behind_a_held_lock_is_unavailable_and_not_applied() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    runtime().block_on(async {
        let config = cache_sqlite::SqliteConfig::new(&path).busy_timeout(Duration::from_millis(100));
        let store = cache_sqlite::SqliteStore::open(config).await.unwrap();
        let mut holder = support::raw(&path).await;
        support::run(&mut holder, "BEGIN IMMEDIATE").await;

        let key = key("record");
        let error = store
            .put(&key, "payload".into(), PutOptions::create())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), cache_core::store::error::ErrorKind::Unavailable);
        assert_eq!(error.retry(), Retry::Yes);
        assert_eq!(store.get(&key).await.unwrap(), None, "readers do not wait");

        support::run(&mut holder, "ROLLBACK").await;
        store
            .put(&key, "payload".into(), PutOptions::create())
            .await
            .unwrap();
    });
}

async fn number(store: &impl Store, key: &StoreKey) -> u64 {
    match store.get(key).await.unwrap() {
        Some(record) => decode(&record.payload),
        None => 0,
    }
}

fn encode(count: u64) -> Bytes {
    Bytes::from(count.to_string())
}

fn decode(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "another process does not run on a manual clock"
)]
fn wait(duration: Duration) {
    std::thread::sleep(duration);
}
