//! What the store holds, and in which items.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use cache_core::random::{Random, RandomError, random_bytes};
use cache_core::store::{StoreKey, Version};
use cache_core::time::UnixMillis;

/// The name of an item that holds a piece of something: 128 random bits, so that it is never another piece's, also not after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChunkName(pub(super) [u8; ChunkName::BYTES]);

impl ChunkName {
    pub(super) const BYTES: usize = 16;

    pub(super) fn random(random: &dyn Random) -> Result<Self, RandomError> {
        random_bytes(random).map(Self)
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The one item that says what is there: replacing it is what makes a write happen.
pub(super) struct Root {
    /// Items that may exist and belong to nothing: of a write that did not come to its end, or replaced.
    pub(super) pending: Vec<ChunkName>,
    /// The list of records.
    pub(super) index: Content,
}

impl Root {
    /// That of a store in which nothing was ever put.
    pub(super) fn empty() -> Self {
        Self {
            pending: Vec::new(),
            index: Content::Inline(Index::default().encode().into()),
        }
    }
}

/// Where some bytes are.
#[derive(Clone)]
pub(super) enum Content {
    /// Here.
    Inline(Bytes),
    /// In items of their own, one after another.
    Chunks { length: usize, names: Vec<ChunkName> },
}

impl Content {
    pub(super) fn chunks(&self) -> &[ChunkName] {
        match self {
            Self::Inline(_) => &[],
            Self::Chunks { names, .. } => names,
        }
    }
}

/// The list of records.
#[derive(Default)]
pub(super) struct Index {
    pub(super) records: BTreeMap<StoreKey, Entry>,
}

/// A record.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) version: Version,
    pub(super) expires_at: Option<UnixMillis>,
    pub(super) content: Content,
}

impl Entry {
    pub(super) fn is_live(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

impl Index {
    /// The record under the key, unless it has expired.
    pub(super) fn live(&self, key: &StoreKey, now: UnixMillis) -> Option<&Entry> {
        self.records.get(key).filter(|entry| entry.is_live(now))
    }

    /// Takes expired records out until they have left `room` chunks at most, and returns the names of these.
    pub(super) fn sweep(&mut self, now: UnixMillis, room: usize) -> Vec<ChunkName> {
        let mut left = Vec::new();
        self.records.retain(|_, entry| {
            let chunks = entry.content.chunks();
            if entry.is_live(now) || left.len() + chunks.len() > room {
                return true;
            }
            left.extend_from_slice(chunks);
            false
        });
        left
    }
}
