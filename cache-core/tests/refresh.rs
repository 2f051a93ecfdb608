//! Refresh coordination: one refresh for everybody, whatever goes wrong.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{
    AcquireOptions, CacheError, Freshness, InteractionReason, RefreshReason, TokenSource,
};
use cache_core::store::Store;
use cache_core::strategy::{RefreshPolicy, Strategy};
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_cached_token_is_served_from_memory_and_from_the_store_without_a_request() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    let signed_in = cache.sign_in(&user(), issuer.sign_in("a b")).await.unwrap();
    let hit = cache
        .acquire(request("A b"), AcquireOptions::default(), issuer.call("a b"))
        .await;
    assert!(
        hit.is_err() || hit.unwrap().token().secret != signed_in.token().secret,
        "case matters for this issuer"
    );
    let hit = cache
        .acquire(request("b"), AcquireOptions::default(), issuer.call("b"))
        .await
        .unwrap();
    assert_eq!(hit.source(), TokenSource::Memory);
    let other = open(&store, &clock).await;
    let hit = other
        .acquire(request("b"), AcquireOptions::default(), issuer.call("b"))
        .await
        .unwrap();
    assert_eq!(hit.source(), TokenSource::Store);
}

#[tokio::test]
async fn twenty_callers_in_two_caches_spend_the_token_once() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    let callers: Vec<_> = (0..20)
        .map(|caller| {
            let (cache, call) = (caches[caller % 2].clone(), issuer.call("a"));
            tokio::spawn(async move { cache.acquire(request("a"), AcquireOptions::default(), call).await })
        })
        .collect();
    let mut tokens = Vec::new();
    for caller in callers {
        tokens.push(caller.await.unwrap().unwrap().token().secret.to_secret());
    }
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(issuer.redeemed(), 1);
    assert_eq!(issuer.revoked_families(), 0);
}

#[tokio::test]
async fn different_scopes_at_the_same_moment_never_spend_one_token_twice() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    let acquire = |cache: usize, scopes: &'static str| {
        let (cache, call) = (caches[cache].clone(), issuer.call(scopes));
        tokio::spawn(async move {
            cache
                .acquire(request(scopes), AcquireOptions::default(), call)
                .await
        })
    };
    let callers = [acquire(0, "b"), acquire(1, "c"), acquire(0, "d"), acquire(1, "e")];
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(issuer.redeemed(), 4);
    assert_eq!(issuer.revoked_families(), 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_refresh() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.close_gate();
    let caller = {
        let (cache, call) = (cache.clone(), issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request("a"), AcquireOptions::default(), call).await })
    };
    issuer.arrived(1).await;
    caller.abort();
    issuer.open_gate();
    assert_eq!(cache.shutdown(Duration::from_secs(60)).await, 0);
    let other = open(&store, &clock).await;
    let hit = other
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap();
    assert_eq!(hit.source(), TokenSource::Store);
    assert_eq!(issuer.redeemed(), 1);
}

#[tokio::test]
async fn a_failed_refresh_keeps_a_token_that_is_still_valid() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    // Within the margin of 300 seconds: not fresh, not expired.
    clock.advance(HOUR - Duration::from_secs(60));
    for mishap in [Mishap::NotSent, Mishap::Throttled, Mishap::LostReply] {
        issuer.mishap(mishap);
        let kept = cache
            .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
            .await
            .unwrap();
        assert_ne!(kept.source(), TokenSource::Authority, "{mishap:?}");
    }
    clock.advance(Duration::from_secs(60));
    let error = cache
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
}

