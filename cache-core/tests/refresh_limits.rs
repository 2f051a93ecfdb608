//! What bounds a refresh when its surroundings misbehave: panics, stores that hang, limits that make no sense, a cache that closes.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, Acquired, CacheError, Freshness, TokenCache};
use cache_core::schema::{AuthorityIdentity, AuthorityKind, ScopeSet, TokenRequest};
use cache_core::seal::Namespace;
use cache_core::store::Store;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::strategy::{Coalescing, MemoryTier, SealPolicy, Strategy, TimeLimits};
use cache_core::time::Clock;
use cache_testkit::fault::Fault;
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

async fn acquire(cache: &TokenCache, issuer: &Arc<Issuer>, scopes: &str) -> Result<Acquired, CacheError> {
    let call = issuer.call(scopes);
    cache
        .acquire(request(scopes), AcquireOptions::default(), call)
        .await
}

#[tokio::test]
async fn a_leader_that_panics_is_reported_and_its_marker_ends_in_time() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.mishap(Mishap::Panic);
    let error = acquire(&cache, &issuer, "a").await.unwrap_err();
    assert!(matches!(error, CacheError::LeaderLost), "{error:?}");
    let (_ticking, began) = (ticking(&clock), clock.monotonic());
    let error = acquire(&cache, &issuer, "a").await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    assert!(clock.monotonic() - began <= Duration::from_secs(45));
    assert_eq!(cache.shutdown(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn a_store_that_never_answers_holds_nobody_for_ever() {
    for coalescing in [Coalescing::Fleet, Coalescing::Process, Coalescing::None] {
        let (clock, faults, store) = faulty();
        let issuer = Issuer::new(&clock);
        let strategy = Strategy::desktop_tool().coalescing(coalescing);
        let cache = open_with(&store, &clock, strategy).await;
        cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        clock.advance(HOUR);
        let (pause, held) = Fault::pause_before();
        faults.inject(pause.on(Operation::Put));
        let _ticking = ticking(&clock);
        let error = acquire(&cache, &issuer, "a").await.unwrap_err();
        assert!(matches!(error, CacheError::TimedOut), "{coalescing:?}: {error:?}");
        drop(held);
    }
}

#[tokio::test]
async fn a_store_that_is_slower_than_the_limit_for_a_commit_ends_in_a_typed_error() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    faults.inject(Fault::delay(Duration::from_secs(11)).on(Operation::Put));
    faults.reset_counts();
    let _ticking = ticking(&clock);
    let error = acquire(&cache, &issuer, "a").await.unwrap_err();
    assert!(matches!(error, CacheError::TimedOut), "{error:?}");
    assert_eq!(
        issuer.redeemed(),
        0,
        "nothing is sent whose reply could not be stored in time"
    );
    assert!(faults.count(Operation::Put) < 20);
    faults.heal();
    acquire(&cache, &issuer, "a").await.unwrap();
}

#[tokio::test]
async fn limits_that_cannot_work_are_refused() {
    let (_, _, store) = faulty();
    let limits = TimeLimits::default();
    for limits in [
        TimeLimits {
            request: Duration::ZERO,
            ..limits
        },
        TimeLimits {
            commit: Duration::ZERO,
            ..limits
        },
        TimeLimits {
            request: Duration::MAX,
            ..limits
        },
    ] {
        let cache = TokenCache::builder(Arc::clone(&store))
            .strategy(
                Strategy::desktop_tool()
                    .limits(limits)
                    .seal(SealPolicy::PlaintextAllowed),
            )
            .open_plaintext(Namespace::default());
        assert!(matches!(cache.unwrap_err(), CacheError::Strategy(_)));
    }
    // Encryption is only ever left out by a strategy that says so.
    let plain = |strategy: Strategy| {
        TokenCache::builder(Arc::clone(&store))
            .strategy(strategy)
            .open_plaintext(Namespace::default())
    };
    let error = plain(Strategy::high_volume_daemon()).unwrap_err();
    assert!(matches!(error, CacheError::Strategy(_)));
    plain(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed)).unwrap();
}

