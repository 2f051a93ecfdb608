//! The one record: what it is, what it takes, and how it shows what others do to the file.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{
    CompareAndSwap, Durability, Persistence, PutMode, PutOptions, Store, Versions, WatchEvent,
};
use cache_core::time::UnixMillis;
use cache_keychain::msal_file::{MsalFileConfig, MsalFileStore};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::support::{get, key, names_in, open, put, rows, within};

#[tokio::test]
async fn the_record_is_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("msal_token_cache.json");
    let store = open(&path).await;
    assert_eq!(store.record(), key("msal_token_cache.json"));
    assert!(!path.exists(), "nothing is made before the first write");
    assert_eq!(get(&store).await, None);
    assert_eq!(store.scan("").count().await, 0);

    let version = put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), rows(&["a"]).to_string());
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
    let listed: Vec<_> = store.scan("msal").try_collect().await.unwrap();
    assert_eq!(listed, [(store.record(), version)]);
    assert_eq!(store.scan("other").count().await, 0);

    // The version is the content's, so what recurs has the version that it had.
    let record = get(&store).await.unwrap();
    assert_eq!((record.version, record.expires_at), (version, None));
    fs::write(&path, rows(&["b"]).to_string()).unwrap();
    assert_ne!(store.head(&store.record()).await.unwrap(), Some(version));
    fs::write(&path, rows(&["a"]).to_string()).unwrap();
    assert_eq!(store.head(&store.record()).await.unwrap(), Some(version));

    let told = store.capabilities();
    assert_eq!(told.compare_and_swap, CompareAndSwap::Host);
    assert_eq!(
        (told.versions, told.persistence),
        (Versions::ContentHash, Persistence::Disk)
    );
}

#[tokio::test]
async fn a_deleted_record_leaves_an_empty_cache_for_those_who_remember_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    store.delete(&store.record(), None).await.unwrap();
    assert!(!path.exists(), "nothing was there, and nothing is made");

    let version = put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
    store.delete(&store.record(), Some(version)).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
    assert_eq!(get(&store).await, None);
    assert_eq!(store.scan("").count().await, 0);
    let refused = store.delete(&store.record(), Some(version)).await.unwrap_err();
    assert!(refused.is_conflict());
    put(&store, &rows(&["b"]), PutOptions::create()).await.unwrap();
}

#[tokio::test]
async fn what_the_file_cannot_hold_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    let record = store.record();
    let expiring = PutOptions::create().expires_at(Some(UnixMillis(i64::MAX)));
    let too_long = format!("{{\"a\":\"{}\"}}", "x".repeat(MsalFileStore::MAX_VALUE_BYTES));
    for (key, payload, options, kind) in [
        (key("other"), "{}", PutOptions::create(), ErrorKind::Unsupported),
        (record.clone(), "{}", expiring, ErrorKind::Unsupported),
        (
            record.clone(),
            &too_long,
            PutOptions::create(),
            ErrorKind::TooLarge,
        ),
        (
            record.clone(),
            "",
            PutOptions::create(),
            ErrorKind::InvalidArgument,
        ),
        (
            record.clone(),
            "[]",
            PutOptions::create(),
            ErrorKind::InvalidArgument,
        ),
        (
            record.clone(),
            "{\"a\":",
            PutOptions::create(),
            ErrorKind::InvalidArgument,
        ),
        // How a deleted record looks.
        (
            record.clone(),
            "{}\n",
            PutOptions::create(),
            ErrorKind::InvalidArgument,
        ),
    ] {
        let refused = store
            .put(&key, Bytes::copy_from_slice(payload.as_bytes()), options)
            .await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.kind(), refused.operation()), (kind, Operation::Put));
        assert_eq!(refused.retry(), Retry::No);
    }
    assert!(names_in(directory.path()).is_empty());
    assert_eq!(store.get(&key("other")).await.unwrap(), None);
    assert_eq!(store.head(&key("other")).await.unwrap(), None);
    store.delete(&key("other"), None).await.unwrap();

    let version = put(&store, &json!({}), PutOptions::create()).await.unwrap();
    assert_eq!(
        store.head(&record).await.unwrap(),
        Some(version),
        "an empty object is a document"
    );
    let gone = store.delete(&key("other"), Some(version)).await.unwrap_err();
    assert!(gone.is_conflict());
    store.close();
    assert_eq!(store.get(&record).await.unwrap_err().kind(), ErrorKind::Closed);
    let listed = store.scan("").next().await.unwrap();
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.watch().unwrap().subscribe().next().await, None);
}

