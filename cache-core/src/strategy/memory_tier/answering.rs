//! What memory answered before: found by its arguments, recorded, and dropped with its partition.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quick_cache::sync::EntryAction;

use super::super::answers::{Answer, Listing, Window};
use super::super::table::Entry;
use super::{Guard, Memory};
use crate::cache::arguments::Arguments;
use crate::schema::index::IndexedPartition;
use crate::store::StoreKey;
use crate::time::CoarseTime;

/// How many answers a partition may have: for each of its tokens, and beside them.
const ANSWERS_PER_TOKEN: usize = 4;
pub(super) const ANSWERS_BESIDE: usize = 16;
/// How many answers of its sessions may depend on a user's partition.
const MOST_OF_SESSIONS: usize = 4096;

impl Memory {
    /// The answer that is known to `arguments` and holds at the time that `clock` then says.
    #[inline(always)]
    pub(crate) fn find(
        &self,
        arguments: &Arguments<'_>,
        clock: impl FnOnce() -> CoarseTime,
    ) -> Option<Arc<Answer>> {
        let (lately, hash) = arguments.look_up_lately();
        let query = lately.query();
        let found = self.answers.find(hash, |answer| answer.is_for(arguments, query));
        let is_known = query.is_some();
        lately.put_back();
        let answer = found?;
        if !is_known {
            answer.make_known(arguments);
        }
        self.holds(&answer, clock()).then_some(answer)
    }

    /// As [`find`](Self::find), for who has the hash of the arguments.
    #[inline]
    pub(crate) fn answer(
        &self,
        arguments: &Arguments<'_>,
        hash: u64,
        now: CoarseTime,
    ) -> Option<Arc<Answer>> {
        let answer = self.answers.find(hash, |answer| answer.is_for(arguments, None))?;
        self.holds(&answer, now).then_some(answer)
    }

    /// Whether `answer` holds `now`. If so, its partition counts as used.
    #[inline(always)]
    pub(crate) fn holds(&self, answer: &Answer, now: CoarseTime) -> bool {
        if !answer.holds(now, self.epoch()) {
            return false;
        }
        if answer.is_new_in(self.shared.round.load(Ordering::Relaxed)) {
            self.note_use(answer);
        }
        true
    }

    #[cold]
    fn note_use(&self, answer: &Answer) {
        let Some(slots) = &self.slots else { return };
        for key in answer.stored_keys.iter().flatten() {
            slots.get(key);
        }
    }

    /// Keeps the token with `index` as the answer to `arguments` for as long as `window` says, and what it was computed from is not
    /// changed: the partition that has the token first, and for a session that of its user. Gives it, unless one of them was changed since
    /// the guards were made.
    pub(crate) fn record(
        &self,
        arguments: &Arguments<'_>,
        hash: u64,
        window: Window,
        guards: &[Guard],
        partition: &Arc<IndexedPartition>,
        index: u32,
    ) -> Option<Arc<Answer>> {
        let (first, epoch) = (guards.first()?, guards.first()?.held.epoch?);
        if guards.iter().any(|guard| guard.held.epoch != Some(epoch)) {
            return None;
        }
        let keys = [
            Some(first.key.clone()),
            guards.get(1).map(|guard| guard.key.clone()),
        ];
        let asked = (arguments, &self.queries);
        let answer = Answer::new(asked, hash, window, epoch, keys, Arc::clone(partition), index)?;
        answer.is_new_in(self.shared.round.load(Ordering::Relaxed));
        // Listed before it can be found: a change that comes between ends it, or what it is listed under has ended already.
        let most = partition.len().saturating_mul(ANSWERS_PER_TOKEN) + ANSWERS_BESIDE;
        for (number, guard) in guards.iter().enumerate() {
            let most = if number == 0 { most } else { MOST_OF_SESSIONS };
            match guard.held.life.list(&answer, most, &self.answers) {
                Listing::TooLate => {
                    answer.end();
                    return None;
                }
                Listing::Counts(bytes) if number == 0 => self.weigh(guard, bytes as u64),
                Listing::Counts(_) | Listing::Listed => {}
            }
        }
        self.answers
            .insert(&answer, |other| other.is_for(arguments, None));
        Some(answer)
    }

    /// Counts the answers of a slot as so many of the tier's bytes.
    fn weigh(&self, guard: &Guard, bytes: u64) {
        let Some(slots) = &self.slots else { return };
        slots.entry(&guard.key, Some(Duration::ZERO), |_, kept| {
            if Arc::ptr_eq(&kept.held, &guard.held) && kept.answer_bytes < bytes {
                kept.answer_bytes = bytes;
            }
            EntryAction::Retain(())
        });
    }

    /// Ends the answers that were computed from the slot; the slot itself stays.
    pub(crate) fn drop_answers(&self, key: &StoreKey) {
        if let Some(kept) = self.slots.as_ref().and_then(|slots| slots.peek(key)) {
            kept.held.life.drop_answers(&self.answers);
        }
    }
}
