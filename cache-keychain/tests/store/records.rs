//! What is kept in which items, and what is refused.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{CompareAndSwap, Persistence, PutOptions, Store, StoreError, StoreKey};
use cache_core::time::{Clock, SystemClock};
use cache_keychain::{
    Keychain, KeychainConfig, KeychainError, KeychainErrorKind, KeychainLimits, KeychainStore,
    KeychainStoreConfig,
};
use cache_testkit::clock::ManualClock;

use crate::memory::{Cabinet, Plan};

fn key(name: &str) -> StoreKey {
    StoreKey::new(name).unwrap()
}

async fn open_error(cabinet: &Cabinet, config: KeychainStoreConfig) -> StoreError {
    let keychain = cabinet.keychain(&Arc::default(), Arc::new(SystemClock));
    KeychainStore::open(keychain, config).await.unwrap_err()
}

#[tokio::test]
async fn items_are_named_after_nothing_that_they_hold() {
    let cabinet = Cabinet::narrow();
    let store = cabinet.open().await;
    let canary = "alice@contoso.example";
    let payload = canary.repeat(300);
    store
        .put(&key(canary), payload.into(), PutOptions::create())
        .await
        .unwrap();
    let names = cabinet.names();
    assert_eq!(names.len(), 4);
    for name in names {
        assert!(!name.contains("alice"), "{name}");
        let is_random = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_random || name == "token-cache", "{name}");
    }
    let shown = format!("{store:?} {:?}", store.get(&key("other")).await);
    assert!(!shown.contains("alice"), "{shown}");
}

