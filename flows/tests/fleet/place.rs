//! Where a fleet keeps its records: the store by parameter.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_core::store::Store;
use cache_redis::{RedisConfig, RedisStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::redis::RedisServer;
use tempfile::TempDir;

/// How long a store may take: sixteen processes that all begin at once, on a machine of two processors, are a crowd.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Redis,
}

/// A store that exists while this does, and has no records yet.
pub struct Ground {
    place: Place,
    _kept: Kept,
}

#[expect(dead_code, reason = "the store ends with it")]
enum Kept {
    Directory(TempDir),
    Server(Box<RedisServer>),
}

impl Ground {
    pub async fn prepare(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                Self {
                    place: Place::Sqlite(directory.path().join("cache.db")),
                    _kept: Kept::Directory(directory),
                }
            }
            Backend::Redis => {
                let server = RedisServer::start().await.unwrap();
                Self {
                    place: Place::Redis(server.url()),
                    _kept: Kept::Server(server.into()),
                }
            }
        }
    }

    pub fn place(&self) -> Place {
        self.place.clone()
    }
}

/// How a process finds the store.
#[derive(Clone, Debug)]
pub enum Place {
    Sqlite(PathBuf),
    Redis(String),
}

impl Place {
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some(("sqlite", path)) => Self::Sqlite(path.into()),
            Some(("redis", _)) => Self::Redis(text.to_owned()),
            _ => panic!("no store is at {text}"),
        }
    }

    pub async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(path) => {
                let config = SqliteConfig::new(path).busy_timeout(PATIENCE);
                Arc::new(SqliteStore::open(config).await.unwrap())
            }
            Self::Redis(url) => {
                let config = RedisConfig::from_url(url)
                    .unwrap()
                    .connect_timeout(PATIENCE)
                    .response_timeout(PATIENCE);
                Arc::new(RedisStore::open(config).await.unwrap())
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(url) => f.write_str(url),
        }
    }
}
