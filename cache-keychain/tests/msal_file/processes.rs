//! Several processes at one file, some of which are killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use cache_core::random::{OsRandom, jitter};
use cache_core::store::PutOptions;
use serde_json::{Value, json};

use crate::support::{
    add_row, child_file, count_rows, get, lock_file, names_in, open, process, put, rows, runtime, wait,
};

/// Says how many writers are killed.
const KILLS: &str = "MSAL_FILE_TEST_KILLS";

const PROCESSES: usize = 16;
const ROWS: usize = 12;

#[test]
fn a_killed_writer_leaves_a_whole_file() {
    if let Some(path) = child_file() {
        return runtime().block_on(async {
            let store = open(&path).await;
            // Two documents of 200 KB by turns, each of which names itself at both ends.
            for round in 0_u64.. {
                let document = json!({
                    "AccessToken": { "first": round },
                    "Middle": char::from(b'a' + (round % 26) as u8).to_string().repeat(200_000),
                    "RefreshToken": { "last": round },
                });
                put(&store, &document, PutOptions::overwrite()).await.unwrap();
                if round == 0 {
                    println!("begun");
                }
            }
        });
    }
    let kills = std::env::var(KILLS).map_or(100, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("msal_token_cache.json");
    let (mut locks, mut temporary) = (0, 0);
    for round in 0..kills {
        let mut child = process("processes::a_killed_writer_leaves_a_whole_file", &path)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("begun")));
        wait(Duration::from_secs_f64(0.02 * jitter(&OsRandom).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();

        let content = fs::read(&path).unwrap();
        let document: Value = serde_json::from_slice(&content)
            .unwrap_or_else(|error| panic!("after {round} kills the file cannot be read: {error}"));
        assert_eq!(document["AccessToken"]["first"], document["RefreshToken"]["last"]);
        assert_eq!(document["Middle"].as_str().unwrap().len(), 200_000);
        locks += usize::from(lock_file(&path).exists());
        temporary += names_in(directory.path())
            .iter()
            .filter(|name| name.ends_with(".tmp"))
            .count();
    }
    // Whoever comes next finds everything in order, and puts the rest in order.
    runtime().block_on(async {
        let store = open(&path).await;
        assert!(get(&store).await.is_some());
        put(&store, &rows(&["a"]), PutOptions::overwrite()).await.unwrap();
    });
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
    println!("{kills} writers were killed: {locks} left a lock file, {temporary} a temporary file");
}

#[test]
fn processes_that_write_at_once_lose_no_row() {
    if let Some(path) = child_file() {
        return runtime().block_on(async {
            let store = open(&path).await;
            for row in 0..ROWS {
                add_row(&store, &format!("{}-{row}", std::process::id())).await;
            }
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("msal_token_cache.json");
    let children: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            process("processes::processes_that_write_at_once_lose_no_row", &path)
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(count_rows(&path), PROCESSES * ROWS);
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}
