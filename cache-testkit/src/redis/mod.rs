//! Real Redis and Valkey servers on loopback: alone, behind Sentinels, as a cluster.
//!
//! Each listens on a free port of 127.0.0.1 (never on 6379), keeps its files in a temporary folder, and ends with the value that
//! stands for it, also when the test panics or is killed. Every one has an administrator, whom no rule of the
//! test's binds: [`RedisServer::command`].
//!
//! ```no_run
//! use cache_testkit::redis::{ClientCertificates, Program, RedisServer, Sentinels};
//!
//! # async fn example() -> Result<(), cache_testkit::redis::Error> {
//! let server = RedisServer::start().await?;
//! println!("open {}", server.url());
//! server.command(&["SCRIPT", "FLUSH"]).await?;
//! server.pause()?; // it keeps its connections and answers nobody
//!
//! let guarded = RedisServer::builder()
//!     .program(Program::Valkey)
//!     .tls(ClientCertificates::Required)
//!     .acl_user("tokenkeep", "secret", "~tk:* &tk:* +@all")
//!     .start()
//!     .await?;
//! println!("trust {:?}", guarded.ca_pem());
//!
//! let mut sentinels = Sentinels::start(2, 3).await?;
//! let killed = sentinels.kill_primary().await?;
//! sentinels.wait_for_new_primary(killed).await?;
//! # Ok(())
//! # }
//! ```

mod builder;
mod cli;
mod cluster;
mod error;
mod network;
mod port;
mod process;
mod program;
mod replication;
mod sentinel;
mod server;
mod tls;

pub use self::builder::RedisServerBuilder;
pub use self::cluster::RedisCluster;
pub use self::error::Error;
pub use self::program::Program;
pub use self::sentinel::{SERVICE, Sentinels};
pub use self::server::RedisServer;
pub use self::tls::{ClientCertificate, ClientCertificates};
