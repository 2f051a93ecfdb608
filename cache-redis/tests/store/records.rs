//! Scripts, foreign keys, prefixes and databases.

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store};
use cache_redis::RedisStore;
use cache_testkit::redis::RedisServer;
use futures_util::{StreamExt, TryStreamExt};

use crate::support::{config, key, open, pause};

/// The Redis key of the store key, as the layout has it.
async fn redis_key(server: &RedisServer, store_key: &str) -> String {
    let keys = server.command(&["KEYS", "*"]).await.unwrap();
    let found = keys
        .lines()
        .find(|line| line.ends_with(&format!("}}:{store_key}")));
    found.expect("the record's key").to_owned()
}

#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let key = key("a");
    let first = store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    let second = store
        .put(&key, "2".into(), PutOptions::update(first))
        .await
        .unwrap();
    assert_eq!(store.head(&key).await.unwrap(), Some(second));
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    store.delete(&key, Some(second)).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_write_is_one_request() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let key = key("a");
    let version = store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    store
        .put(&key, "2".into(), PutOptions::update(version))
        .await
        .unwrap();
    let statistics = server.command(&["INFO", "commandstats"]).await.unwrap();
    let calls = statistics
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"));
    assert!(calls.unwrap().contains("calls=1,"), "{statistics}");
    assert!(!statistics.contains("cmdstat_eval:"), "{statistics}");
}

#[tokio::test]
async fn what_is_no_record_is_corrupt_and_stays() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let key = key("a");
    store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
    let name = redis_key(&server, "a").await;
    let foreign: [&[&str]; 4] = [
        &["SET", &name, "text"],
        &["HSET", &name, "field", "value"],
        &["HSET", &name, "v", "short", "d", "x"],
        &["HSET", &name, "v", "0123456789abcdef", "d", "x", "e", "soon"],
    ];
    for command in foreign {
        server.command(&["DEL", &name]).await.unwrap();
        server.command(command).await.unwrap();
        let before = server.command(&["DUMP", &name]).await.unwrap();
        let corrupt = |error: cache_core::store::StoreError| {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{command:?}: {error}");
            assert_eq!(error.retry(), Retry::No);
        };
        corrupt(store.get(&key).await.unwrap_err());
        corrupt(store.head(&key).await.unwrap_err());
        corrupt(
            store
                .put(&key, "2".into(), PutOptions::overwrite())
                .await
                .unwrap_err(),
        );
        corrupt(
            store
                .put(&key, "2".into(), PutOptions::create())
                .await
                .unwrap_err(),
        );
        corrupt(store.delete(&key, None).await.unwrap_err());
        assert_eq!(server.command(&["DUMP", &name]).await.unwrap(), before);
    }
}

