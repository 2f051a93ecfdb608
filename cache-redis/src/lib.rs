//! The token cache's records in Redis or Valkey, shared by the processes of many machines.

mod address;
mod config;
mod connection;
mod connector;
mod error;
mod keys;
pub mod layout;
mod link;
mod scan;
mod script;
mod store;
mod watch;

pub use config::{DurabilityMode, RedisConfig};
pub use store::RedisStore;
