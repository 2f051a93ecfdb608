//! The simulated authority: one for all processes of a run, in the process that started them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};

use super::file::Authority;
use super::measured::AuthorityCounts;

/// Answers after a while, counts, and knows which refresh token of a user is the latest.
pub(super) struct Issuer {
    latency: Duration,
    rotates: bool,
    asked: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_counting: bool,
    counts: AuthorityCounts,
    /// The serial number of each user's latest refresh token, 0 where there is none; `None` after a second use.
    latest: HashMap<u32, Option<u64>>,
}

/// What is answered to a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redeemed {
    /// Tokens; the refresh token among them has this serial number.
    Granted(u64),
    /// `invalid_grant`.
    Refused,
}

impl Issuer {
    pub(super) fn new(authority: &Authority) -> Self {
        Self {
            latency: Duration::from_secs_f64(authority.latency_milliseconds / 1000.0),
            rotates: authority.rotates,
            asked: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Counts from now on, or no longer.
    pub(super) fn count(&self, is_counting: bool) {
        self.state().is_counting = is_counting;
    }

    pub(super) fn counts(&self) -> AuthorityCounts {
        self.state().counts
    }

    /// Redeems a user's refresh token.
    pub(super) async fn redeem(&self, user: u32, serial: u64) -> Redeemed {
        let answer = self.judge(user, serial);
        self.take_its_time().await;
        answer
    }

    /// Grants the application a token of its own.
    pub(super) async fn obtain(&self) {
        {
            let mut state = self.state();
            state.counts.obtained += u64::from(state.is_counting);
        }
        self.take_its_time().await;
    }

    fn judge(&self, user: u32, serial: u64) -> Redeemed {
        let mut state = self.state();
        state.counts.redeemed += u64::from(state.is_counting);
        if !self.rotates {
            return Redeemed::Granted(serial);
        }
        let is_counting = state.is_counting;
        let latest = state.latest.entry(user).or_insert(Some(0));
        if *latest == Some(serial) {
            *latest = Some(serial + 1);
            return Redeemed::Granted(serial + 1);
        }
        let was_signed_in = latest.take().is_some();
        state.counts.signed_out += u64::from(was_signed_in && is_counting);
        Redeemed::Refused
    }

    /// Between three and five quarters of the latency, the same for the same request of each run.
    async fn take_its_time(&self) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        let part = f64::from(u16::try_from(mixed).unwrap_or(512)) / 1024.0;
        if !self.latency.is_zero() {
            SystemClock.sleep(self.latency.mul_f64(0.75 + 0.5 * part)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(rotates: bool) -> Issuer {
        let issuer = Issuer::new(&Authority {
            latency_milliseconds: 0.0,
            rotates,
        });
        issuer.count(true);
        issuer
    }

    #[tokio::test]
    async fn a_refresh_token_that_comes_twice_signs_its_user_out() {
        let issuer = issuer(true);
        assert_eq!(issuer.redeem(4, 0).await, Redeemed::Granted(1));
        assert_eq!(issuer.redeem(4, 0).await, Redeemed::Refused);
        assert_eq!(issuer.redeem(4, 1).await, Redeemed::Refused);
        assert_eq!(issuer.redeem(5, 0).await, Redeemed::Granted(1));
        let counts = issuer.counts();
        assert_eq!((counts.redeemed, counts.signed_out), (4, 1));
    }

    #[tokio::test]
    async fn where_they_do_not_rotate_they_serve_again_and_again() {
        let issuer = issuer(false);
        assert_eq!(issuer.redeem(4, 0).await, Redeemed::Granted(0));
        assert_eq!(issuer.redeem(4, 0).await, Redeemed::Granted(0));
        issuer.count(false);
        issuer.obtain().await;
        assert_eq!(issuer.counts().requests(), 2);
    }
}
