//! Servers that are replicas, lost their primary or their replicas, or are starting.

use cache_core::store::Store;
use cache_core::store::error::{ErrorKind, Retry};
use cache_testkit::redis::RedisServer;

use crate::client::{assert_failed, key, open, put, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_serves_reads_and_refuses_writes_until_it_is_promoted() {
    let primary = RedisServer::start().await.unwrap();
    let replica = RedisServer::builder().replica_of(&primary).start().await.unwrap();
    let at_primary = open(&primary.url()).await;
    put(&at_primary, "a", "before").await.unwrap();
    primary.command(&["WAIT", "1", "10000"]).await.unwrap();

    let store = open(&replica.url()).await;
    assert_eq!(text(&store, "a").await.as_deref(), Some("before"));
    assert_failed(put(&store, "a", "refused").await, ErrorKind::ReadOnly, Retry::Yes);
    assert_failed(
        store.delete(&key("a"), None).await,
        ErrorKind::ReadOnly,
        Retry::Yes,
    );
    assert_eq!(text(&at_primary, "a").await.as_deref(), Some("before"));

    replica.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    put(&store, "a", "after").await.unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_may_not_serve_without_its_primary_says_so() {
    let mut primary = RedisServer::start().await.unwrap();
    let replica = RedisServer::builder()
        .directive("replica-serve-stale-data", "no")
        .replica_of(&primary)
        .start()
        .await
        .unwrap();
    until("a replica that follows", async || {
        let info = replica.command(&["INFO", "replication"]).await.unwrap();
        info.contains("master_link_status:up")
    })
    .await;
    let store = open(&replica.url()).await;
    primary.kill();
    until("a replica that noticed", async || {
        let info = replica.command(&["INFO", "replication"]).await.unwrap();
        info.contains("master_link_status:down")
    })
    .await;
    let words = assert_failed(store.get(&key("a")).await, ErrorKind::Unavailable, Retry::Yes);
    assert!(words.contains("lost its primary"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_wants_replicas_refuses_writes_without_them() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    put(&store, "a", "before").await.unwrap();
    server
        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await
        .unwrap();
    assert_failed(
        put(&store, "a", "refused").await,
        ErrorKind::Unavailable,
        Retry::Yes,
    );
    assert_eq!(text(&store, "a").await.as_deref(), Some("before"));
    server
        .command(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await
        .unwrap();
    put(&store, "a", "after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_loads_its_data_says_so_and_then_serves_it() {
    let mut server = RedisServer::builder()
        // Microseconds for each key, and how often it looks up from its work.
        .directive("key-load-delay", "3000")
        .directive("loading-process-events-interval-bytes", "1024")
        .start()
        .await
        .unwrap();
    let store = open(&server.url()).await;
    put(&store, "a", "before").await.unwrap();
    server
        .command(&["DEBUG", "POPULATE", "600", "filler", "1024"])
        .await
        .unwrap();
    server.command(&["SAVE"]).await.unwrap();
    server.kill();
    server.launch().unwrap();

    let (mut loading, mut kept) = (0, "before");
    until("a server that has loaded", async || {
        match store.get(&key("a")).await {
            Ok(found) => {
                assert!(found.is_some(), "a server that loads must not look empty");
                true
            }
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.retry()),
                    (ErrorKind::Unavailable, Retry::Yes),
                    "{error}"
                );
                if error.to_string().contains("loading its data") {
                    loading += 1;
                    let refused = put(&store, "a", "refused").await;
                    if refused.is_ok() {
                        // It had all its data a moment later.
                        kept = "refused";
                        return true;
                    }
                    assert_failed(refused, ErrorKind::Unavailable, Retry::Yes);
                }
                false
            }
        }
    })
    .await;
    assert!(loading > 1, "the server was hardly seen loading");
    assert_eq!(text(&store, "a").await.as_deref(), Some(kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_somebodys_script_blocks_says_so() {
    let server = RedisServer::builder()
        .directive("busy-reply-threshold", "50")
        .start()
        .await
        .unwrap();
    let store = open(&server.url()).await;
    put(&store, "a", "before").await.unwrap();
    let script = async {
        // The script ends with an error when it is killed.
        server
            .command(&["EVAL", "while true do end", "0"])
            .await
            .unwrap_err();
    };
    let meanwhile = async {
        until("a server that is blocked", async || {
            match put(&store, "a", "refused").await {
                Ok(_) => false,
                refused => {
                    let words = assert_failed(refused, ErrorKind::Unavailable, Retry::Yes);
                    assert!(words.contains("SCRIPT KILL"), "{words}");
                    true
                }
            }
        })
        .await;
        server.command(&["SCRIPT", "KILL"]).await.unwrap();
    };
    tokio::join!(script, meanwhile);
    assert!(text(&store, "a").await.is_some());
    put(&store, "a", "after").await.unwrap();
}
