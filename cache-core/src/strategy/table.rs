//! A map from hashes to shared entries, for lookups that come far more often than changes.
//!
//! A set-associative table. A bucket is one cache line with its own lock, so a lookup waits for memory once to find the answer, and once
//! for the answer itself. Measured beside it, with one thread: `scc::HashIndex` is a fifth faster in the processor's caches and as fast
//! beyond them, but frees what was removed when it pleases; sharded `hashbrown` tables, `papaya`, `quick_cache` and arc-swaps are as
//! fast within the caches and 1.4 to 2 times slower beyond them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use parking_lot::RwLock;

/// What is in a [`Table`].
pub trait Entry {
    /// The hash that it is found by.
    fn hash(&self) -> u64;

    /// Whether it may still be found.
    fn is_alive(&self) -> bool;

    /// From now on it may not.
    fn end(&self);
}

/// The table.
#[derive(Debug)]
pub struct Table<T> {
    /// Each four times as large as the one before. Only the current one is in use.
    tables: [OnceLock<Box<[Bucket<T>]>>; TABLES],
    current: AtomicUsize,
    count: AtomicUsize,
    growing: Mutex<()>,
}

/// Enough for more entries than memory holds.
const TABLES: usize = 12;
const FIRST_BUCKETS: usize = 64;
const WAYS: usize = 6;

/// One cache line.
#[repr(align(64))]
struct Bucket<T>(RwLock<Ways<T>>);

struct Ways<T> {
    /// A byte of each entry's hash, so that those of others are not looked at.
    tags: [u8; WAYS],
    entries: [Option<Arc<T>>; WAYS],
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            tables: std::array::from_fn(|_| OnceLock::new()),
            current: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            growing: Mutex::new(()),
        }
    }
}

impl<T> Default for Bucket<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Default for Ways<T> {
    fn default() -> Self {
        Self {
            tags: [0; WAYS],
            entries: std::array::from_fn(|_| None),
        }
    }
}

impl<T> fmt::Debug for Bucket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl<T: Entry> Table<T> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry with this hash that `is_it`.
    #[inline(always)]
    pub fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let table = self.tables.get(self.current.load(Ordering::Acquire))?.get()?;
        for bucket in places(table, hash) {
            let ways = bucket.0.read();
            for (way, entry) in ways.tags.iter().zip(&ways.entries) {
                if *way == tag(hash)
                    && let Some(entry) = entry
                    && entry.hash() == hash
                    && is_it(entry)
                {
                    return Some(Arc::clone(entry));
                }
            }
        }
        None
    }

    /// Puts in `entry`, in the place of any other that `is_same` says.
    pub fn insert(&self, entry: &Arc<T>, is_same: impl Fn(&T) -> bool) {
        if let Some(before) = self.find(entry.hash(), is_same) {
            before.end();
            self.remove(&before);
        }
        if !self.place(entry, false) {
            self.grow(self.places() / 8);
            self.place(entry, true);
        } else if self.count.load(Ordering::Relaxed) > self.places() / 2 {
            self.grow(self.places() / 2);
        }
        // It may have ended before it could be found here to be removed.
        if !entry.is_alive() {
            self.remove(entry);
        }
    }

    /// Takes `entry` out.
    pub fn remove(&self, entry: &Arc<T>) {
        for table in self.tables.iter().filter_map(OnceLock::get) {
            for bucket in places(table, entry.hash()) {
                let mut ways = bucket.0.write();
                let is_it =
                    |other: &Option<Arc<T>>| other.as_ref().is_some_and(|other| Arc::ptr_eq(other, entry));
                let Some(way) = ways.entries.iter().position(is_it) else {
                    continue;
                };
                let removed = ways.entries[way].take();
                ways.tags[way] = 0;
                drop(ways);
                self.count.fetch_sub(1, Ordering::Relaxed);
                drop(removed);
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Puts the entry into one of its buckets. If both are full, that of another is taken `by_force`, or none.
    fn place(&self, entry: &Arc<T>, by_force: bool) -> bool {
        loop {
            let current = self.current.load(Ordering::Acquire);
            let table = self.table(current);
            let [first, second] = indices(table.len(), entry.hash());
            let is_placed =
                self.place_in(&table[first], entry, false) || self.place_in(&table[second], entry, by_force);
            // What is put into a table that was replaced meanwhile may come too late to be moved.
            if !is_placed || self.current.load(Ordering::Acquire) == current {
                return is_placed;
            }
            self.remove(entry);
        }
    }

    /// Puts the entry into a free place of the bucket; or, if `by_force`, into that of another.
    fn place_in(&self, bucket: &Bucket<T>, entry: &Arc<T>, by_force: bool) -> bool {
        let mut ways = bucket.0.write();
        let way = match ways.entries.iter().position(Option::is_none) {
            Some(free) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                free
            }
            None if by_force => usize::from(tag(entry.hash())) % WAYS,
            None => return false,
        };
        ways.tags[way] = tag(entry.hash());
        let replaced = ways.entries[way].replace(Arc::clone(entry));
        drop(ways);
        if let Some(replaced) = replaced {
            replaced.end();
        }
        true
    }

    /// Moves everything into a larger table, if there are more than `most`.
    fn grow(&self, most: usize) {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load(Ordering::Acquire);
        if self.count.load(Ordering::Relaxed) <= most || current + 1 >= TABLES {
            return;
        }
        self.table(current + 1);
        self.current.store(current + 1, Ordering::Release);
        // Who looks meanwhile for one that is on its way does not find it, and asks the partition.
        for bucket in self.table(current) {
            let moved = std::mem::take(&mut *bucket.0.write());
            for entry in moved.entries.into_iter().flatten() {
                self.count.fetch_sub(1, Ordering::Relaxed);
                self.place(&entry, true);
                if !entry.is_alive() {
                    self.remove(&entry);
                }
            }
        }
    }

    fn table(&self, number: usize) -> &[Bucket<T>] {
        let number = number.min(TABLES - 1);
        let buckets = FIRST_BUCKETS << (2 * number);
        self.tables[number].get_or_init(|| (0..buckets).map(|_| Bucket::default()).collect())
    }

    fn places(&self) -> usize {
        (FIRST_BUCKETS << (2 * self.current.load(Ordering::Relaxed))) * WAYS
    }
}

#[inline]
fn places<T>(table: &[Bucket<T>], hash: u64) -> impl Iterator<Item = &Bucket<T>> {
    indices(table.len(), hash)
        .into_iter()
        .filter_map(|index| table.get(index))
}

/// The two buckets in which an entry may be.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the number of buckets is a power of two"
)]
fn indices(buckets: usize, hash: u64) -> [usize; 2] {
    let mask = buckets - 1;
    [hash as usize & mask, (hash >> 28) as usize & mask]
}

/// Never zero, which is what a free place has.
#[inline]
fn tag(hash: u64) -> u8 {
    (hash >> 56) as u8 | 1
}
