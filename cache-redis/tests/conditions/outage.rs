//! Servers that are silent, gone, or have no room for another client.

use std::net::TcpListener;
use std::time::Duration;

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{Store, WatchEvent};
use cache_core::time::{SystemClock, with_deadline};
use cache_redis::RedisStore;
use cache_testkit::redis::RedisServer;
use futures_util::StreamExt;

use crate::client::{assert_failed, config, key, open, put, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_times_reads_out_and_leaves_writes_unknown() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    put(&store, "a", "before").await.unwrap();
    put(&store, "b", "before").await.unwrap();
    server.pause().unwrap();
    assert_failed(store.get(&key("a")).await, ErrorKind::Timeout, Retry::Yes);
    server.resume().unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("before"));

    server.pause().unwrap();
    let (write, delete) = tokio::join!(put(&store, "a", "perhaps"), async {
        store.delete(&key("b"), None).await
    });
    assert_failed(write, ErrorKind::Timeout, Retry::OutcomeUnknown);
    assert_failed(delete, ErrorKind::Timeout, Retry::OutcomeUnknown);
    // Now there is no connection, so nothing can be sent.
    assert_failed(
        put(&store, "a", "not sent").await,
        ErrorKind::Unavailable,
        Retry::Yes,
    );
    server.resume().unwrap();
    // What was sent before the pause ended may have been carried out; what was not sent was not.
    until("a server that answers", async || {
        store.get(&key("a")).await.is_ok()
    })
    .await;
    let found = text(&store, "a").await.unwrap();
    assert!(["before", "perhaps"].contains(&found.as_str()), "{found}");
    put(&store, "a", "after").await.unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_unavailable() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let refused = RedisStore::open(config(&format!("redis://127.0.0.1:{port}"))).await;
    let words = assert_failed(refused, ErrorKind::Unavailable, Retry::Yes);
    assert!(words.contains("is the server running"), "{words}");
    let refused = RedisStore::open(config("redis+unix:///nonexistent/redis.sock")).await;
    assert_failed(refused, ErrorKind::Unavailable, Retry::Yes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_found_again_with_what_it_kept() {
    let mut server = RedisServer::builder().append_only(true).start().await.unwrap();
    let store = open(&server.url()).await;
    let mut events = store.watch().unwrap().subscribe();
    put(&store, "a", "before").await.unwrap();
    for stopped in [false, true] {
        if stopped {
            server.stop().await.unwrap();
        } else {
            server.kill();
        }
        // The first may have been sent before the end was noticed.
        let _ = store.get(&key("a")).await;
        assert_failed(store.get(&key("a")).await, ErrorKind::Unavailable, Retry::Yes);
        assert_failed(
            put(&store, "a", "refused").await,
            ErrorKind::Unavailable,
            Retry::Yes,
        );
        server.restart().await.unwrap();
        assert_eq!(text(&store, "a").await.as_deref(), Some("before"));
    }
    put(&store, "a", "after").await.unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("after"));

    // Subscribers were told of the gap, and hear again.
    while events.next().await.unwrap() != WatchEvent::Lost {}
    until("an announcement that is heard", async || {
        let version = put(&store, "a", "heard").await.unwrap();
        let heard = async {
            while let Some(event) = events.next().await {
                if event == WatchEvent::Changed(key("a"), Some(version)) {
                    return true;
                }
            }
            false
        };
        let soon = Duration::from_millis(200);
        with_deadline(&SystemClock, soon, heard).await == Some(true)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_for_another_client_is_unavailable() {
    let server = RedisServer::builder()
        .directive("maxclients", "4")
        .start()
        .await
        .unwrap();
    let (first, second) = (open(&server.url()).await, open(&server.url()).await);
    // Whether the server's words arrive before the end of the connection is a matter of chance.
    for _ in 0..5 {
        let refused = RedisStore::open(config(&server.url())).await;
        assert_failed(refused, ErrorKind::Unavailable, Retry::Yes);
    }
    put(&first, "a", "text").await.unwrap();
    assert_eq!(text(&second, "a").await.as_deref(), Some("text"));
    first.close().await;
    drop(first);
    until("room for another", async || {
        RedisStore::open(config(&server.url())).await.is_ok()
    })
    .await;
}
