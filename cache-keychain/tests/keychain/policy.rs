//! Where the key of a cache lies is decided once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cache_core::random::OsRandom;
use cache_core::seal::{
    FileKeySource, FixedKeySource, KeySource, KeySourceError, Namespace, Sealer, SecretKey, SourceDescription,
};
use cache_core::store::MemoryStore;
use cache_core::time::SystemClock;
use cache_keychain::{
    KeyPolicy, Keychain, KeychainConfig, KeychainError, KeychainErrorKind, KeychainKeySource,
};
use keyring_core::Error;
use tempfile::TempDir;

use crate::given::Given;

/// What the keychain says to every call.
type Condition = Arc<Mutex<Option<fn() -> Error>>>;

/// A keychain that can be made unusable.
struct World {
    given: Given,
    condition: Condition,
    store: Arc<MemoryStore>,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let condition: Condition = Arc::default();
        let seen = condition.clone();
        Self {
            given: Given::new(move || seen.lock().unwrap().map(|refusal| refusal())),
            condition,
            store: Arc::new(MemoryStore::new()),
            folder: TempDir::new().unwrap(),
        }
    }

    fn become_unusable(&self, how: Option<fn() -> Error>) {
        *self.condition.lock().unwrap() = how;
    }

    fn keychain(&self) -> Keychain {
        self.given.keychain(KeychainConfig::default())
    }

    fn file(&self) -> Arc<dyn KeySource> {
        Arc::new(FileKeySource::new(self.folder.path().join("key")))
    }

    fn prefer(&self) -> Arc<dyn KeySource> {
        let otherwise = self.file();
        KeyPolicy::PreferKeychain { otherwise }.source(self.keychain())
    }

    async fn open(&self, source: Arc<dyn KeySource>) -> Result<Sealer, KeySourceError> {
        let namespace = Namespace::new("policy").unwrap();
        let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
        let opened = Sealer::open(self.store.clone(), namespace, source, clock, random).await;
        opened.map_err(|error| match error {
            cache_core::seal::SealError::KeySource(error) => error,
            other => panic!("{other}"),
        })
    }

    fn keys(&self) -> usize {
        self.given.items.lock().unwrap().len()
    }
}

fn kind_of(error: &KeySourceError) -> KeychainErrorKind {
    use std::error::Error as _;
    error
        .source()
        .unwrap()
        .downcast_ref::<KeychainError>()
        .unwrap()
        .kind()
}

const UNSUPPORTED: fn() -> Error = || Error::NotSupportedByStore("not here".to_owned());
const LOCKED: fn() -> Error = || Error::NoStorageAccess("locked".into());

#[tokio::test]
async fn a_keychain_that_ends_after_it_took_the_key_is_not_taken_for_none() {
    let calls = AtomicUsize::new(0);
    let world = World {
        // It takes the first item, and is not there when that is read back.
        given: Given::new(move || {
            let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
            (!is_first).then(|| Error::PlatformFailure(Box::new(secret_service::Error::Unavailable)))
        }),
        ..World::new()
    };
    let error = world.open(world.prefer()).await.unwrap_err();
    assert_eq!(kind_of(&error), KeychainErrorKind::Disconnected);
    assert!(!world.folder.path().join("key").exists());
}

#[tokio::test]
async fn a_keychain_that_comes_back_does_not_get_a_second_key() {
    let world = World::new();
    world.become_unusable(Some(UNSUPPORTED));
    let made = world.open(world.prefer()).await.unwrap();
    assert_eq!(made.key_source().await.unwrap().kind(), "file");

    world.become_unusable(None);
    let later = world.open(world.prefer()).await.unwrap();
    assert_eq!(later.keys(), made.keys());
    assert_eq!(world.keys(), 0);
    let error = world
        .open(KeyPolicy::RequireKeychain.source(world.keychain()))
        .await
        .unwrap_err();
    assert!(matches!(error, KeySourceError::Mismatch { .. }), "{error}");

    // Moving it is asked for.
    later
        .rewrap(KeyPolicy::RequireKeychain.source(world.keychain()))
        .await
        .unwrap();
    assert_eq!(world.keys(), 1);
    world.open(world.prefer()).await.unwrap();
}

