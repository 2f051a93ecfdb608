//! What a sealed sealer does: the ring in use, how fresh it is, and the two directions.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Mutex;
use zeroize::Zeroize;

use super::active::{ActiveKey, ActiveRing};
use super::aead::{AeadProvider, TAG_BYTES};
use super::envelope::{RecordFormat, RecordMeta, SEALED_HEADER_BYTES, SealedEnvelope, SealedHeader};
use super::error::SealError;
use super::location::{Location, Namespace, RecordKind};
use super::ring::KeyState;
use super::ring_store::{Loaded, RingStore};
use super::sealer::Opened;
use crate::random::{Random, random_bytes};
use crate::secret::SecretBytes;
use crate::store::{Store, StoreKey};
use crate::time::Clock;

/// What a sealed sealer has beside its namespace.
pub(super) struct Sealed {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    provider: Arc<dyn AeadProvider>,
    active: ArcSwap<ActiveRing>,
    /// When the active ring was last known to be the stored one, in milliseconds of the monotonic clock.
    validated: AtomicU64,
    /// A record proved that the active ring is not the latest.
    outdated: AtomicBool,
    /// Held by whoever reads or changes the stored ring, so that rings are installed in the order in which they were read.
    pub(super) ring: Mutex<RingStore>,
}

impl Sealed {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        provider: Arc<dyn AeadProvider>,
        active: ActiveRing,
        ring: RingStore,
        started: Duration,
    ) -> Self {
        Self {
            store,
            clock,
            random,
            provider,
            active: ArcSwap::from_pointee(active),
            validated: AtomicU64::new(millis(started)),
            outdated: AtomicBool::new(false),
            ring: Mutex::new(ring),
        }
    }

    /// Nothing is sealed until the stored ring has been read.
    pub(super) fn distrust(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    pub(super) fn active(&self) -> Arc<ActiveRing> {
        self.active.load_full()
    }

    /// Takes a ring that was read after `started` into use, if it may follow the one in use. The caller holds the lock.
    pub(super) fn install(&self, loaded: Loaded, started: Duration) -> Result<(), SealError> {
        let current = self.active();
        current.check_successor(&loaded.ring)?;
        if loaded.version != current.version {
            self.active
                .store(Arc::new(ActiveRing::new(loaded, &*self.provider)?));
        }
        self.validate(started);
        Ok(())
    }

    pub(super) async fn reload_with(&self, ring: &mut RingStore) -> Result<(), SealError> {
        let started = self.clock.monotonic();
        let loaded = ring.reload().await?;
        self.install(loaded, started)
    }

    /// Reloads unless that has happened since `generation` was in use: many reads that meet a new key reload once.
    pub(super) async fn reload_from(&self, generation: u64) -> Result<(), SealError> {
        let mut ring = self.ring.lock().await;
        if self.active().ring.generation != generation {
            return Ok(());
        }
        self.reload_with(&mut ring).await
    }

    /// Whether a record proved that the ring in use is not the latest.
    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    pub(super) fn validate(&self, started: Duration) {
        self.outdated.store(false, Ordering::Relaxed);
        self.validated.fetch_max(millis(started), Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let validated = self.validated.load(Ordering::Relaxed);
        Duration::from_millis(millis(self.clock.monotonic()).saturating_sub(validated))
    }

    pub(super) fn is_fresh(&self) -> bool {
        !self.outdated.load(Ordering::Relaxed) && self.age() < self.active.load().ring.writer_window / 2
    }

    pub(super) fn seal(
        &self,
        namespace: &Namespace,
        kind: RecordKind,
        key: &StoreKey,
        meta: RecordMeta,
        payload: &[u8],
    ) -> Result<Bytes, SealError> {
        let active = self.active.load();
        let age = self.age();
        if self.outdated.load(Ordering::Relaxed) || age >= active.ring.writer_window {
            return Err(SealError::StaleRing { age });
        }
        let location = Location::new(namespace, kind, key)?;
        let primary = active.primary();
        let header = SealedHeader {
            suite: self.provider.suite(),
            meta,
            key_id: primary.status.id,
            commitment: primary.commitment,
            location_tag: active.location.tag(&location),
            nonce: random_bytes(&*self.random)?,
            length: u32::try_from(payload.len()).map_err(|_| SealError::TooLong {
                length: payload.len(),
            })?,
        };
        // Allocated in full: growing would leave copies of the payload in freed memory.
        let mut record = Vec::with_capacity(SEALED_HEADER_BYTES + payload.len() + TAG_BYTES);
        header.encode(&mut record);
        let aad = associated_data(&record, &location);
        record.extend_from_slice(payload);
        let sealed = primary
            .cipher
            .encrypt(&header.nonce, &aad, &mut record[SEALED_HEADER_BYTES..]);
        let Ok(tag) = sealed else {
            record.zeroize();
            return Err(SealError::TooLong {
                length: payload.len(),
            });
        };
        record.extend_from_slice(&tag);
        Ok(record.into())
    }

    pub(super) fn open_record(
        &self,
        namespace: &Namespace,
        kind: RecordKind,
        key: &StoreKey,
        bytes: &[u8],
    ) -> Result<Opened, SealError> {
        let active = self.active.load();
        let checked = self.check(&active, (namespace, kind, key), bytes)?;
        let payload = bytes[checked.ciphertext.clone()].to_vec();
        self.decrypt(&active, checked, payload)
    }

    /// As [`open_record`](Self::open_record), in the memory of `record` where nobody else has it. `record` is left empty when it was decrypted,
    /// or could not be authenticated.
    pub(super) fn open_taking(
        &self,
        namespace: &Namespace,
        kind: RecordKind,
        key: &StoreKey,
        record: &mut Bytes,
    ) -> Result<Opened, SealError> {
        if !record.is_unique() {
            return self.open_record(namespace, kind, key, record);
        }
        let active = self.active.load();
        let checked = self.check(&active, (namespace, kind, key), record)?;
        let mut payload = Vec::from(std::mem::take(record));
        payload.truncate(checked.ciphertext.end);
        payload.drain(..checked.ciphertext.start);
        self.decrypt(&active, checked, payload)
    }

    /// What can be said of a record before it is decrypted.
    fn check<'a>(
        &self,
        active: &'a ActiveRing,
        (namespace, kind, key): (&'a Namespace, RecordKind, &'a StoreKey),
        bytes: &[u8],
    ) -> Result<Checked<'a>, SealError> {
        let envelope = SealedEnvelope::parse(bytes)
            .map_err(|reason| SealError::format(key, RecordFormat::Sealed, reason))?;
        let header = envelope.header;
        if header.suite != self.provider.suite() {
            let what = format!("suite {}", header.suite.code());
            return Err(SealError::UnsupportedFormat {
                key: key.clone(),
                what,
            });
        }
        let Some(data_key) = active.key(header.key_id) else {
            return Err(SealError::UnknownKey {
                key: key.clone(),
                key_id: header.key_id,
            });
        };
        if !data_key.commits_to(&header.commitment) {
            return Err(SealError::WrongKey {
                key: key.clone(),
                key_id: header.key_id,
            });
        }
        let location = Location::new(namespace, kind, key)?;
        Ok(Checked {
            aad: associated_data(envelope.header_bytes, &location),
            ciphertext: SEALED_HEADER_BYTES..SEALED_HEADER_BYTES + envelope.ciphertext.len(),
            tag: envelope.tag,
            header,
            location,
            data_key,
            key,
        })
    }

    fn decrypt(
        &self,
        active: &ActiveRing,
        record: Checked<'_>,
        mut payload: Vec<u8>,
    ) -> Result<Opened, SealError> {
        let Checked { header, data_key, .. } = &record;
        let decrypted = data_key
            .cipher
            .decrypt(&header.nonce, &record.aad, &mut payload, &record.tag);
        if decrypted.is_err() {
            payload.zeroize();
            let key = record.key.clone();
            // Told apart from damage because the cure differs: a moved record is an attack or a botched restore. What did authenticate is in
            // its place, which the associated data name.
            return Err(
                if active
                    .location
                    .tag_matches(&record.location, &header.location_tag)
                {
                    SealError::Tampered { key }
                } else {
                    SealError::WrongLocation { key }
                },
            );
        }
        if data_key.status.state == KeyState::Pending {
            // Nobody seals under a pending key: it has been promoted since this ring was read.
            self.outdated.store(true, Ordering::Relaxed);
        }
        Ok(Opened {
            meta: header.meta,
            key_id: Some(header.key_id),
            payload: SecretBytes::new(payload),
        })
    }
}

/// A record that may be decrypted.
struct Checked<'a> {
    key: &'a StoreKey,
    location: Location<'a>,
    header: SealedHeader,
    data_key: &'a ActiveKey,
    aad: Vec<u8>,
    /// Where in the record it stands.
    ciphertext: Range<usize>,
    tag: [u8; TAG_BYTES],
}

fn associated_data(header: &[u8], location: &Location<'_>) -> Vec<u8> {
    let mut aad = Vec::with_capacity(header.len() + 160);
    aad.extend_from_slice(header);
    location.append_to(&mut aad);
    aad
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
