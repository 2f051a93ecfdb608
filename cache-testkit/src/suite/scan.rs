//! Listing.

use std::collections::BTreeSet;

use cache_core::store::{PutOptions, Store, StoreKey};
use futures_util::StreamExt;

use super::check::{assert_holds, delete, head, key, list, must, put, raw_key};

/// How many records a listing has: more than one page of a backend that reads in pages.
const RECORDS: usize = 150;

/// A scan lists every record under the prefix once, with its current version.
pub async fn scan_lists_every_record_once(store: &dyn Store) {
    let mut expected = BTreeSet::new();
    for number in 0..RECORDS {
        let key = key("list", &format!("{number:03}"));
        put(store, &key, "first", PutOptions::create()).await;
        expected.insert(key);
    }
    let rewritten = key("list", "007");
    put(store, &rewritten, "second", PutOptions::overwrite()).await;

    let listed = list(store, "conformance/list/").await;
    assert_eq!(
        listed.len(),
        RECORDS,
        "the scan listed a record twice, or missed one"
    );
    for (key, version) in &listed {
        assert_eq!(
            head(store, key).await,
            Some(*version),
            "the scan listed an old version of {key}"
        );
    }
    let listed: BTreeSet<StoreKey> = listed.into_iter().map(|(key, _)| key).collect();
    assert_eq!(listed, expected, "the scan listed other keys than were put");
}

/// A prefix is text to compare with, not a pattern: `%`, `_`, `*`, `?`, `[` and the backslash stand for
/// themselves, and case matters.
pub async fn scan_prefix_is_exact(store: &dyn Store) {
    let names = [
        "p", "p%", "p%x", "p_", "p_x", "pax", "P%x", "p*x", "p?x", "p[a]x", "p\\x", "p\\%x", "p^x", "xp%x",
        "p/x", "p~",
    ];
    for name in names {
        put(store, &key("prefix", name), name, PutOptions::create()).await;
    }
    let prefixes = [
        "p", "p%", "p_", "p*", "p?", "p[a]", "p[", "p\\", "P", "p%x", "p%xx", "p/", "p~", "%", "_", "*", "q",
    ];
    for prefix in prefixes {
        let expected: BTreeSet<StoreKey> = names
            .iter()
            .filter(|name| name.starts_with(prefix))
            .map(|name| key("prefix", name))
            .collect();
        let listed = list(store, &format!("conformance/prefix/{prefix}")).await;
        let listed: BTreeSet<StoreKey> = listed.into_iter().map(|(key, _)| key).collect();
        assert_eq!(listed, expected, "scan of the prefix {prefix:?}");
    }
    let spaced = list(store, "conformance/prefix/p x").await;
    assert_eq!(
        spaced,
        [],
        "no key has a space, so no key starts with this prefix"
    );
}

/// The empty prefix lists every record.
pub async fn empty_prefix_lists_all(store: &dyn Store) {
    let keys = [
        key("all", "record"),
        raw_key("!"),
        raw_key("~"),
        raw_key("Z/outside"),
    ];
    for key in &keys {
        put(store, key, "payload", PutOptions::overwrite()).await;
    }
    let listed: BTreeSet<StoreKey> = list(store, "").await.into_iter().map(|(key, _)| key).collect();
    for key in &keys {
        assert!(listed.contains(key), "the scan of everything did not list {key}");
        delete(store, key).await;
    }
}

/// A deleted record is not listed.
pub async fn deleted_record_is_not_listed(store: &dyn Store) {
    let (gone, stays) = (key("list-deleted", "gone"), key("list-deleted", "stays"));
    put(store, &gone, "payload", PutOptions::create()).await;
    let version = put(store, &stays, "payload", PutOptions::create()).await;
    delete(store, &gone).await;
    let listed = list(store, "conformance/list-deleted/").await;
    assert_eq!(
        listed,
        [(stays, version)],
        "a scan after one of two records was deleted"
    );
}

/// A record that is there during the whole scan is listed once, although others come, change and go meanwhile.
pub async fn scan_lists_what_stays_while_others_write(store: &dyn Store) {
    let mut stays = BTreeSet::new();
    for number in 0..RECORDS {
        let name = if number % 2 == 0 { "stays" } else { "goes" };
        let key = key("list-busy", &format!("{number:03}-{name}"));
        put(store, &key, "payload", PutOptions::create()).await;
        if name == "stays" {
            stays.insert(key);
        }
    }
    let mut listed = Vec::new();
    let mut scan = store.scan("conformance/list-busy/");
    while let Some(item) = scan.next().await {
        let number = listed.len();
        listed.push(must(item, "an item of the scan").0);
        if number < RECORDS / 2 {
            delete(store, &key("list-busy", &format!("{:03}-goes", number * 2 + 1))).await;
            put(
                store,
                &key("list-busy", &format!("{number:03}-comes")),
                "new",
                PutOptions::create(),
            )
            .await;
        }
    }
    let mut once = BTreeSet::new();
    for key in listed {
        assert!(once.insert(key.clone()), "the scan listed {key} twice");
    }
    for key in stays {
        assert!(
            once.contains(&key),
            "the scan missed {key}, which was there all the time"
        );
    }
}

/// A scan that is dropped half-way leaves the store as able as before, however often.
pub async fn dropped_scan_does_no_harm(store: &dyn Store) {
    for number in 0..8 {
        put(
            store,
            &key("list-dropped", &number.to_string()),
            "payload",
            PutOptions::create(),
        )
        .await;
    }
    for _ in 0..32 {
        let mut scan = store.scan("conformance/list-dropped/");
        let first = scan
            .next()
            .await
            .unwrap_or_else(|| panic!("the scan listed nothing"));
        must(first, "the first item of the scan");
        drop(scan);
        drop(store.scan("conformance/list-dropped/"));
    }
    let key = key("list-dropped", "0");
    let version = put(store, &key, "after", PutOptions::overwrite()).await;
    assert_holds(store, &key, "after", version).await;
    assert_eq!(
        list(store, "conformance/list-dropped/").await.len(),
        8,
        "the scan after the dropped ones"
    );
}