#[tokio::test]
async fn callers_that_wait_less_than_a_marker_holds_are_told_so() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let limits = TimeLimits {
        acquire: Duration::from_secs(2),
        ..TimeLimits::default()
    };
    let strategy = Strategy::desktop_tool().limits(limits);
    let (owner, waiter) = (
        open(&store, &clock).await,
        open_with(&store, &clock, strategy).await,
    );
    owner.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.close_gate();
    let refresh = {
        let (owner, issuer) = (owner.clone(), Arc::clone(&issuer));
        tokio::spawn(async move { acquire(&owner, &issuer, "a").await })
    };
    issuer.arrived(1).await;
    let waiting = {
        let (waiter, issuer) = (waiter.clone(), Arc::clone(&issuer));
        tokio::spawn(async move { acquire(&waiter, &issuer, "a").await })
    };
    settle().await;
    let began = clock.monotonic();
    while !waiting.is_finished() {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    assert!(clock.monotonic() - began <= Duration::from_secs(3));
    assert!(matches!(
        waiting.await.unwrap().unwrap_err(),
        CacheError::TimedOut
    ));
    issuer.open_gate();
    refresh.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cache_that_closes_finishes_what_it_began_and_begins_nothing() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.close_gate();
    let spawn = |scopes: &'static str| {
        let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
        tokio::spawn(async move { acquire(&cache, &issuer, scopes).await })
    };
    let (owner, waiter) = (spawn("a"), spawn("b"));
    issuer.arrived(1).await;
    settle().await;
    let closing = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.shutdown(Duration::from_secs(60)).await })
    };
    settle().await;
    let refused = acquire(&cache, &issuer, "c").await.unwrap_err();
    assert!(matches!(refused, CacheError::ShuttingDown));
    issuer.open_gate();
    let _ticking = ticking(&clock);
    owner.await.unwrap().unwrap();
    waiter.await.unwrap().unwrap();
    assert_eq!(closing.await.unwrap(), 0);
    assert_eq!(issuer.redeemed(), 2);
    acquire(&cache, &issuer, "a").await.unwrap();
}

#[tokio::test]
async fn a_reply_for_somebody_else_is_given_to_nobody() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    issuer.mishap(Mishap::OtherAccount);
    let error = acquire(&cache, &issuer, "b").await.unwrap_err();
    assert!(matches!(error, CacheError::WrongAccount), "{error:?}");
    assert_eq!(cache.accounts().await.unwrap().accounts.len(), 1);
    let error = acquire(&cache, &issuer, "b").await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
}

#[tokio::test]
async fn requests_that_differ_in_case_never_share_an_answer_where_case_matters() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    let spawn = |scopes: &'static str| {
        let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
        tokio::spawn(async move { acquire(&cache, &issuer, scopes).await })
    };
    let (upper, lower) = (spawn("api:Write"), spawn("api:write"));
    for (caller, scopes) in [(upper, "api:Write"), (lower, "api:write")] {
        assert_eq!(caller.await.unwrap().unwrap().token().target.as_str(), scopes);
    }
}

#[tokio::test]
async fn a_rejected_token_that_was_replaced_long_ago_costs_no_refresh() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    let first = cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    let forced = |token: &Acquired| AcquireOptions {
        freshness: Freshness::Forced {
            rejected: Some(token.token().secret.sha256()),
        },
        ..AcquireOptions::default()
    };
    clock.advance(Duration::from_secs(60));
    let second = cache
        .acquire(request("a"), forced(&first), issuer.call("a"))
        .await
        .unwrap();
    clock.advance(Duration::from_secs(60));
    let late = cache
        .acquire(request("a"), forced(&first), issuer.call("a"))
        .await
        .unwrap();
    assert_eq!(late.token().secret, second.token().secret);
    assert_eq!(issuer.redeemed(), 1);
    let third = cache
        .acquire(request("a"), forced(&second), issuer.call("a"))
        .await
        .unwrap();
    assert_ne!(third.token().secret, second.token().secret);
    assert_eq!(issuer.redeemed(), 2);
}

#[tokio::test]
async fn writes_behind_that_fail_cost_a_request_and_nothing_else() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let strategy = Strategy::high_volume_daemon().memory_tier(MemoryTier::off());
    let cache = open_with(&store, &clock, strategy).await;
    let authority = AuthorityIdentity::of_issuer(ISSUER);
    let request_for = |scopes: &str| {
        let scopes = ScopeSet::parse(scopes);
        let key = cache.app_partition(CLIENT, &authority, "", &scopes);
        Arc::new(TokenRequest::new(
            key,
            AuthorityKind::Oidc,
            CLIENT,
            "issuer.example",
            "",
            scopes,
        ))
    };
    let (one, two) = (request_for("one"), request_for("two"));
    assert_ne!(
        one.partition(),
        two.partition(),
        "each resource has its partition"
    );
    faults.inject(Fault::fail(ErrorKind::Full).on(Operation::Put).once());
    for expected in [1, 2, 2] {
        let call = issuer.call("one");
        cache
            .acquire_app(Arc::clone(&one), AcquireOptions::default(), call)
            .await
            .unwrap();
        settle().await;
        assert_eq!(issuer.obtained(), expected);
    }
    let call = issuer.call("two");
    let acquired = cache
        .acquire_app(two, AcquireOptions::default(), call)
        .await
        .unwrap();
    assert_eq!(acquired.token().target.as_str(), "two");
    assert_eq!(cache.shutdown(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn a_machine_whose_clock_is_years_behind_does_not_end_a_session() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open_with(&store, &clock, Strategy::web_front_end()).await;
    let start = clock.now();
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.set(cache_core::time::UnixMillis(0));
    acquire(&cache, &issuer, "a").await.unwrap();
    clock.set(start);
    acquire(&cache, &issuer, "a").await.unwrap();
    // And one that nobody uses is forgotten.
    clock.advance(Duration::from_secs(31 * 86_400));
    let error = acquire(&cache, &issuer, "a").await.unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
    assert!(store.get(&cache.stored_key(&user())).await.unwrap().is_none());
}