#[tokio::test]
async fn a_keychain_that_disappears_is_an_error_and_not_a_fallback() {
    let world = World::new();
    let made = world.open(world.prefer()).await.unwrap();
    assert_eq!(made.key_source().await.unwrap().kind(), "keychain");
    for how in [UNSUPPORTED, LOCKED] {
        world.become_unusable(Some(how));
        let error = world.open(world.prefer()).await.unwrap_err();
        assert!(matches!(error, KeySourceError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("only the keychain has"), "{error}");
    }
    assert_eq!(world.folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_locked_keychain_decides_nothing() {
    let world = World::new();
    world.become_unusable(Some(LOCKED));
    let error = world.open(world.prefer()).await.unwrap_err();
    assert_eq!(kind_of(&error), KeychainErrorKind::Locked);
    assert!(error.to_string().contains("unlock your login keyring"), "{error}");
    assert!(error.to_string().contains("--key file:"), "{error}");
    assert_eq!(world.folder.path().read_dir().unwrap().count(), 0);

    world.become_unusable(None);
    let made = world.open(world.prefer()).await.unwrap();
    assert_eq!(made.key_source().await.unwrap().kind(), "keychain");
}

#[tokio::test]
async fn a_ring_of_neither_source_is_refused() {
    let world = World::new();
    let fixed = FixedKeySource::new(SecretKey::random(&OsRandom).unwrap());
    let made = world.open(Arc::new(fixed)).await.unwrap();
    let error = world.open(world.prefer()).await.unwrap_err();
    assert!(matches!(error, KeySourceError::Mismatch { .. }), "{error}");
    let description = made.key_source().await.unwrap();
    let error = world.prefer().discard(&description).await.unwrap_err();
    assert!(matches!(error, KeySourceError::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn what_a_ring_says_of_its_key_is_not_believed() {
    let world = World::new();
    let source = KeychainKeySource::new(world.keychain());
    let (key, description) = source.create(&OsRandom).await.unwrap();
    assert_eq!(source.load(&description).await.unwrap(), key);

    let good = description.parameters();
    for length in (0..64).filter(|&length| length != good.len()) {
        let forged = SourceDescription::new("keychain", vec![1; length]).unwrap();
        let error = source.load(&forged).await.unwrap_err();
        assert!(matches!(error, KeySourceError::Parameters { .. }), "{error}");
    }
    for (at, value, what) in [(0, 2, "version"), (1, 99, "not known"), (1, 1, "Secret Service")] {
        let mut forged = good.to_vec();
        forged[at] = value;
        let forged = SourceDescription::new("keychain", forged).unwrap();
        let error = source.load(&forged).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(source.delete(&forged).await.is_err());
    }
    let mut forged = good.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = SourceDescription::new("keychain", forged).unwrap();
    let error = source.load(&forged).await.unwrap_err();
    assert!(matches!(error, KeySourceError::Missing { .. }), "{error}");

    let other = SourceDescription::new("file", good).unwrap();
    let error = source.load(&other).await.unwrap_err();
    assert!(matches!(error, KeySourceError::Mismatch { .. }), "{error}");

    // An item that is not a key.
    for item in world.given.items.lock().unwrap().values_mut() {
        item.truncate(40);
    }
    let error = source.load(&description).await.unwrap_err();
    assert!(matches!(error, KeySourceError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_keychain_that_cannot_search_says_so() {
    let world = World::new();
    let source = KeychainKeySource::new(world.keychain());
    let error = source.list().await.unwrap_err();
    assert!(matches!(error, KeySourceError::Unsupported { .. }), "{error}");
}

#[tokio::test]
async fn a_keychain_that_does_not_keep_what_it_takes_gets_no_cache() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    // The second call is the one that reads back.
    let given = Given::new(move || (counted.fetch_add(1, Ordering::SeqCst) == 1).then_some(Error::NoEntry));
    let source = KeychainKeySource::new(given.keychain(KeychainConfig::default()));
    let error = source.create(&OsRandom).await.unwrap_err();
    assert!(matches!(error, KeySourceError::Missing { .. }), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 3, "written, read, removed");
    assert!(given.items.lock().unwrap().is_empty());
}
