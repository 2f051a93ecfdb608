//! Coalescing in one process, its absence, and tokens of the application itself.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::AcquireOptions;
use cache_core::strategy::{Coalescing, RefreshPolicy, Strategy};
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn process_coalescing_serialises_within_one_cache_without_markers() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let strategy = Strategy::desktop_tool().coalescing(Coalescing::Process);
    let cache = open_with(&store, &clock, strategy).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    let callers: Vec<_> = ["b", "c", "d", "b", "c", "d"]
        .into_iter()
        .map(|scopes| {
            let (cache, call) = (cache.clone(), issuer.call(scopes));
            tokio::spawn(async move {
                cache
                    .acquire(request(scopes), AcquireOptions::default(), call)
                    .await
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!((issuer.redeemed(), issuer.revoked_families()), (3, 0));
}

#[tokio::test]
async fn without_coalescing_a_strict_issuer_revokes_the_session() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let strategy = Strategy::desktop_tool().coalescing(Coalescing::None);
    let cache = open_with(&store, &clock, strategy).await;
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    clock.advance(HOUR);
    issuer.close_gate();
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (cache, call) = (cache.clone(), issuer.call("a"));
            tokio::spawn(async move { cache.acquire(request("a"), AcquireOptions::default(), call).await })
        })
        .collect();
    issuer.arrived(2).await;
    issuer.open_gate();
    for caller in callers {
        let _ = caller.await.unwrap();
    }
    assert_eq!(issuer.revoked_families(), 1, "what the marker protects from");
}

#[tokio::test]
async fn app_tokens_are_obtained_once_and_survive_a_failure() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    for strategy in [Strategy::background_worker(), Strategy::high_volume_daemon()] {
        let before = issuer.obtained();
        let cache = open_with(&store, &clock, strategy.refresh(RefreshPolicy::OnDemand)).await;
        let scopes = cache_core::schema::ScopeSet::parse(&format!("api{before}/.default"));
        let authority = cache_core::schema::AuthorityIdentity::of_issuer(ISSUER);
        let key = cache.app_partition(CLIENT, &authority, "", &scopes);
        let request = Arc::new(cache_core::schema::TokenRequest::new(
            key,
            cache_core::schema::AuthorityKind::Oidc,
            CLIENT,
            "issuer.example",
            "",
            scopes.clone(),
        ));
        let callers: Vec<_> = (0..10)
            .map(|_| {
                let (cache, request, call) =
                    (cache.clone(), Arc::clone(&request), issuer.call(scopes.as_str()));
                tokio::spawn(async move { cache.acquire_app(request, AcquireOptions::default(), call).await })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(issuer.obtained(), before + 1);
        clock.advance(HOUR - Duration::from_secs(60));
        issuer.mishap(Mishap::NotSent);
        let call = issuer.call(scopes.as_str());
        cache
            .acquire_app(Arc::clone(&request), AcquireOptions::default(), call)
            .await
            .unwrap();
        assert_eq!(cache.shutdown(Duration::from_secs(5)).await, 0);
    }
}
