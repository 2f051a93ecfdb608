//! What the suite needs to know of the servers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock};
use cache_redis::{RedisConfig, RedisStore};
use cache_testkit::clock::ManualClock;
use cache_testkit::suite::{CASES, Harness};

/// Far more than any rule needs, to name the one that hangs.
const LIMIT: Duration = Duration::from_secs(120);

struct Place {
    config: RedisConfig,
    clock: ManualClock,
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> Arc<dyn Store> {
        let config = self.config.clone().clock(Arc::new(self.clock.clone()));
        Arc::new(RedisStore::open(config).await.unwrap())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

/// Holds the servers, which must be empty, to every rule in turn.
pub(crate) async fn hold_to_every_rule(config: RedisConfig) {
    let place = Place {
        config,
        clock: ManualClock::at(SystemClock.now()),
    };
    for case in CASES {
        println!("{}", case.name);
        tokio::select! {
            () = case.check(&place) => {}
            () = SystemClock.sleep(LIMIT) => panic!("{} did not end within {LIMIT:?}", case.name),
        }
    }
}
