//! What an authority that cannot be found costs: no marker and no token, and nobody's time beyond the limit.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, AuthorityCall, CacheError, CallError, CallOutcome, Redemption, TokenCache,
};
use cache_core::secret::Secret;
use cache_core::store::error::Operation;
use cache_core::strategy::{Strategy, TimeLimits};
use cache_core::time::Clock;
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// How the search for the authority's endpoints goes.
#[derive(Clone, Copy)]
enum Search {
    Fails,
    NeverEnds,
}

/// A call to an authority that is not found.
struct Lost {
    search: Search,
    call: Arc<Call>,
    limits: Mutex<Vec<Duration>>,
}

impl Lost {
    fn new(search: Search, issuer: &Arc<Issuer>) -> Arc<Self> {
        Arc::new(Self {
            search,
            call: issuer.call("a"),
            limits: Mutex::default(),
        })
    }
}

#[async_trait]
impl AuthorityCall for Lost {
    async fn prepare(&self, time_limit: Duration) -> Result<(), CallError> {
        self.limits.lock().unwrap().push(time_limit);
        match self.search {
            Search::Fails => Err(CallError::new("no such host")),
            Search::NeverEnds => pending().await,
        }
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        self.call.redeem(redemption).await
    }

    async fn discard(&self, refresh_token: Secret, time_limit: Duration) {
        self.call.discard(refresh_token, time_limit).await;
    }
}

async fn acquire(cache: &TokenCache, call: Arc<dyn AuthorityCall>) -> Result<(), CacheError> {
    let options = AcquireOptions::default();
    cache.acquire(request("a"), options, call).await.map(drop)
}

#[tokio::test]
async fn a_search_that_fails_or_never_ends_leaves_no_marker_and_sends_nothing() {
    let limits = TimeLimits::default();
    for (search, words) in [
        (Search::Fails, "no such host"),
        (Search::NeverEnds, "not found in time"),
    ] {
        let (clock, faults, store) = faulty();
        let issuer = Issuer::new(&clock);
        let cache = open(&store, &clock).await;
        cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        clock.advance(HOUR);
        faults.reset_counts();
        let began = clock.monotonic();
        let lost = Lost::new(search, &issuer);
        let error = {
            let _ticking = ticking(&clock);
            acquire(&cache, lost.clone()).await.unwrap_err()
        };
        let CacheError::Unreachable(cause) = error else {
            panic!("{error:?}");
        };
        assert!(cause.to_string().contains(words), "{cause}");
        assert_eq!(*lost.limits.lock().unwrap(), [limits.request]);
        let waited = clock.monotonic().saturating_sub(began);
        assert!(waited <= limits.request + Duration::from_millis(20), "{waited:?}");
        assert_eq!((faults.count(Operation::Put), issuer.redeemed()), (0, 0));

        // Nobody has to wait for a marker to end.
        acquire(&cache, issuer.call("a")).await.unwrap();
        assert_eq!(issuer.redeemed(), 1);
    }
}

#[tokio::test]
async fn the_search_has_no_longer_than_the_caller() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let hurried = TimeLimits {
        acquire: TimeLimits::default().request / 2,
        ..TimeLimits::default()
    };
    let cache = open_with(&store, &clock, Strategy::desktop_tool().limits(hurried)).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    let lost = Lost::new(Search::Fails, &issuer);
    acquire(&cache, lost.clone()).await.unwrap_err();
    assert_eq!(*lost.limits.lock().unwrap(), [hurried.acquire]);
}
