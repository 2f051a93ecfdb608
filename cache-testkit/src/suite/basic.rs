//! Reading, writing and removing one record.

use bytes::Bytes;
use cache_core::store::error::ErrorKind;
use cache_core::store::{Durability, PutOptions, Store, StoreKey};

use super::check::{assert_absent, assert_holds, assert_kind, delete, get, key, must, put, raw_key};

/// How long a payload the suite is willing to send, in bytes.
const LARGEST_TRIED: usize = 64 << 20;

/// A key that was never written has no record, which is an answer and not an error.
pub async fn missing_key_is_absent(store: &dyn Store) {
    let key = key("missing", "record");
    assert_absent(store, &key, "that nobody wrote").await;
}

/// What was put is what `get` returns, with the version that `put` returned and no expiry; `head` agrees.
pub async fn put_then_get(store: &dyn Store) {
    let key = key("put", "record");
    let version = put(store, &key, "payload", PutOptions::overwrite()).await;
    assert_holds(store, &key, "payload", version).await;
    let expiry = get(store, &key).await.and_then(|record| record.expires_at);
    assert_eq!(expiry, None, "a record put without expiry got one");
}

/// Overwriting replaces the payload and the version, and never conflicts, whatever is there.
pub async fn overwrite_replaces(store: &dyn Store) {
    let key = key("overwrite", "record");
    let first = put(store, &key, "first", PutOptions::overwrite()).await;
    let second = put(store, &key, "second", PutOptions::overwrite()).await;
    assert_ne!(first, second, "two writes returned one version");
    assert_holds(store, &key, "second", second).await;
    delete(store, &key).await;
    let third = put(store, &key, "third", PutOptions::overwrite()).await;
    assert_holds(store, &key, "third", third).await;
}

/// A record with an empty payload is a record.
pub async fn empty_payload_is_a_record(store: &dyn Store) {
    let key = key("empty", "record");
    let version = put(store, &key, "", PutOptions::create()).await;
    assert_holds(store, &key, "", version).await;
}

/// A payload is bytes: none is changed, whatever a text or a line it would make.
pub async fn payload_is_untouched(store: &dyn Store) {
    let key = key("bytes", "record");
    let every_byte: Vec<u8> = (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect();
    let payload = Bytes::from(every_byte);
    must(
        store.put(&key, payload.clone(), PutOptions::create()).await,
        "put of every byte",
    );
    let record = get(store, &key)
        .await
        .unwrap_or_else(|| panic!("the record is gone"));
    assert_eq!(record.payload, payload, "the payload's bytes were changed");
}

/// A payload as long as `max_value_bytes` says is stored whole (tried up to 64 MiB).
pub async fn largest_payload_fits(store: &dyn Store) {
    let key = key("largest", "record");
    let length = store.capabilities().max_value_bytes.min(LARGEST_TRIED);
    let payload = patterned(length);
    must(
        store.put(&key, payload.clone(), PutOptions::create()).await,
        "put of the longest payload that the capabilities promise",
    );
    let record = get(store, &key)
        .await
        .unwrap_or_else(|| panic!("the record is gone"));
    assert!(
        record.payload == payload,
        "a payload of {length} bytes came back changed"
    );
    delete(store, &key).await;
}

/// A payload one byte longer than `max_value_bytes` is `TooLarge`, and the record that was there stays.
///
/// A store whose limit is beyond 64 MiB is asserted to take a payload of 1 MiB instead.
pub async fn payload_beyond_the_limit_is_refused(store: &dyn Store) {
    let key = key("too-large", "record");
    let limit = store.capabilities().max_value_bytes;
    let version = put(store, &key, "before", PutOptions::create()).await;
    if limit > LARGEST_TRIED {
        let payload = patterned(1 << 20);
        must(
            store.put(&key, payload, PutOptions::overwrite()).await,
            "put of 1 MiB",
        );
        return;
    }
    let result = store
        .put(&key, patterned(limit + 1), PutOptions::overwrite())
        .await;
    assert_kind(
        result,
        ErrorKind::TooLarge,
        "a put of one byte beyond max_value_bytes",
    );
    assert_holds(store, &key, "before", version).await;
}

/// A deleted record is absent at once.
pub async fn delete_removes(store: &dyn Store) {
    let key = key("delete", "record");
    let neighbour = raw_key("conformance/delete/record-2");
    put(store, &key, "payload", PutOptions::create()).await;
    let version = put(store, &neighbour, "stays", PutOptions::create()).await;
    delete(store, &key).await;
    assert_absent(store, &key, "after delete").await;
    assert_holds(store, &neighbour, "stays", version).await;
}

/// Deleting what is not there, without a version, is success.
pub async fn unconditional_delete_is_idempotent(store: &dyn Store) {
    let key = key("delete-twice", "record");
    must(
        store.delete(&key, None).await,
        "delete of a key that was never written",
    );
    put(store, &key, "payload", PutOptions::create()).await;
    must(store.delete(&key, None).await, "the first delete");
    must(store.delete(&key, None).await, "the second delete");
    assert_absent(store, &key, "after two deletes").await;
}

/// A `Relaxed` write is visible to the next read, as a durable one is.
pub async fn relaxed_write_is_visible_at_once(store: &dyn Store) {
    let key = key("relaxed", "record");
    let relaxed = PutOptions::overwrite().durability(Durability::Relaxed);
    for payload in ["first", "second"] {
        let version = put(store, &key, payload, relaxed).await;
        assert_holds(store, &key, payload, version).await;
    }
}

/// Keys are compared byte by byte: neither case nor any character that means something to SQL, to a file
/// system or to a pattern language makes two of them one.
pub async fn keys_are_exact(store: &dyn Store) {
    let names = [
        "a", "A", "a/", "a/b", "a\\b", "a.", "..", "a%", "a_", "a*", "a?", "a[b]", "a:b", "a{b}", "a'",
        "a\"", "a;--", "a~", "a%2Fb", "a+b", "a|b", "<a>", "$a", "&a", "#a",
    ];
    let mut written = Vec::new();
    for name in names {
        let key = key("exact", name);
        let version = put(store, &key, name, PutOptions::create()).await;
        written.push((key, name, version));
    }
    for (key, name, version) in written {
        assert_holds(store, &key, name, version).await;
    }
}

/// Keys of up to 256 bytes work. One of 512, the longest there is, works whole or is refused with
/// `InvalidArgument` (a decorator may need room for a prefix); it is never cut.
pub async fn long_key_is_whole_or_refused(store: &dyn Store) {
    for length in [256, StoreKey::MAX_BYTES] {
        let stem = format!("conformance/long-{length}/");
        let stem = format!("{stem}{}", "k".repeat(length - stem.len() - 1));
        let (first, second) = (raw_key(format!("{stem}1")), raw_key(format!("{stem}2")));
        let result = store.put(&first, "first".into(), PutOptions::create()).await;
        if length > 256 && result.is_err() {
            assert_kind(
                result,
                ErrorKind::InvalidArgument,
                "a put under a key of 512 bytes",
            );
            continue;
        }
        let version = must(result, "a put under a long key");
        put(store, &second, "second", PutOptions::create()).await;
        assert_holds(store, &first, "first", version).await;
    }
}

/// Bytes that differ from place to place, so that a cut or a swap shows.
fn patterned(length: usize) -> Bytes {
    (0..length)
        .map(|place| (place ^ (place >> 8) ^ (place >> 16)).to_le_bytes()[0])
        .collect()
}
