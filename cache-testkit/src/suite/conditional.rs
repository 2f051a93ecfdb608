//! Writes and deletes that depend on what is stored, and the versions that they depend on.

use std::collections::HashSet;

use bytes::Bytes;
use cache_core::store::{PutOptions, Store, Version, Versions};

use super::check::{assert_absent, assert_conflict, assert_holds, delete, key, must, put};

/// `Create` writes where nothing is, and conflicts where a record is, which it leaves untouched.
pub async fn create_writes_only_a_new_record(store: &dyn Store) {
    let key = key("create", "record");
    let version = put(store, &key, "first", PutOptions::create()).await;
    let again = store.put(&key, "second".into(), PutOptions::create()).await;
    assert_conflict(again, "a create over a record");
    assert_holds(store, &key, "first", version).await;
}

/// `Create` writes where a record was deleted.
pub async fn create_after_delete(store: &dyn Store) {
    let key = key("create-after-delete", "record");
    put(store, &key, "first", PutOptions::create()).await;
    delete(store, &key).await;
    let version = put(store, &key, "second", PutOptions::create()).await;
    assert_holds(store, &key, "second", version).await;
}

/// `Update` writes over the version that it names, and conflicts over any other, which it leaves untouched.
pub async fn update_needs_the_stored_version(store: &dyn Store) {
    let key = key("update", "record");
    let first = put(store, &key, "first", PutOptions::create()).await;
    let second = put(store, &key, "second", PutOptions::update(first)).await;
    assert_holds(store, &key, "second", second).await;
    let stale = store.put(&key, "third".into(), PutOptions::update(first)).await;
    assert_conflict(stale, "an update over a version that was replaced");
    assert_holds(store, &key, "second", second).await;
}

/// `Update` of a key without a record conflicts, whether it never had one or was deleted, and makes none.
pub async fn update_of_a_missing_key_conflicts(store: &dyn Store) {
    let key = key("update-missing", "record");
    let invented = Version::from_bytes([7; 16]);
    let never_written = store
        .put(&key, "payload".into(), PutOptions::update(invented))
        .await;
    assert_conflict(never_written, "an update of a key that was never written");
    assert_absent(store, &key, "after an update that conflicted").await;
    let version = put(store, &key, "payload", PutOptions::create()).await;
    delete(store, &key).await;
    let deleted = store
        .put(&key, "payload".into(), PutOptions::update(version))
        .await;
    assert_conflict(deleted, "an update of a deleted record");
    assert_absent(store, &key, "after an update that conflicted").await;
}

/// A delete with a version removes exactly that version, and conflicts over any other, which it leaves.
pub async fn delete_needs_the_stored_version(store: &dyn Store) {
    let key = key("delete-version", "record");
    let first = put(store, &key, "first", PutOptions::create()).await;
    let second = put(store, &key, "second", PutOptions::update(first)).await;
    assert_conflict(
        store.delete(&key, Some(first)).await,
        "a delete of a version that was replaced",
    );
    assert_holds(store, &key, "second", second).await;
    must(
        store.delete(&key, Some(second)).await,
        "a delete of the stored version",
    );
    assert_absent(store, &key, "after delete").await;
}

/// A delete with a version of a key without a record conflicts.
pub async fn delete_of_a_missing_version_conflicts(store: &dyn Store) {
    let key = key("delete-missing", "record");
    let invented = Version::from_bytes([7; 16]);
    assert_conflict(
        store.delete(&key, Some(invented)).await,
        "a delete with a version of a key that was never written",
    );
    let version = put(store, &key, "payload", PutOptions::create()).await;
    delete(store, &key).await;
    assert_conflict(
        store.delete(&key, Some(version)).await,
        "a second delete of one version",
    );
}

/// Each write gives its record a version that the key never had, even when the payload is the same.
///
/// With `Versions::ContentHash` it is the other way round: the same payload has the same version, and another
/// payload has another.
pub async fn version_never_recurs(store: &dyn Store) {
    let key = key("versions", "record");
    let mut seen = HashSet::new();
    for round in 0..32_u8 {
        let version = put(store, &key, "the same", PutOptions::overwrite()).await;
        match store.capabilities().versions {
            Versions::Unique => assert!(
                seen.insert(version),
                "write {round} got a version of an earlier one"
            ),
            Versions::ContentHash => {
                seen.insert(version);
                assert_eq!(seen.len(), 1, "one content hashed to two versions");
            }
        }
    }
    let other = must(
        store
            .put(&key, Bytes::from_static(b"another"), PutOptions::overwrite())
            .await,
        "put",
    );
    assert!(
        !seen.contains(&other),
        "another payload got a version that was used"
    );
}

/// A version does not recur after delete and recreate: whoever read the old record cannot write over the new.
///
/// With `Versions::ContentHash` the recreated record with the same payload has the same version again.
pub async fn version_never_recurs_after_delete(store: &dyn Store) {
    let key = key("versions-delete", "record");
    let mut seen = HashSet::new();
    for round in 0..8_u8 {
        let version = put(store, &key, "the same", PutOptions::create()).await;
        let is_new = seen.insert(version);
        delete(store, &key).await;
        if round == 0 {
            continue;
        }
        match store.capabilities().versions {
            Versions::Unique => assert!(is_new, "a version came back after delete and recreate"),
            Versions::ContentHash => assert!(!is_new, "one content hashed to two versions"),
        }
    }
    let current = put(store, &key, "the newest", PutOptions::create()).await;
    for stale in seen {
        let update = store.put(&key, "stale".into(), PutOptions::update(stale)).await;
        assert_conflict(update, "an update with a version from before the delete");
        assert_conflict(
            store.delete(&key, Some(stale)).await,
            "a delete with a version from before the delete",
        );
    }
    assert_holds(store, &key, "the newest", current).await;
}
