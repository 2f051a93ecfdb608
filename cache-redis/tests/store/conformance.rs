//! The storage contract, held against one server by TCP and by its unix socket.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock};
use cache_redis::{RedisConfig, RedisStore};
use cache_testkit::clock::ManualClock;
use cache_testkit::suite::Harness;

use crate::server::Server;

struct Place {
    server: Server,
    by_socket: bool,
    clock: ManualClock,
}

impl Place {
    fn new(by_socket: bool) -> Self {
        Self {
            server: Server::start(&[]),
            by_socket,
            clock: ManualClock::at(SystemClock.now()),
        }
    }
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> Arc<dyn Store> {
        let url = match self.by_socket {
            true => self.server.socket_url(),
            false => self.server.url(),
        };
        let config = RedisConfig::from_url(&url)
            .unwrap()
            .clock(Arc::new(self.clock.clone()));
        Arc::new(RedisStore::open(config).await.unwrap())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod tcp {
    cache_testkit::conformance_tests!(super::Place::new(false));
}

mod unix_socket {
    cache_testkit::conformance_tests!(super::Place::new(true));
}
