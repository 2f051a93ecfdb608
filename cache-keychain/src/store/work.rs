//! Reading and writing, on the keychain's thread.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cache_core::random::Random;
use cache_core::secret::SecretBytes;
use cache_core::store::{PutMode, StoreKey, Version};
use cache_core::time::{Clock, UnixMillis};

use super::failure::Failure;
use super::items::Items;
use super::limits::{KeychainLimits, MAX_INDEX_CHUNKS};
use super::lock::LockGuard;
use super::manifest::{ChunkName, Content, Entry, Index, Root};
use super::permit::Permit;
use crate::error::KeychainError;
use crate::platform::Connection;

/// How often a store that others write to is read again, before it is given up.
const MAX_READS: usize = 16;

/// What every piece of work needs.
pub(super) struct Place {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) limits: KeychainLimits,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    /// Items that this process knows to be gone although the manifest still names them.
    pub(super) gone: Mutex<HashSet<ChunkName>>,
}

/// A write.
pub(super) enum Change {
    Put {
        payload: Bytes,
        mode: PutMode,
        version: Version,
        expires_at: Option<UnixMillis>,
    },
    Delete {
        expected: Option<Version>,
    },
}

impl Change {
    /// Whether it may be made over the version that is there.
    fn applies(&self, current: Option<Version>) -> bool {
        match self {
            Self::Put { mode, .. } => match mode {
                PutMode::Overwrite => true,
                PutMode::Create => current.is_none(),
                PutMode::Update(expected) => current == Some(*expected),
            },
            Self::Delete { expected } => expected.is_none() || current == *expected,
        }
    }
}

impl Place {
    /// What `find` makes of the list of records, read without a lock: whatever does not fit together is read again, because a writer takes
    /// the items of what it replaced away.
    pub(super) fn read<T>(
        &self,
        connection: &Connection,
        find: impl Fn(&Items<'_>, &Index) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let items = self.items(connection);
        let mut before: Option<Option<SecretBytes>> = None;
        for _ in 0..MAX_READS {
            let bytes = items.read(&self.name)?;
            let found = decode(bytes.as_ref())
                .and_then(|root| self.index(&items, &root))
                .and_then(|index| find(&items, &index));
            match found {
                Err(failure) if failure.is_of_the_connection() => return Err(failure),
                // The same manifest a second time: nobody is at work on it.
                Err(failure) if before == Some(bytes.clone()) => return Err(failure),
                Err(_) => before = Some(bytes),
                found => return found,
            }
        }
        Err(Failure::Busy)
    }

    /// Makes the change, if the permit still stands. The lock is held meanwhile.
    pub(super) fn write(
        &self,
        connection: &Connection,
        key: &StoreKey,
        change: Change,
        permit: &Permit<LockGuard>,
    ) -> Result<(), Failure> {
        let lock = permit.begin().ok_or(Failure::Abandoned)?;
        let items = self.items(connection);
        let root = decode(items.read(&self.name)?.as_ref())?;
        let mut index = self.index(&items, &root)?;
        let now = self.clock.now();
        if !change.applies(index.live(key, now).map(|entry| entry.version)) {
            return Err(Failure::Conflict);
        }
        let replaced = index.records.remove(key);
        if replaced.is_none() && matches!(change, Change::Delete { .. }) {
            return Ok(());
        }
        // What earlier writers left. Afterwards nothing is pending, and there is room to name what this one needs.
        self.remove(&items, &root.pending)?;

        let mut fresh = Vec::new();
        let mut payload_chunks = None;
        if let Change::Put {
            payload,
            version,
            expires_at,
            ..
        } = change
        {
            let content = self.allot(&payload, payload.len() <= self.limits.inline_bytes())?;
            fresh.extend_from_slice(content.chunks());
            let entry = Entry {
                version,
                expires_at,
                content,
            };
            payload_chunks = Some((payload, entry.content.clone()));
            index.records.insert(key.clone(), entry);
        }
        let mut left: Vec<ChunkName> = root.index.chunks().to_vec();
        left.extend(replaced.iter().flat_map(|entry| entry.content.chunks()));
        // The record just put may be expired already: it is absent at once, and its items may not even come to be.
        left.extend(index.sweep(now, self.limits.reserve().saturating_sub(left.len())));

        let encoded = Bytes::from(index.encode());
        let index = self.allot(&encoded, encoded.len() <= self.limits.inline_index_bytes())?;
        if index.chunks().len() > MAX_INDEX_CHUNKS {
            return Err(Failure::TooManyRecords);
        }
        fresh.extend_from_slice(index.chunks());
        if !fresh.is_empty() {
            let announced = Root {
                pending: fresh,
                index: root.index,
            };
            self.replace(&items, &announced, &lock)?;
            let pieces = payload_chunks.iter().map(|(bytes, content)| (bytes, content));
            for (bytes, content) in pieces.chain([(&encoded, &index)]) {
                items.store(bytes, content.chunks(), self.limits.item_bytes)?;
            }
        }
        let next = Root { pending: left, index };
        if !permit.commit() {
            return Err(Failure::Abandoned);
        }
        self.replace(&items, &next, &lock)?;
        // The write is made. What cannot be removed now is named in the manifest, for the next writer.
        if let Err(error) = self.remove(&items, &next.pending) {
            tracing::debug!(%error, "items of a replaced record were left in the keychain for the next write");
        }
        Ok(())
    }

    fn items<'a>(&'a self, connection: &'a Connection) -> Items<'a> {
        Items {
            connection,
            service: &self.service,
        }
    }

    fn index(&self, items: &Items<'_>, root: &Root) -> Result<Index, Failure> {
        match items.fetch(&root.index) {
            Err(Failure::ChunkMissing) => Err(Failure::IndexMissing),
            fetched => Ok(Index::decode(&fetched?)?),
        }
    }

    /// Where the bytes are to be: here, or in items whose names nothing had before.
    fn allot(&self, bytes: &Bytes, inline: bool) -> Result<Content, Failure> {
        if inline {
            return Ok(Content::Inline(bytes.clone()));
        }
        let names =
            (0..bytes.len().div_ceil(self.limits.item_bytes)).map(|_| ChunkName::random(&*self.random));
        Ok(Content::Chunks {
            length: bytes.len(),
            names: names.collect::<Result<_, _>>()?,
        })
    }

    /// Writes the manifest, unless somebody removed the lock file: then another process may be writing it.
    fn replace(&self, items: &Items<'_>, root: &Root, lock: &LockGuard) -> Result<(), Failure> {
        let bytes = SecretBytes::new(root.encode());
        if bytes.len() > self.limits.item_bytes {
            return Err(Failure::TooManyRecords);
        }
        if !lock.is_held() {
            return Err(Failure::LockLost);
        }
        Ok(items.write(&self.name, bytes.expose())?)
    }

    /// Removes what may be there of the names, and remembers that it is gone, because the manifest names it until the next write.
    fn remove(&self, items: &Items<'_>, names: &[ChunkName]) -> Result<(), KeychainError> {
        let gone = std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner));
        for name in names.iter().filter(|name| !gone.contains(name)) {
            items.remove(&name.to_string())?;
        }
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = names.iter().copied().collect();
        Ok(())
    }
}

fn decode(bytes: Option<&SecretBytes>) -> Result<Root, Failure> {
    match bytes {
        None => Ok(Root::empty()),
        Some(bytes) => Ok(Root::decode(bytes.expose())?),
    }
}
