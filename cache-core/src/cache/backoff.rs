//! Pauses after refreshes ahead of time that failed: while an authority is down, a token that serves must not be asked for anew
//! by every caller that is handed the old one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::schema::RequestHash;

const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// From how many requests on those whose pause is over are forgotten.
const MANY: usize = 1024;

/// Until when requests are not tried ahead again, on the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failed: Mutex<HashMap<RequestHash, Pause>>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Duration,
    length: Duration,
}

impl Backoff {
    /// Whether `request` may be tried.
    pub(crate) fn allows(&self, request: &RequestHash, now: Duration) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(request).is_none_or(|pause| pause.until <= now)
    }

    /// Notes how `request` ended: each failure in a row doubles the pause, from 5 to 300 seconds.
    pub(crate) fn note(&self, request: &RequestHash, succeeded: bool, now: Duration) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failed.remove(request);
        if succeeded {
            return;
        }
        if failed.len() >= MANY {
            failed.retain(|_, pause| pause.until > now);
        }
        let length = before.map_or(SHORTEST, |pause| (pause.length * 2).min(LONGEST));
        let until = now.saturating_add(length);
        failed.insert(*request, Pause { until, length });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_a_success_ends_them() {
        let (backoff, request) = (Backoff::default(), [1; 16]);
        let mut now = Duration::ZERO;
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert!(backoff.allows(&request, now));
            backoff.note(&request, false, now);
            let pause = Duration::from_secs(seconds);
            assert!(!backoff.allows(&request, now + pause - Duration::from_millis(1)));
            now += pause;
        }
        backoff.note(&request, true, now);
        backoff.note(&request, false, now);
        assert!(backoff.allows(&request, now + SHORTEST));
        assert!(backoff.allows(&[2; 16], now), "each request has its own");
    }
}
