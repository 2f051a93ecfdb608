//! No payload in what the store logs, prints or fails with.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::error::Error;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use cache_core::store::{PutOptions, Store};
use cache_sqlite::{SqliteConfig, SqliteStore};
use support::key;
use tempfile::tempdir;

const CANARY: &str = "canary-5f0c1d";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn payload_is_in_no_log_error_or_debug_output() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();

    let directory = tempdir().unwrap();
    let config = SqliteConfig::new(directory.path().join("cache.db")).max_file_bytes(Some(128 << 10));
    let mut said = format!("{config:?}");
    let store = SqliteStore::open(config).await.unwrap();
    let record = key("record");
    let version = store
        .put(&record, CANARY.into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(store.get(&record).await.unwrap().unwrap().payload, CANARY);
    let stale = PutOptions::update(version);
    store.put(&record, CANARY.into(), stale).await.unwrap();
    for error in [
        store.put(&record, CANARY.into(), stale).await.unwrap_err(),
        store
            .put(&record, CANARY.repeat(50_000).into(), PutOptions::overwrite())
            .await
            .unwrap_err(),
        store
            .put(&record, CANARY.repeat(2_000_000).into(), PutOptions::overwrite())
            .await
            .unwrap_err(),
    ] {
        said += &format!("{error} {error:?}");
        let mut source = error.source();
        while let Some(error) = source {
            said += &format!("{error} {error:?}");
            source = error.source();
        }
    }
    said += &format!("{store:?}");
    store.close().await;
    assert!(said.contains("no space left"), "{said}");
    assert!(!said.contains(CANARY), "{said}");

    tracing::trace!("the log is kept");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the log is kept"));
    assert!(!log.contains(CANARY), "{log}");
}
