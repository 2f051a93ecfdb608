//! Answers: which token serves arguments that were asked before, found by their hash and told from others byte for byte.
//!
//! A set-associative table. A bucket is one cache line with its own lock, so a lookup waits for memory once to find the answer, and once
//! for the answer itself. Measured beside it, with one thread: `scc::HashIndex` is a fifth faster in the processor's caches and as fast
//! beyond them, but frees what was removed when it pleases; sharded `hashbrown` tables, `papaya`, `quick_cache` and arc-swaps are as
//! fast within the caches and 1.4 to 2 times slower beyond them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use parking_lot::RwLock;

use crate::cache::acquired::Described;
use crate::cache::arguments::{Arguments, OwnedArguments};
use crate::schema::index::IndexedPartition;
use crate::store::StoreKey;
use crate::time::{CoarseTime, UnixMillis};

/// The token that serves a request, and until when that needs no second look.
pub(crate) struct Answer {
    hash: u64,
    /// Cleared when a partition that it was computed from is changed, or not kept any more.
    is_alive: AtomicBool,
    window: Window,
    /// The gap in the store's reports that it was computed after.
    epoch: u64,
    /// In which round of evictions its partition was last said to be in use.
    noted_in: AtomicU64,
    pub(crate) partition: Arc<IndexedPartition>,
    pub(crate) index: u32,
    arguments: OwnedArguments,
    /// The partition that it was computed from.
    pub(super) stored_key: Option<StoreKey>,
    pub(crate) described: OnceLock<Box<Described>>,
}

/// From when to when an answer needs no second look, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// On the wall clock. If that is set back, everything is looked at again.
    pub(crate) since: UnixMillis,
    pub(crate) until: UnixMillis,
    /// On the coarse monotonic clock.
    pub(crate) until_monotonic: u64,
}

impl Window {
    #[inline]
    fn holds(&self, now: CoarseTime) -> bool {
        now.wall >= self.since && now.wall < self.until && now.monotonic < self.until_monotonic
    }

    /// One in which nothing holds.
    const CLOSED: Self = Self {
        since: UnixMillis(0),
        until: UnixMillis(0),
        until_monotonic: 0,
    };
}

