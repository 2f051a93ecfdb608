//! An expired record is absent, in every operation and every mode.

use std::time::Duration;

use cache_core::store::{PutOptions, Store, StoreKey, Version};
use cache_core::time::{Clock, UnixMillis};

use super::check::{assert_absent, assert_conflict, assert_holds, get, key, list, must, put};
use crate::clock::ManualClock;

/// How long the records of these rules live. Far longer than a test runs, because a server may expire them by
/// a clock that does not stand still; and not a whole number of seconds, so that a rounded expiry shows.
const LIFETIME: Duration = Duration::from_millis(3_600_250);

/// Until its expiry a record is there, and reads return that expiry to the millisecond.
pub async fn live_record_keeps_its_expiry(store: &dyn Store, clock: &ManualClock) {
    let key = key("live", "record");
    let expiry = clock.now().saturating_add(LIFETIME);
    let version = put(
        store,
        &key,
        "payload",
        PutOptions::create().expires_at(Some(expiry)),
    )
    .await;
    clock.advance(LIFETIME - Duration::from_millis(1));
    assert_holds(store, &key, "payload", version).await;
    let record = get(store, &key).await.and_then(|record| record.expires_at);
    assert_eq!(record, Some(expiry), "the expiry came back changed");
    let again = store.put(&key, "second".into(), PutOptions::create()).await;
    assert_conflict(again, "a create over a record in its last millisecond");
}

/// From the very moment of its expiry a record is absent to `get` and `head`.
pub async fn expired_record_cannot_be_read(store: &dyn Store, clock: &ManualClock) {
    let key = key("expired-read", "record");
    put_expired(store, clock, &key).await;
    assert_absent(store, &key, "at the moment of its expiry").await;
    clock.advance(LIFETIME);
    assert_absent(store, &key, "long after its expiry").await;
}

/// `Create` writes over an expired record, and the new one does not inherit its expiry.
pub async fn expired_record_does_not_stop_a_create(store: &dyn Store, clock: &ManualClock) {
    let key = key("expired-create", "record");
    put_expired(store, clock, &key).await;
    let version = put(store, &key, "second", PutOptions::create()).await;
    assert_holds(store, &key, "second", version).await;
}

/// `Update` with the version of an expired record conflicts and does not bring it back.
pub async fn expired_record_cannot_be_updated(store: &dyn Store, clock: &ManualClock) {
    let key = key("expired-update", "record");
    let version = put_expired(store, clock, &key).await;
    let update = store
        .put(&key, "second".into(), PutOptions::update(version))
        .await;
    assert_conflict(update, "an update of an expired record");
    assert_absent(store, &key, "after an update that conflicted").await;
}

/// A delete with the version of an expired record conflicts; without a version it succeeds.
pub async fn expired_record_cannot_be_deleted_by_version(store: &dyn Store, clock: &ManualClock) {
    let key = key("expired-delete", "record");
    let version = put_expired(store, clock, &key).await;
    assert_conflict(
        store.delete(&key, Some(version)).await,
        "a delete with the version of an expired record",
    );
    must(
        store.delete(&key, None).await,
        "an unconditional delete of an expired record",
    );
    assert_absent(store, &key, "after delete").await;
}

/// A scan lists live records only.
pub async fn expired_record_is_not_listed(store: &dyn Store, clock: &ManualClock) {
    let (expired, live) = (key("expired-scan", "expired"), key("expired-scan", "live"));
    let version = put(store, &live, "stays", PutOptions::create()).await;
    put_expired(store, clock, &expired).await;
    let listed = list(store, "conformance/expired-scan/").await;
    assert_eq!(
        listed,
        [(live, version)],
        "a scan after the expiry of one of two records"
    );
}

/// An expiry that has already passed is accepted: the write applies, so the record that was there is gone, and
/// the new one is absent at once.
pub async fn passed_expiry_replaces_the_record(store: &dyn Store, clock: &ManualClock) {
    for past in [clock.now(), UnixMillis(clock.now().0 - 1), UnixMillis(0)] {
        let key = key("passed", &past.to_string());
        let first = put(store, &key, "first", PutOptions::create()).await;
        let options = PutOptions::update(first).expires_at(Some(past));
        put(store, &key, "second", options).await;
        assert_absent(store, &key, "that was put with a passed expiry").await;
        assert_conflict(
            store.put(&key, "third".into(), PutOptions::update(first)).await,
            "an update with the version that the expired write replaced",
        );
        let version = put(store, &key, "third", PutOptions::create()).await;
        assert_holds(store, &key, "third", version).await;
    }
}

/// A write brings its own expiry: one without clears that of the record before, one with a later moment moves
/// it.
pub async fn write_replaces_the_expiry(store: &dyn Store, clock: &ManualClock) {
    let (cleared, moved) = (key("replace-expiry", "cleared"), key("replace-expiry", "moved"));
    let soon = clock.now().saturating_add(LIFETIME);
    let later = soon.saturating_add(LIFETIME);
    put(
        store,
        &cleared,
        "first",
        PutOptions::create().expires_at(Some(soon)),
    )
    .await;
    let first = put(
        store,
        &moved,
        "first",
        PutOptions::create().expires_at(Some(soon)),
    )
    .await;
    let forever = put(store, &cleared, "second", PutOptions::overwrite()).await;
    let options = PutOptions::update(first).expires_at(Some(later));
    let longer = put(store, &moved, "second", options).await;
    clock.advance(LIFETIME);
    assert_holds(store, &cleared, "second", forever).await;
    assert_holds(store, &moved, "second", longer).await;
    clock.advance(LIFETIME);
    assert_holds(store, &cleared, "second", forever).await;
    assert_absent(store, &moved, "after the expiry that the second write gave it").await;
}

/// A write that conflicts leaves the stored record's expiry as it was.
pub async fn conflict_leaves_the_expiry(store: &dyn Store, clock: &ManualClock) {
    let key = key("conflict-expiry", "record");
    let version = put(store, &key, "first", PutOptions::create()).await;
    let soon = PutOptions::create().expires_at(Some(clock.now().saturating_add(LIFETIME)));
    assert_conflict(
        store.put(&key, "second".into(), soon).await,
        "a create over a record",
    );
    clock.advance(LIFETIME);
    assert_holds(store, &key, "first", version).await;
}

/// A version does not recur when the record that had it expired and another was created.
///
/// With `Versions::ContentHash` the two payloads of this rule still differ, and so do their versions.
pub async fn version_never_recurs_after_expiry(store: &dyn Store, clock: &ManualClock) {
    let key = key("expired-version", "record");
    let mut stale = Vec::new();
    for _ in 0..4 {
        stale.push(put_expired(store, clock, &key).await);
    }
    let current = put(store, &key, "the newest", PutOptions::create()).await;
    assert!(
        !stale.contains(&current),
        "the version of an expired record came back"
    );
    for version in stale {
        let update = store.put(&key, "stale".into(), PutOptions::update(version)).await;
        assert_conflict(update, "an update with an expired record's version");
    }
    assert_holds(store, &key, "the newest", current).await;
}

/// Creates a record and moves the clock to the moment of its expiry.
async fn put_expired(store: &dyn Store, clock: &ManualClock, key: &StoreKey) -> Version {
    let expiry = clock.now().saturating_add(LIFETIME);
    let version = put(
        store,
        key,
        "expires",
        PutOptions::create().expires_at(Some(expiry)),
    )
    .await;
    assert_holds(store, key, "expires", version).await;
    clock.advance(LIFETIME);
    version
}
