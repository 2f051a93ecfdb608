//! The storage contract, held against one server by TCP and by its unix socket.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock};
use cache_redis::RedisStore;
use cache_testkit::clock::ManualClock;
use cache_testkit::redis::RedisServer;
use cache_testkit::suite::Harness;
use tokio::sync::OnceCell;

use crate::support::config;

struct Place {
    server: OnceCell<RedisServer>,
    by_socket: bool,
    clock: ManualClock,
}

impl Place {
    fn new(by_socket: bool) -> Self {
        Self {
            server: OnceCell::new(),
            by_socket,
            clock: ManualClock::at(SystemClock.now()),
        }
    }
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> Arc<dyn Store> {
        let start = || {
            let builder = RedisServer::builder();
            match self.by_socket {
                true => builder.unix_socket().start(),
                false => builder.start(),
            }
        };
        let server = self.server.get_or_try_init(start).await.unwrap();
        let config = config(&server.url()).clock(Arc::new(self.clock.clone()));
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
