//! How every connection to the file is set up.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;

use crate::config::SqliteConfig;
use crate::error::Failure;

/// What the write-ahead log is cut back to after a checkpoint, in bytes.
const LOG_BYTES_KEPT: u64 = 4 << 20;

/// SQLite's default page size, in bytes, which every file of ours has.
const PAGE_BYTES: u64 = 4096;

/// The connection of a reader, once it has opened one. The [writer](crate::writer) can close it: what SQLite finds out about a file when the
/// first connection of a process opens it, such as that its shared memory is write-protected, holds for every other one until the last is closed.
pub(crate) type Held = Arc<Mutex<Option<SqliteConnection>>>;

/// Opens connections.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    common: SqliteConnectOptions,
    mmap_bytes: u64,
    max_pages: Option<u64>,
}

impl Connector {
    /// `path` must be absolute: SQLite would take `file:…` and `:memory:` for something other than a file name.
    pub(crate) fn new(path: &Path, config: &SqliteConfig) -> Self {
        let common = SqliteConnectOptions::new()
            .filename(path)
            // `file.rs` creates the file, with the right permissions.
            .create_if_missing(false)
            .busy_timeout(config.busy_timeout)
            .foreign_keys(false)
            // A file that somebody else prepared must not run functions from its schema.
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            // A sort or a large statement must not spill payloads into files of their own.
            .pragma("temp_store", "MEMORY")
            .thread_name(|id| format!("cache-sqlite-{id}"))
            .disable_statement_logging();
        Self {
            common,
            mmap_bytes: config.mmap_bytes,
            max_pages: config
                .max_file_bytes
                .map(|bytes| (bytes / PAGE_BYTES).clamp(1, 0xffff_fffe)),
        }
    }

    /// A connection that cannot change the file, not even by a checkpoint when it is closed.
    pub(crate) async fn probe(&self) -> Result<SqliteConnection, Failure> {
        Ok(self.common.clone().read_only(true).connect().await?)
    }

    pub(crate) async fn reader(&self) -> Result<SqliteConnection, Failure> {
        let options = self
            .common
            .clone()
            .pragma("mmap_size", self.mmap_bytes.to_string())
            .pragma("query_only", "ON");
        Ok(options.connect().await?)
    }

    pub(crate) async fn writer(&self) -> Result<SqliteConnection, Failure> {
        let mut options = self
            .common
            .clone()
            .pragma("mmap_size", self.mmap_bytes.to_string())
            .pragma("synchronous", "FULL")
            // macOS: fsync alone leaves the data in the drive's cache. No effect elsewhere.
            .pragma("fullfsync", "ON")
            .pragma("checkpoint_fullfsync", "ON")
            .pragma("journal_size_limit", LOG_BYTES_KEPT.to_string())
            // Overwrites what it deletes where that costs no extra write. What remains is sealed records.
            .pragma("secure_delete", "FAST");
        if let Some(pages) = self.max_pages {
            options = options.pragma("max_page_count", pages.to_string());
        }
        Ok(options.connect().await?)
    }
}

/// Closes `connection` and waits until its thread has let go of the file. Errors leave nothing to be done.
pub(crate) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection did not close cleanly");
    }
}
