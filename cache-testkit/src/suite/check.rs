//! What the rules share: keys, and reads that must succeed.

use bytes::Bytes;
use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Record, Store, StoreError, StoreKey, Version};
use futures_util::TryStreamExt;

/// A key that only the rule of that name uses.
#[track_caller]
pub(super) fn key(rule: &str, name: &str) -> StoreKey {
    raw_key(format!("conformance/{rule}/{name}"))
}

#[track_caller]
pub(super) fn raw_key(text: impl AsRef<str>) -> StoreKey {
    StoreKey::new(text).unwrap_or_else(|error| panic!("the suite made a bad key: {error}"))
}

/// The value, or a panic that says what was being done.
#[track_caller]
pub(super) fn must<T>(result: Result<T, StoreError>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what} failed: {error:?}"))
}

pub(super) async fn get(store: &dyn Store, key: &StoreKey) -> Option<Record> {
    must(store.get(key).await, "get")
}

pub(super) async fn head(store: &dyn Store, key: &StoreKey) -> Option<Version> {
    must(store.head(key).await, "head")
}

pub(super) async fn put(store: &dyn Store, key: &StoreKey, payload: &str, options: PutOptions) -> Version {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    must(store.put(key, payload, options).await, "put")
}

pub(super) async fn delete(store: &dyn Store, key: &StoreKey) {
    must(store.delete(key, None).await, "unconditional delete");
}

/// The whole list under `prefix`, in the order in which the store gave it.
pub(super) async fn list(store: &dyn Store, prefix: &str) -> Vec<(StoreKey, Version)> {
    must(store.scan(prefix).try_collect().await, "scan")
}

#[track_caller]
pub(super) fn assert_kind<T>(result: Result<T, StoreError>, expected: ErrorKind, what: &str) {
    match result {
        Ok(_) => panic!("{what} must fail with {expected:?}, but succeeded"),
        Err(error) => assert_eq!(
            error.kind(),
            expected,
            "{what} failed with the wrong kind: {error:?}"
        ),
    }
}

#[track_caller]
pub(super) fn assert_conflict<T>(result: Result<T, StoreError>, what: &str) {
    assert_kind(result, ErrorKind::Conflict, what);
}

/// Asserts that `get` and `head` agree that the record is exactly this one.
pub(super) async fn assert_holds(store: &dyn Store, key: &StoreKey, payload: &str, version: Version) {
    let record = get(store, key).await;
    let record = record.unwrap_or_else(|| panic!("get({key}) found nothing where {payload:?} was put"));
    assert_eq!(
        record.payload,
        payload.as_bytes(),
        "get({key}) gave another payload"
    );
    assert_eq!(
        record.version, version,
        "get({key}) gave another version than the write returned"
    );
    assert_eq!(
        head(store, key).await,
        Some(version),
        "head({key}) disagrees with get"
    );
}

/// Asserts that `get` and `head` agree that there is no record.
pub(super) async fn assert_absent(store: &dyn Store, key: &StoreKey, when: &str) {
    assert_eq!(get(store, key).await, None, "get({key}) found a record {when}");
    assert_eq!(head(store, key).await, None, "head({key}) found a record {when}");
}
