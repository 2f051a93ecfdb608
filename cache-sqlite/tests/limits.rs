//! What a process is left without is told by its name. Each case runs in a process of its own, whose limits are its own.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::File;
use std::process::Command;

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store};
use cache_sqlite::{SqliteConfig, SqliteStore};
use support::{database, is_child, key, must_succeed, open, process};
use tempfile::tempdir;

/// The test `name` again, in a process that the shell limits at first.
fn limited(name: &str, limits: &str) {
    let directory = tempdir().unwrap();
    let prepared = process(name, &directory.path().join("cache.db"));
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(prepared.get_program())
        .args(prepared.get_args());
    for (variable, value) in prepared.get_envs() {
        command.env(variable, value.unwrap());
    }
    must_succeed(command);
}

#[tokio::test]
async fn a_lack_of_descriptors_is_told_as_such_and_passes() {
    if !is_child() {
        return limited("a_lack_of_descriptors_is_told_as_such_and_passes", "ulimit -n 64");
    }
    let path = database();
    let store = open(&path).await;
    store
        .put(&key("record"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
    store.close().await;
    // Whichever is the first that SQLite, or this crate before it, does not get.
    for free in 0..4 {
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        files.truncate(files.len() - free);
        match SqliteStore::open(SqliteConfig::new(&path)).await {
            Ok(store) => store.close().await,
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.retry()),
                    (ErrorKind::Unavailable, Retry::Yes),
                    "{free}: {error:?}"
                );
                assert!(
                    error.to_string().contains("no file descriptor is left"),
                    "{error}"
                );
                continue;
            }
        }
        assert!(free > 2, "a database has three files");
    }
    let store = open(&path).await;
    assert!(store.get(&key("record")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_full() {
    if !is_child() {
        // In blocks of 512 or of 1,024 bytes; what is too much is cut short then, in place of a signal.
        return limited("a_file_that_may_not_grow_is_full", "trap '' XFSZ; ulimit -f 256");
    }
    let store = open(&database()).await;
    store
        .put(&key("record"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
    let large = vec![7; 200_000];
    let mut refusal = None;
    for number in 0..10 {
        let key = key(&format!("large-{number}"));
        let put = store.put(&key, large.clone().into(), PutOptions::create()).await;
        if let Err(error) = put {
            refusal = Some(error);
            break;
        }
    }
    let error = refusal.unwrap();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(error.to_string().contains("may not grow"), "{error}");
    assert!(store.get(&key("record")).await.unwrap().is_some());
}
