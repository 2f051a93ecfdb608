//! The storage contract, for both layouts.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock};
use cache_redis::RedisConfig;
use cache_redis::layout::{AspNetCoreLayout, MsalCacheStore, NodeLayout};
use cache_testkit::clock::ManualClock;
use cache_testkit::redis::RedisServer;
use cache_testkit::suite::Harness;
use tokio::sync::OnceCell;

struct Place {
    /// Started by the first instance, because that is within a runtime.
    server: OnceCell<RedisServer>,
    is_node: bool,
    clock: ManualClock,
}

impl Place {
    fn new(is_node: bool) -> Self {
        Self {
            server: OnceCell::new(),
            is_node,
            clock: ManualClock::at(SystemClock.now()),
        }
    }
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> Arc<dyn Store> {
        let server = self
            .server
            .get_or_init(async || RedisServer::start().await.unwrap())
            .await;
        let config = RedisConfig::from_url(&server.url())
            .unwrap()
            .clock(Arc::new(self.clock.clone()));
        let opened = if self.is_node {
            // Records that no expiry was given to would live for a day.
            MsalCacheStore::open_node(config, NodeLayout::default().key_prefix("a*[b:").lifetime(None)).await
        } else {
            MsalCacheStore::open_aspnet_core(config, AspNetCoreLayout::default().instance_name("Web")).await
        };
        Arc::new(opened.unwrap())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod node {
    cache_testkit::conformance_tests!(super::Place::new(true));
}

mod aspnet_core {
    cache_testkit::conformance_tests!(super::Place::new(false));
}
