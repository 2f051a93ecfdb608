//! A failover that a client did not see, as it did nothing at the time. Clients that are at work meanwhile are the gates
//! `redis-failover` and `redis-partition` of the package `soak`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod idle;

use std::time::Duration;

use cache_redis::{DurabilityMode, RedisConfig};

fn config(url: &str, durability: DurabilityMode) -> RedisConfig {
    RedisConfig::from_url(url)
        .unwrap()
        .durability(durability)
        .connect_timeout(Duration::from_secs(1))
        .response_timeout(Duration::from_secs(1))
}
