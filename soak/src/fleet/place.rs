//! Where a fleet keeps its records: the store by parameter.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_core::store::Store;
use cache_redis::{RedisConfig, RedisStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::redis::RedisServer;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::gate::{Doing, GateError};
use crate::stage::Stage;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A database in a file.
    Sqlite,
    /// A server of its own.
    Redis,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Redis];
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Redis => "Redis",
        })
    }
}

/// A store that exists while this does, and has no records yet.
#[derive(Debug)]
pub struct Ground {
    place: Place,
    server: Option<Mutex<RedisServer>>,
    _folder: Option<TempDir>,
}

impl Ground {
    /// Makes the store. A server writes everything to its disk if it `is_durable`, else nothing.
    ///
    /// # Errors
    ///
    /// When there is no folder or no server to be had.
    pub async fn prepare(stage: &Stage, backend: Backend, is_durable: bool) -> Result<Self, GateError> {
        match backend {
            Backend::Sqlite => {
                let folder = stage.folder()?;
                Ok(Self {
                    place: Place::Sqlite(folder.path().join("cache.db")),
                    server: None,
                    _folder: Some(folder),
                })
            }
            Backend::Redis => {
                let server = RedisServer::builder().append_only(is_durable).start();
                let server = server.await.doing("could not start Redis")?;
                Ok(Self {
                    place: Place::Redis(server.url()),
                    server: Some(server.into()),
                    _folder: None,
                })
            }
        }
    }

    /// How processes find it.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// The server; `None` where the store is part of the program.
    #[must_use]
    pub fn server(&self) -> Option<&Mutex<RedisServer>> {
        self.server.as_ref()
    }

    /// The version of the server; `None` where the store is part of the program.
    ///
    /// # Errors
    ///
    /// When the server does not say.
    pub async fn version(&self) -> Result<Option<String>, GateError> {
        let Some(server) = &self.server else {
            return Ok(None);
        };
        let info = server.lock().await.command(&["INFO", "server"]).await;
        let info = info.doing("could not ask Redis for its version")?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.map(|version| version.trim().to_owned()))
    }
}

/// How a process finds the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Place {
    /// The database's file.
    Sqlite(PathBuf),
    /// The server's URL, which names no credential.
    Redis(String),
}

impl Place {
    /// Opens the store, which may take `patience` for an answer.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub async fn open(&self, patience: Duration) -> Result<Arc<dyn Store>, GateError> {
        match self {
            Self::Sqlite(path) => {
                let config = SqliteConfig::new(path).busy_timeout(patience);
                let store = SqliteStore::open(config).await;
                Ok(Arc::new(store.doing("could not open the database")?))
            }
            Self::Redis(url) => {
                let config = RedisConfig::from_url(url)
                    .doing("not the URL of a server")?
                    .connect_timeout(patience)
                    .response_timeout(patience);
                let store = RedisStore::open(config).await;
                Ok(Arc::new(store.doing("could not open Redis")?))
            }
        }
    }
}
