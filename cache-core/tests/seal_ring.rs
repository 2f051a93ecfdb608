//! How a key ring begins, and what opens it: first starts, missing rings, other sources of its key.
//!
//! Two sealers over one store stand for two processes: they share nothing else.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::seal::{FileKeySource, KeySource, KeyState, Namespace, RecordKind, SealError, Sealer};
use cache_core::store::error::Operation;
use cache_core::store::{MemoryStore, PutOptions, Store};
use cache_core::strategy::{MemoryTier, Strategy};
use cache_core::time::SystemClock;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::FaultStore;
use cache_testkit::issuer::{CLIENT, Issuer, user};

use seal_support::{Scripted, World, fixed, meta, ring_key};

#[tokio::test]
async fn the_first_start_creates_a_ring_and_the_next_reads_it() {
    let world = World::new();
    let first = world.open().await;
    let version = world.store.head(&ring_key()).await.unwrap();
    let second = world.open().await;
    assert_eq!(first.keys(), second.keys());
    assert_eq!(first.keys().len(), 1);
    assert_eq!(first.keys()[0].state, KeyState::Primary);
    assert_eq!(first.ring_generation(), 1);
    assert_eq!(
        world.store.head(&ring_key()).await.unwrap(),
        version,
        "reading changes nothing"
    );
    let key = world.write(&first, "alice").await;
    assert_eq!(world.read(&second, &key).await.unwrap(), "alice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_first_starts_end_with_one_ring_and_one_key_file() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let racers: Vec<_> = (0..6)
            .map(|number: u8| {
                let (store, path) = (store.clone(), directory.path().join("key"));
                tokio::spawn(async move {
                    let source = Arc::new(FileKeySource::new(path));
                    let namespace = Namespace::new("ns").unwrap();
                    let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
                    let sealer = Sealer::open(store.clone(), namespace, source, clock, random)
                        .await
                        .unwrap();
                    // Each seals at once, so that a late starter may find records before it finds the ring.
                    let key = sealer.stored_key(RecordKind::User, &[number]);
                    let record = sealer.seal(RecordKind::User, &key, meta(1), &[number]).unwrap();
                    store.put(&key, record, PutOptions::create()).await.unwrap();
                    (sealer, key)
                })
            })
            .collect();
        let mut opened = Vec::new();
        for racer in racers {
            opened.push(racer.await.unwrap());
        }
        for (sealer, _) in &opened {
            assert_eq!(sealer.keys(), opened[0].0.keys());
            for (_, key) in &opened {
                let record = store.get(key).await.unwrap().unwrap();
                sealer
                    .open_record(RecordKind::User, key, &record.payload)
                    .unwrap();
            }
        }
    }
}

#[tokio::test]
async fn reading_records_does_not_read_the_ring_again() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    let world = World::over(Arc::new(faults.clone()));
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    faults.reset_counts();
    for _ in 0..3 {
        assert_eq!(world.read(&sealer, &key).await.unwrap(), "alice");
    }
    assert_eq!(faults.count(Operation::Get), 3);
}

#[tokio::test]
async fn a_cache_that_reads_a_record_does_not_read_the_ring_again() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    let cache = TokenCache::builder(Arc::new(faults.clone()))
        .strategy(Strategy::desktop_tool().memory_tier(MemoryTier::off()))
        .open_sealed(Namespace::default(), fixed(1))
        .await
        .unwrap();
    let issuer = Issuer::new(&ManualClock::new());
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    faults.reset_counts();
    for _ in 0..3 {
        cache.id_tokens(&user(), CLIENT).await.unwrap();
    }
    assert_eq!(faults.count(Operation::Get), 3);
}

