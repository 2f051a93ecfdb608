//! Answers: which token serves arguments that were asked before, found by their hash and told from others byte for byte.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::table::{Entry, Table};
use crate::cache::arguments::{Arguments, KeptHolder, KeptQueries, KeptQuery};
use crate::schema::index::IndexedPartition;
use crate::store::StoreKey;
use crate::time::{CoarseTime, UnixMillis};

/// The token that serves a request, and until when that needs no second look.
///
/// In this order, so that what decides whether it holds is in the cache lines that come first.
#[repr(C)]
pub(crate) struct Answer {
    hash: u64,
    /// Cleared when a partition that it was computed from is changed, or not kept any more.
    is_alive: AtomicBool,
    window: Window,
    /// The gap in the store's reports that it was computed after.
    epoch: u64,
    /// In which round of evictions its partition was last said to be in use.
    noted_in: AtomicU64,
    query: Option<Arc<KeptQuery>>,
    holder: KeptHolder,
    pub(crate) partition: Arc<IndexedPartition>,
    pub(crate) index: u32,
    /// How many bytes it was counted as.
    bytes: u32,
    /// The partitions that it was computed from.
    pub(super) stored_keys: [Option<StoreKey>; 2],
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
        (arguments, queries): (&Arguments<'_>, &KeptQueries),
        hash: u64,
        window: Window,
        epoch: u64,
        stored_keys: [Option<StoreKey>; 2],
        partition: Arc<IndexedPartition>,
        index: u32,
    ) -> Option<Arc<Self>> {
        let (query, query_bytes) = queries.keep(arguments)?;
        let holder = KeptHolder::new(arguments);
        // Its place in the table and in its partition's list, and what an allocation takes.
        let bytes = size_of::<Self>() + holder.heap_bytes() + query_bytes + 64;
        Some(Arc::new(Self {
            hash,
            is_alive: AtomicBool::new(true),
            window,
            epoch,
            noted_in: AtomicU64::new(0),
            query: Some(query),
            holder,
            partition,
            index,
            bytes: u32::try_from(bytes).ok()?,
            stored_keys,
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
            query: None,
            holder: KeptHolder::none(),
            partition,
            index,
            bytes: 0,
            stored_keys: [None, None],
        })
    }

    /// Whether it is the answer to these, whose query may be known.
    #[inline(always)]
    pub(super) fn is_for(&self, arguments: &Arguments<'_>, query: Option<&Arc<KeptQuery>>) -> bool {
        let Some(mine) = &self.query else { return false };
        self.holder.is_of(arguments)
            && (query.is_some_and(|query| Arc::ptr_eq(query, mine)) || mine.is_of(arguments))
    }

    /// Has this thread know the query of these arguments, which it is the answer to.
    pub(super) fn make_known(&self, arguments: &Arguments<'_>) {
        if let Some(query) = &self.query {
            arguments.know(query);
        }
    }

    /// Whether it holds `now`, if there was no gap in the store's reports after `epoch`.
    #[inline]
    pub(super) fn holds(&self, now: CoarseTime, epoch: u64) -> bool {
        self.is_alive() && self.epoch == epoch && self.window.holds(now)
    }

    /// Whether its partition is yet to be said to be in use in this round of evictions. Says so once.
    #[inline]
    pub(super) fn is_new_in(&self, round: u64) -> bool {
        self.noted_in.load(Ordering::Relaxed) != round
            && self.noted_in.swap(round, Ordering::Relaxed) != round
    }

    fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

impl Entry for Answer {
    #[inline]
    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Acquire)
    }

    /// Answers nothing any more.
    fn end(&self) {
        self.is_alive.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// The answers that were computed from one partition in memory. It ends with the partition's time there.
#[derive(Debug, Default)]
pub(crate) struct Life(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    /// Most partitions leave memory before anything was answered from them twice, so room for answers is made late.
    given: Option<Box<Given>>,
}

#[derive(Debug, Default)]
struct Given {
    /// Of a session's partition and of its user's, only one need end for the answer and all that it holds to go.
    answers: Vec<Listed>,
    /// At how many those that have ended otherwise are dropped.
    pruned_at: usize,
    /// Which answer makes room for the next, once there are too many.
    oldest: usize,
    bytes: usize,
    /// As how many they count among the tier's.
    counted: usize,
}

#[derive(Debug)]
struct Listed {
    answer: Weak<Answer>,
    bytes: usize,
}

/// What became of an answer that was to be listed.
pub(super) enum Listing {
    /// The partition's time is over already.
    TooLate,
    Listed,
    /// Listed, and all together count as so many bytes from now on.
    Counts(usize),
}

impl Life {
    /// Lists `answer`, so that the partition's end is its own, and drops another if there are more than `most`. Bytes
    /// are counted in steps, so that most answers need not be weighed.
    pub(super) fn list(&self, answer: &Arc<Answer>, most: usize, answers: &Table<Answer>) -> Listing {
        let mut state = self.lock();
        if state.is_over {
            return Listing::TooLate;
        }
        let given = state.given.get_or_insert_default();
        if given.answers.len() >= given.pruned_at {
            given.prune();
        }
        let listed = Listed {
            answer: Arc::downgrade(answer),
            bytes: answer.bytes(),
        };
        given.bytes += listed.bytes;
        if given.answers.len() < most {
            given.answers.push(listed);
        } else {
            let oldest = given.oldest % given.answers.len().max(1);
            given.oldest = oldest + 1;
            if let Some(place) = given.answers.get_mut(oldest) {
                let dropped = std::mem::replace(place, listed);
                given.bytes -= dropped.bytes;
                dropped.end(answers);
            }
        }
        if given.bytes <= given.counted {
            return Listing::Listed;
        }
        given.counted = given.bytes.next_power_of_two();
        Listing::Counts(given.counted)
    }

    /// Ends it, and with it every answer.
    pub(super) fn end(&self, answers: &Table<Answer>) {
        let mut state = self.lock();
        state.is_over = true;
        if let Some(mut given) = state.given.take() {
            given.drop_all(answers);
        }
    }

    /// Ends the answers alone.
    pub(super) fn drop_answers(&self, answers: &Table<Answer>) {
        if let Some(given) = &mut self.lock().given {
            given.drop_all(answers);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Given {
    /// Drops the answers that have ended: replaced by others for the same arguments, or with another partition.
    fn prune(&mut self) {
        let is_alive = |listed: &Listed| listed.answer.upgrade().is_some_and(|answer| answer.is_alive());
        self.answers.retain(is_alive);
        self.bytes = self.answers.iter().map(|listed| listed.bytes).sum();
        self.pruned_at = (self.answers.len() * 2).max(16);
    }

    fn drop_all(&mut self, answers: &Table<Answer>) {
        self.bytes = 0;
        for listed in std::mem::take(&mut self.answers) {
            listed.end(answers);
        }
    }
}

impl Listed {
    /// Ends the answer, if anybody has it: the table does while it can be found.
    fn end(&self, answers: &Table<Answer>) {
        if let Some(answer) = self.answer.upgrade() {
            answer.end();
            answers.remove(&answer);
        }
    }
}
