//! What becomes of the keys that a source makes for rings, and how often it is asked for them.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cache_core::random::{OsRandom, Random};
use cache_core::seal::{
    KeySource, KeySourceError, Namespace, SealError, Sealer, SecretKey, SourceDescription,
};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, Store};
use cache_core::time::SystemClock;
use cache_testkit::fault::{Fault, FaultStore};
use tokio::sync::Barrier;

use seal_support::{World, fixed, ring_key};

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

/// Counts how often a key is asked for.
#[derive(Debug)]
struct CountedSource {
    keys: KeyForEachRing,
    loaded: AtomicUsize,
}

#[async_trait]
impl KeySource for CountedSource {
    fn kind(&self) -> &str {
        self.keys.kind()
    }

    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        self.keys.create(random).await
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        self.loaded.fetch_add(1, Ordering::SeqCst);
        self.keys.load(description).await
    }

    async fn discard(&self, description: &SourceDescription) -> Result<(), KeySourceError> {
        self.keys.discard(description).await
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

#[tokio::test]
async fn the_key_of_a_rewrapping_that_was_not_stored_is_not_kept() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    let world = World::over(Arc::new(faults.clone()));
    let sealer = world.open().await;
    let source = Arc::new(KeyForEachRing {
        keys: Mutex::default(),
        made: Barrier::new(1),
    });
    faults.inject(Fault::fail(ErrorKind::Full).on(Operation::Put).once());
    sealer.rewrap(source.clone()).await.unwrap_err();
    assert_eq!(source.keys.lock().unwrap().len(), 0);
    assert_eq!(sealer.key_source().await.unwrap().kind(), "fixed");
}

/// The write was lost, and another process changed the ring before this one looked.
#[tokio::test]
async fn a_change_of_the_ring_that_did_not_arrive_is_made_on_top_of_anothers() {
    let store = Arc::new(MemoryStore::new());
    let faults = FaultStore::new(store.clone(), Arc::new(SystemClock));
    let (world, beside) = (World::over(Arc::new(faults.clone())), World::over(store));
    let (sealer, other) = (world.open().await, beside.open().await);
    faults.inject(Fault::lost_request().on(Operation::Put).once());
    let (pause, look) = Fault::pause_before();
    let pause = pause.on(Operation::Get).at_key(|key| *key == ring_key());
    faults.inject(pause.after(1).once());
    let rotating = tokio::spawn({
        let sealer = sealer.clone();
        async move { sealer.rotate().await }
    });
    look.reached().await;
    other.rewrap(fixed(1)).await.unwrap();
    look.release();
    rotating.await.unwrap().unwrap();
    assert_eq!(sealer.keys().len(), 2);
}

/// A passphrase takes a second to become a key.
#[tokio::test]
async fn a_source_is_asked_once_for_each_ring_and_again_for_another() {
    let world = World::new();
    let source = Arc::new(CountedSource {
        keys: KeyForEachRing {
            keys: Mutex::default(),
            made: Barrier::new(1),
        },
        loaded: AtomicUsize::new(0),
    });
    world.open_with(source.clone()).await.unwrap();
    let sealer = world.open_with(source.clone()).await.unwrap();
    let other = world.open_with(source.clone()).await.unwrap();
    let loaded = || source.loaded.load(Ordering::SeqCst);
    assert_eq!(loaded(), 2);
    for _ in 0..3 {
        sealer.reload().await.unwrap();
    }
    assert_eq!(loaded(), 2);
    other.rewrap(source.clone()).await.unwrap();
    sealer.reload().await.unwrap();
    assert_eq!(loaded(), 3, "its key is another");
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
