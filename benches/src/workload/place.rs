//! Where the tokens of a run are kept: private, temporary, and gone afterwards.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cache_core::store::{MemoryStore, Store, StoreError};
use cache_core::time::{Clock, SystemClock};
use cache_redis::{RedisConfig, RedisStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use super::error::BenchError;
use super::file::StoreKind;

/// The store of one run, as its processes are told.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StorePlace {
    Memory,
    Sqlite {
        path: PathBuf,
    },
    /// The URL may hold a password.
    Redis {
        url: String,
        prefix: String,
    },
}

/// Shows no URL.
impl fmt::Debug for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())
    }
}

/// A store that is open.
pub(super) enum OpenStore {
    Memory(Arc<MemoryStore>),
    Sqlite(Arc<SqliteStore>),
    Redis(Arc<RedisStore>),
}

impl StorePlace {
    pub(super) fn kind(&self) -> StoreKind {
        match self {
            Self::Memory => StoreKind::Memory,
            Self::Sqlite { .. } => StoreKind::Sqlite,
            Self::Redis { .. } => StoreKind::Redis,
        }
    }

    pub(super) async fn open(&self) -> Result<OpenStore, BenchError> {
        match self {
            Self::Memory => Ok(OpenStore::Memory(Arc::new(MemoryStore::new()))),
            Self::Sqlite { path } => {
                let store = SqliteStore::open(SqliteConfig::new(path)).await;
                Ok(OpenStore::Sqlite(Arc::new(store.map_err(self.failed("open"))?)))
            }
            Self::Redis { url, prefix } => {
                let config = RedisConfig::from_url(url).map_err(self.failed("open"))?;
                let store = RedisStore::open(config.key_prefix(prefix)).await;
                Ok(OpenStore::Redis(Arc::new(store.map_err(self.failed("open"))?)))
            }
        }
    }

    /// Removes what the run left there.
    pub(super) async fn wipe(&self) -> Result<(), BenchError> {
        match self {
            Self::Memory => Ok(()),
            Self::Sqlite { path } => {
                let Some(folder) = path.parent() else {
                    return Ok(());
                };
                match std::fs::remove_dir_all(folder) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(BenchError::system("remove the database")(error))
                    }
                    _ => Ok(()),
                }
            }
            Self::Redis { .. } => {
                let open = self.open().await?;
                let store = open.store();
                let keys: Vec<_> = store.scan("").collect().await;
                for key in keys {
                    let (key, _) = key.map_err(self.failed("list its records"))?;
                    store
                        .delete(&key, None)
                        .await
                        .map_err(self.failed("remove a record"))?;
                }
                open.close().await;
                Ok(())
            }
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(StoreError) -> BenchError {
        let store = self.kind().title();
        move |source| BenchError::Store {
            store,
            doing,
            source: Box::new(source),
        }
    }
}

impl OpenStore {
    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Redis(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Sqlite(store) => store.close().await,
            Self::Redis(store) => store.close().await,
        }
    }
}

/// A Redis that was started for a run, on a unix socket in a folder that nobody else may enter. It ends when this is dropped.
pub(super) struct OwnRedis {
    process: Child,
    url: String,
}

impl OwnRedis {
    /// Starts it, with its socket and its log of writes (synchronised once a second, as servers usually are) in `folder`.
    pub(super) async fn start(folder: &Path) -> Result<Self, BenchError> {
        let refuse = |reason: String| BenchError::Redis { reason };
        std::fs::create_dir_all(folder).map_err(BenchError::system("make a folder for Redis"))?;
        let socket = folder.join("redis.sock");
        let mut command = Command::new("redis-server");
        command
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
            ])
            .args([
                "--maxmemory-policy",
                "noeviction",
                "--daemonize",
                "no",
                "--unixsocketperm",
                "700",
            ])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| refuse(error.to_string()))?;
        let url = format!("redis+unix://{}", socket.display());
        let mut last = String::new();
        for _ in 0..250 {
            if let Ok(Some(status)) = process.try_wait() {
                return Err(refuse(format!("it ended at once, with {status}")));
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
            if !socket.exists() {
                continue;
            }
            match RedisConfig::from_url(&url) {
                Err(error) => return Err(refuse(error.to_string())),
                Ok(config) => match RedisStore::open(config).await {
                    Ok(store) => {
                        store.close().await;
                        return Ok(Self { process, url });
                    }
                    Err(error) => last = error.to_string(),
                },
            }
        }
        Err(refuse(format!("it does not answer ({last})")))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The process, to see what it takes of the machine.
    pub(super) fn process(&self) -> Option<u32> {
        self.process.id()
    }
}