#[tokio::test]
async fn a_lost_reply_is_never_sent_again_to_an_issuer_that_rotates() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.mishap(Mishap::LostReply);
    let error = caches[0]
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::OutcomeUnknown(_)), "{error:?}");
    for _ in 0..2 {
        for cache in &caches {
            let error = cache
                .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
                .await
                .unwrap_err();
            assert!(
                error.is_outcome_unknown() && error.is_interaction_required(),
                "{error:?}"
            );
        }
        clock.advance(HOUR);
    }
    assert_eq!((issuer.redeemed(), issuer.revoked_families()), (1, 0));
    // A new sign-in ends it.
    caches[1].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    caches[0]
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lost_reply_is_sent_once_more_after_the_deadline_where_reuse_is_safe() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.mishap(Mishap::LostReply);
    caches[0]
        .acquire(request("a"), retry_once(), issuer.call("a"))
        .await
        .unwrap_err();
    let second = {
        let (cache, call) = (caches[1].clone(), issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request("a"), retry_once(), call).await })
    };
    clock.wait_for_sleepers(1).await;
    assert_eq!(issuer.redeemed(), 1, "nothing is sent before the deadline");
    issuer.mishap(Mishap::LostReply);
    while !second.is_finished() {
        clock.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    assert!(matches!(
        second.await.unwrap().unwrap_err(),
        CacheError::OutcomeUnknown(_)
    ));
    assert_eq!(issuer.redeemed(), 2);
    clock.advance(HOUR);
    let error = caches[0]
        .acquire(request("a"), retry_once(), issuer.call("a"))
        .await
        .unwrap_err();
    assert!(error.is_interaction_required());
    assert_eq!(issuer.redeemed(), 2, "never a third time");
}

#[tokio::test]
async fn a_request_that_was_never_sent_leaves_the_token_usable() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    for mishap in [Mishap::NotSent, Mishap::Throttled] {
        issuer.mishap(mishap);
        cache
            .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
            .await
            .unwrap_err();
    }
    let acquired = cache
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap();
    assert_eq!(acquired.refresh_reason(), Some(RefreshReason::Expired));
    assert_eq!(issuer.redeemed(), 1);
}

#[tokio::test]
async fn a_refusal_that_needs_the_user_is_remembered_by_all_for_that_request_only() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    issuer.mishap(Mishap::Interaction);
    for cache in &caches {
        let error = cache
            .acquire(request("b"), AcquireOptions::default(), issuer.call("b"))
            .await
            .unwrap_err();
        let CacheError::InteractionRequired(required) = error else {
            panic!("{error:?}")
        };
        assert!(matches!(required.reason, InteractionReason::Refused(_)));
    }
    assert_eq!(issuer.redeemed(), 0);
    caches[1]
        .acquire(request("c"), AcquireOptions::default(), issuer.call("c"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_owner_that_wakes_past_its_deadline_overwrites_nothing() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let (sleeper, other) = (open(&store, &clock).await, open(&store, &clock).await);
    sleeper.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.close_gate();
    let stopped = {
        let (cache, call) = (sleeper.clone(), issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request("a"), AcquireOptions::default(), call).await })
    };
    issuer.arrived(1).await;
    // The user signs in anew meanwhile: the row that is being spent is gone.
    let signed_in = other.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    issuer.open_gate();
    let woken = stopped.await.unwrap().unwrap();
    assert_eq!(
        woken.token().secret,
        signed_in.token().secret,
        "it adopts what is there"
    );
    clock.advance(HOUR);
    other
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap();
    assert_eq!(issuer.revoked_families(), 0);
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline_of_a_marker_whose_owner_died() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.close_gate();
    // A process that dies: its runtime ends while its request is under way.
    let (store_, clock_, issuer_) = (Arc::clone(&store), clock.clone(), Arc::clone(&issuer));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cache = open(&store_, &clock_).await;
            let call = issuer_.call("a");
            let _request =
                tokio::spawn(
                    async move { cache.acquire(request("a"), AcquireOptions::default(), call).await },
                );
            issuer_.arrived(1).await;
        });
    })
    .join()
    .unwrap();
    let waiting = {
        let (cache, call) = (cache.clone(), issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request("a"), AcquireOptions::default(), call).await })
    };
    clock.wait_for_sleepers(1).await;
    let before = cache_core::time::Clock::now(&clock);
    while !waiting.is_finished() {
        clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
    let waited = cache_core::time::Clock::now(&clock).duration_since(before);
    assert!(waited <= Duration::from_secs(45), "{waited:?}");
    assert!(waiting.await.unwrap().unwrap_err().is_outcome_unknown());
    assert_eq!((issuer.redeemed(), issuer.revoked_families()), (1, 0));
}