#[tokio::test]
async fn prefixes_and_databases_are_apart() {
    let server = RedisServer::start().await.unwrap();
    let url = server.url();
    let stores = [
        open(&url).await,
        open(&format!("{url}/1")).await,
        RedisStore::open(config(&url).key_prefix("other:")).await.unwrap(),
        RedisStore::open(config(&url).key_prefix("")).await.unwrap(),
    ];
    let key = key("a");
    for store in &stores {
        assert_eq!(store.get(&key).await.unwrap(), None);
        store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
    }
    for store in &stores {
        let listed: Vec<_> = store.scan("").try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        store.delete(&key, None).await.unwrap();
    }
    assert_eq!(
        server.command(&["DBSIZE"]).await.unwrap().trim(),
        "0",
        "nothing is left behind"
    );
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_lets_delete() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let key = key("a");
    let version = store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
    server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    for options in [PutOptions::overwrite(), PutOptions::update(version)] {
        let full = store.put(&key, "2".into(), options).await.unwrap_err();
        assert_eq!((full.kind(), full.retry()), (ErrorKind::Full, Retry::No));
    }
    assert_eq!(
        store.head(&key).await.unwrap(),
        Some(version),
        "nothing was changed"
    );
    store.delete(&key, Some(version)).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let key = key("a");
    store.close().await;
    store.close().await;
    let errors = [
        store.get(&key).await.unwrap_err(),
        store
            .put(&key, "1".into(), PutOptions::create())
            .await
            .unwrap_err(),
        store.delete(&key, None).await.unwrap_err(),
        store.scan("").try_collect::<Vec<_>>().await.unwrap_err(),
        store.describe().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let mut server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let key = key("a");
    server.stop().await.unwrap();
    let down = store.get(&key).await.unwrap_err();
    assert_eq!((down.kind(), down.retry()), (ErrorKind::Unavailable, Retry::Yes));
    let down = store
        .put(&key, "1".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(down.retry(), Retry::Yes, "it was never sent: {down}");
    server.restart().await.unwrap();
    store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown() {
    let server = RedisServer::start().await.unwrap();
    let timeout = std::time::Duration::from_millis(300);
    let store = RedisStore::open(config(&server.url()).response_timeout(timeout))
        .await
        .unwrap();
    let key = key("a");
    server.pause().unwrap();
    let unknown = store
        .put(&key, "1".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(
        (unknown.kind(), unknown.retry()),
        (ErrorKind::Timeout, Retry::OutcomeUnknown)
    );
    server.resume().unwrap();
    let record = store.get(&key).await.unwrap();
    assert!(record.is_none_or(|record| record.payload == "1"));
}

#[tokio::test]
async fn a_write_whose_connection_broke_is_unknown() {
    let mut server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    server.pause().unwrap();
    let key = key("a");
    let put = store.put(&key, "1".into(), PutOptions::create());
    let kill = async {
        pause(200).await;
        server.kill();
    };
    let (unknown, ()) = futures_util::future::join(put, kill).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(
        (unknown.kind(), unknown.retry()),
        (ErrorKind::Unavailable, Retry::OutcomeUnknown)
    );
}

#[tokio::test]
async fn an_idle_connection_that_broke_fails_no_write() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    for payload in ["1", "2"] {
        server
            .command(&["CLIENT", "KILL", "TYPE", "normal"])
            .await
            .unwrap();
        pause(100).await;
        store
            .put(&key("a"), payload.into(), PutOptions::overwrite())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_closed_store_lists_no_more() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    for number in 0..300 {
        let key = key(&format!("k/{number}"));
        store.put(&key, "1".into(), PutOptions::create()).await.unwrap();
    }
    let mut listing = store.scan("k/");
    listing.next().await.unwrap().unwrap();
    store.close().await;
    let last = listing.try_for_each(async |_| Ok(())).await.err();
    assert_eq!(last.expect("it must not connect again").kind(), ErrorKind::Closed);
}

/// Others may write and remove a record all the time; it is never taken for what is no record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_comes_and_goes_is_there_or_not() {
    let server = RedisServer::start().await.unwrap();
    let (store, other) = (open(&server.url()).await, open(&server.url()).await);
    let coming_and_going = tokio::spawn(async move {
        loop {
            let written = other.put(&key("a"), "1".into(), PutOptions::overwrite()).await;
            written.unwrap();
            other.delete(&key("a"), None).await.unwrap();
        }
    });
    for _ in 0..5_000 {
        store.get(&key("a")).await.unwrap();
    }
    coming_and_going.abort();
}

/// Among thousands of records nobody would find it.
#[tokio::test]
async fn a_listing_names_what_is_no_record() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    for name in ["a", "b"] {
        let put = store.put(&key(name), "1".into(), PutOptions::create()).await;
        put.unwrap();
    }
    let name = redis_key(&server, "a").await;
    server.command(&["SET", &name, "text"]).await.unwrap();
    let listed = store.scan("").try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(listed.kind(), ErrorKind::Corrupt);
    assert!(listed.to_string().contains(&name), "{listed}");
}

/// What somebody else put into an index is skipped, wherever a page of it ends.
#[tokio::test]
async fn what_is_no_text_in_an_index_ends_no_listing() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    store
        .put(&key("b"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    let name = redis_key(&server, "b").await;
    let index = &name[..name.find("}").unwrap() + 1];
    let script = "for i = 1, 600 do redis.call('ZADD', KEYS[1], 0, 'a\\255' .. i) end";
    server.command(&["EVAL", script, "1", index]).await.unwrap();
    let listed = tokio::select! {
        listed = store.scan("").try_collect::<Vec<_>>() => listed.unwrap(),
        () = pause(10_000) => panic!("the listing goes on for ever"),
    };
    assert_eq!(listed.len(), 1);
}
