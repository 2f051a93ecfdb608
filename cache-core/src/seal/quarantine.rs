//! Moving aside what cannot be opened.
//!
//! Ordinary use never deletes or overwrites a record that it cannot open, because the cause may be a wrong key that is put
//! right tomorrow. But then a lost key would bar its user from signing in for ever. A quarantine, on explicit request,
//! frees the place and keeps the bytes.

use std::sync::Arc;

use futures_util::TryStreamExt;

use super::error::SealError;
use super::location::{Namespace, RecordKind};
use super::ring_record::ring_key;
use crate::random::{Random, random_bytes};
use crate::store::{PutOptions, Store, StoreKey};

/// Puts records of one namespace aside and back. It needs no key.
///
/// The record from `{namespace}/{kind}/{name}` lies under `{namespace}/quarantine/{kind}/{name}/{16 random hexadecimal
/// digits}`, byte for byte as it was and with its expiry.
#[derive(Clone, Debug)]
pub struct Quarantine {
    store: Arc<dyn Store>,
    namespace: Namespace,
    random: Arc<dyn Random>,
}

/// A record in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it lies now.
    pub key: StoreKey,
    /// Where it came from.
    pub original: StoreKey,
}

impl Quarantine {
    /// The quarantine of `namespace` in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, namespace: Namespace, random: Arc<dyn Random>) -> Self {
        Self {
            store,
            namespace,
            random,
        }
    }

    /// Moves the record at `key` aside; `None` when there is none.
    ///
    /// It is copied first and then removed by its version, so that it is never lost: not cancellation safe, but a call that
    /// was cut short leaves at worst a second copy.
    ///
    /// # Errors
    /// [`SealError::WrongLocation`] when `key` is not a record of this namespace, or is in quarantine already;
    /// [`SealError::Contended`] when it changed meanwhile (it was not moved); [`SealError::Store`]; [`SealError::Random`].
    pub async fn put_aside(&self, key: &StoreKey) -> Result<Option<Quarantined>, SealError> {
        let place = self.place_for(key)?;
        let Some(record) = self.store.get(key).await? else {
            return Ok(None);
        };
        let options = PutOptions::create().expires_at(record.expires_at);
        let copy = self.store.put(&place, record.payload, options).await?;
        match self.store.delete(key, Some(record.version)).await {
            Ok(()) => Ok(Some(Quarantined {
                key: place,
                original: key.clone(),
            })),
            Err(error) if error.is_conflict() => {
                // Somebody wrote the record, so it may be readable by now, and the copy is not wanted.
                self.store.delete(&place, Some(copy)).await?;
                Err(SealError::Contended { key: key.clone() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Moves the whole namespace aside, the key ring last, so that a sealer can start anew although the key is lost.
    /// Can be repeated when it was cut short.
    ///
    /// # Errors
    /// As [`put_aside`](Self::put_aside).
    pub async fn put_all_aside(&self) -> Result<Vec<Quarantined>, SealError> {
        let ring = ring_key(&self.namespace);
        let prefix = self.namespace.prefix();
        let mut moved = Vec::new();
        for key in self.keys(&prefix).await? {
            let kind = RecordKind::of(&self.namespace, &key);
            if key != ring && kind.is_some_and(|kind| kind != RecordKind::Quarantine) {
                moved.extend(self.put_aside(&key).await?);
            }
        }
        moved.extend(self.put_aside(&ring).await?);
        Ok(moved)
    }

    /// What is in quarantine.
    ///
    /// # Errors
    /// [`SealError::Store`].
    pub async fn list(&self) -> Result<Vec<Quarantined>, SealError> {
        let prefix = format!("{}/{}/", self.namespace, RecordKind::Quarantine.tag());
        let found = self.keys(&prefix).await?.into_iter().filter_map(|key| {
            let original = original_key(&self.namespace, &key)?;
            Some(Quarantined { key, original })
        });
        Ok(found.collect())
    }

    /// Moves the quarantined record at `key` back to where it came from and returns that place; `None` when there is no such record.
    ///
    /// # Errors
    /// [`SealError::WrongLocation`] when `key` is not one of a quarantined record; [`SealError::Store`] with a conflict when
    /// the place is taken (nothing was moved: put that record aside first).
    pub async fn restore(&self, key: &StoreKey) -> Result<Option<StoreKey>, SealError> {
        let original = original_key(&self.namespace, key)
            .ok_or_else(|| SealError::WrongLocation { key: key.clone() })?;
        let Some(record) = self.store.get(key).await? else {
            return Ok(None);
        };
        let options = PutOptions::create().expires_at(record.expires_at);
        self.store.put(&original, record.payload, options).await?;
        self.store.delete(key, Some(record.version)).await?;
        Ok(Some(original))
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<StoreKey>, SealError> {
        Ok(self
            .store
            .scan(prefix)
            .map_ok(|(key, _)| key)
            .try_collect()
            .await?)
    }

    fn place_for(&self, key: &StoreKey) -> Result<StoreKey, SealError> {
        let wrong = || SealError::WrongLocation { key: key.clone() };
        let kind = RecordKind::of(&self.namespace, key).ok_or_else(wrong)?;
        if kind == RecordKind::Quarantine {
            return Err(wrong());
        }
        let rest = key
            .as_str()
            .get(self.namespace.as_str().len()..)
            .ok_or_else(wrong)?;
        let number = u64::from_be_bytes(random_bytes(&*self.random)?);
        let text = format!(
            "{}/{}{rest}/{number:016x}",
            self.namespace,
            RecordKind::Quarantine.tag()
        );
        StoreKey::new(text).map_err(|_| wrong())
    }
}

/// Where the record that is in quarantine under `key` came from; `None` when that is not such a key.
pub(super) fn original_key(namespace: &Namespace, key: &StoreKey) -> Option<StoreKey> {
    let rest = key.as_str().strip_prefix(namespace.as_str())?.strip_prefix('/')?;
    let rest = rest
        .strip_prefix(RecordKind::Quarantine.tag())?
        .strip_prefix('/')?;
    let (name, number) = rest.rsplit_once('/')?;
    if number.len() != 16 {
        return None;
    }
    let original = StoreKey::new(format!("{namespace}/{name}")).ok()?;
    let kind = RecordKind::of(namespace, &original)?;
    (kind != RecordKind::Quarantine).then_some(original)
}
