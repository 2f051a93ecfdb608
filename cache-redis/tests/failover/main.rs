//! Primaries that are killed, or cut off, while tasks read and write.
//!
//! `TOKENKEEP_ROUNDS` says how often a primary is killed in each test; twice if it says nothing. What was measured is
//! printed: `cargo nextest run -p cache-redis -E 'binary(failover)' --no-capture`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "what is printed is for who runs the test")]

mod cluster;
mod idle;
mod ledger;
mod partition;
mod rounds;
mod sentinel;
mod workload;

use std::time::Duration;

use cache_redis::{DurabilityMode, RedisConfig};

/// So many replicas must have a write, and may take so long.
fn replicated(replicas: usize) -> DurabilityMode {
    DurabilityMode::Replicated {
        replicas,
        timeout: Duration::from_millis(500),
    }
}

fn config(url: &str, durability: DurabilityMode) -> RedisConfig {
    RedisConfig::from_url(url)
        .unwrap()
        .durability(durability)
        .connect_timeout(Duration::from_secs(1))
        .response_timeout(Duration::from_secs(1))
}

fn number_of_rounds() -> usize {
    let rounds = std::env::var("TOKENKEEP_ROUNDS");
    rounds.map_or(2, |text| text.parse().expect("TOKENKEEP_ROUNDS must be a number"))
}