#[tokio::test]
async fn a_missing_ring_beside_records_is_never_replaced() {
    let world = World::new();
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    world.store.delete(&ring_key(), None).await.unwrap();

    let error = world.open_with(fixed(1)).await.unwrap_err();
    assert!(
        matches!(&error, SealError::RingMissing { example, .. } if *example == key),
        "{error}"
    );
    assert!(world.store.get(&ring_key()).await.unwrap().is_none());
    assert!(matches!(
        sealer.reload().await,
        Err(SealError::RingMissing { .. })
    ));
    assert!(matches!(
        sealer.rotate().await,
        Err(SealError::RingMissing { .. })
    ));
    assert_eq!(
        world.read(&sealer, &key).await.unwrap(),
        "alice",
        "who has the ring can still read"
    );

    // Another namespace of the same store is not concerned.
    assert!(world.open_in("other", fixed(1)).await.is_ok());
}

#[tokio::test]
async fn a_wrong_key_source_is_a_clear_error_and_changes_nothing() {
    let world = World::new();
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let before = (world.record(&ring_key()).await, world.record(&key).await);
    let error = world.open_with(fixed(2)).await.unwrap_err();
    assert!(error.is_wrong_key_source(), "{error}");
    assert!(error.to_string().contains("fixed"));
    let directory = tempfile::tempdir().unwrap();
    let file = Arc::new(FileKeySource::new(directory.path().join("key")));
    let error = world.open_with(file).await.unwrap_err();
    assert!(matches!(error, SealError::KeySource(_)));
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "no key is made for an existing ring"
    );
    assert_eq!(
        before,
        (world.record(&ring_key()).await, world.record(&key).await)
    );
}

#[tokio::test]
async fn a_rewrapped_ring_needs_the_new_source() {
    let world = World::new();
    let sealer = world.open().await;
    let other = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let record = world.record(&key).await;
    sealer.rewrap(fixed(2)).await.unwrap();

    assert!(world.open_with(fixed(1)).await.unwrap_err().is_wrong_key_source());
    let reopened = world.open_with(fixed(2)).await.unwrap();
    assert_eq!(world.read(&reopened, &key).await.unwrap(), "alice");
    assert_eq!(world.record(&key).await, record, "no record was touched");
    assert_eq!(reopened.ring_generation(), 2);
    sealer.rotate().await.unwrap();
    reopened.reload().await.unwrap();
    assert_eq!(
        reopened.keys(),
        sealer.keys(),
        "the rewrapped sealer goes on under the new source"
    );
    assert!(other.reload().await.unwrap_err().is_wrong_key_source());
    assert_eq!(world.read(&other, &key).await.unwrap(), "alice");
}

#[tokio::test]
async fn a_failing_store_is_never_an_empty_one() {
    let store = Arc::new(Scripted::new());
    let world = World::over(store.clone());
    store.down.store(true, Ordering::SeqCst);
    let error = world.open_with(fixed(1)).await.unwrap_err();
    assert!(matches!(error, SealError::Store(_)));
    store.down.store(false, Ordering::SeqCst);
    assert!(world.store.get(&ring_key()).await.unwrap().is_none());
}

#[tokio::test]
async fn errors_and_debug_show_no_key_bytes() {
    let world = World::new();
    let source: Arc<dyn KeySource> = fixed(0xab);
    let sealer = world.open_with(source.clone()).await.unwrap();
    let key = world.write(&sealer, "alice").await;
    let mut shown = format!(
        "{sealer:?} {source:?} {:?} {:?}",
        sealer.keys(),
        world.record(&key).await.version
    );
    let record = world.record(&key).await.payload;
    let mut tampered = record.to_vec();
    tampered[120] ^= 1;
    for error in [
        world.open_with(fixed(2)).await.unwrap_err(),
        sealer.open_record(RecordKind::User, &key, &tampered).unwrap_err(),
        sealer.open_record(RecordKind::App, &key, &record).unwrap_err(),
    ] {
        shown += &format!("{error} {error:?}");
    }
    assert!(
        !shown.contains(&"ab".repeat(8)) && !shown.contains("171, 171"),
        "{shown}"
    );
}
