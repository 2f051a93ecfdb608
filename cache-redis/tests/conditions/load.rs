//! What must not disturb those who write meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store, StoreError};
use cache_core::time::{Clock, SystemClock};
use cache_redis::RedisStore;
use cache_testkit::redis::RedisServer;

use crate::client::{create, key, open, text};

/// Adds one to the counter by compare-and-swap, `times` times, and asserts that nothing goes wrong but conflicts and, if
/// `moving`, what may be tried again.
pub(crate) async fn count(store: &RedisStore, name: &str, times: usize, moving: bool) {
    let mut added = 0;
    let may_be_tried_again = |error: &StoreError| {
        let is_moving = moving && (error.kind(), error.retry()) == (ErrorKind::Unavailable, Retry::Yes);
        assert!(error.is_conflict() || is_moving, "{error:?}");
    };
    while added < times {
        let record = match store.get(&key(name)).await {
            Ok(record) => record.unwrap(),
            Err(error) => {
                may_be_tried_again(&error);
                continue;
            }
        };
        let number: u64 = std::str::from_utf8(&record.payload).unwrap().parse().unwrap();
        let next = (number + 1).to_string();
        match store
            .put(&key(name), next.into(), PutOptions::update(record.version))
            .await
        {
            Ok(_) => added += 1,
            Err(error) => may_be_tried_again(&error),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_flushed_are_loaded_again() {
    const TASKS: usize = 4;
    const TIMES: usize = 150;
    const FLUSHES: usize = 3;
    let server = RedisServer::start().await.unwrap();
    let store = Arc::new(open(&server.url()).await);
    create(&store, "counter", "0").await.unwrap();
    let done = AtomicBool::new(false);
    let flushes = AtomicUsize::new(0);
    let flush = async {
        while !done.load(Ordering::SeqCst) {
            server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
            flushes.fetch_add(1, Ordering::SeqCst);
            SystemClock.sleep(Duration::from_millis(1)).await;
        }
    };
    let work = async {
        let mut rounds = 0;
        // A machine that is busy flushes them more seldom.
        while flushes.load(Ordering::SeqCst) <= FLUSHES {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move { count(&store, "counter", TIMES, false).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            rounds += 1;
        }
        done.store(true, Ordering::SeqCst);
        rounds
    };
    let ((), rounds) = tokio::join!(flush, work);
    assert_eq!(
        text(&store, "counter").await.unwrap(),
        (rounds * TASKS * TIMES).to_string()
    );
}
