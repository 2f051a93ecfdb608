//! Two clients of the same records at once.

use cache_core::store::{PutOptions, Store};

use super::Harness;
use super::check::{assert_absent, assert_conflict, assert_holds, delete, key, list, must, put};

/// What one instance wrote or removed, the other sees from then on.
pub async fn instances_see_each_others_writes(first: &dyn Store, second: &dyn Store) {
    let key = key("instances", "record");
    assert_absent(second, &key, "that nobody wrote").await;
    let version = put(first, &key, "by the first", PutOptions::create()).await;
    assert_holds(second, &key, "by the first", version).await;
    let version = put(first, &key, "again by the first", PutOptions::update(version)).await;
    assert_holds(second, &key, "again by the first", version).await;
    let version = put(second, &key, "by the second", PutOptions::update(version)).await;
    assert_holds(first, &key, "by the second", version).await;
    assert_eq!(
        list(first, "conformance/instances/").await,
        list(second, "conformance/instances/").await,
        "the two instances list different records"
    );
    delete(first, &key).await;
    assert_absent(second, &key, "that the other instance deleted").await;
}

/// A version that the other instance replaced is stale here too.
pub async fn instances_conflict_with_each_other(first: &dyn Store, second: &dyn Store) {
    let key = key("instances-conflict", "record");
    let old = put(first, &key, "by the first", PutOptions::create()).await;
    let create = second
        .put(&key, "by the second".into(), PutOptions::create())
        .await;
    assert_conflict(create, "a create over the other instance's record");
    let new = put(second, &key, "by the second", PutOptions::update(old)).await;
    let update = first.put(&key, "stale".into(), PutOptions::update(old)).await;
    assert_conflict(
        update,
        "an update over a version that the other instance replaced",
    );
    assert_conflict(
        first.delete(&key, Some(old)).await,
        "a delete of a version that the other instance replaced",
    );
    assert_holds(first, &key, "by the second", new).await;
    must(
        second.delete(&key, Some(new)).await,
        "a delete of the stored version",
    );
    let update = first.put(&key, "stale".into(), PutOptions::update(new)).await;
    assert_conflict(update, "an update of a record that the other instance deleted");
}

/// A record outlives the instance that wrote it. (For a store that lives in its process, the harness is the
/// process.)
pub async fn records_outlive_their_instance(harness: &dyn Harness) {
    let key = key("outlive", "record");
    let store = harness.open().await;
    let version = put(&*store, &key, "payload", PutOptions::create()).await;
    drop(store);
    let store = harness.open().await;
    assert_holds(&*store, &key, "payload", version).await;
    let version = put(&*store, &key, "second", PutOptions::update(version)).await;
    assert_holds(&*store, &key, "second", version).await;
}
