//! Clocks that jump: no expired token is handed out, nobody hangs, and no storm of refreshes breaks out.
//!
//! The limit: a clock that is set back *late* in a token's life, by about as much, makes the token look young. Nothing in the row can
//! tell, and the resource's refusal (then [`Freshness::Forced`](cache_core::cache::Freshness)) is what ends it.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, TokenCache};
use cache_core::random::OsRandom;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{RefreshPolicy, Strategy, TimeLimits};
use cache_core::time::{Clock, UnixMillis};
use cache_testkit::clock::ManualClock;
use support::*;

const HOUR: i64 = 3_600_000;
/// A token may be handed out this long after it expired, if the clock was set back just so far that nobody can tell.
const STATED_SKEW: Duration = Duration::from_secs(300);

fn parts() -> (ManualClock, Arc<dyn Store>) {
    let clock = ManualClock::new();
    let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
    (clock, Arc::new(store))
}

async fn acquire(
    cache: &TokenCache,
    issuer: &Arc<Issuer>,
) -> Result<cache_core::cache::Acquired, CacheError> {
    cache
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
}

/// Where clocks jump to: an hour and a day, either way, the epoch, and the end of the century.
fn jumps(from: UnixMillis) -> [UnixMillis; 8] {
    [-60_000, 60_000, -HOUR, HOUR, -24 * HOUR, 24 * HOUR]
        .map(|by| UnixMillis(from.0 + by))
        .into_iter()
        .chain([UnixMillis(0), UnixMillis(4_102_444_800_000)])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

#[tokio::test]
async fn no_expired_token_is_handed_out_and_each_jump_costs_one_refresh_at_most() {
    for there in jumps(ManualClock::START) {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let caches = [open(&store, &clock).await, open(&store, &clock).await];
        // How long each token really lives, whatever the clock on the wall says.
        let signed_in = caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        let mut born = vec![(signed_in.token().secret.to_secret(), clock.monotonic())];
        let away = there.0 - clock.now().0;
        for jump in [away, -away] {
            for minutes in [0, 1, 20, 40, 20] {
                clock.advance(Duration::from_secs(minutes * 60));
                if minutes == 0 {
                    clock.set(UnixMillis(clock.now().0 + jump));
                }
                let before = issuer.redeemed();
                for cache in caches.iter().cycle().take(6) {
                    let acquired = acquire(cache, &issuer)
                        .await
                        .unwrap_or_else(|e| panic!("{there:?}: {e:?}"));
                    let secret = acquired.token().secret.to_secret();
                    let known = born.iter().find(|known| known.0 == secret).map(|known| known.1);
                    let since = known.unwrap_or_else(|| {
                        born.push((secret, clock.monotonic()));
                        clock.monotonic()
                    });
                    let age = clock.monotonic() - since;
                    assert!(
                        age <= Duration::from_secs(3600) + STATED_SKEW,
                        "{there:?}: {age:?} old"
                    );
                }
                assert!(issuer.redeemed() <= before + 1, "{there:?}: a storm");
            }
        }
        assert!(!issuer.sent_twice());
    }
}

#[tokio::test]
async fn a_clock_that_jumps_during_a_refresh_makes_nobody_wait_longer() {
    for there in jumps(UnixMillis(ManualClock::START.0 + HOUR)) {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let caches = [open(&store, &clock).await, open(&store, &clock).await];
        caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        clock.advance(Duration::from_secs(3600));
        issuer.close_gate();
        let spawn = |cache: usize| {
            let (cache, issuer) = (caches[cache].clone(), Arc::clone(&issuer));
            tokio::spawn(async move { acquire(&cache, &issuer).await })
        };
        let owner = spawn(0);
        issuer.arrived(1).await;
        let waiter = spawn(1);
        settle().await;
        clock.set(there);
        let began = clock.monotonic();
        let _ticking = ticking(&clock);
        let waited = waiter.await.unwrap();
        let limits = TimeLimits::default();
        assert!(
            clock.monotonic() - began <= limits.acquire + limits.spend(),
            "{there:?}"
        );
        if let Err(error) = waited {
            let is_typed = error.is_outcome_unknown() || matches!(error, CacheError::TimedOut);
            assert!(is_typed, "{there:?}: {error:?}");
        }
        // The authority never answered: the owner's own limit ends it.
        // (By a clock that was set back by the whole lifetime, the old token is good again: then it is served.)
        match owner.await.unwrap() {
            Ok(acquired) => assert!(
                acquired.token().expires_on > clock.now().to_seconds(),
                "{there:?}"
            ),
            Err(error) => assert!(error.is_outcome_unknown(), "{there:?}: {error:?}"),
        }
        assert_eq!(issuer.redeemed(), 1, "{there:?}");
    }
}

#[tokio::test]
async fn an_authority_that_is_down_is_not_asked_again_by_every_caller_whose_token_is_due() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let strategy = Strategy::web_front_end().refresh(RefreshPolicy::Ahead { jitter: 0.0 });
    let cache = open_with(&store, &clock, strategy).await;
    let mut response = issuer.sign_in("a");
    response.refresh_on = Some(response.requested_at);
    cache.sign_in(&user(), response).await.unwrap();
    for _ in 0..200 {
        issuer.mishap(Mishap::NotSent);
    }
    for _ in 0..100 {
        acquire(&cache, &issuer).await.unwrap();
        settle().await;
        clock.advance(Duration::from_millis(500));
    }
    // After 5, 10 and 20 seconds of the 50.
    let asked = 200 - issuer.mishaps();
    assert!((3..=5).contains(&asked), "{asked} requests");
}
