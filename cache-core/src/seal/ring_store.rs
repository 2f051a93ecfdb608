//! The key ring in the store: created once, changed by compare-and-swap.

use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt;

use super::aead::AeadProvider;
use super::error::SealError;
use super::key::SecretKey;
use super::key_source::{KeySource, SourceDescription};
use super::location::{Namespace, RecordKind};
use super::ring::KeyRing;
use super::ring_record::{RingEnvelope, ring_key, seal_ring};
use crate::random::Random;
use crate::store::{PutOptions, Record, Store, StoreKey, Version};
use crate::time::UnixSeconds;

/// How often a change is tried against others' changes. Rings change rarely, so more means that something is wrong.
const ATTEMPTS: usize = 16;

/// A ring as it was read from the store.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) ring: KeyRing,
    pub(super) version: Version,
}

/// Reads and writes the ring of one namespace.
pub(super) struct RingStore {
    store: Arc<dyn Store>,
    namespace: Namespace,
    key: StoreKey,
    random: Arc<dyn Random>,
    provider: Arc<dyn AeadProvider>,
    source: Arc<dyn KeySource>,
    /// The key-encryption key of the latest description, so that a pass phrase is derived once and not at each reload.
    known: Option<(SourceDescription, SecretKey)>,
}

impl RingStore {
    pub(super) fn new(
        store: Arc<dyn Store>,
        namespace: Namespace,
        random: Arc<dyn Random>,
        provider: Arc<dyn AeadProvider>,
        source: Arc<dyn KeySource>,
    ) -> Self {
        let key = ring_key(&namespace);
        Self {
            store,
            namespace,
            key,
            random,
            provider,
            source,
            known: None,
        }
    }

    /// Reads the ring, or creates it where the namespace holds no record.
    pub(super) async fn open(&mut self, now: UnixSeconds) -> Result<Loaded, SealError> {
        for _ in 0..ATTEMPTS {
            if let Some(loaded) = self.load().await? {
                return Ok(loaded);
            }
            if let Some(example) = self.any_record().await? {
                // A racing first start may have created the ring and sealed a record since we looked.
                if let Some(loaded) = self.load().await? {
                    return Ok(loaded);
                }
                return Err(SealError::RingMissing {
                    namespace: self.namespace.to_string(),
                    example,
                });
            }
            if let Some(loaded) = self.create(now).await? {
                return Ok(loaded);
            }
        }
        Err(SealError::Contended {
            key: self.key.clone(),
        })
    }

    /// Reads the ring that must be there.
    pub(super) async fn reload(&mut self) -> Result<Loaded, SealError> {
        self.load().await?.ok_or_else(|| self.missing())
    }

    /// Only the version of the stored ring.
    pub(super) async fn version(&self) -> Result<Version, SealError> {
        self.store.head(&self.key).await?.ok_or_else(|| self.missing())
    }

    /// Changes the latest ring by `change`, as often as it takes to win against others.
    ///
    /// `accept` judges the ring that was read, before anything is built on it.
    pub(super) async fn update(
        &mut self,
        accept: impl Fn(&KeyRing) -> Result<(), SealError>,
        mut change: impl FnMut(&mut KeyRing) -> Result<(), SealError>,
    ) -> Result<Loaded, SealError> {
        self.update_under(None, accept, &mut change, &mut false).await
    }

    /// Seals the latest ring under the key of `source`, which is used from then on.
    pub(super) async fn rewrap(
        &mut self,
        source: Arc<dyn KeySource>,
        accept: impl Fn(&KeyRing) -> Result<(), SealError>,
    ) -> Result<Loaded, SealError> {
        let (key, description) = source.create(&*self.random).await?;
        let new = (description, key);
        let mut may_be_stored = false;
        let updated = self
            .update_under(Some(&new), accept, &mut |_| Ok(()), &mut may_be_stored)
            .await;
        match updated {
            Ok(loaded) => {
                self.source = source;
                self.known = Some(new);
                Ok(loaded)
            }
            Err(error) => {
                // A ring that may have been stored all the same names the key, and whoever changed it since kept it under the key.
                if !may_be_stored {
                    discard(&*source, &new.0).await;
                }
                Err(error)
            }
        }
    }

    /// What the ring that was read or written last says of its key source.
    pub(super) fn description(&self) -> Option<&SourceDescription> {
        self.known.as_ref().map(|(description, _)| description)
    }

