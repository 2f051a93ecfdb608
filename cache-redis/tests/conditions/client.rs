//! A store, and short words for what is done with it.

use std::fmt::Debug;
use std::time::Duration;

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store, StoreError, StoreKey, Version};
use cache_core::time::{Clock, SystemClock};
use cache_redis::{RedisConfig, RedisStore};

/// Every key and channel of these tests starts with this.
pub(crate) const PREFIX: &str = "tk:";

/// Short time limits, so that a test of them is short.
pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig::from_url(url)
        .unwrap()
        .key_prefix(PREFIX)
        .connect_timeout(Duration::from_millis(1500))
        .response_timeout(Duration::from_millis(500))
}

pub(crate) async fn open(url: &str) -> RedisStore {
    RedisStore::open(config(url)).await.unwrap()
}

pub(crate) fn key(name: &str) -> StoreKey {
    StoreKey::new(name).unwrap()
}

pub(crate) async fn put(store: &RedisStore, name: &str, text: &str) -> Result<Version, StoreError> {
    let payload = text.to_owned().into();
    store.put(&key(name), payload, PutOptions::overwrite()).await
}

pub(crate) async fn create(store: &RedisStore, name: &str, text: &str) -> Result<Version, StoreError> {
    let payload = text.to_owned().into();
    store.put(&key(name), payload, PutOptions::create()).await
}

/// The text of a record, if there is one.
pub(crate) async fn text(store: &RedisStore, name: &str) -> Option<String> {
    let record = store.get(&key(name)).await.unwrap();
    record.map(|record| String::from_utf8(record.payload.to_vec()).unwrap())
}

/// Asserts that it failed in this way, and returns the error's words with those of its causes.
pub(crate) fn assert_failed<T: Debug>(
    result: Result<T, StoreError>,
    kind: ErrorKind,
    retry: Retry,
) -> String {
    let error = result.unwrap_err();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{words}");
    words
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1500 {
        if condition().await {
            return;
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come to this: {what}");
}
