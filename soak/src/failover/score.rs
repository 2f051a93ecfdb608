//! What one task was told, and how much of it was wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::cache::CacheError;
use cache_core::seal::SealError;
use cache_core::store::StoreError;
use cache_core::store::error::ErrorKind;
use cache_core::time::{Clock, SystemClock};

use super::{Arrangement, Promise};
use crate::tally::Tally;

/// How many wrong things are kept word for word.
const KEPT: usize = 5;

/// A score that a task writes and others read meanwhile.
pub type Shared<T> = Arc<Mutex<T>>;

/// Opens what a task shares; one that panicked is found out by who waits for it.
pub fn open<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one task saw so far.
#[derive(Debug)]
pub struct Score {
    promise: Promise,
    /// Writes that were acknowledged.
    pub successes: u64,
    /// Of these, those that [began](Self::mark) after the mark.
    pub since_mark: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Acknowledged writes that were gone when they were read.
    pub lost: u64,
    failures: u64,
    unknown: u64,
    wrongs: u64,
    words: Vec<String>,
    mark: Option<Duration>,
    wrote: Gap,
    read: Gap,
}

/// The longest time between two successes.
#[derive(Debug, Default)]
struct Gap {
    last: Option<Duration>,
    longest: Duration,
}

/// A write that began.
#[derive(Clone, Copy, Debug)]
pub struct Begun(Duration);

impl Score {
    /// Of a task that was promised this.
    #[must_use]
    pub fn new(promise: Promise) -> Self {
        Self {
            promise,
            successes: 0,
            since_mark: 0,
            reads: 0,
            lost: 0,
            failures: 0,
            unknown: 0,
            wrongs: 0,
            words: Vec::new(),
            mark: None,
            wrote: Gap::default(),
            read: Gap::default(),
        }
    }

    /// A write begins now.
    #[must_use]
    pub fn begin() -> Begun {
        Begun(SystemClock.monotonic())
    }

    /// Counts the writes that begin from now on [separately](Self::since_mark).
    pub fn mark(&mut self) {
        self.mark = Some(SystemClock.monotonic());
        self.since_mark = 0;
    }

    /// A write was acknowledged.
    pub fn succeeded(&mut self, begun: Begun) {
        self.wrote.ends();
        self.successes += 1;
        self.since_mark += u64::from(self.mark.is_some_and(|mark| begun.0 >= mark));
    }

    /// A read was answered.
    pub fn was_read(&mut self) {
        self.read.ends();
        self.reads += 1;
    }

    /// So many acknowledged writes are gone.
    pub fn lost(&mut self, number: u64, words: impl FnOnce() -> String) {
        self.lost += number;
        if self.promise == Promise::Durable {
            self.wrong(words());
        }
    }

    /// What must not be under any promise.
    pub fn wrong(&mut self, words: String) {
        self.wrongs += 1;
        if self.words.len() < KEPT {
            self.words.push(words);
        }
    }

    /// The store failed. A failover explains some errors, and no others.
    pub fn failed(&mut self, error: &StoreError) {
        if !is_of_a_failover(error) {
            self.wrong(format!("an error that is none of a failover: {error:?}"));
        }
        self.counts_failure(error.is_outcome_unknown());
    }

    /// The cache failed, likewise.
    pub fn cache_failed(&mut self, error: &CacheError) {
        let cause = store_error(error);
        let is_explained = match cause {
            Some(cause) => is_of_a_failover(cause),
            None => matches!(error, CacheError::Contended { .. } | CacheError::TimedOut),
        };
        if !is_explained {
            self.wrong(format!("an error that is none of a failover: {error:?}"));
        }
        self.counts_failure(cause.is_some_and(StoreError::is_outcome_unknown));
    }

    /// The longest times without a write and without a read since this was last asked.
    pub fn take_gaps(&mut self) -> (Duration, Duration) {
        (
            std::mem::take(&mut self.wrote.longest),
            std::mem::take(&mut self.read.longest),
        )
    }

    /// Adds this to what an arrangement came to; `what` are its writes.
    pub fn tell(&self, arrangement: Arrangement, what: &str, tally: &mut Tally) {
        let mut add = |of: &str, number: u64| tally.add(&format!("{arrangement}: {of}"), number);
        add(&format!("{what} acknowledged"), self.successes);
        add(&format!("{what} acknowledged and lost"), self.lost);
        add("reads", self.reads);
        self.tell_of_failures(arrangement, tally);
    }

    /// The same of one that only reads; `who` says what is special about it.
    pub fn tell_of_witness(&self, arrangement: Arrangement, who: &str, tally: &mut Tally) {
        let mut add = |of: &str, number: u64| tally.add(&format!("{arrangement}: {of}"), number);
        add(&format!("reads {who}"), self.reads);
        add(&format!("reads {who}, older than acknowledged"), self.lost);
        self.tell_of_failures(arrangement, tally);
    }

    fn tell_of_failures(&self, arrangement: Arrangement, tally: &mut Tally) {
        let mut add = |of: &str, number: u64| tally.add(&format!("{arrangement}: {of}"), number);
        add("attempts that failed", self.failures);
        add("attempts of unknown outcome", self.unknown);
        for words in &self.words {
            tally.violation(format_args!("{arrangement}: {words}"));
        }
        tally.violations += self.wrongs.saturating_sub(self.words.len() as u64);
    }

    fn counts_failure(&mut self, is_unknown: bool) {
        self.failures += 1;
        self.unknown += u64::from(is_unknown);
    }
}

impl Gap {
    fn ends(&mut self) {
        let now = SystemClock.monotonic();
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now - last);
        }
    }
}

fn is_of_a_failover(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Conflict | ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::ReadOnly
    )
}

fn store_error(error: &CacheError) -> Option<&StoreError> {
    match error {
        CacheError::Store(error) => Some(error),
        CacheError::Seal(error) => match &**error {
            SealError::Store(error) => Some(error),
            _ => None,
        },
        CacheError::NotPersisted(error) => store_error(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cache_core::store::error::Operation;

    use super::super::Deciders;
    use super::*;

    fn told(score: &Score) -> Tally {
        let arrangement = Arrangement {
            deciders: Deciders::Cluster,
            promise: score.promise,
        };
        let mut tally = Tally::default();
        score.tell(arrangement, "writes", &mut tally);
        tally
    }

    #[test]
    fn what_was_acknowledged_may_be_lost_where_nothing_else_is_promised() {
        for (promise, violations) in [(Promise::Durable, 1), (Promise::Acknowledged, 0)] {
            let mut score = Score::new(promise);
            score.lost(3, || "gone".to_owned());
            let tally = told(&score);
            assert_eq!(tally.violations, violations);
            let lost: u64 = tally.counts.values().sum();
            assert_eq!(lost, 3, "{tally:?}");
        }
    }

    #[test]
    fn a_failover_explains_some_errors_only() {
        for (kind, violations) in [(ErrorKind::ReadOnly, 0), (ErrorKind::Corrupt, 1)] {
            let mut score = Score::new(Promise::Acknowledged);
            let error = || StoreError::new(kind, Operation::Get, "test");
            score.failed(&error());
            score.cache_failed(&error().into());
            assert_eq!(told(&score).violations, 2 * violations, "{kind:?}");
        }
    }

    #[test]
    fn only_what_begins_after_the_mark_counts_as_such() {
        let mut score = Score::new(Promise::Durable);
        let before = Score::begin();
        score.mark();
        score.succeeded(before);
        assert_eq!(score.since_mark, 0);
        score.succeeded(Score::begin());
        assert_eq!((score.since_mark, score.successes), (1, 2));
    }
}