    /// `may_be_stored` says, also after an error, whether a ring under `wrapping` may have reached the store.
    async fn update_under(
        &mut self,
        wrapping: Option<&(SourceDescription, SecretKey)>,
        accept: impl Fn(&KeyRing) -> Result<(), SealError>,
        change: &mut impl FnMut(&mut KeyRing) -> Result<(), SealError>,
        may_be_stored: &mut bool,
    ) -> Result<Loaded, SealError> {
        for _ in 0..ATTEMPTS {
            let Loaded { mut ring, version } = self.reload().await?;
            accept(&ring)?;
            change(&mut ring)?;
            ring.advance()?;
            let Some((description, key)) = wrapping.or(self.known.as_ref()) else {
                return Err(self.missing());
            };
            let random = &*self.random;
            let bytes = seal_ring(&ring, key, description, &*self.provider, random, &self.namespace)?;
            match self
                .store
                .put(&self.key, bytes.clone(), PutOptions::update(version))
                .await
            {
                Ok(version) => return Ok(Loaded { ring, version }),
                Err(error) if error.is_conflict() => {}
                // It may have been applied: only what is stored can tell.
                Err(error) if error.is_outcome_unknown() => {
                    *may_be_stored = true;
                    match self.store.get(&self.key).await? {
                        Some(record) if record.payload == bytes => {
                            let version = self.settled(record).await?;
                            return Ok(Loaded { ring, version });
                        }
                        Some(record) if record.version != version => {}
                        _ => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(SealError::Contended {
            key: self.key.clone(),
        })
    }

    /// Makes sure that a ring which can be read is there to stay. Where a store shows a write before its disk or its replicas have it, a
    /// power cut or a failover would take the ring back, and with it the key of everything that is sealed meanwhile.
    async fn settled(&self, record: Record) -> Result<Version, SealError> {
        if !self.store.capabilities().shows_early {
            return Ok(record.version);
        }
        let options = PutOptions::update(record.version);
        Ok(self.store.put(&self.key, record.payload, options).await?)
    }

    /// Reads the ring; `None` where there is none.
    pub(super) async fn load(&mut self) -> Result<Option<Loaded>, SealError> {
        let Some(record) = self.store.get(&self.key).await? else {
            return Ok(None);
        };
        let envelope = RingEnvelope::parse(&record.payload).map_err(|error| SealError::RingUnreadable {
            key: self.key.clone(),
            what: format!("cannot be read ({error})"),
        })?;
        if self
            .known
            .as_ref()
            .is_none_or(|(description, _)| *description != envelope.source)
        {
            let key = self.source.load(&envelope.source).await?;
            let ring = envelope.open(&key, &*self.provider, &self.namespace)?;
            // Remembered only now: a description is believed once the ring has authenticated it.
            self.known = Some((envelope.source, key));
            return Ok(Some(Loaded {
                ring,
                version: record.version,
            }));
        }
        let Some((_, key)) = &self.known else {
            return Err(self.missing());
        };
        let ring = envelope.open(key, &*self.provider, &self.namespace)?;
        Ok(Some(Loaded {
            ring,
            version: record.version,
        }))
    }

    /// Creates the ring; `None` when another process was faster.
    async fn create(&mut self, now: UnixSeconds) -> Result<Option<Loaded>, SealError> {
        let (key, description) = self.source.create(&*self.random).await?;
        let ring = KeyRing::generate(&*self.random, now)?;
        let bytes = seal_ring(
            &ring,
            &key,
            &description,
            &*self.provider,
            &*self.random,
            &self.namespace,
        )?;
        match self.store.put(&self.key, bytes, PutOptions::create()).await {
            Ok(version) => {
                self.known = Some((description, key));
                Ok(Some(Loaded { ring, version }))
            }
            Err(error) if error.is_conflict() => {
                discard(&*self.source, &description).await;
                Ok(None)
            }
            // Ours or another's: whatever is stored now is the ring. The key stays, as this one may still arrive.
            Err(error) if error.is_outcome_unknown() => {
                if let Some(record) = self.store.get(&self.key).await? {
                    self.settled(record).await?;
                }
                match self.load().await? {
                    Some(loaded) => Ok(Some(loaded)),
                    None => Err(error.into()),
                }
            }
            Err(error) => {
                discard(&*self.source, &description).await;
                Err(error.into())
            }
        }
    }

    /// A record of the namespace other than the ring, leaving aside what was explicitly put in quarantine.
    async fn any_record(&self) -> Result<Option<StoreKey>, SealError> {
        let prefix = self.namespace.prefix();
        let mut records = self.store.scan(&prefix);
        while let Some((key, _)) = records.try_next().await? {
            if RecordKind::of(&self.namespace, &key) != Some(RecordKind::Quarantine) && key != self.key {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn missing(&self) -> SealError {
        SealError::RingMissing {
            namespace: self.namespace.to_string(),
            example: self.key.clone(),
        }
    }
}

async fn discard(source: &dyn KeySource, description: &SourceDescription) {
    if let Err(error) = source.discard(description).await {
        tracing::warn!(%error, "the key of a ring that was not stored could not be removed");
    }
}

impl fmt::Debug for RingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingStore")
            .field("key", &self.key)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