impl Answer {
    pub(super) fn new(
        arguments: &Arguments<'_>,
        hash: u64,
        window: Window,
        epoch: u64,
        stored_key: StoreKey,
        partition: Arc<IndexedPartition>,
        index: u32,
    ) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            hash,
            is_alive: AtomicBool::new(true),
            window,
            epoch,
            noted_in: AtomicU64::new(0),
            partition,
            index,
            arguments: OwnedArguments::new(arguments)?,
            stored_key: Some(stored_key),
            described: OnceLock::new(),
        }))
    }

    /// A token that answers nothing but the call that brought it.
    pub(crate) fn once(partition: Arc<IndexedPartition>, index: u32) -> Arc<Self> {
        Arc::new(Self {
            hash: 0,
            is_alive: AtomicBool::new(false),
            window: Window::CLOSED,
            epoch: 0,
            noted_in: AtomicU64::new(0),
            partition,
            index,
            arguments: OwnedArguments::none(),
            stored_key: None,
            described: OnceLock::new(),
        })
    }

    /// Whether it is the answer to these.
    #[inline]
    pub(super) fn is_for(&self, arguments: &Arguments<'_>) -> bool {
        self.arguments.are(arguments)
    }

    /// Whether it holds `now`, if there was no gap in the store's reports after `epoch`.
    #[inline]
    pub(super) fn holds(&self, now: CoarseTime, epoch: u64) -> bool {
        self.is_alive() && self.epoch == epoch && self.window.holds(now)
    }

    #[inline]
    fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Acquire)
    }

    /// Whether its partition is yet to be said to be in use in this round of evictions. Says so once.
    #[inline]
    pub(super) fn is_new_in(&self, round: u64) -> bool {
        self.noted_in.load(Ordering::Relaxed) != round
            && self.noted_in.swap(round, Ordering::Relaxed) != round
    }

    /// Answers nothing any more.
    pub(crate) fn end(&self) {
        self.is_alive.store(false, Ordering::Release);
    }

    fn bytes(&self) -> usize {
        // Its place in the table and in its partition's list, and what an allocation takes.
        size_of::<Self>() + self.arguments.heap_bytes() + 64
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// The answers that were computed from one partition in memory. It ends with the partition's time there.
#[derive(Debug, Default)]
pub(crate) struct Life(Mutex<Given>);

#[derive(Debug, Default)]
struct Given {
    is_over: bool,
    answers: Vec<Arc<Answer>>,
    /// At how many those that have ended otherwise are dropped.
    pruned_at: usize,
    /// Which answer makes room for the next, once there are too many.
    oldest: usize,
    bytes: usize,
}

impl Life {
    /// Lists `answer`, so that the partition's end is its own, and drops another if there are more than `most`. Gives how many bytes all
    /// take; `None` when the partition's time is over already.
    pub(super) fn list(&self, answer: &Arc<Answer>, most: usize, answers: &Answers) -> Option<usize> {
        let mut given = self.lock();
        if given.is_over {
            return None;
        }
        if given.answers.len() >= given.pruned_at {
            given.prune();
        }
        given.bytes += answer.bytes();
        if given.answers.len() < most {
            given.answers.push(Arc::clone(answer));
        } else {
            let oldest = given.oldest % given.answers.len().max(1);
            given.oldest = oldest + 1;
            if let Some(place) = given.answers.get_mut(oldest) {
                let dropped = std::mem::replace(place, Arc::clone(answer));
                given.bytes -= dropped.bytes();
                dropped.end();
                answers.remove(&dropped);
            }
        }
        Some(given.bytes)
    }

    /// Ends it, and with it every answer.
    pub(super) fn end(&self, answers: &Answers) {
        let mut given = self.lock();
        given.is_over = true;
        given.drop_all(answers);
    }

    /// Ends the answers alone.
    pub(super) fn drop_answers(&self, answers: &Answers) {
        self.lock().drop_all(answers);
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Given {
    /// Drops the answers that have ended: replaced by others for the same arguments, or with another partition.
    fn prune(&mut self) {
        self.answers.retain(|answer| answer.is_alive());
        self.bytes = self.answers.iter().map(|answer| answer.bytes()).sum();
        self.pruned_at = (self.answers.len() * 2).max(16);
    }

    fn drop_all(&mut self, answers: &Answers) {
        self.bytes = 0;
        for answer in std::mem::take(&mut self.answers) {
            answer.end();
            answers.remove(&answer);
        }
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Each four times as large as the one before. Only the current one is in use.
    tables: [OnceLock<Box<[Bucket]>>; TABLES],
    current: AtomicUsize,
    count: AtomicUsize,
    growing: Mutex<()>,
}

/// Enough for more answers than memory holds.
const TABLES: usize = 12;
const FIRST_BUCKETS: usize = 64;
const WAYS: usize = 6;

/// One cache line.
#[repr(align(64))]
#[derive(Default)]
struct Bucket(RwLock<Ways>);

#[derive(Default)]
struct Ways {
    /// A byte of each answer's hash, so that those of others are not looked at.
    tags: [u8; WAYS],
    answers: [Option<Arc<Answer>>; WAYS],
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            tables: std::array::from_fn(|_| OnceLock::new()),
            current: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            growing: Mutex::new(()),
        }
    }

    /// The answer with this hash that `is_it`.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&Answer) -> bool) -> Option<Arc<Answer>> {
        let table = self.tables.get(self.current.load(Ordering::Acquire))?.get()?;
        places(table, hash).find_map(|bucket| {
            let ways = bucket.0.read();
            let tagged = ways
                .tags
                .iter()
                .zip(&ways.answers)
                .filter(|way| *way.0 == tag(hash));
            let mut answers = tagged.filter_map(|way| way.1.as_ref());
            answers
                .find(|answer| answer.hash == hash && is_it(answer))
                .cloned()
        })
    }

    /// Puts in `answer`, in the place of any other for the same `arguments`.
    pub(super) fn insert(&self, answer: &Arc<Answer>, arguments: &Arguments<'_>) {
        if let Some(before) = self.find(answer.hash, |other| other.is_for(arguments)) {
            before.end();
            self.remove(&before);
        }
        self.place(Arc::clone(answer));
        if self.count.load(Ordering::Relaxed) > self.buckets() * WAYS / 2 {
            self.grow();
        }
        // It may have ended before it could be found here to be removed.
        if !answer.is_alive() {
            self.remove(answer);
        }
    }

    pub(super) fn remove(&self, answer: &Arc<Answer>) {
        for table in self.tables.iter().filter_map(OnceLock::get) {
            for bucket in places(table, answer.hash) {
                let mut ways = bucket.0.write();
                let is_it = |other: &Option<Arc<Answer>>| {
                    other.as_ref().is_some_and(|other| Arc::ptr_eq(other, answer))
                };
                let Some(way) = ways.answers.iter().position(is_it) else {
                    continue;
                };
                let removed = ways.answers[way].take();
                ways.tags[way] = 0;
                drop(ways);
                self.count.fetch_sub(1, Ordering::Relaxed);
                drop(removed);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn place(&self, answer: Arc<Answer>) {
        loop {
            let current = self.current.load(Ordering::Acquire);
            let table = self.table(current);
            let [first, second] = indices(table.len(), answer.hash);
            let is_placed =
                self.place_in(&table[first], &answer, false) || self.place_in(&table[second], &answer, true);
            // What is put into a table that was replaced meanwhile may come too late to be moved.
            if !is_placed || self.current.load(Ordering::Acquire) == current {
                return;
            }
            self.remove(&answer);
        }
    }

    /// Puts the answer into a free place of the bucket; or, if `by_force`, into that of another.
    fn place_in(&self, bucket: &Bucket, answer: &Arc<Answer>, by_force: bool) -> bool {
        let mut ways = bucket.0.write();
        let way = match ways.answers.iter().position(Option::is_none) {
            Some(free) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                free
            }
            None if by_force => usize::from(tag(answer.hash)) % WAYS,
            None => return false,
        };
        ways.tags[way] = tag(answer.hash);
        let replaced = ways.answers[way].replace(Arc::clone(answer));
        drop(ways);
        if let Some(replaced) = replaced {
            replaced.end();
        }
        true
    }

    fn grow(&self) {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load(Ordering::Acquire);
        let is_full = self.count.load(Ordering::Relaxed) > self.buckets() * WAYS / 2;
        if !is_full || current + 1 >= TABLES {
            return;
        }
        self.table(current + 1);
        self.current.store(current + 1, Ordering::Release);
        // Who looks meanwhile for one that is on its way does not find it, and asks the partition.
        for bucket in self.table(current) {
            let moved = std::mem::take(&mut *bucket.0.write());
            for answer in moved.answers.into_iter().flatten() {
                self.count.fetch_sub(1, Ordering::Relaxed);
                self.place(Arc::clone(&answer));
                if !answer.is_alive() {
                    self.remove(&answer);
                }
            }
        }
    }

    fn table(&self, number: usize) -> &[Bucket] {
        let number = number.min(TABLES - 1);
        let buckets = FIRST_BUCKETS << (2 * number);
        self.tables[number].get_or_init(|| (0..buckets).map(|_| Bucket::default()).collect())
    }

    fn buckets(&self) -> usize {
        FIRST_BUCKETS << (2 * self.current.load(Ordering::Relaxed))
    }
}

#[inline]
fn places(table: &[Bucket], hash: u64) -> impl Iterator<Item = &Bucket> {
    indices(table.len(), hash)
        .into_iter()
        .filter_map(|index| table.get(index))
}

/// The two buckets in which an answer may be.
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
