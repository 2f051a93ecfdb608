//! Durable writes that wait for replicas.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{Durability, Persistence, PutOptions, Store};
use cache_redis::{DurabilityMode, RedisStore};
use cache_testkit::redis::RedisServer;

use crate::support::{config, key, pause};

async fn open(server: &RedisServer, replicas: usize) -> RedisStore {
    let timeout = Duration::from_millis(300);
    let mode = DurabilityMode::Replicated { replicas, timeout };
    RedisStore::open(config(&server.url()).durability(mode))
        .await
        .unwrap()
}

async fn with_replica() -> (RedisServer, RedisServer) {
    let primary = RedisServer::start().await.unwrap();
    let replica = RedisServer::builder().replica_of(&primary).start().await.unwrap();
    for _ in 0..500 {
        // Only the replica's first acknowledgement starts the stream of commands.
        primary.command(&["SET", "warm", "up"]).await.unwrap();
        primary.command(&["DEL", "warm"]).await.unwrap();
        pause(20).await;
        let info = primary.command(&["INFO", "replication"]).await.unwrap();
        let after = |mark: &str| info.split(mark).nth(1)?.split([',', '\r', '\n']).next();
        let (replica_has, primary_has) = (after(",offset="), after("master_repl_offset:"));
        if replica_has == primary_has && replica_has.is_some_and(|offset| offset != "0") {
            return (primary, replica);
        }
    }
    panic!("the replica does not follow");
}

#[tokio::test]
async fn a_durable_write_waits_for_its_replica() {
    let (primary, replica) = with_replica().await;
    let store = open(&primary, 1).await;
    assert_eq!(store.capabilities().persistence, Persistence::Replicated);
    let version = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    assert!(replica.command(&["KEYS", "*}:a"]).await.unwrap().contains("}:a"));
    store
        .put(&key("a"), "2".into(), PutOptions::create())
        .await
        .expect_err("a conflict");
    store.delete(&key("a"), Some(version)).await.unwrap();
    assert_eq!(replica.command(&["KEYS", "*"]).await.unwrap().trim(), "");
    assert_eq!(store.describe().await.unwrap().connected_replicas, 1);
    primary.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    store
        .put(&key("a"), "3".into(), PutOptions::create())
        .await
        .unwrap();
}

#[tokio::test]
async fn too_few_replicas_leave_a_durable_write_unknown() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server, 1).await;
    let unknown = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(
        (unknown.kind(), unknown.retry()),
        (ErrorKind::Timeout, Retry::OutcomeUnknown)
    );
    assert!(unknown.to_string().contains("0 of 1 replicas"), "{unknown}");
    let stands = store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(stands.payload, "1", "on the primary");
    // Neither a conflict nor a relaxed write is in doubt.
    let conflict = store
        .put(&key("a"), "2".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert!(conflict.is_conflict());
    let relaxed = PutOptions::update(stands.version).durability(Durability::Relaxed);
    store.put(&key("a"), "3".into(), relaxed).await.unwrap();
    let unknown = store.delete(&key("a"), None).await.unwrap_err();
    assert_eq!(unknown.retry(), Retry::OutcomeUnknown);
}

#[tokio::test]
async fn a_delete_of_what_is_gone_still_waits() {
    let (primary, replica) = with_replica().await;
    let store = open(&primary, 1).await;
    store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    replica.pause().unwrap();
    let unknown = store.delete(&key("a"), None).await.unwrap_err();
    assert_eq!(unknown.retry(), Retry::OutcomeUnknown);
    // The record is gone on the primary, but the replica still has it: success would be a lie.
    let again = store.delete(&key("a"), None).await.unwrap_err();
    assert_eq!(again.retry(), Retry::OutcomeUnknown);
    replica.resume().unwrap();
    store.delete(&key("a"), None).await.unwrap();
    assert_eq!(replica.command(&["KEYS", "*"]).await.unwrap().trim(), "");
}

#[tokio::test]
async fn a_replica_refuses_writes() {
    let (_primary, replica) = with_replica().await;
    let store = RedisStore::open(config(&replica.url())).await.unwrap();
    let error = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::ReadOnly, Retry::Yes));
    assert!(!store.describe().await.unwrap().writable);
    let store = open(&replica, 1).await;
    let error = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::ReadOnly, Retry::Yes));
}

#[tokio::test]
async fn many_durable_writes_at_once_all_arrive() {
    let (primary, replica) = with_replica().await;
    let store = open(&primary, 1).await;
    let keys: Vec<_> = (0..100).map(|number| key(&format!("k{number}"))).collect();
    let puts = keys
        .iter()
        .map(|key| store.put(key, "1".into(), PutOptions::create()));
    for put in futures_util::future::join_all(puts).await {
        put.unwrap();
    }
    let names = replica.command(&["KEYS", "*}:k*"]).await.unwrap();
    assert_eq!(names.lines().filter(|line| !line.is_empty()).count(), 100);
}

#[tokio::test]
async fn a_response_timeout_without_end_is_none() {
    let (primary, _replica) = with_replica().await;
    let config = config(&primary.url())
        .durability(DurabilityMode::Replicated {
            replicas: 1,
            timeout: Duration::from_secs(5),
        })
        .response_timeout(Duration::MAX);
    let store = RedisStore::open(config).await.unwrap();
    store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cache_takes_nothing_for_written_that_only_the_primary_has() {
    let (primary, mut replica) = with_replica().await;
    let store = Arc::new(open(&primary, 1).await);
    let open_cache = || {
        let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
        TokenCache::builder(store.clone()).open_sealed(Namespace::default(), key)
    };
    replica.stop().await.unwrap();
    // The primary has the key ring, and everybody could read it there.
    let error = open_cache().await.unwrap_err();
    assert!(
        error.to_string().contains("0 of 1 replicas") || has_source(&error, "0 of 1 replicas"),
        "{error:?}"
    );
    replica.restart().await.unwrap();
    for _ in 0..200 {
        if open_cache().await.is_ok()
            && store
                .put(&key("settled"), "1".into(), PutOptions::overwrite())
                .await
                .is_ok()
        {
            return;
        }
        pause(100).await;
    }
    panic!("the replica is back, and nothing is acknowledged");
}

fn has_source(error: &dyn std::error::Error, text: &str) -> bool {
    std::iter::successors(error.source(), |error| error.source())
        .any(|error| error.to_string().contains(text))
}
