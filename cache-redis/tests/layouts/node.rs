//! What is MSAL Node's own.

use std::time::Duration;

use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{PutOptions, Store};
use cache_redis::layout::{MsalCacheStore, NodeLayout};
use cache_redis::{DurabilityMode, RedisConfig};
use cache_testkit::redis::RedisServer;
use futures_util::StreamExt;

use crate::{ask, key, number};

async fn open(server: &RedisServer, layout: NodeLayout) -> MsalCacheStore {
    let config = RedisConfig::from_url(&server.url()).unwrap();
    MsalCacheStore::open_node(config, layout).await.unwrap()
}

#[tokio::test]
async fn a_record_is_a_string_that_lives_for_a_day() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server, NodeLayout::default()).await;
    let alice = key("uid.utid");
    store
        .put(&alice, "{}".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(ask(&server, &["GET", "uid.utid"]).await, "{}");
    let left = number(&server, &["TTL", "uid.utid"]).await;
    assert!((86_390..=86_400).contains(&left), "{left}");

    // Another program's write, without a condition, is a change like any other.
    let version = store.head(&alice).await.unwrap().unwrap();
    ask(&server, &["SET", "uid.utid", "{\"Account\":{}}", "EX", "60"]).await;
    let refused = store
        .put(&alice, "late".into(), PutOptions::update(version))
        .await;
    assert!(refused.unwrap_err().is_conflict());
    let found = store.get(&alice).await.unwrap().unwrap();
    assert_eq!(found.payload, "{\"Account\":{}}");
    store.delete(&alice, Some(found.version)).await.unwrap();
    assert_eq!(number(&server, &["EXISTS", "uid.utid"]).await, 0);

    let forever = open(&server, NodeLayout::default().key_prefix("app:").lifetime(None)).await;
    forever
        .put(&alice, "{}".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(number(&server, &["TTL", "app:uid.utid"]).await, -1);
}

#[tokio::test]
async fn what_is_of_another_type_is_left_alone() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server, NodeLayout::default()).await;
    ask(&server, &["HSET", "a", "field", "value"]).await;
    ask(&server, &["SET", "not a key", "value"]).await;
    assert_eq!(store.get(&key("a")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let refused = store.put(&key("a"), "x".into(), PutOptions::overwrite()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.scan("").count().await, 0);
    assert_eq!(ask(&server, &["HGET", "a", "field"]).await, "value");
}

#[tokio::test]
async fn what_the_layout_does_not_have_is_refused() {
    let server = RedisServer::start().await.unwrap();
    let config = || RedisConfig::from_url(&server.url()).unwrap();
    let replicated = DurabilityMode::Replicated {
        replicas: 1,
        timeout: Duration::from_secs(1),
    };
    for (config, kind) in [
        (config().key_prefix("mine:"), ErrorKind::InvalidArgument),
        (config().durability(replicated), ErrorKind::Unsupported),
    ] {
        let refused = MsalCacheStore::open_node(config, NodeLayout::default())
            .await
            .unwrap_err();
        assert_eq!((refused.kind(), refused.operation()), (kind, Operation::Open));
    }
    let store = open(&server, NodeLayout::default()).await;
    store.close().await;
    assert_eq!(store.get(&key("a")).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        store.scan("").next().await.unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
}
