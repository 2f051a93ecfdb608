//! The frozen records of cache-core, and the key ring that they are sealed under.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SealError, Sealer, SecretKey};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreError, StoreKey};
use cache_core::time::SystemClock;
use futures_util::TryStreamExt;
pub use fuzz::unhex;

use crate::gate::{Doing, GateError};

/// The sealed record of the user `alice`.
#[must_use]
pub fn record() -> Vec<u8> {
    unhex(include_str!("../../cache-core/tests/vectors/record.hex"))
}

/// The same without encryption.
#[must_use]
pub fn unsealed_record() -> Vec<u8> {
    unhex(include_str!("../../cache-core/tests/vectors/plaintext.hex"))
}

/// The key ring.
#[must_use]
pub fn ring() -> Vec<u8> {
    unhex(include_str!("../../cache-core/tests/vectors/ring.hex"))
}

/// The namespace of all of them.
#[must_use]
#[expect(clippy::expect_used, reason = "the name is one of a namespace")]
pub fn namespace() -> Namespace {
    Namespace::new("golden").expect("a namespace")
}

/// Where the ring lies.
#[must_use]
#[expect(clippy::expect_used, reason = "the name is one of a record")]
pub fn ring_key() -> StoreKey {
    StoreKey::new("golden/keyring/ring").expect("a key")
}

/// What opens the ring.
#[must_use]
pub fn key_source() -> Arc<FixedKeySource> {
    Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[0x11; 32])))
}

/// A store with these bytes for a ring, and nothing else.
///
/// # Errors
///
/// That it took nothing.
pub async fn store_with_ring(ring: &[u8]) -> Result<Arc<MemoryStore>, GateError> {
    let store = Arc::new(MemoryStore::new());
    let put = store
        .put(&ring_key(), ring.to_vec().into(), PutOptions::create())
        .await;
    put.doing("the ring was not written")?;
    Ok(store)
}

/// Opens the ring in `store`.
///
/// # Errors
///
/// As [`Sealer::open`].
pub async fn open(store: Arc<MemoryStore>) -> Result<Sealer, SealError> {
    Sealer::open(
        store,
        namespace(),
        key_source(),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    )
    .await
}

/// A sealer of the golden ring.
///
/// # Errors
///
/// That the ring was not opened.
pub async fn sealer() -> Result<Sealer, GateError> {
    let store = store_with_ring(&ring()).await?;
    open(store).await.doing("the golden ring was not opened")
}

/// Everything that a store holds, without versions.
///
/// # Errors
///
/// Those of the store.
pub async fn snapshot(store: &dyn Store) -> Result<BTreeMap<String, Bytes>, StoreError> {
    let keys: Vec<_> = store.scan("").try_collect().await?;
    let mut found = BTreeMap::new();
    for (key, _) in keys {
        if let Some(record) = store.get(&key).await? {
            found.insert(key.to_string(), record.payload);
        }
    }
    Ok(found)
}

/// The hexadecimal digits of bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
