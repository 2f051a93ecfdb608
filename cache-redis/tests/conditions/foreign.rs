//! What others keep under our keys, and what others answer on our port.

use cache_core::store::Store;
use cache_core::store::error::{ErrorKind, Retry};
use cache_redis::RedisStore;
use cache_testkit::redis::RedisServer;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::client::{PREFIX, assert_failed, config, key, open, put, text};

/// The Redis key of the record under `name`, which must exist.
async fn redis_key(server: &RedisServer, name: &str) -> String {
    let found = server
        .command(&["KEYS", &format!("{PREFIX}*:{name}")])
        .await
        .unwrap();
    assert_eq!(found.lines().count(), 1, "{found}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_is_neither_read_nor_touched() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let foreign: [&[&str]; 5] = [
        &["SET", "KEY", "a string"],
        &["RPUSH", "KEY", "a list"],
        &["HSET", "KEY", "data", "another program's hash"],
        &["HSET", "KEY", "v", "short", "d", "payload"],
        &[
            "HSET",
            "KEY",
            "v",
            "0123456789abcdef",
            "e",
            "no number",
            "d",
            "payload",
        ],
    ];
    for write in foreign {
        put(&store, "a", "ours").await.unwrap();
        let place = redis_key(&server, "a").await;
        server.command(&["DEL", &place]).await.unwrap();
        let mut write = write.to_vec();
        write[1] = &place;
        server.command(&write).await.unwrap();
        let before = server.command(&["DEBUG", "DIGEST-VALUE", &place]).await.unwrap();

        for failed in [
            store.get(&key("a")).await.map(drop),
            store.head(&key("a")).await.map(drop),
            put(&store, "a", "refused").await.map(drop),
            store.delete(&key("a"), None).await,
        ] {
            assert_failed(failed, ErrorKind::Corrupt, Retry::No);
        }
        let after = server.command(&["DEBUG", "DIGEST-VALUE", &place]).await.unwrap();
        assert_eq!(before, after, "{write:?} was touched");
        server.command(&["DEL", &place]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_at_a_foreign_index_changes_no_record() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    put(&store, "a", "before").await.unwrap();
    let index = redis_key(&server, "a")
        .await
        .replace(":a", "")
        .replace("tk", "tk:");
    let index = index.replace("::", ":");
    assert_eq!(server.command(&["TYPE", &index]).await.unwrap(), "zset");
    server.command(&["SET", &index, "a string"]).await.unwrap();
    assert_failed(put(&store, "a", "refused").await, ErrorKind::Corrupt, Retry::No);
    assert_failed(store.delete(&key("a"), None).await, ErrorKind::Corrupt, Retry::No);
    assert_eq!(text(&store, "a").await.as_deref(), Some("before"));
    assert_eq!(server.command(&["GET", &index]).await.unwrap(), "a string");
    let listed: Vec<_> = store.scan("").collect().await;
    assert!(
        listed.into_iter().any(|item| item.is_err()),
        "the scan must not look complete"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_at_the_port_is_an_error_that_says_so() {
    let answers: [&[u8]; 3] = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail ESMTP\r\n", b""];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let other = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut request = [0; 64];
                let _ = client.read(&mut request).await;
                let _ = client.write_all(answer).await;
            }
        });
        let error = RedisStore::open(config(&url)).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Other),
            "{answer:?}: {error:?}"
        );
        other.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_an_invalid_argument() {
    let server = RedisServer::start().await.unwrap();
    let refused = RedisStore::open(config(&format!("{}/99", server.url()))).await;
    assert_failed(refused, ErrorKind::InvalidArgument, Retry::No);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_resp3_is_spoken_to_in_resp2() {
    let server = RedisServer::builder()
        .directive("rename-command", "HELLO \"\"")
        .start()
        .await
        .unwrap();
    let store = open(&server.url()).await;
    put(&store, "a", "text").await.unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("text"));
}
