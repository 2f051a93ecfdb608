//! The rules of the throttle as pure code: what is noted, until when it holds, and what is forgotten.

use std::collections::HashMap;
use std::time::Duration;

use super::ThrottledBecause;
use super::key::Key;
use crate::interaction::InteractionRequired;

/// How long a refusal that needs the user is remembered, as MSAL does.
const REFUSAL: Duration = Duration::from_secs(120);

/// How long others wait, at the most, before they look what became of the one request that was let through.
const PROBED: Duration = Duration::from_secs(1);

/// How many pauses, and as many refusals, are remembered.
const MOST: usize = 10_000;

/// How pauses grow while one failure follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Curve {
    shortest: Duration,
    longest: Duration,
}

impl Curve {
    /// For an authority that is there and fails: 5 seconds, doubling up to 5 minutes.
    pub(super) const USUAL: Self = Self {
        shortest: Duration::from_secs(5),
        longest: Duration::from_secs(300),
    };

    /// For an authority that cannot be reached: 1 second, doubling up to 30. Nothing arrives there, so nothing is
    /// spared by waiting longer, and a machine whose network has just come up should not wait for minutes.
    pub(super) const GENTLE: Self = Self {
        shortest: Duration::from_secs(1),
        longest: Duration::from_secs(30),
    };
}

/// A failure to back off from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) because: ThrottledBecause,
    /// How long the authority asked to wait. Asking for no time at all says nothing of when it will have recovered.
    pub(super) asked: Option<Duration>,
    pub(super) curve: Curve,
}

/// All that is remembered. Every moment is on the monotonic clock.
#[derive(Default)]
pub(super) struct Memory {
    pauses: HashMap<Key, Pause>,
    refusals: HashMap<Key, Remembered>,
}

struct Pause {
    until: Duration,
    /// Without jitter: what the next one is twice of.
    length: Duration,
    noted: Duration,
    because: ThrottledBecause,
    /// Once it is over: until when the one request that may find out whether the authority has recovered can take.
    probed: Option<Duration>,
}

struct Remembered {
    until: Duration,
    account: Option<Key>,
    refusal: InteractionRequired,
}

impl Memory {
    /// How long a request must still wait, if at all, and why.
    pub(super) fn pause(&self, key: &Key, now: Duration) -> Option<(Duration, ThrottledBecause)> {
        let pause = self.pauses.get(key)?;
        if pause.until > now {
            return Some((pause.until - now, pause.because));
        }
        let probed = pause.probed.filter(|probed| *probed > now)?;
        Some(((probed - now).min(PROBED), pause.because))
    }

    /// Notes that a request is sent at `sent` and ends by `ends`. Where a pause has just passed it is the one that finds out for
    /// all: everybody who waited would else be back at the same moment.
    pub(super) fn admitted(&mut self, key: &Key, sent: Duration, ends: Duration) {
        if let Some(pause) = self.pauses.get_mut(key)
            && !pause.is_forgotten(sent)
        {
            pause.probed = Some(ends);
        }
    }

    /// Notes that the request which was to end by `ends` was not sent, or was given up early: it found nothing out.
    pub(super) fn withdrawn(&mut self, key: &Key, ends: Duration) {
        if let Some(pause) = self.pauses.get_mut(key)
            && pause.probed == Some(ends)
        {
            pause.probed = None;
        }
    }

    /// Notes that a request which was sent at `sent` failed. `jitter` is in `0.0..1.0`; up to a quarter of the pause is
    /// added, never taken away.
    pub(super) fn failed(&mut self, key: Key, failure: Failure, sent: Duration, now: Duration, jitter: f64) {
        let Curve { shortest, longest } = failure.curve;
        let before = self.pauses.remove(&key).filter(|pause| !pause.is_forgotten(now));
        let length = match &before {
            None => shortest,
            // Many requests under way at once that fail together are one failure.
            Some(before) if sent <= before.noted => before.length.max(shortest),
            Some(before) => (before.length * 2).clamp(shortest, longest),
        };
        let wait = match failure.asked {
            Some(asked) if !asked.is_zero() => asked,
            _ => length + length.mul_f64(jitter.clamp(0.0, 1.0) / 4.0),
        };
        let until = now.saturating_add(wait);
        let pause = match before {
            // What an earlier answer forbids stays forbidden.
            Some(before) if before.until > until => Pause {
                length,
                noted: now,
                probed: None,
                ..before
            },
            _ => Pause {
                until,
                length,
                noted: now,
                because: failure.because,
                probed: None,
            },
        };
        make_room(&mut self.pauses, now, Pause::is_forgotten, |pause| pause.until);
        self.pauses.insert(key, pause);
    }

    /// Notes that the authority answered a request which was sent at `sent`. An answer to an older request than the
    /// one that failed last says nothing about now.
    pub(super) fn answered(&mut self, key: &Key, sent: Duration) {
        if self.pauses.get(key).is_some_and(|pause| sent > pause.noted) {
            self.pauses.remove(key);
        }
    }

    /// The remembered refusal of a request.
    pub(super) fn refusal(&self, key: &Key, now: Duration) -> Option<InteractionRequired> {
        let remembered = self.refusals.get(key).filter(|refusal| refusal.until > now)?;
        Some(remembered.refusal.clone())
    }

    /// Notes that a request needs the user.
    pub(super) fn refused(
        &mut self,
        key: Key,
        account: Option<Key>,
        refusal: InteractionRequired,
        now: Duration,
    ) {
        let is_over = |refusal: &Remembered, now| refusal.until <= now;
        make_room(&mut self.refusals, now, is_over, |refusal| refusal.until);
        let until = now.saturating_add(REFUSAL);
        self.refusals.insert(
            key,
            Remembered {
                until,
                account,
                refusal,
            },
        );
    }

    /// Notes that the account's user signed in, consented or answered a challenge.
    pub(super) fn user_acted(&mut self, account: &Key) {
        self.refusals
            .retain(|_, refusal| refusal.account.as_ref() != Some(account));
    }
}

impl Pause {
    /// Whether so much time has passed that a new failure does not follow from the old one.
    fn is_forgotten(&self, now: Duration) -> bool {
        now >= self.until.saturating_add(Curve::USUAL.longest)
    }
}

/// Keeps a map below [`MOST`]: what is over goes first, then an eighth of what ends first, so that one insertion in
/// many pays for the search.
fn make_room<T>(
    map: &mut HashMap<Key, T>,
    now: Duration,
    is_over: impl Fn(&T, Duration) -> bool,
    ends: impl Fn(&T) -> Duration,
) {
    if map.len() < MOST {
        return;
    }
    map.retain(|_, entry| !is_over(entry, now));
    if map.len() < MOST {
        return;
    }
    let mut order: Vec<_> = map.iter().map(|(key, entry)| (ends(entry), *key)).collect();
    order.sort_unstable();
    for (_, key) in &order[..MOST / 8] {
        map.remove(key);
    }
}

#[cfg(test)]
mod tests;