#[tokio::test]
async fn what_is_no_cache_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    for foreign in [
        &b"\x01\x00\x00\x00\xd0\x8c\x9d\xdf"[..],
        b"[1, 2]",
        b"{\"Account\": {\"a\"",
        b"{\"Account\": \xff}",
    ] {
        fs::write(&path, foreign).unwrap();
        let read = store.get(&store.record()).await.unwrap_err();
        assert_eq!((read.kind(), read.retry()), (ErrorKind::Corrupt, Retry::No));
        for mode in [PutMode::Overwrite, PutMode::Create] {
            let options = PutOptions {
                mode,
                ..PutOptions::create()
            };
            let refused = put(&store, &rows(&["a"]), options).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt);
        }
        let refused = store.delete(&store.record(), None).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(&path).unwrap(), foreign);
        assert_eq!(names_in(directory.path()), ["cache.json"]);
    }
}

#[tokio::test]
async fn what_other_writers_get_wrong_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    for (content, is_there) in [
        ("\u{feff}{\"Account\": {}, }\n", true),
        // As MSAL Node makes the file before it has anything to write.
        ("", false),
        ("\n", false),
        (" {} ", true),
    ] {
        fs::write(&path, content).unwrap();
        let found = get(&store).await;
        assert_eq!(found.is_some(), is_there, "{content:?}");
        if let Some(found) = found {
            assert_eq!(found.payload, content.as_bytes());
        } else {
            put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn two_writes_within_one_tick_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    // Of one length, in one inode, and many within one tick of the clock that files are dated by.
    for round in 0..2_000 {
        let content = format!("{{\"round\":{round:06}}}").replace(":0", ":1");
        fs::write(&path, &content).unwrap();
        assert_eq!(
            get(&store).await.unwrap().payload,
            content.as_bytes(),
            "round {round}"
        );
    }
}

#[tokio::test]
async fn a_file_that_does_not_change_is_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
    let payloads = async || get(&store).await.unwrap().payload.as_ptr();
    crate::support::wait(Duration::from_millis(30));
    payloads().await;
    crate::support::wait(Duration::from_millis(30));
    let remembered = payloads().await;
    let started = crate::support::now();
    for _ in 0..1_000 {
        assert_eq!(payloads().await, remembered);
    }
    println!("1,000 reads took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_write_is_younger_than_any_look_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let store = open(&path).await;
    for round in 0..50 {
        // MSAL Python reads anew what is younger than its last look, by this clock, and else writes over it.
        #[allow(
            clippy::disallowed_methods,
            reason = "another program knows no injected clock"
        )]
        let looked = std::time::SystemTime::now();
        put(&store, &rows(&[&round.to_string()]), PutOptions::overwrite())
            .await
            .unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(modified > looked, "{modified:?} after {looked:?}");
    }
}

#[tokio::test]
async fn one_create_wins() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = directory.path().join(format!("{round}.json"));
        let (one, two) = (Arc::new(open(&path).await), Arc::new(open(&path).await));
        let tasks = (0..8).map(|task| {
            let store = Arc::clone(if task % 2 == 0 { &one } else { &two });
            tokio::spawn(async move {
                let document = rows(&[&task.to_string()]);
                put(&store, &document, PutOptions::create())
                    .await
                    .map(|version| (version, document))
            })
        });
        let mut won = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(written) => won.push(written),
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        let [(version, document)] = &won[..] else {
            panic!("{} creates of one record", won.len())
        };
        let found = get(&one).await.unwrap();
        assert_eq!(found.version, *version);
        assert_eq!(found.payload, document.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_change_by_another_program_is_announced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let config = MsalFileConfig::new(&path).watch_interval(Duration::from_millis(5));
    let store = MsalFileStore::open(config).await.unwrap();
    let mut events = store.watch().unwrap().subscribe();
    let mut others = store.watch().unwrap().subscribe();
    for (content, is_there) in [
        (Some("{\"a\":1}"), true),
        (Some("{\"a\":2}"), true),
        (Some("not a cache"), false),
        (None, false),
    ] {
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let version = match is_there {
            true => store.head(&store.record()).await.unwrap(),
            false => None,
        };
        let expected = WatchEvent::Changed(store.record(), version);
        for events in [&mut events, &mut others] {
            let told = async { while events.next().await.as_ref() != Some(&expected) {} };
            within(Duration::from_secs(10), "the announcement", told).await;
        }
    }
    // What it does itself is told at once.
    let options = PutOptions::create().durability(Durability::Relaxed);
    let version = put(&store, &rows(&["a"]), options).await.unwrap();
    let told = async {
        let expected = WatchEvent::Changed(store.record(), Some(version));
        while events.next().await.as_ref() != Some(&expected) {}
    };
    within(Duration::from_secs(10), "the announcement", told).await;
}
