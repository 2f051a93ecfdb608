//! Servers without memory, or without a disk.

use std::fs;

use cache_core::store::Store;
use cache_core::store::error::{ErrorKind, Retry};
use cache_redis::Eviction;
use cache_testkit::redis::RedisServer;

use crate::client::{assert_failed, create, key, open, put, text, until};

const PIECE: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_writes_and_keeps_what_it_has() {
    let server = RedisServer::builder()
        .max_memory("6mb")
        .directive("maxmemory-policy", "noeviction")
        .start()
        .await
        .unwrap();
    let store = open(&server.url()).await;
    assert_eq!(store.eviction(), Eviction::Never);
    let piece = "x".repeat(PIECE);
    let mut written = 0;
    let refused = loop {
        match create(&store, &format!("piece/{written}"), &piece).await {
            Ok(_) => written += 1,
            refused => break refused,
        }
        assert!(written < 1000, "the server took {written} pieces");
    };
    let words = assert_failed(refused, ErrorKind::Full, Retry::No);
    assert!(words.contains("maxmemory"), "{words}");
    assert!(written > 10, "only {written} pieces");

    // An update of what is there is refused as well, and changes nothing.
    assert_failed(put(&store, "piece/0", &piece).await, ErrorKind::Full, Retry::No);
    assert_eq!(text(&store, &format!("piece/{written}")).await, None);
    for number in 0..written {
        assert_eq!(
            text(&store, &format!("piece/{number}")).await.as_ref(),
            Some(&piece),
            "{number}"
        );
    }
    // A sign-out must be possible, and makes room.
    for number in 0..8 {
        store
            .delete(&key(&format!("piece/{number}")), None)
            .await
            .unwrap();
    }
    create(&store, "after", "it fits now").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_evicted_is_a_miss() {
    let server = RedisServer::builder()
        .max_memory("6mb")
        .directive("maxmemory-policy", "allkeys-random")
        .start()
        .await
        .unwrap();
    let store = open(&server.url()).await;
    assert_eq!(
        store.eviction(),
        Eviction::Any,
        "whoever opens it must be able to know"
    );
    let piece = "x".repeat(PIECE);
    for number in 0..200 {
        create(&store, &format!("piece/{number}"), &piece).await.unwrap();
    }
    let mut kept = 0;
    for number in 0..200 {
        match text(&store, &format!("piece/{number}")).await {
            Some(kept_piece) => {
                assert_eq!(kept_piece, piece);
                kept += 1;
            }
            None => {
                // It can be written anew.
                assert_eq!(store.head(&key(&format!("piece/{number}"))).await.unwrap(), None);
            }
        }
    }
    assert!(kept > 0 && kept < 200, "{kept} of 200 kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_save_refuses_writes() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    put(&store, "a", "before").await.unwrap();
    // A folder stands where the snapshot should go.
    fs::create_dir(server.folder().join("dump.rdb")).unwrap();
    server
        .command(&["CONFIG", "SET", "save", "3600 1"])
        .await
        .unwrap();
    server.command(&["BGSAVE"]).await.unwrap();
    until("a snapshot that failed", async || {
        let info = server.command(&["INFO", "persistence"]).await.unwrap();
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;

    assert_failed(put(&store, "a", "refused").await, ErrorKind::Full, Retry::No);
    assert_eq!(text(&store, "a").await.as_deref(), Some("before"));
    fs::remove_dir(server.folder().join("dump.rdb")).unwrap();
    server.command(&["SAVE"]).await.unwrap();
    put(&store, "a", "after").await.unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("after"));
}
