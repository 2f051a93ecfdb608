//! How a key ring begins, and what opens it: first starts, missing rings, other sources of its key.
//!
//! Two sealers over one store stand for two processes: they share nothing else.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cache_core::random::{OsRandom, Random};
use cache_core::seal::{
    FileKeySource, KeySource, KeySourceError, KeyState, Namespace, RecordKind, SealError, Sealer, SecretKey,
    SourceDescription,
};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, PutOptions, Store};
use cache_core::time::SystemClock;
use cache_testkit::fault::{Fault, FaultStore};
use tokio::sync::Barrier;

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

/// Makes a key for each ring, as a keychain does, and waits until all racers have made theirs.
#[derive(Debug)]
struct KeyForEachRing {
    keys: Mutex<HashMap<Vec<u8>, SecretKey>>,
    made: Barrier,
}

#[async_trait]
impl KeySource for KeyForEachRing {
    fn kind(&self) -> &str {
        "keychain"
    }

    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        let mut name = vec![0; 16];
        random.fill(&mut name)?;
        let mut key = [0; 32];
        random.fill(&mut key)?;
        let kept = SecretKey::from_bytes(&key);
        self.keys.lock().unwrap().insert(name.clone(), kept);
        self.made.wait().await;
        Ok((
            SecretKey::from_bytes(&key),
            SourceDescription::new("keychain", name)?,
        ))
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        let keys = self.keys.lock().unwrap();
        let key = keys.get(description.parameters()).unwrap();
        Ok(SecretKey::from_bytes(key.expose()))
    }

    async fn discard(&self, description: &SourceDescription) -> Result<(), KeySourceError> {
        self.keys
            .lock()
            .unwrap()
            .remove(description.parameters())
            .unwrap();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_keys_of_racing_first_starts_one_is_kept() {
    const RACERS: usize = 6;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let source = Arc::new(KeyForEachRing {
        keys: Mutex::default(),
        made: Barrier::new(RACERS),
    });
    let racers: Vec<_> = (0..RACERS)
        .map(|_| {
            let (store, source) = (store.clone(), source.clone());
            tokio::spawn(async move {
                let namespace = Namespace::new("ns").unwrap();
                let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
                Sealer::open(store, namespace, source, clock, random)
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut opened = Vec::new();
    for racer in racers {
        opened.push(racer.await.unwrap());
    }
    assert_eq!(source.keys.lock().unwrap().len(), 1);
    for sealer in &opened {
        assert_eq!(sealer.keys(), opened[0].keys());
    }
}

#[tokio::test]
async fn the_key_of_a_first_start_that_failed_is_not_kept() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    let world = World::over(Arc::new(faults.clone()));
    let source = Arc::new(KeyForEachRing {
        keys: Mutex::default(),
        made: Barrier::new(1),
    });
    faults.inject(Fault::fail(ErrorKind::Full).on(Operation::Put).once());
    world.open_with(source.clone()).await.unwrap_err();
    assert_eq!(source.keys.lock().unwrap().len(), 0);
    world.open_with(source.clone()).await.unwrap();
    assert_eq!(source.keys.lock().unwrap().len(), 1);
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
async fn the_key_of_a_rewrapping_that_failed_is_not_kept() {
    let world = World::new();
    let sealer = world.open().await;
    let source = Arc::new(KeyForEachRing {
        keys: Mutex::default(),
        made: Barrier::new(1),
    });
    let ring = world.record(&ring_key()).await;
    world.store.delete(&ring_key(), None).await.unwrap();
    let error = sealer.rewrap(source.clone()).await.unwrap_err();
    assert!(matches!(error, SealError::RingMissing { .. }), "{error}");
    assert_eq!(source.keys.lock().unwrap().len(), 0);
    assert_eq!(sealer.key_source().await.unwrap().kind(), "fixed");

    world.replace(&ring_key(), ring.payload.to_vec()).await;
    sealer.rewrap(source.clone()).await.unwrap();
    let description = sealer.key_source().await.unwrap();
    assert_eq!(description.kind(), "keychain");
    assert!(source.keys.lock().unwrap().contains_key(description.parameters()));
}

/// The write arrives, its acknowledgement is lost, and what is stored cannot be looked at for a while.
#[tokio::test]
async fn the_key_of_a_rewrapping_that_may_have_arrived_is_kept() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    let world = World::over(Arc::new(faults.clone()));
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let source = Arc::new(KeyForEachRing {
        keys: Mutex::default(),
        made: Barrier::new(1),
    });
    faults.inject(Fault::lost_reply().on(Operation::Put).once());
    let unavailable = Fault::fail(ErrorKind::Unavailable).on(Operation::Get);
    faults.inject(unavailable.at_key(|key| *key == ring_key()).after(1));
    sealer.rewrap(source.clone()).await.unwrap_err();
    faults.heal();
    assert_eq!(
        source.keys.lock().unwrap().len(),
        1,
        "the stored ring is under it"
    );
    let again = world.open_with(source).await.unwrap();
    assert_eq!(world.read(&again, &key).await.unwrap(), "alice");
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
