//! Expiry by the injected clock, removal by the server, and the index in between.

use std::sync::Arc;
use std::time::Duration;

use cache_core::store::{PutOptions, Store};
use cache_core::time::{Clock, SystemClock};
use cache_redis::RedisStore;
use cache_testkit::clock::ManualClock;
use cache_testkit::redis::RedisServer;
use futures_util::TryStreamExt;

use crate::support::{config, key, open};

const HOUR: Duration = Duration::from_secs(3600);

async fn index_entries(server: &RedisServer, pattern: &str) -> usize {
    let keys = server.command(&["KEYS", pattern]).await.unwrap();
    let mut entries = 0;
    for name in keys.lines().filter(|line| !line.is_empty()) {
        let count = server.command(&["ZCARD", name]).await.unwrap();
        entries += count.trim().parse::<usize>().unwrap();
    }
    entries
}

#[tokio::test]
async fn the_server_removes_a_record_after_its_expiry_and_never_before() {
    let server = RedisServer::start().await.unwrap();
    // Its own time does not matter, only the distance to the expiry.
    let clock = ManualClock::new();
    let config = config(&server.url()).clock(Arc::new(clock.clone()));
    let store = RedisStore::open(config).await.unwrap();
    let expiring = PutOptions::create().expires_at(Some(clock.now().saturating_add(HOUR)));
    store.put(&key("a"), "1".into(), expiring).await.unwrap();
    let names = server.command(&["KEYS", "*}:a"]).await.unwrap();
    let left = server.command(&["PTTL", names.trim()]).await.unwrap();
    let left: u64 = left.trim().parse().unwrap();
    assert!((3_600_000..=3_900_000).contains(&left), "{left} ms");
    assert!(store.get(&key("a")).await.unwrap().is_some());
    // A write without expiry takes it away again.
    store
        .put(&key("a"), "2".into(), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(
        server.command(&["PTTL", names.trim()]).await.unwrap().trim(),
        "-1"
    );
    assert_eq!(index_entries(&server, "*}!").await, 0);
}

#[tokio::test]
async fn a_scan_removes_entries_of_records_that_are_gone() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    for name in ["gone", "stays"] {
        store
            .put(&key(name), "1".into(), PutOptions::create())
            .await
            .unwrap();
    }
    let name = server.command(&["KEYS", "*}:gone"]).await.unwrap();
    server.command(&["DEL", name.trim()]).await.unwrap();
    assert_eq!(index_entries(&server, "*}").await, 2);
    let listed: Vec<_> = store.scan("").try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(index_entries(&server, "*}").await, 1);
}

#[tokio::test]
async fn a_write_removes_entries_of_records_that_the_server_removed() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let expires_at = SystemClock.now().saturating_add(HOUR);
    let first = key("a");
    store
        .put(
            &first,
            "1".into(),
            PutOptions::create().expires_at(Some(expires_at)),
        )
        .await
        .unwrap();
    // As if the server had removed it long ago.
    let name = server.command(&["KEYS", "*}:a"]).await.unwrap();
    let bucket = name.trim().strip_suffix(":a").unwrap().to_owned();
    server.command(&["DEL", name.trim()]).await.unwrap();
    server
        .command(&["ZADD", &format!("{bucket}!"), "1", "a"])
        .await
        .unwrap();
    // One of so many is in the same bucket, but for one time in 100,000.
    futures_util::future::join_all((0..3000).map(|number| store.put_numbered(number))).await;
    let left = server.command(&["ZSCORE", &bucket, "a"]).await.unwrap();
    assert_eq!(left.trim(), "");
    assert_eq!(index_entries(&server, "*}!").await, 0);
}

#[tokio::test]
async fn an_index_that_was_lost_comes_back_with_the_next_write() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let version = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    let index = server.command(&["KEYS", "*}"]).await.unwrap();
    server.command(&["DEL", index.trim()]).await.unwrap();
    store
        .put(&key("a"), "2".into(), PutOptions::update(version))
        .await
        .unwrap();
    let listed: Vec<_> = store.scan("a").try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn a_scan_of_many_records_lists_each_once() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    // More than one page in a bucket, although a hash spreads them.
    for chunk in 0..20 {
        let puts = (0..500).map(|n| store.put_numbered(chunk * 500 + n));
        futures_util::future::join_all(puts).await;
    }
    let mut listed: Vec<_> = store.scan("many/").try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(listed.len(), 10_000);
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    listed.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(listed.len(), 10_000);
}

trait PutNumbered {
    async fn put_numbered(&self, number: usize);
}

impl PutNumbered for RedisStore {
    async fn put_numbered(&self, number: usize) {
        let key = key(&format!("many/{number}"));
        self.put(&key, "1".into(), PutOptions::create()).await.unwrap();
    }
}
