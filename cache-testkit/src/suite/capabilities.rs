//! What a store says of itself.

use cache_core::store::{PutOptions, Store};

use super::check::{delete, key, put};

/// The capabilities are the same all the time, and for every instance over the same records.
pub async fn capabilities_do_not_change(first: &dyn Store, second: &dyn Store) {
    let before = first.capabilities();
    let key = key("capabilities", "record");
    put(first, &key, "payload", PutOptions::create()).await;
    delete(first, &key).await;
    assert_eq!(
        first.capabilities(),
        before,
        "the capabilities changed after a write"
    );
    assert_eq!(
        second.capabilities(),
        before,
        "two instances over the same records differ in capabilities"
    );
}

/// A store takes payloads of at least 1,024 bytes. With less, no token fits.
pub async fn limits_are_usable(store: &dyn Store) {
    let limit = store.capabilities().max_value_bytes;
    assert!(
        limit >= 1024,
        "max_value_bytes is {limit}, which no token fits in"
    );
    let key = key("usable", "record");
    put(store, &key, &"x".repeat(1024), PutOptions::create()).await;
}
