//! The storage contract, held against a database file.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::store::Store;
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::clock::ManualClock;
use cache_testkit::conformance_tests;
use cache_testkit::suite::Harness;
use tempfile::TempDir;

struct File {
    directory: TempDir,
    clock: ManualClock,
}

impl File {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(),
        }
    }
}

#[async_trait]
impl Harness for File {
    async fn open(&self) -> Arc<dyn Store> {
        let path = self.directory.path().join("cache.db");
        let config = SqliteConfig::new(path).clock(Arc::new(self.clock.clone()));
        Arc::new(SqliteStore::open(config).await.unwrap())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

conformance_tests!(File::new());
