//! One item, with libsecret's own tool at the other end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use cache_core::store::error::ErrorKind;
use cache_core::store::{CompareAndSwap, PutOptions, Store, StoreError, StoreKey, Versions};
use cache_core::time::UnixMillis;
use cache_keychain::{
    ItemEncoding, KeychainError, KeychainErrorKind, MsalSecretServiceConfig, MsalSecretServiceStore,
};
use futures_util::TryStreamExt;

use crate::session::{items, run, within_session};

const ITEM: [&str; 6] = [
    "service",
    "mytool",
    "account",
    "cache",
    "xdg:schema",
    "org.freedesktop.Secret.Generic",
];
const JSON: &str = r#"{"AccessToken":{},"Kept":{"a":[1]}}"#;

pub(crate) fn config() -> MsalSecretServiceConfig {
    MsalSecretServiceConfig::node("mytool", "cache")
}

async fn open(config: MsalSecretServiceConfig) -> MsalSecretServiceStore {
    MsalSecretServiceStore::open(config).await.unwrap()
}

/// What libsecret finds for a program with keytar.
fn lookup() -> String {
    run("secret-tool", &[&["lookup"], ITEM.as_slice()].concat(), b"")
}

/// Keeps what a program with keytar would keep.
pub(crate) fn store_by_tool(more: &[&str], content: &str) {
    let arguments = [&["store", "--label=theirs"], ITEM.as_slice(), more].concat();
    run("secret-tool", &arguments, content.as_bytes());
}

fn keychain_kind(error: &StoreError) -> KeychainErrorKind {
    let source = std::error::Error::source(error).unwrap();
    source.downcast_ref::<KeychainError>().unwrap().kind()
}

#[tokio::test]
async fn a_new_item_is_as_the_program_makes_it_and_its_delete_leaves_it() {
    within_session(
        "item::a_new_item_is_as_the_program_makes_it_and_its_delete_leaves_it",
        async {
            let store = open(config()).await;
            let record = store.record();
            assert_eq!(store.get(&record).await.unwrap(), None);
            store.delete(&record, None).await.unwrap();
            assert!(items().is_empty());

            let version = store
                .put(&record, JSON.into(), PutOptions::create())
                .await
                .unwrap();
            assert_eq!(lookup(), JSON);
            let found = items();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0]["xdg:schema"], "org.freedesktop.Secret.Generic");
            assert_eq!(
                (found[0]["service"].as_str(), found[0]["account"].as_str()),
                ("mytool", "cache")
            );
            assert_eq!(found[0]["xdg:label"], "mytool/cache");
            assert_eq!(store.head(&record).await.unwrap(), Some(version));

            let again = store.put(&record, JSON.into(), PutOptions::create()).await;
            assert!(again.unwrap_err().is_conflict());
            let changed = Bytes::from_static(b"{\"changed\":true}");
            let next = store
                .put(&record, changed.clone(), PutOptions::update(version))
                .await
                .unwrap();
            let stale = store.put(&record, JSON.into(), PutOptions::update(version)).await;
            assert!(stale.unwrap_err().is_conflict());
            assert!(
                store
                    .delete(&record, Some(version))
                    .await
                    .unwrap_err()
                    .is_conflict()
            );
            let listed: Vec<_> = store.scan("").try_collect().await.unwrap();
            assert_eq!(listed, [(record.clone(), next)]);
            assert_eq!(store.scan("other").try_collect::<Vec<_>>().await.unwrap(), []);

            store.delete(&record, Some(next)).await.unwrap();
            assert_eq!(lookup(), "{}\n");
            assert_eq!(store.get(&record).await.unwrap(), None);
            assert!(
                store
                    .put(&record, changed, PutOptions::update(next))
                    .await
                    .unwrap_err()
                    .is_conflict()
            );
            store
                .put(&record, JSON.into(), PutOptions::create())
                .await
                .unwrap();
            assert_eq!((lookup().as_str(), items().len()), (JSON, 1));
        },
    )
    .await;
}

