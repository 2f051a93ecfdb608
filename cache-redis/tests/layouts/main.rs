//! Layouts of MSAL programs, held against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod aspnet_core;
mod conformance;
mod node;

use cache_core::store::StoreKey;
use cache_testkit::redis::RedisServer;

/// What a program of somebody else writes and finds.
pub(crate) async fn ask(server: &RedisServer, arguments: &[&str]) -> String {
    server.command(arguments).await.unwrap()
}

/// A reply that is a number.
pub(crate) async fn number(server: &RedisServer, arguments: &[&str]) -> i64 {
    ask(server, arguments).await.parse().unwrap()
}

pub(crate) fn key(text: &str) -> StoreKey {
    StoreKey::new(text).unwrap()
}
