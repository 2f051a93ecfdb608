//! A keychain that does not answer.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store, StoreError, StoreKey, Version};
use cache_keychain::{
    KeychainConfig, KeychainError, KeychainErrorKind, KeychainLimits, KeychainStore, KeychainStoreConfig,
};
use cache_testkit::clock::ManualClock;

use crate::memory::{Cabinet, Plan};

const DEADLINE: std::time::Duration = KeychainConfig::DEFAULT_DEADLINE;

struct Scene {
    cabinet: Cabinet,
    plan: Arc<Plan>,
    clock: ManualClock,
    key: StoreKey,
    before: Version,
}

impl Scene {
    async fn set() -> (Self, Arc<KeychainStore>) {
        let (cabinet, plan, clock) = (Cabinet::narrow(), Arc::<Plan>::default(), ManualClock::new());
        let store = cabinet.open_with(&plan, Arc::new(clock.clone())).await;
        let key = StoreKey::new("record").unwrap();
        let before = store
            .put(&key, "before".into(), PutOptions::create())
            .await
            .unwrap();
        let scene = Self {
            cabinet,
            plan,
            clock,
            key,
            before,
        };
        (scene, Arc::new(store))
    }

    /// Puts a long value, during which the change after `changes` others hangs beyond the deadline.
    async fn put_that_hangs(&self, store: &Arc<KeychainStore>, changes: usize) -> StoreError {
        self.plan.hang_after(changes);
        let put = tokio::spawn({
            let (store, key) = (Arc::clone(store), self.key.clone());
            let payload = Bytes::from(vec![b'x'; 3000]);
            async move { store.put(&key, payload, PutOptions::overwrite()).await }
        });
        let plan = Arc::clone(&self.plan);
        tokio::task::spawn_blocking(move || plan.wait_until_it_hangs())
            .await
            .unwrap();
        self.clock.wait_for_sleepers(1).await;
        self.clock.advance(DEADLINE);
        put.await.unwrap().unwrap_err()
    }

    /// Somebody else's write, which waits until the lock is free or the deadline.
    async fn put_of_another(&self) -> Result<Version, StoreError> {
        let other = self.cabinet.open().await;
        other
            .put(&self.key, "other".into(), PutOptions::overwrite())
            .await
    }
}

fn keychain_kind(error: &StoreError) -> KeychainErrorKind {
    let source = std::error::Error::source(error).unwrap();
    source.downcast_ref::<KeychainError>().unwrap().kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_hangs_before_its_moment_is_certainly_not_made() {
    let (scene, store) = Scene::set().await;
    // The manifest with the pending items, and then the first of them.
    let error = scene.put_that_hangs(&store, 1).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Timeout, Retry::Yes),
        "{error}"
    );
    assert_eq!(keychain_kind(&error), KeychainErrorKind::TimedOut);

    // The thread comes back and finds that nobody wants it any more.
    scene.plan.release();
    scene.put_of_another().await.unwrap();
    let found = store.get(&scene.key).await.unwrap().unwrap();
    assert_eq!(found.payload, "other");
    assert_eq!(scene.cabinet.names(), ["token-cache"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_hangs_at_its_moment_is_not_known_and_nobody_overtakes_it() {
    let (scene, store) = Scene::set().await;
    // The manifest, two items, and then the manifest that makes the write.
    let error = scene.put_that_hangs(&store, 3).await;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(store.head(&scene.key).await.unwrap(), Some(scene.before));

    // The write may still be made, so nobody else writes meanwhile, in bounded time.
    let waiting = tokio::spawn({
        let (store, key) = (Arc::clone(&store), scene.key.clone());
        async move { store.put(&key, "overtakes".into(), PutOptions::overwrite()).await }
    });
    scene.clock.wait_for_sleepers(1).await;
    scene.clock.advance(DEADLINE);
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{error}"
    );

    // It is made after all; then it is the next one's turn.
    scene.plan.release();
    scene.put_of_another().await.unwrap();
    assert_eq!(store.get(&scene.key).await.unwrap().unwrap().payload, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_write_ends_before_its_moment() {
    let (scene, store) = Scene::set().await;
    scene.plan.hang_after(1);
    let put = tokio::spawn({
        let (store, key) = (Arc::clone(&store), scene.key.clone());
        async move {
            store
                .put(&key, vec![b'x'; 3000].into(), PutOptions::overwrite())
                .await
        }
    });
    let plan = Arc::clone(&scene.plan);
    tokio::task::spawn_blocking(move || plan.wait_until_it_hangs())
        .await
        .unwrap();
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    scene.plan.release();
    let version = scene.put_of_another().await.unwrap();
    assert_eq!(store.head(&scene.key).await.unwrap(), Some(version));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_lock_file_was_removed_is_not_made() {
    let (scene, _) = Scene::set().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keychain.lock");
    let keychain = scene.cabinet.keychain(&scene.plan, Arc::new(scene.clock.clone()));
    let config = KeychainStoreConfig::new().lock_file(&path);
    let config = config.limits(KeychainLimits::WINDOWS);
    let store = KeychainStore::open(keychain, config).await.unwrap();
    // In the first of the items, and in the manifest that names them: another process, with a new lock file, may be in the middle of it.
    for changes in [1, 0] {
        scene.plan.hang_after(changes);
        let put = store.put(&scene.key, vec![b'x'; 3000].into(), PutOptions::overwrite());
        let plan = Arc::clone(&scene.plan);
        let remove = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                plan.wait_until_it_hangs();
                std::fs::remove_file(path).unwrap();
                plan.release();
            }
        });
        let (outcome, removed) = tokio::join!(put, remove);
        removed.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unavailable, Retry::Yes),
            "{error}"
        );
        assert_eq!(store.head(&scene.key).await.unwrap(), Some(scene.before));
    }
    store
        .put(&scene.key, vec![b'x'; 3000].into(), PutOptions::overwrite())
        .await
        .unwrap();
    // The items of those that were not made are gone.
    assert_eq!(scene.cabinet.names().len(), 3);
}
