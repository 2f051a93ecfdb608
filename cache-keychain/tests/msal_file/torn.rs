//! Writers that truncate the file and write into it, as MSAL programs do, while it is read.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Store};
use cache_keychain::msal_file::MsalFileStore;
use serde_json::{Value, json};

use crate::support::{add_row, get, lock_file, now, open, put, rows, wait};

/// A document that says at both ends which it is, so that a mix of two would show.
fn document(number: u64) -> Value {
    json!({
        "AccessToken": { "first": number },
        "Middle": "x".repeat(20_000 + (number as usize % 7) * 1_000),
        "RefreshToken": { "last": number },
    })
}

fn number(payload: &[u8]) -> u64 {
    let document: Value = serde_json::from_slice(payload).unwrap();
    let first = document["AccessToken"]["first"].as_u64().unwrap();
    assert_eq!(
        document["RefreshToken"]["last"].as_u64(),
        Some(first),
        "a mix of two documents"
    );
    first
}

/// Truncates, and writes piece by piece.
fn write_in_place(path: &Path, text: &str, pause: Duration) {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    wait(pause);
    for piece in text.as_bytes().chunks(4_096) {
        file.write_all(piece).unwrap();
        wait(pause / 10);
    }
}

struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    /// Writes documents one after another until it is stopped; with `lock`, under the lock as MSAL Node has it.
    fn start(path: &Path, lock: bool, between: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (path, stopped) = (path.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut number = 1;
            while !stopped.load(Ordering::Relaxed) {
                if !lock || File::create_new(lock_file(&path)).is_ok() {
                    number += 1;
                    write_in_place(&path, &document(number).to_string(), Duration::from_millis(2));
                    if lock {
                        fs::remove_file(lock_file(&path)).unwrap();
                    }
                }
                wait(between);
            }
            number
        });
        Self { stop, thread }
    }

    /// How the last document was numbered.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Reads for a while. Every read gives a whole document, and none an older one than the last.
async fn read_for(store: &MsalFileStore, duration: Duration) -> usize {
    let (started, mut last, mut reads) = (now(), 0, 0);
    while started.elapsed() < duration {
        let record = get(store)
            .await
            .expect("a cache that is being written is not absent");
        let number = number(&record.payload);
        assert!(number >= last, "{number} was read after {last}");
        last = number;
        reads += 1;
        tokio::task::yield_now().await;
    }
    reads
}

async fn reads_while(lock: bool, between: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    fs::write(&path, document(1).to_string()).unwrap();
    let store = Arc::new(open(&path).await);
    let writer = Writer::start(&path, lock, between);
    let other = Arc::clone(&store);
    let reader = tokio::spawn(async move { read_for(&other, Duration::from_secs(2)).await });
    let reads = read_for(&store, Duration::from_secs(2)).await + reader.await.unwrap();
    let written = writer.end();
    assert_eq!(number(&get(&store).await.unwrap().payload), written);
    assert!(reads > 20 && written > 20, "{reads} reads of {written} documents");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_documents_of_a_writer_with_the_lock() {
    reads_while(true, Duration::from_millis(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_documents_of_a_writer_that_hardly_rests() {
    reads_while(true, Duration::from_micros(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_documents_of_a_writer_that_takes_no_lock() {
    reads_while(false, Duration::from_millis(5)).await;
}

#[tokio::test]
async fn a_write_waits_for_a_writer_that_takes_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    fs::write(&path, rows(&["before"]).to_string()).unwrap();
    let store = open(&path).await;
    // Half of a document, whose other half comes later.
    let text = rows(&["theirs"]).to_string();
    fs::write(&path, &text[..10]).unwrap();
    let (late, whole) = (path.clone(), text.clone());
    let writer = std::thread::spawn(move || {
        wait(Duration::from_millis(60));
        write_in_place(&late, &whole, Duration::ZERO);
    });
    add_row(&store, "ours").await;
    writer.join().unwrap();
    let found: Value = serde_json::from_slice(&get(&store).await.unwrap().payload).unwrap();
    assert_eq!(found, rows(&["theirs", "ours"]));
}

#[tokio::test]
async fn a_writer_that_was_killed_halfway_leaves_what_nobody_touches() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    let text = rows(&["theirs"]).to_string();
    fs::write(&path, &text[..10]).unwrap();
    let started = now();
    let refused = store.get(&store.record()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    wait(Duration::from_millis(50));
    store.get(&store.record()).await.unwrap_err();
    // By now it is known, without another wait.
    let started = now();
    for _ in 0..20 {
        store.get(&store.record()).await.unwrap_err();
    }
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "{:?}",
        started.elapsed()
    );
    let refused = put(&store, &rows(&["ours"]), PutOptions::overwrite()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fs::read_to_string(&path).unwrap(), text[..10]);

    // Its program writes it anew.
    fs::write(&path, &text).unwrap();
    assert_eq!(get(&store).await.unwrap().payload, text.as_bytes());
}
