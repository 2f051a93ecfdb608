//! What is kept of arguments, to tell an answer from others byte for byte.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use zeroize::Zeroize;

use super::{Arguments, Query, Rare, Scopes, same};

/// Whose token an answer is.
pub(crate) enum KeptHolder {
    /// In the answer itself while it fits, because every pointer that a lookup follows is a wait for memory.
    Inline(u8, [u8; INLINE]),
    Boxed(Box<[u8]>),
}

/// A home account ID of Entra has 73 bytes.
const INLINE: usize = 78;

impl KeptHolder {
    pub(crate) fn new(arguments: &Arguments<'_>) -> Self {
        let holder = arguments.holder;
        let mut inline = [0; INLINE];
        match (inline.get_mut(..holder.len()), u8::try_from(holder.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(holder);
                Self::Inline(length, inline)
            }
            _ => Self::Boxed(holder.into()),
        }
    }

    /// Nobody.
    pub(crate) const fn none() -> Self {
        Self::Inline(0, [0; INLINE])
    }

    #[inline(always)]
    pub(crate) fn is_of(&self, arguments: &Arguments<'_>) -> bool {
        match self {
            Self::Inline(length, bytes) => bytes
                .get(..usize::from(*length))
                .is_some_and(|mine| same(mine, arguments.holder)),
            Self::Boxed(bytes) => same(bytes, arguments.holder),
        }
    }

    /// How many bytes it takes beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Boxed(bytes) => bytes.len(),
        }
    }
}

/// The ID of a caller's or of a web session is a bearer secret.
impl Drop for KeptHolder {
    fn drop(&mut self) {
        match self {
            Self::Inline(_, bytes) => bytes.zeroize(),
            Self::Boxed(bytes) => bytes.zeroize(),
        }
    }
}

/// Which token an answer is.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct KeptQuery {
    /// [`Query::hash`].
    pub(super) hash: u64,
    flags: u32,
    /// How long each of the usual texts is.
    usual: [u32; 4],
    rare: Option<Box<KeptRare>>,
    /// The usual texts, and after them the scopes, joined by spaces.
    bytes: Box<[u8]>,
}

#[derive(PartialEq, Eq, Hash)]
struct KeptRare {
    texts: [Box<[u8]>; 6],
    of_partition: BTreeMap<String, String>,
    of_context: BTreeMap<String, String>,
}

impl KeptQuery {
    /// `None` where a text is longer than 4 GiB.
    fn new(query: &Query<'_>) -> Option<Self> {
        let mut bytes = query.usual.concat();
        let mut usual = [0; 4];
        for (length, text) in usual.iter_mut().zip(query.usual) {
            *length = u32::try_from(text.len()).ok()?;
        }
        let start = bytes.len();
        query.scopes.each(|word| {
            if bytes.len() > start {
                bytes.push(b' ');
            }
            bytes.extend_from_slice(word.as_bytes());
        });
        Some(Self {
            hash: query.hash(),
            flags: query.flags,
            usual,
            rare: query.rare.as_ref().map(|rare| Box::new(KeptRare::new(rare))),
            bytes: bytes.into(),
        })
    }

    /// Whether it is the same, byte for byte.
    #[inline(always)]
    pub(crate) fn is_of(&self, arguments: &Arguments<'_>) -> bool {
        let query = &arguments.query;
        if self.flags != query.flags {
            return false;
        }
        let mut rest = &*self.bytes;
        for (length, text) in self.usual.iter().zip(query.usual) {
            let Some((mine, others)) = rest.split_at_checked(*length as usize) else {
                return false;
            };
            if !same(mine, text) {
                return false;
            }
            rest = others;
        }
        query.scopes.are(rest)
            && match (&self.rare, &query.rare) {
                (None, None) => true,
                (Some(mine), Some(theirs)) => mine.is(theirs),
                _ => false,
            }
    }

    fn bytes(&self) -> usize {
        let texts = |rare: &KeptRare| rare.texts.iter().map(|text| text.len()).sum::<usize>();
        let components = |rare: &KeptRare| {
            let each = rare.of_partition.iter().chain(&rare.of_context);
            each.map(|(name, value)| name.len() + value.len() + 64)
                .sum::<usize>()
        };
        let rare = self
            .rare
            .as_ref()
            .map_or(0, |rare| size_of::<KeptRare>() + texts(rare) + components(rare));
        // Its place among the others, and what two allocations take.
        size_of::<Self>() + self.bytes.len() + rare + 64
    }
}

impl KeptRare {
    fn new(rare: &Rare<'_>) -> Self {
        Self {
            texts: rare.texts.map(Box::from),
            of_partition: rare.of_partition.cloned().unwrap_or_default(),
            of_context: rare.of_context.cloned().unwrap_or_default(),
        }
    }

    fn is(&self, rare: &Rare<'_>) -> bool {
        let same_components = |mine: &BTreeMap<_, _>, theirs: Option<&BTreeMap<_, _>>| {
            theirs.map_or(mine.is_empty(), |theirs| mine == theirs)
        };
        let mut texts = self.texts.iter().zip(rare.texts);
        texts.all(|(mine, theirs)| **mine == *theirs)
            && same_components(&self.of_partition, rare.of_partition)
            && same_components(&self.of_context, rare.of_context)
    }
}

impl Scopes<'_> {
    /// Whether they are `joined`.
    #[inline(always)]
    fn are(&self, joined: &[u8]) -> bool {
        let words = match self {
            Self::Joined(text) => return same(text.as_bytes(), joined),
            Self::Each(words) => words,
        };
        let mut rest = joined;
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                let Some((b' ', others)) = rest.split_first() else {
                    return false;
                };
                rest = others;
            }
            let Some((mine, others)) = rest.split_at_checked(word.len()) else {
                return false;
            };
            if !same(mine, word.as_bytes()) {
                return false;
            }
            rest = others;
        }
        rest.is_empty()
    }
}

/// The queries that answers are kept for, each once.
#[derive(Default)]
pub(crate) struct KeptQueries {
    by_hash: Mutex<Known>,
    hasher: RandomState,
}

#[derive(Default)]
struct Known {
    queries: HashMap<u64, Weak<KeptQuery>>,
    /// At how many those that no answer has any more are dropped.
    pruned_at: usize,
}

impl KeptQueries {
    /// The query of `arguments`, and how many bytes it takes beside those that there were.
    pub(crate) fn keep(&self, arguments: &Arguments<'_>) -> Option<(Arc<KeptQuery>, usize)> {
        let query = KeptQuery::new(&arguments.query)?;
        let hash = self.hasher.hash_one(&query);
        let mut known = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.queries.get(&hash).and_then(Weak::upgrade)
            && *before == query
        {
            return Some((before, 0));
        }
        if known.queries.len() >= known.pruned_at {
            known.queries.retain(|_, query| query.strong_count() > 0);
            known.pruned_at = (known.queries.len() * 2).max(64);
        }
        let bytes = query.bytes();
        let query = Arc::new(query);
        known.queries.insert(hash, Arc::downgrade(&query));
        Some((query, bytes))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let known = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        known.queries.len()
    }
}

impl std::fmt::Debug for KeptQueries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptQueries")
    }
}
