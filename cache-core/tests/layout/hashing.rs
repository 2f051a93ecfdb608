//! A store whose versions recur.

use std::sync::Arc;

use cache_core::store::{Capabilities, PutOptions, Store, StoreKey, Versions};

/// A store whose versions are hashes of the content.
#[derive(Debug)]
pub struct Hashing(Arc<dyn Store>);

impl Hashing {
    pub fn over(inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self(inner))
    }
}

#[async_trait::async_trait]
impl Store for Hashing {
    async fn get(
        &self,
        key: &StoreKey,
    ) -> Result<Option<cache_core::store::Record>, cache_core::store::StoreError> {
        let found = self.0.get(key).await?;
        Ok(found.map(|mut record| {
            record.version = hash(&record.payload);
            record
        }))
    }

    async fn head(
        &self,
        key: &StoreKey,
    ) -> Result<Option<cache_core::store::Version>, cache_core::store::StoreError> {
        Ok(self.get(key).await?.map(|record| record.version))
    }

    async fn put(
        &self,
        key: &StoreKey,
        payload: bytes::Bytes,
        mut options: PutOptions,
    ) -> Result<cache_core::store::Version, cache_core::store::StoreError> {
        let version = hash(&payload);
        if let cache_core::store::PutMode::Update(expected) = options.mode {
            options.mode = cache_core::store::PutMode::Update(self.real(key, expected).await?);
        }
        self.0.put(key, payload, options).await?;
        Ok(version)
    }

    async fn delete(
        &self,
        key: &StoreKey,
        expected: Option<cache_core::store::Version>,
    ) -> Result<(), cache_core::store::StoreError> {
        let expected = match expected {
            Some(expected) => Some(self.real(key, expected).await?),
            None => None,
        };
        self.0.delete(key, expected).await
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a str,
    ) -> futures_core::stream::BoxStream<
        'a,
        Result<(StoreKey, cache_core::store::Version), cache_core::store::StoreError>,
    > {
        self.0.scan(prefix)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            versions: Versions::ContentHash,
            watch: false,
            ..self.0.capabilities()
        }
    }

    fn watch(&self) -> Option<&dyn cache_core::store::Watch> {
        None
    }
}

impl Hashing {
    /// The version beneath of the content that `expected` is the hash of.
    async fn real(
        &self,
        key: &StoreKey,
        expected: cache_core::store::Version,
    ) -> Result<cache_core::store::Version, cache_core::store::StoreError> {
        let found = self.0.get(key).await?;
        found
            .filter(|record| hash(&record.payload) == expected)
            .map(|record| record.version)
            .ok_or_else(|| cache_core::store::StoreError::conflict(cache_core::store::error::Operation::Put))
    }
}

pub fn hash(payload: &[u8]) -> cache_core::store::Version {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(payload);
    cache_core::store::Version::from_bytes(digest[..16].try_into().unwrap())
}
