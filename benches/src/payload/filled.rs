//! Caches that are full already.

use std::sync::Arc;

use cache_core::cache::{AcquireOptions, CacheError, TokenCache};
use cache_core::codec::{BincodeCodec, Codec, CodecError};
use cache_core::random::{OsRandom, RandomError};
use cache_core::schema::Partition;
use cache_core::seal::{FixedKeySource, Incarnation, Namespace, RecordMeta, SealError, Sealer, SecretKey};
use cache_core::store::{Durability, MemoryStore, PutOptions, Store, StoreError};
use cache_core::strategy::Strategy;

use super::{FakeAuthority, Payload};

/// Why a cache could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The cache failed.
    #[error("the cache could not be opened or read")]
    Cache(#[from] CacheError),
    /// The store failed.
    #[error("a partition could not be stored")]
    Store(#[from] StoreError),
    /// The sealer failed.
    #[error("a partition could not be sealed")]
    Seal(#[from] SealError),
    /// The codec failed.
    #[error("a partition could not be encoded")]
    Codec(#[from] CodecError),
    /// The system has no random bytes.
    #[error("there are no random bytes")]
    Random(#[from] RandomError),
}

/// A cache over a memory store that holds `partitions` users with `tokens` access tokens each. All of it is in the memory tier too, where
/// the strategy has room for it.
///
/// # Errors
/// That a part failed.
pub async fn memory_cache(
    payload: &Payload,
    partitions: usize,
    tokens: usize,
    strategy: Strategy,
) -> Result<TokenCache, PayloadError> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let cache = open(Arc::clone(&store), strategy).await?;
    let users = (0..partitions).map(|user| payload.partition(user, tokens));
    fill(&store, cache.sealer(), &BincodeCodec, users).await?;
    warm(&cache, payload, partitions).await?;
    Ok(cache)
}

/// A sealed cache over `store`, on the system's clock.
///
/// # Errors
/// That the cache cannot be opened.
pub async fn open(store: Arc<dyn Store>, strategy: Strategy) -> Result<TokenCache, PayloadError> {
    let source = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let builder = TokenCache::builder(store).strategy(strategy);
    Ok(builder.open_sealed(Namespace::default(), source).await?)
}

/// Writes `partitions` into `store` as a cache with this `sealer` and `codec` would, past all of its rules: tens of thousands a second.
///
/// # Errors
/// That a part failed; what was written before stays.
pub async fn fill(
    store: &Arc<dyn Store>,
    sealer: &Sealer,
    codec: &dyn Codec,
    partitions: impl Iterator<Item = Partition>,
) -> Result<(), PayloadError> {
    let options = PutOptions::overwrite().durability(Durability::Relaxed);
    for partition in partitions {
        let kind = partition.key.record_kind();
        let key = sealer.stored_key(kind, &partition.key.to_bytes());
        let meta = RecordMeta {
            codec: codec.id(),
            schema: codec.schema_version(),
            incarnation: Incarnation::random(&OsRandom)?,
            generation: 1,
        };
        let payload = codec.encode(&partition)?;
        let record = sealer.seal(kind, &key, meta, payload.expose())?;
        store.put(&key, record, options).await?;
    }
    Ok(())
}

/// Reads the partitions of the first `users` users once, so that they are in the memory tier.
///
/// # Errors
/// That one of them is not in the cache.
pub async fn warm(cache: &TokenCache, payload: &Payload, users: usize) -> Result<(), PayloadError> {
    let offline = FakeAuthority::at_once(payload);
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    for user in 0..users {
        cache
            .acquire(payload.request(user, 0), options, offline.clone())
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cache_core::cache::TokenSource;

    use super::*;

    #[tokio::test]
    async fn a_filled_cache_answers_from_memory() {
        let payload = Payload::present(1);
        let cache = memory_cache(&payload, 20, 3, Strategy::web_front_end())
            .await
            .unwrap();
        let offline = FakeAuthority::at_once(&payload);
        for request in [payload.request(19, 2), payload.subset_request(0, 0)] {
            let found = cache
                .acquire(request, AcquireOptions::default(), offline.clone())
                .await;
            assert_eq!(found.unwrap().source(), TokenSource::Memory);
        }
        assert_eq!(offline.requests(), 0);
    }
}
