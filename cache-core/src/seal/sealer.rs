//! The sealer: payload to record and back.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::active::ActiveRing;
use super::aead::{AeadProvider, Xaes256GcmProvider};
use super::envelope::RecordMeta;
use super::error::SealError;
use super::key::KeyId;
use super::key_source::KeySource;
use super::location::{Namespace, RecordKind, read_legible};
use super::plaintext::Plaintext;
use super::ring_record::ring_key;
use super::ring_store::RingStore;
use super::sealed::Sealed;
use crate::random::Random;
use crate::secret::SecretBytes;
use crate::store::{Store, StoreKey};
use crate::time::Clock;

/// Turns payloads into records that only this namespace's key ring opens, and back. Clones are cheap and share the ring.
///
/// Sealing and opening are synchronous and touch nothing but memory; the ring is read from the store by
/// [`open`](Self::open), [`open_or_reload`](Self::open_or_reload) and [`freshen`](Self::freshen).
///
/// # Writers must stay fresh
///
/// Another process may rotate the ring at any time. A writer that has not looked at the stored ring for
/// [`WRITER_WINDOW`](super::WRITER_WINDOW) gets [`SealError::StaleRing`] instead of a record under a key that may be
/// retired; and a key is only retired when it has not been primary for twice that time. So call
/// [`freshen`](Self::freshen) before each write: it asks the store for the ring's version at most twice a window, and
/// is otherwise free. What is left is a process that is stopped between [`seal`](Self::seal) and the store's
/// acknowledgement for longer than that and then *creates* a record: it cannot be opened. An update by such a process
/// is refused by the store, because the sweep has rewritten the record meanwhile.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    namespace: Namespace,
    mode: Mode,
}

enum Mode {
    Sealed(Box<Sealed>),
    Plaintext(Box<Plaintext>),
}

/// An opened record.
#[derive(PartialEq, Eq)]
pub struct Opened {
    /// What the authenticated header says of the payload.
    pub meta: RecordMeta,
    /// Which key opened it; `None` when it was never sealed.
    pub key_id: Option<KeyId>,
    /// The payload.
    pub payload: SecretBytes,
}