#[tokio::test]
async fn an_item_keeps_its_encoding_and_its_label() {
    within_session("item::an_item_keeps_its_encoding_and_its_label", async {
        store_by_tool(&[], "eyJBY2Nlc3NUb2tlbiI6e319");
        // Whatever is said of new items.
        let store = open(config().encoding(ItemEncoding::Json)).await;
        let record = store.record();
        let found = store.get(&record).await.unwrap().unwrap();
        assert_eq!(found.payload, "{\"AccessToken\":{}}");
        store
            .put(&record, "{\"a\":1}".into(), PutOptions::update(found.version))
            .await
            .unwrap();
        assert_eq!(lookup(), "eyJhIjoxfQ==");
        store.delete(&record, None).await.unwrap();
        store
            .put(&record, "{\"b\":1}".into(), PutOptions::create())
            .await
            .unwrap();
        assert_eq!(lookup(), "eyJiIjoxfQ==");
        assert_eq!(items()[0]["xdg:label"], "theirs");

        store_by_tool(&[], JSON);
        let store = open(config().encoding(ItemEncoding::Base64)).await;
        store
            .put(&record, "{\"c\":1}".into(), PutOptions::overwrite())
            .await
            .unwrap();
        assert_eq!((lookup().as_str(), items().len()), ("{\"c\":1}", 1));
    })
    .await;
}

