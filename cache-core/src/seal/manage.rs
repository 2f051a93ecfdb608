//! Managing the keys of a sealer: `impl Sealer` for adding, promoting, retiring and rewrapping.

use std::sync::Arc;

use super::error::SealError;
use super::key::KeyId;
use super::key_source::{KeySource, SourceDescription};
use super::ring::{KeyRing, KeyStatus, RingError, new_key};
use super::sealer::Sealer;

/// Key management. Each change is one compare-and-swap of the ring record, retried against others' changes.
///
/// None of these is cancellation safe: a dropped call may or may not have changed the ring. [`reload`](Self::reload) and
/// [`keys`](Self::keys) tell.
impl Sealer {
    /// The keys of the ring in use, oldest first. Empty for an unsealed cache.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyStatus> {
        self.sealed().map_or_else(
            |_| Vec::new(),
            |sealed| sealed.active().ring.keys.iter().map(|key| key.status).collect(),
        )
    }

    /// How often the ring in use has been changed. 0 for an unsealed cache.
    #[must_use]
    pub fn ring_generation(&self) -> u64 {
        self.sealed().map_or(0, |sealed| sealed.active().ring.generation)
    }

    /// What the ring says of the key source that it is sealed under, as of the last time that it was read or written; `None` for an
    /// unsealed cache. It is authenticated, unlike what [`peek_header`](super::peek_header) shows.
    pub async fn key_source(&self) -> Option<SourceDescription> {
        let sealed = self.sealed().ok()?;
        sealed.ring.lock().await.description().cloned()
    }

    /// Adds a key that opens but does not seal yet, so that every process can learn of it before it is needed.
    ///
    /// # Errors
    /// [`SealError::Ring`] when the ring is full; otherwise as [`reload`](Self::reload).
    pub async fn add_key(&self) -> Result<KeyId, SealError> {
        let sealed = self.sealed()?;
        let now = sealed.clock.now().to_seconds();
        self.change(|ring| Ok(ring.add(new_key(&*sealed.random, now)?)?))
            .await
    }

    /// Makes the pending key `id` the one that seals. The former primary goes on opening what it sealed.
    ///
    /// # Errors
    /// [`SealError::Ring`] when `id` is not pending; otherwise as [`reload`](Self::reload).
    pub async fn promote(&self, id: KeyId) -> Result<(), SealError> {
        let now = self.sealed()?.clock.now().to_seconds();
        self.change(|ring| Ok(ring.promote(id, now)?)).await
    }

    /// Adds a key and makes it primary, in one step.
    ///
    /// Other processes meet the new key in a record, do not know it, and reload the ring once; no read fails. Then
    /// [`reseal`](Self::reseal), and [`retire`](Self::retire) the former primary.
    ///
    /// # Errors
    /// As [`add_key`](Self::add_key).
    pub async fn rotate(&self) -> Result<KeyId, SealError> {
        let sealed = self.sealed()?;
        let now = sealed.clock.now().to_seconds();
        self.change(|ring| {
            let id = ring.add(new_key(&*sealed.random, now)?)?;
            ring.promote(id, now)?;
            Ok(id)
        })
        .await
    }

    /// Wipes the key `id`, after counting that no record names it.
    ///
    /// The count includes records that cannot be opened: whoever wants the key gone although they name it quarantines them
    /// first. A former primary is not retired before every writer must have noticed ([`WRITER_WINDOW`](super::WRITER_WINDOW));
    /// the clocks of the machines may differ by one window.
    ///
    /// # Errors
    /// [`SealError::Ring`] with [`RingError::StillUsed`], [`RingError::TooSoon`], [`RingError::WrongState`] or
    /// [`RingError::NoSuchKey`]; otherwise as [`reload`](Self::reload).
    pub async fn retire(&self, id: KeyId) -> Result<(), SealError> {
        self.reload().await?;
        let sealed = self.sealed()?;
        let now = sealed.clock.now().to_seconds();
        // Before the count: only once the window has passed can the count not grow again.
        sealed.active().ring.check_retirable(id, now)?;
        let records = self.records_under(id).await?;
        if records > 0 {
            return Err(RingError::StillUsed { id, records }.into());
        }
        self.change(|ring| Ok(ring.retire(id, now)?)).await
    }

    /// Seals the ring under the key of another `source`, which this sealer uses from now on. The data keys stay, so no
    /// record changes.
    ///
    /// Other processes go on reading with the ring that they have, and must be restarted with the new source to write. Who
    /// has a copy of the old ring record and of the old key-encryption key can still open it: if that key is known to
    /// others, [`rotate`](Self::rotate) and [`reseal`](Self::reseal) too.
    ///
    /// # Errors
    /// [`SealError::KeySource`]; otherwise as [`reload`](Self::reload).
    pub async fn rewrap(&self, source: Arc<dyn KeySource>) -> Result<(), SealError> {
        let sealed = self.sealed()?;
        let mut stored = sealed.ring.lock().await;
        let started = sealed.clock.monotonic();
        let active = sealed.active();
        let loaded = stored.rewrap(source, |ring| active.check_successor(ring)).await?;
        sealed.install(loaded, started)
    }

    async fn change<T>(
        &self,
        mut change: impl FnMut(&mut KeyRing) -> Result<T, SealError>,
    ) -> Result<T, SealError> {
        let sealed = self.sealed()?;
        let mut stored = sealed.ring.lock().await;
        let started = sealed.clock.monotonic();
        let active = sealed.active();
        let mut answer = None;
        let loaded = stored
            .update(
                |ring| active.check_successor(ring),
                |ring| {
                    answer = Some(change(ring)?);
                    Ok(())
                },
            )
            .await?;
        sealed.install(loaded, started)?;
        answer.ok_or_else(|| SealError::NoKeys {
            namespace: self.namespace().to_string(),
        })
    }
}