impl Opened {
    /// Checks that the payload is of `codec` and of no newer schema than `newest_schema`.
    ///
    /// An older program that meets a newer record must not write it: it would lose what it does not know.
    ///
    /// # Errors
    /// [`SealError::UnsupportedFormat`].
    pub fn check_payload_format(
        &self,
        key: &StoreKey,
        codec: u8,
        newest_schema: u16,
    ) -> Result<(), SealError> {
        let unsupported = |what| {
            Err(SealError::UnsupportedFormat {
                key: key.clone(),
                what,
            })
        };
        if self.meta.codec != codec {
            return unsupported(format!(
                "codec {} where codec {codec} is configured",
                self.meta.codec
            ));
        }
        if self.meta.schema > newest_schema {
            return unsupported(format!("schema {} of codec {codec}", self.meta.schema));
        }
        Ok(())
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("meta", &self.meta)
            .field("key_id", &self.key_id)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

impl Sealer {
    /// Opens the sealed cache of `namespace` in `store`: reads its key ring, or creates one when the namespace is empty.
    ///
    /// Two first starts that race end with one ring. Cancellation safe: a dropped call may leave a new ring behind, which
    /// the next one reads.
    ///
    /// # Errors
    /// [`SealError::RingMissing`] when there are records but no ring; [`SealError::WrongKeySource`] and
    /// [`SealError::KeySource`] when the source has not the ring's key; [`SealError::RingUnreadable`];
    /// [`SealError::Store`]; [`SealError::Random`]; [`SealError::PlaintextNamespace`]. The store is left as it was.
    pub async fn open(
        store: Arc<dyn Store>,
        namespace: Namespace,
        source: Arc<dyn KeySource>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, SealError> {
        Self::open_with_provider(
            store,
            namespace,
            source,
            clock,
            random,
            Arc::new(Xaes256GcmProvider),
        )
        .await
    }

    /// As [`open`](Self::open), with the encryption of another library.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with_provider(
        store: Arc<dyn Store>,
        namespace: Namespace,
        source: Arc<dyn KeySource>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        provider: Arc<dyn AeadProvider>,
    ) -> Result<Self, SealError> {
        if namespace.is_plaintext() {
            return Err(SealError::PlaintextNamespace {
                namespace: namespace.to_string(),
            });
        }
        let mut ring = RingStore::new(
            store.clone(),
            namespace.clone(),
            random.clone(),
            provider.clone(),
            source,
        );
        let started = clock.monotonic();
        let loaded = ring.open(clock.now().to_seconds()).await?;
        let active = ActiveRing::new(loaded, &*provider)?;
        let sealed = Sealed::new(store, clock, random, provider, active, ring, started);
        Ok(Self(Arc::new(Inner {
            namespace,
            mode: Mode::Sealed(Box::new(sealed)),
        })))
    }

    /// As [`open`](Self::open) where `store` cannot be reached, by the copy of its ring in `copies`; `None` where there is none.
    ///
    /// The copy may be old: it opens records, and nothing is sealed before the ring in `store` was read and found to be a successor.
    pub(crate) async fn open_from_copy(
        copies: Arc<dyn Store>,
        store: Arc<dyn Store>,
        namespace: Namespace,
        source: Arc<dyn KeySource>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Option<Self>, SealError> {
        let provider: Arc<dyn AeadProvider> = Arc::new(Xaes256GcmProvider);
        let ring = |store, source| {
            RingStore::new(store, namespace.clone(), random.clone(), provider.clone(), source)
        };
        let Some(loaded) = ring(copies, source.clone()).load().await? else {
            return Ok(None);
        };
        let active = ActiveRing::new(loaded, &*provider)?;
        let (ring, started) = (ring(store.clone(), source), clock.monotonic());
        let sealed = Sealed::new(store, clock, random, provider.clone(), active, ring, started);
        sealed.distrust();
        Ok(Some(Self(Arc::new(Inner {
            namespace: namespace.clone(),
            mode: Mode::Sealed(Box::new(sealed)),
        }))))
    }

    /// A sealer that **does not encrypt**, for stores that are protected by other means. Its records lie in the
    /// namespace `{namespace}.plaintext`, under keys that hide nothing; a sealed sealer refuses them, and this one
    /// refuses sealed records.
    #[must_use]
    pub fn plaintext(namespace: &Namespace) -> Self {
        let namespace = namespace.plaintext_twin();
        Self(Arc::new(Inner {
            namespace,
            mode: Mode::Plaintext(Box::new(Plaintext::new())),
        }))
    }

    /// As [`plaintext`](Self::plaintext), with stored keys that [`logical_key`](Self::logical_key) reads back.
    pub(crate) fn legible_plaintext(namespace: &Namespace) -> Self {
        Self(Arc::new(Inner {
            namespace: namespace.plaintext_twin(),
            mode: Mode::Plaintext(Box::new(Plaintext::legible())),
        }))
    }

    /// The logical key of a stored key that a [legible](Self::legible_plaintext) sealer made. Whoever decodes it must check that it
    /// is one: any other key may give other bytes.
    pub(crate) fn logical_key(&self, key: &StoreKey) -> Option<Vec<u8>> {
        read_legible(self.namespace(), key)
    }

    /// Where this sealer's records lie.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// Whether records are encrypted.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        matches!(self.0.mode, Mode::Sealed(_))
    }

    /// Where the key ring is stored; `None` for an unsealed cache. When a watch reports a change of this key,
    /// [`reload`](Self::reload) takes it in early.
    #[must_use]
    pub fn ring_key(&self) -> Option<StoreKey> {
        self.is_sealed().then(|| ring_key(self.namespace()))
    }

    /// The key under which the record of `logical_key` is stored: its namespace and kind in clear, the rest hidden
    /// behind a keyed hash (which hides nothing in an unsealed cache). Rotation does not change it.
    #[must_use]
    pub fn stored_key(&self, kind: RecordKind, logical_key: &[u8]) -> StoreKey {
        let namespace = self.namespace();
        match &self.0.mode {
            Mode::Sealed(sealed) => sealed.active().location.stored_key(namespace, kind, logical_key),
            Mode::Plaintext(plaintext) => plaintext.stored_key(namespace, kind, logical_key),
        }
    }

    /// A keyed hash of `logical_key`, as even and as hidden as the names of records of this `kind`. Rotation does not change it.
    pub(crate) fn blinded(&self, kind: RecordKind, logical_key: &[u8]) -> [u8; 32] {
        match &self.0.mode {
            Mode::Sealed(sealed) => sealed.active().location.blinded(kind, logical_key),
            Mode::Plaintext(plaintext) => plaintext.blinded(kind, logical_key),
        }
    }

    /// Makes the record of `payload` for `key`, under the primary key and a fresh random nonce.
    ///
    /// # Errors
    /// [`SealError::StaleRing`] when [`freshen`](Self::freshen) is due; [`SealError::WrongLocation`] when `key` is not one
    /// of `kind` in this namespace; [`SealError::Random`]; [`SealError::TooLong`].
    pub fn seal(
        &self,
        kind: RecordKind,
        key: &StoreKey,
        meta: RecordMeta,
        payload: &[u8],
    ) -> Result<Bytes, SealError> {
        match &self.0.mode {
            Mode::Sealed(sealed) => sealed.seal(self.namespace(), kind, key, meta, payload),
            Mode::Plaintext(plaintext) => plaintext.write(self.namespace(), kind, key, meta, payload),
        }
    }

    /// Opens the record `bytes` that was read from `key`.
    ///
    /// Each check has its own error. The first of these is given: format, key ID, key commitment, location, authentication. The caller checks codec and schema next ([`Opened::check_payload_format`]).
    ///
    /// # Errors
    /// [`SealError::NotSealed`], [`SealError::PlaintextRecord`] or [`SealError::UnsupportedFormat`];
    /// [`SealError::UnknownKey`]; [`SealError::WrongKey`]; [`SealError::WrongLocation`]; [`SealError::Tampered`].
    pub fn open_record(&self, kind: RecordKind, key: &StoreKey, bytes: &[u8]) -> Result<Opened, SealError> {
        match &self.0.mode {
            Mode::Sealed(sealed) => sealed.open_record(self.namespace(), kind, key, bytes),
            Mode::Plaintext(plaintext) => plaintext.read(self.namespace(), kind, key, bytes),
        }
    }

    /// As [`open_record`](Self::open_record), but reloads the ring once when the record names a key that is not in it: that is
    /// how a process learns that another has rotated. Cancellation safe.
    ///
    /// # Errors
    /// As [`open_record`](Self::open_record) and [`reload`](Self::reload).
    pub async fn open_or_reload(
        &self,
        kind: RecordKind,
        key: &StoreKey,
        bytes: &[u8],
    ) -> Result<Opened, SealError> {
        let Mode::Sealed(sealed) = &self.0.mode else {
            return self.open_record(kind, key, bytes);
        };
        let generation = sealed.active().ring.generation;
        let opened = self.open_record(kind, key, bytes);
        if opened.as_ref().is_err_and(SealError::is_unknown_key) {
            sealed.reload_from(generation).await?;
            return self.open_record(kind, key, bytes);
        }
        if opened.is_ok() && sealed.is_outdated() {
            // The record is open, whatever becomes of this: until a reload succeeds, `seal` refuses.
            let _ = sealed.reload_from(generation).await;
        }
        opened
    }

    /// As [`open_or_reload`](Self::open_or_reload), in the memory of `record` where nobody else has it. It must not be used afterwards.
    pub(crate) async fn open_taking(
        &self,
        kind: RecordKind,
        key: &StoreKey,
        record: &mut Bytes,
    ) -> Result<Opened, SealError> {
        let Mode::Sealed(sealed) = &self.0.mode else {
            return self.open_record(kind, key, record);
        };
        let generation = sealed.active().ring.generation;
        let opened = sealed.open_taking(self.namespace(), kind, key, record);
        if opened.as_ref().is_err_and(SealError::is_unknown_key) {
            sealed.reload_from(generation).await?;
            return self.open_record(kind, key, record);
        }
        if opened.is_ok() && sealed.is_outdated() {
            // The record is open, whatever becomes of this: until a reload succeeds, `seal` refuses.
            let _ = sealed.reload_from(generation).await;
        }
        opened
    }

    /// Reads the ring from the store again. Cancellation safe.
    ///
    /// # Errors
    /// [`SealError::RingRolledBack`] when the stored ring is not a successor of the one in use, which stays in use for
    /// reading; [`SealError::RingMissing`]; otherwise as [`open`](Self::open).
    pub async fn reload(&self) -> Result<(), SealError> {
        let Mode::Sealed(sealed) = &self.0.mode else {
            return Ok(());
        };
        let mut ring = sealed.ring.lock().await;
        sealed.reload_with(&mut ring).await
    }

    /// Makes sure that the ring in use was the stored one not long ago, so that [`seal`](Self::seal) may use it. Cheap:
    /// it asks the store at most twice in each [`WRITER_WINDOW`](super::WRITER_WINDOW), and then for a version only.
    /// Cancellation safe.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub async fn freshen(&self) -> Result<(), SealError> {
        let Mode::Sealed(sealed) = &self.0.mode else {
            return Ok(());
        };
        if sealed.is_fresh() {
            return Ok(());
        }
        let mut ring = sealed.ring.lock().await;
        // Another task may have done it while this one waited.
        if sealed.is_fresh() {
            return Ok(());
        }
        let started = sealed.clock.monotonic();
        if ring.version().await? != sealed.active().version {
            return sealed.reload_with(&mut ring).await;
        }
        sealed.validate(started);
        Ok(())
    }

    /// What only a sealed sealer has.
    pub(super) fn sealed(&self) -> Result<&Sealed, SealError> {
        match &self.0.mode {
            Mode::Sealed(sealed) => Ok(sealed),
            Mode::Plaintext(_) => Err(SealError::NoKeys {
                namespace: self.namespace().to_string(),
            }),
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sealer");
        shown
            .field("namespace", self.namespace())
            .field("sealed", &self.is_sealed());
        if let Mode::Sealed(sealed) = &self.0.mode {
            shown.field("ring_generation", &sealed.active().ring.generation);
        }
        shown.finish()
    }
}