#[tokio::test]
async fn the_longest_document_fits_in_both_encodings() {
    within_session("item::the_longest_document_fits_in_both_encodings", async {
        for (account, encoding) in [("json", ItemEncoding::Json), ("base64", ItemEncoding::Base64)] {
            let config = MsalSecretServiceConfig::node("mytool", account).encoding(encoding);
            let store = open(config).await;
            let most = MsalSecretServiceStore::MAX_VALUE_BYTES;
            let document = Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(most - 8)));
            assert_eq!(document.len(), most);
            store
                .put(&store.record(), document.clone(), PutOptions::create())
                .await
                .unwrap();
            let found = store.get(&store.record()).await.unwrap().unwrap();
            assert!(found.payload == document, "{encoding:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_cache_is_left_as_it_is() {
    within_session("item::what_is_no_cache_is_left_as_it_is", async {
        let store = open(config()).await;
        let record = store.record();
        // One that begins as a cache does is none yet.
        for foreign in ["hunter2", "{hunter2}"] {
            store_by_tool(&[], foreign);
            for error in [
                MsalSecretServiceStore::open(config()).await.unwrap_err(),
                store.get(&record).await.unwrap_err(),
                store
                    .put(&record, JSON.into(), PutOptions::overwrite())
                    .await
                    .unwrap_err(),
                store.delete(&record, None).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(!format!("{error} {error:?}").contains("hunter2"));
            }
            assert_eq!(lookup(), foreign);
        }
    })
    .await;
}

#[tokio::test]
async fn several_items_of_the_attributes_are_ambiguous_and_left_as_they_are() {
    within_session(
        "item::several_items_of_the_attributes_are_ambiguous_and_left_as_they_are",
        async {
            let store = open(config()).await;
            store_by_tool(&["kind", "1"], JSON);
            assert!(store.get(&store.record()).await.unwrap().is_some());
            store_by_tool(&["kind", "2"], JSON);
            let record = store.record();
            for error in [
                MsalSecretServiceStore::open(config()).await.unwrap_err(),
                store.get(&record).await.unwrap_err(),
                store
                    .put(&record, "{\"a\":1}".into(), PutOptions::overwrite())
                    .await
                    .unwrap_err(),
                store.delete(&record, None).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
                assert_eq!(keychain_kind(&error), KeychainErrorKind::Ambiguous);
            }
            for kind in ["1", "2"] {
                let arguments = [&["lookup", "kind", kind], ITEM.as_slice()].concat();
                assert_eq!(run("secret-tool", &arguments, b""), JSON);
            }
            // Whoever names more of them has one.
            let attributes = [("service", "mytool"), ("account", "cache"), ("kind", "2")];
            let config = MsalSecretServiceConfig::python("org.freedesktop.Secret.Generic", attributes);
            assert!(open(config).await.get(&record).await.unwrap().is_some());
        },
    )
    .await;
}

#[tokio::test]
async fn what_an_item_has_no_place_for_is_refused() {
    within_session("item::what_an_item_has_no_place_for_is_refused", async {
        let store = open(config()).await;
        let (record, other) = (store.record(), StoreKey::new("other").unwrap());
        let expires = PutOptions::overwrite().expires_at(Some(UnixMillis(i64::MAX)));
        let long = Bytes::from(vec![b' '; MsalSecretServiceStore::MAX_VALUE_BYTES + 1]);
        let plain = PutOptions::overwrite();
        for (key, payload, options, kind) in [
            (&other, JSON.into(), plain, ErrorKind::Unsupported),
            (&record, JSON.into(), expires, ErrorKind::Unsupported),
            (&record, long, plain, ErrorKind::TooLarge),
            (&record, "[]".into(), plain, ErrorKind::InvalidArgument),
            (&record, "{\"a\"".into(), plain, ErrorKind::InvalidArgument),
            (&record, "{}\n".into(), plain, ErrorKind::InvalidArgument),
        ] {
            let error = store.put(key, payload, options).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
        assert!(items().is_empty());
        assert_eq!(store.get(&other).await.unwrap(), None);
        assert_eq!(store.head(&other).await.unwrap(), None);
        store.delete(&other, None).await.unwrap();
        let version = store
            .put(&record, JSON.into(), PutOptions::create())
            .await
            .unwrap();
        assert!(
            store
                .delete(&other, Some(version))
                .await
                .unwrap_err()
                .is_conflict()
        );
    })
    .await;
}

#[tokio::test]
async fn programs_see_by_the_file_that_the_item_changed() {
    within_session("item::programs_see_by_the_file_that_the_item_changed", async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/cache.json");
        let alone = open(config()).await;
        let shared = open(config().cache_path(&path)).await;
        assert_eq!(alone.capabilities().compare_and_swap, CompareAndSwap::Process);
        assert_eq!(shared.capabilities().compare_and_swap, CompareAndSwap::Host);
        assert_eq!(shared.capabilities().versions, Versions::ContentHash);
        assert!(!path.exists());
        let file = tempfile::NamedTempFile::new().unwrap();
        let nowhere = config().cache_path(file.path().join("cache.json"));
        let error = MsalSecretServiceStore::open(nowhere).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");

        shared
            .put(&shared.record(), JSON.into(), PutOptions::create())
            .await
            .unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "the lock is gone"
        );

        // A program without a Secret Service may have had its cache there.
        fs::write(&path, "{\"theirs\":1}").unwrap();
        let long_ago = UNIX_EPOCH + Duration::from_secs(1);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        shared
            .put(&shared.record(), "{\"a\":1}".into(), PutOptions::overwrite())
            .await
            .unwrap();
        assert!(fs::metadata(&path).unwrap().modified().unwrap() > long_ago + Duration::from_secs(1));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"theirs\":1}");
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_a_program_holds_is_waited_for() {
    within_session("item::a_lock_that_a_program_holds_is_waited_for", async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.json");
        let lock = folder.path().join("cache.json.lockfile");
        let limits = cache_keychain::msal_file::LockLimits::default().patience(Duration::from_millis(300));
        let store = open(config().cache_path(&path).lock_limits(limits)).await;
        fs::write(&lock, std::process::id().to_string()).unwrap();
        let error = store
            .put(&store.record(), JSON.into(), PutOptions::create())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!error.is_outcome_unknown());
        assert!(items().is_empty());
        fs::remove_file(&lock).unwrap();
        store
            .put(&store.record(), JSON.into(), PutOptions::create())
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_count_together_lose_no_increment() {
    within_session("item::tasks_that_count_together_lose_no_increment", async {
        let folder = tempfile::tempdir().unwrap();
        for config in [config(), config().cache_path(folder.path().join("cache.json"))] {
            let stores = [Arc::new(open(config.clone()).await), Arc::new(open(config).await)];
            let record = stores[0].record();
            stores[0]
                .put(&record, "{\"n\":0}".into(), PutOptions::overwrite())
                .await
                .unwrap();
            let tasks: Vec<_> = (0..6)
                .map(|task| {
                    let (store, record) = (Arc::clone(&stores[task % 2]), record.clone());
                    tokio::spawn(async move {
                        for _ in 0..10 {
                            increment(&store, &record).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(
                number(&stores[1].get(&record).await.unwrap().unwrap().payload),
                60
            );
        }
    })
    .await;
}

async fn increment(store: &MsalSecretServiceStore, record: &StoreKey) {
    loop {
        let found = store.get(record).await.unwrap().unwrap();
        let next = format!("{{\"n\":{}}}", number(&found.payload) + 1);
        match store
            .put(record, next.into(), PutOptions::update(found.version))
            .await
        {
            Ok(_) => return,
            Err(error) => assert!(error.is_conflict(), "{error:?}"),
        }
    }
}

fn number(document: &[u8]) -> u64 {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap();
    document["n"].as_u64().unwrap()
}