#[tokio::test]
async fn a_sign_out_during_a_refresh_is_not_undone() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let (refreshing, other) = (open(&store, &clock).await, open(&store, &clock).await);
    refreshing.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.close_gate();
    let refresh = {
        let (cache, call) = (refreshing.clone(), issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request("a"), AcquireOptions::default(), call).await })
    };
    issuer.arrived(1).await;
    assert!(
        other
            .sign_out(&user(), CLIENT, cache_core::cache::SignOutScope::Client)
            .await
            .unwrap()
    );
    issuer.open_gate();
    let error = refresh.await.unwrap().unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
    assert!(other.accounts().await.unwrap().accounts.is_empty());
    assert!(store.get(&other.stored_key(&user())).await.unwrap().is_none());
}

#[tokio::test]
async fn a_sign_out_is_seen_by_another_cache_that_holds_the_account_in_memory() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    caches[1]
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap();
    caches[0].forget_account(&user()).await.unwrap();
    tokio::task::yield_now().await;
    let error = caches[1]
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap_err();
    assert!(error.is_interaction_required());
    assert_eq!(issuer.redeemed(), 0);
}

#[tokio::test]
async fn refresh_ahead_serves_the_old_token_and_fetches_the_new_one_once() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let strategy = Strategy::web_front_end().refresh(RefreshPolicy::Ahead { jitter: 0.0 });
    let caches = [
        open_with(&store, &clock, strategy.clone()).await,
        open_with(&store, &clock, strategy).await,
    ];
    let mut response = issuer.sign_in("a");
    response.refresh_on = Some(response.requested_at.saturating_add(HOUR / 2));
    let first = caches[0].sign_in(&user(), response).await.unwrap();
    clock.advance(HOUR / 2);
    for cache in &caches {
        for _ in 0..5 {
            let served = cache
                .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
                .await
                .unwrap();
            assert_eq!(served.token().secret, first.token().secret);
        }
    }
    for cache in &caches {
        assert_eq!(cache.shutdown(Duration::from_secs(60)).await, 0);
    }
    assert_eq!(issuer.redeemed(), 1);
    let next = caches[0]
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap();
    assert_ne!(next.token().secret, first.token().secret);
}

#[tokio::test]
async fn a_forced_refresh_replaces_the_rejected_token_once_for_all_who_saw_it_rejected() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    let first = caches[0].sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    let rejected = Some(first.token().secret.sha256());
    let options = AcquireOptions {
        freshness: Freshness::Forced { rejected },
        ..AcquireOptions::default()
    };
    clock.advance(Duration::from_secs(10));
    for cache in &caches {
        let fresh = cache
            .acquire(request("a"), options, issuer.call("a"))
            .await
            .unwrap();
        assert_ne!(fresh.token().secret, first.token().secret);
    }
    assert_eq!(issuer.redeemed(), 1);
}

#[tokio::test]
async fn a_request_with_claims_says_so_and_the_id_tokens_of_a_client_can_be_read() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    let mut signed_in = issuer.sign_in("a");
    signed_in.id_token = Some(cache_core::secret::Secret::new("id-token"));
    cache.sign_in(&user(), signed_in).await.unwrap();
    let options = AcquireOptions {
        freshness: Freshness::Claims,
        ..AcquireOptions::default()
    };
    let asked = (*request("a")).clone().claims(Some("{}".into()));
    let obtained = cache
        .acquire(Arc::new(asked), options, issuer.call("a"))
        .await
        .unwrap();
    assert_eq!(obtained.refresh_reason(), Some(RefreshReason::Claims));
    let own = cache.id_tokens(&user(), CLIENT).await.unwrap();
    assert_eq!(own.len(), 1);
    assert!(cache.id_tokens(&user(), "another").await.unwrap().is_empty());
}