#[tokio::test]
async fn short_values_are_in_the_manifest_and_long_ones_in_items_that_go_with_them() {
    let cabinet = Cabinet::narrow();
    let store = cabinet.open().await;
    store
        .put(&key("short"), vec![1; 640].into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(cabinet.names().len(), 1);
    let long = Bytes::from(vec![2; 64 << 10]);
    store
        .put(&key("long"), long.clone(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(cabinet.names().len(), 1 + 26);
    assert_eq!(store.get(&key("long")).await.unwrap().unwrap().payload, long);
    store
        .put(&key("long"), "short now".into(), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(cabinet.names().len(), 1);
    let error = store
        .put(
            &key("long"),
            vec![2; (64 << 10) + 1].into(),
            PutOptions::overwrite(),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn what_has_expired_goes_with_the_next_write() {
    let cabinet = Cabinet::narrow();
    let clock = ManualClock::new();
    let store = cabinet.open_with(&Arc::default(), Arc::new(clock.clone())).await;
    let expires_at = clock.now().saturating_add(Duration::from_secs(60));
    let options = PutOptions::create().expires_at(Some(expires_at));
    store
        .put(&key("expires"), vec![0; 9000].into(), options)
        .await
        .unwrap();
    clock.advance(Duration::from_secs(60));
    assert_eq!(cabinet.names().len(), 5);
    store
        .put(&key("other"), "stays".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(cabinet.names(), ["token-cache"]);
}

#[tokio::test]
async fn many_records_need_items_for_their_list_and_too_many_are_refused() {
    let cabinet = Cabinet::narrow();
    let store = cabinet.open().await;
    let mut count = 0;
    let error = loop {
        let name = format!("record-{count:04}");
        match store
            .put(&key(&name), vec![3; 100].into(), PutOptions::create())
            .await
        {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::TooLarge, Retry::No),
        "{error}"
    );
    assert!((100..200).contains(&count), "{count}");
    assert_eq!(cabinet.names().len(), 1 + 8);
    for number in [0, count / 2, count - 1] {
        let found = store.get(&key(&format!("record-{number:04}"))).await.unwrap();
        assert_eq!(found.unwrap().payload, vec![3; 100]);
    }
    // It is no dead end.
    store.delete(&key("record-0000"), None).await.unwrap();
    store
        .put(&key("another"), "fits".into(), PutOptions::create())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_keychain_says_so_and_keeps_what_it_has() {
    let cabinet = Cabinet::narrow().total_bytes(8000);
    let store = cabinet.open().await;
    let first = store
        .put(&key("a"), vec![1; 5000].into(), PutOptions::create())
        .await
        .unwrap();
    let error = store
        .put(&key("b"), vec![2; 5000].into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Full, Retry::No),
        "{error}"
    );
    assert_eq!(store.head(&key("a")).await.unwrap(), Some(first));
    store
        .put(&key("c"), vec![3; 1500].into(), PutOptions::create())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lost_item_is_corruption_of_its_record_alone_until_that_is_written_anew() {
    let cabinet = Cabinet::narrow();
    let store = cabinet.open().await;
    store
        .put(&key("lost"), vec![1; 1000].into(), PutOptions::create())
        .await
        .unwrap();
    let names = cabinet.names();
    let chunk = names.iter().find(|name| *name != "token-cache").unwrap();
    cabinet.remove_item(chunk);
    store
        .put(&key("other"), "there".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(
        store.get(&key("lost")).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(store.get(&key("other")).await.unwrap().unwrap().payload, "there");
    store
        .put(&key("lost"), "again".into(), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(store.get(&key("lost")).await.unwrap().unwrap().payload, "again");
}

#[tokio::test]
async fn a_lost_part_of_the_list_is_corruption_of_all() {
    let cabinet = Cabinet::narrow();
    let store = cabinet.open().await;
    for number in 0..20 {
        let name = key(&format!("record-{number}"));
        store
            .put(&name, vec![1; 300].into(), PutOptions::create())
            .await
            .unwrap();
    }
    let names = cabinet.names();
    cabinet.remove_item(names.iter().find(|name| *name != "token-cache").unwrap());
    for error in [
        store.get(&key("record-1")).await.unwrap_err(),
        store
            .put(&key("record-1"), "x".into(), PutOptions::overwrite())
            .await
            .unwrap_err(),
        open_error(&cabinet, KeychainStoreConfig::new()).await,
    ] {
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Corrupt, Retry::No),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_as_it_is() {
    let newer = b"TKKS\x02\x14\0\0\0\0\0\0\x04\0\0\0\0\0\0\0";
    for (content, kind) in [
        (b"somebody's pass word".as_slice(), ErrorKind::Corrupt),
        (newer.as_slice(), ErrorKind::NewerSchema),
        (&newer[..5], ErrorKind::NewerSchema),
    ] {
        let cabinet = Cabinet::narrow();
        let store = cabinet.open().await;
        cabinet.set_item("token-cache", content);
        assert_eq!(
            open_error(&cabinet, KeychainStoreConfig::new()).await.kind(),
            kind
        );
        let put = store
            .put(&key("record"), "payload".into(), PutOptions::overwrite())
            .await;
        assert_eq!(put.unwrap_err().kind(), kind);
        let deleted = store.delete(&key("record"), None).await;
        assert_eq!(deleted.unwrap_err().kind(), kind);
        assert_eq!(cabinet.item("token-cache").unwrap(), content);
    }
}

#[tokio::test]
async fn configurations_that_make_no_sense_are_refused() {
    let limits = KeychainLimits {
        item_bytes: 100,
        value_bytes: 100,
    };
    for config in [
        KeychainStoreConfig::new().name(""),
        KeychainStoreConfig::new().limits(limits),
    ] {
        let error = open_error(&Cabinet::narrow(), config).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}

#[tokio::test]
async fn a_locked_keychain_is_unavailable() {
    let keychain = Keychain::with_store(KeychainConfig::default(), || {
        Err(keyring_core::Error::NoStorageAccess("locked".into()))
    });
    let error = KeychainStore::open(keychain, KeychainStoreConfig::new())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes)
    );
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<KeychainError>().unwrap();
    assert_eq!(source.kind(), KeychainErrorKind::Locked);
}

#[tokio::test]
async fn what_it_can_do_depends_on_the_lock_file_and_the_keychain() {
    let cabinet = Cabinet::narrow();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/keychain.lock");
    let keychain = || cabinet.keychain(&Arc::<Plan>::default(), Arc::new(SystemClock));
    let alone = KeychainStore::open(keychain(), KeychainStoreConfig::new())
        .await
        .unwrap();
    let shared = KeychainStoreConfig::new().lock_file(&path);
    let shared = KeychainStore::open(keychain(), shared).await.unwrap();
    let (alone, shared_by) = (alone.capabilities(), shared.capabilities());
    assert_eq!(alone.compare_and_swap, CompareAndSwap::Process);
    assert_eq!(shared_by.compare_and_swap, CompareAndSwap::Host);
    assert_eq!(shared_by.persistence, Persistence::Process);
    assert_eq!(shared_by.max_value_bytes, 64 << 10);

    shared
        .put(&key("record"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.as_path()), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
}

#[tokio::test]
async fn a_lock_that_another_process_holds_is_waited_for_until_the_deadline() {
    let cabinet = Cabinet::narrow();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keychain.lock");
    let clock = ManualClock::new();
    let keychain = cabinet.keychain(&Arc::default(), Arc::new(clock.clone()));
    let config = KeychainStoreConfig::new().lock_file(&path);
    let store = KeychainStore::open(keychain, config).await.unwrap();
    let held = File::create(&path).unwrap();
    held.lock().unwrap();
    // Only the waiting for the lock sleeps for so short.
    let waiting = tokio::spawn(async move {
        let error = store
            .put(&key("record"), "payload".into(), PutOptions::create())
            .await;
        (store, error.unwrap_err())
    });
    while !waiting.is_finished() {
        clock.advance(Duration::from_millis(250));
        tokio::task::yield_now().await;
    }
    let (store, error) = waiting.await.unwrap();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{error}"
    );
    assert_eq!(cabinet.names(), [""; 0]);

    // A file that is removed while it is locked locks nobody out for ever.
    fs::remove_file(&path).unwrap();
    store
        .put(&key("record"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lock_file_that_cannot_be_one_is_an_error_of_each_write() {
    let directory = tempfile::tempdir().unwrap();
    let cabinet = Cabinet::narrow();
    let keychain = cabinet.keychain(&Arc::default(), Arc::new(SystemClock));
    let config = KeychainStoreConfig::new().lock_file(directory.path());
    let store = KeychainStore::open(keychain, config).await.unwrap();
    for _ in 0..2 {
        let error = store
            .put(&key("record"), "payload".into(), PutOptions::create())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Other, Retry::No),
            "{error}"
        );
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(store.get(&key("record")).await.unwrap(), None);
}

#[cfg(unix)]
#[tokio::test]
async fn a_lock_file_that_is_a_link_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (link, target) = (directory.path().join("link"), directory.path().join("target"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let cabinet = Cabinet::narrow();
    let keychain = cabinet.keychain(&Arc::default(), Arc::new(SystemClock));
    let config = KeychainStoreConfig::new().lock_file(&link);
    let store = KeychainStore::open(keychain, config).await.unwrap();
    let error = store
        .put(&key("record"), "payload".into(), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(!target.exists());
}

#[tokio::test]
async fn a_read_that_never_finds_a_whole_store_ends() {
    let (cabinet, plan) = (Cabinet::narrow(), Arc::<Plan>::default());
    let store = cabinet.open_with(&plan, Arc::new(SystemClock)).await;
    plan.tear_reads();
    let error = store.get(&key("record")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{error}"
    );
    assert!(error.to_string().contains("try again"), "{error}");
}
