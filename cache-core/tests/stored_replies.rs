//! What becomes of a reply between the authority and the store.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, Acquired, AuthorityCall, AuthorityRefusal, CacheError, CallError, CallOutcome,
    Redemption, RefusedBecause, SignOutScope, TokenCache,
};
use cache_core::secret::Secret;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::strategy::{Coalescing, Strategy, TimeLimits};
use cache_core::time::Clock;
use cache_testkit::fault::Fault;
use support::*;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3600);

/// A refresh whose request was executed and is answered when the gate opens.
async fn refreshing(cache: &TokenCache, issuer: &Arc<Issuer>) -> JoinHandle<Result<Acquired, CacheError>> {
    issuer.close_gate();
    let (cache, call) = (cache.clone(), issuer.call("a"));
    let refresh = tokio::spawn(async move {
        let options = AcquireOptions::default();
        cache.acquire(request("a"), options, call).await
    });
    issuer.arrived(1).await;
    refresh
}

#[tokio::test]
async fn a_token_that_was_refreshed_for_a_client_that_was_signed_out_meanwhile_is_let_go() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    for client in [CLIENT, "other"] {
        let granted = issuer.sign_in_as(client, "a");
        caches[0].sign_in(&user(), granted).await.unwrap();
    }
    clock.advance(HOUR);
    let refresh = refreshing(&caches[0], &issuer).await;
    // The account stays, as another client has it.
    let scope = SignOutScope::Client;
    caches[1].sign_out(&user(), CLIENT, scope).await.unwrap();
    issuer.open_gate();
    let error = refresh.await.unwrap().unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
    settle().await;
    assert_eq!(issuer.discarded().len(), 1);
}

#[tokio::test]
async fn a_reply_is_given_up_when_its_time_is_over_also_by_a_store_that_says_nothing() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    let began = clock.monotonic();
    let refresh = refreshing(&cache, &issuer).await;
    faults.inject(
        Fault::fail(ErrorKind::Unavailable)
            .on(Operation::Get)
            .at_key(is_user),
    );
    issuer.open_gate();
    let _ticking = ticking(&clock);
    let limits = TimeLimits::default();
    while !refresh.is_finished() {
        settle().await;
        let waited = clock.monotonic().saturating_sub(began);
        assert!(waited < 2 * (limits.request + limits.commit), "{waited:?}");
    }
    let error = refresh.await.unwrap().unwrap_err();
    assert!(matches!(error, CacheError::NotPersisted(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_says_how_long_the_authority_and_the_store_took() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    let refresh = refreshing(&cache, &issuer).await;
    let (pause, held) = Fault::pause_before();
    faults.inject(pause.on(Operation::Put).at_key(is_user).once());
    let (in_authority, in_store) = (Duration::from_secs(7), Duration::from_secs(2));
    clock.advance(in_authority);
    issuer.open_gate();
    held.reached().await;
    clock.advance(in_store);
    held.release();
    let acquired = refresh.await.unwrap().unwrap();
    assert_eq!(acquired.time_in_authority(), in_authority);
    assert_eq!(acquired.time_in_store(), in_store);
}

/// An authority that refuses, while the user signs in elsewhere.
struct Overtaken {
    elsewhere: TokenCache,
    issuer: Arc<Issuer>,
    about: RefusedBecause,
}

#[async_trait]
impl AuthorityCall for Overtaken {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, _redemption: Redemption) -> CallOutcome {
        let granted = self.issuer.sign_in("a");
        self.elsewhere.sign_in(&user(), granted).await.unwrap();
        CallOutcome::Refused(AuthorityRefusal {
            error: "interaction_required".to_owned(),
            suberror: None,
            claims: None,
            description: None,
            correlation_id: None,
            about: self.about,
        })
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}

#[tokio::test]
async fn a_refusal_that_a_sign_in_has_overtaken_asks_nobody_to_sign_in() {
    for about in [RefusedBecause::Interaction, RefusedBecause::Token] {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let (cache, elsewhere) = (open(&store, &clock).await, open(&store, &clock).await);
        cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        clock.advance(HOUR);
        let call = Arc::new(Overtaken {
            elsewhere,
            issuer: Arc::clone(&issuer),
            about,
        });
        cache
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap();
        assert_eq!(issuer.redeemed(), 0, "{about:?}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_noted_at_its_own_token_also_where_no_marker_went_before() {
    for coalescing in [Coalescing::None, Coalescing::Process] {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let strategy = || Strategy::desktop_tool().coalescing(coalescing);
        let cache = open_with(&store, &clock, strategy()).await;
        for client in [CLIENT, "other"] {
            let granted = issuer.sign_in_as(client, "a");
            cache.sign_in(&user(), granted).await.unwrap();
        }
        clock.advance(HOUR);
        issuer.mishap(Mishap::LostReply);
        let acquire = async |cache: &TokenCache, client: &str| {
            let (request, call) = (request_of(client, "a"), issuer.call_as(client, "a"));
            cache.acquire(request, AcquireOptions::default(), call).await
        };
        acquire(&cache, CLIENT).await.unwrap_err();
        assert_eq!(issuer.redeemed(), 1);
        // Another process, which finds it in the store.
        let another = open_with(&store, &clock, strategy()).await;
        let error = acquire(&another, CLIENT).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{coalescing:?}: {error:?}");
        assert_eq!(issuer.redeemed(), 1);
        acquire(&another, "other").await.unwrap();
        assert_eq!((issuer.redeemed(), issuer.revoked_families()), (2, 0));
    }
}
