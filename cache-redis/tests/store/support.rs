//! What the tests share.

use std::time::Duration;

use cache_core::store::{StoreKey, WatchEvent};
use cache_redis::{RedisConfig, RedisStore};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

pub(crate) fn key(text: &str) -> StoreKey {
    StoreKey::new(text).unwrap()
}

pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig::from_url(url).unwrap()
}

pub(crate) async fn open(url: &str) -> RedisStore {
    RedisStore::open(config(url)).await.unwrap()
}

#[allow(clippy::disallowed_methods, reason = "the servers live in real time")]
pub(crate) async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// The next event, or a panic after far more than it may take.
#[allow(
    clippy::disallowed_methods,
    reason = "an event that never comes must not hang the test"
)]
pub(crate) async fn next(events: &mut BoxStream<'static, WatchEvent>) -> WatchEvent {
    let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
    event.expect("an event within 20 s").expect("the watch goes on")
}

/// Waits until `event` comes; others may come before it.
pub(crate) async fn expect(events: &mut BoxStream<'static, WatchEvent>, event: WatchEvent) {
    while next(events).await != event {}
}
