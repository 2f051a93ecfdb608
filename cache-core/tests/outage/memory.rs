//! Failing, and serving from memory.

use std::sync::Arc;

use cache_core::cache::{AcquireOptions, SignOutScope, TokenSource};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::seal::{Namespace, RecordKind};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::strategy::Strategy;
use cache_testkit::fault::Fault;

use crate::recorded::Recorded;
use crate::scene::*;
use crate::support::*;

fn nobody() -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: "nobody".into(),
    }
}

const SERVED: &str = "tokenkeep_served_during_outage_total from=memory";

#[test]
fn fail_answers_every_lookup_that_needs_the_store_with_its_error() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let cache = scene.cache(Strategy::desktop_tool()).await;
        scene.sign_in(&cache).await;
        scene.down();
        assert!(
            !scene.token(&cache).await.unwrap().served_during_outage(),
            "memory is still trusted"
        );
        scene.clock.advance(STALE);
        assert_unavailable(scene.token(&cache).await);
        let cache_only = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        assert_unavailable(scene.token_for(&cache, cache_only).await);
        assert_unavailable(scene.app_token(&cache, "api").await);
        assert_eq!((scene.issuer.obtained(), scene.issuer.redeemed()), (0, 0));
        assert_eq!(recorded.value(SERVED).to_bits(), 0.0_f64.to_bits());
    });
}

#[test]
fn memory_serves_past_its_staleness_within_the_bound_and_says_so() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let cache = scene.cache(from_memory(5 * MINUTE)).await;
        let signed_in = scene.sign_in(&cache).await;
        scene.clock.advance(STALE);
        scene.down();
        for _ in 0..3 {
            let served = scene.token(&cache).await.unwrap();
            assert!(served.served_during_outage());
            assert_eq!(served.source(), TokenSource::Memory);
            assert!(served.token().secret == signed_in.token().secret);
        }
        assert_eq!(recorded.value(SERVED) as u64, 3);
        assert_eq!(recorded.value("tokenkeep_store_outage") as u64, 1);
        let said = "the store cannot be reached; serving without it";
        assert_eq!(
            recorded.logged(said),
            1,
            "once for the outage and not for each lookup"
        );

        scene.clock.advance(5 * MINUTE - SECOND);
        assert!(scene.token(&cache).await.is_ok());
        scene.clock.advance(SECOND);
        assert_unavailable(scene.token(&cache).await);

        scene.up();
        let served = scene.token(&cache).await.unwrap();
        assert!(!served.served_during_outage());
        assert_eq!(served.source(), TokenSource::Store);
        assert_eq!(recorded.value("tokenkeep_store_outage") as u64, 0);
        assert_eq!(recorded.logged("the store can be reached again"), 1);
    });
}

#[tokio::test]
async fn nothing_serves_past_its_expiry_and_nobody_refreshes() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(2 * HOUR)).await;
    scene.sign_in(&cache).await;
    scene.down();
    // Past the margin: a refresh would be due, and cannot be had.
    scene.clock.advance(HOUR - SECOND);
    assert!(scene.token(&cache).await.unwrap().served_during_outage());
    scene.clock.advance(SECOND);
    assert_unavailable(scene.token(&cache).await);
    assert_eq!(scene.issuer.redeemed(), 0);
    scene.up();
    let refreshed = scene.token(&cache).await.unwrap();
    assert_eq!(refreshed.source(), TokenSource::Authority);
    assert_eq!((scene.issuer.redeemed(), scene.issuer.revoked_families()), (1, 0));
}

#[tokio::test]
async fn only_what_cannot_be_reached_is_an_outage() {
    use ErrorKind::{
        Closed, Corrupt, Full, NewerSchema, Other, PermissionDenied, ReadOnly, Timeout, Unavailable,
    };
    let scene = Scene::new();
    let strategy = from_memory(HOUR).circuit_breaker(None);
    let cache = scene.cache(strategy).await;
    scene.sign_in(&cache).await;
    scene.clock.advance(STALE);
    for kind in [
        Closed,
        Corrupt,
        Full,
        NewerSchema,
        Other,
        PermissionDenied,
        ReadOnly,
    ] {
        scene.faults.inject(Fault::fail(kind));
        let error = scene.token(&cache).await.unwrap_err();
        assert!(
            error.is_storage() && !error.is_store_unavailable(),
            "{kind}: {error:?}"
        );
        scene.faults.heal();
    }
    for kind in [Timeout, Unavailable] {
        scene.faults.inject(Fault::fail(kind));
        assert!(
            scene.token(&cache).await.unwrap().served_during_outage(),
            "{kind}"
        );
        scene.faults.heal();
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_an_outage_as_well() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(HOUR)).await;
    scene.sign_in(&cache).await;
    scene.clock.advance(STALE);
    let (pause, _held) = Fault::pause_before();
    scene.faults.inject(pause);
    let _ticking = ticking(&scene.clock);
    assert!(scene.token(&cache).await.unwrap().served_during_outage());
}

#[tokio::test]
async fn what_is_known_to_have_changed_is_not_served() {
    let scene = Scene::new();
    let (cache, other) = (scene.cache(from_memory(HOUR)).await, scene.elsewhere().await);
    scene.sign_in(&cache).await;
    scene.down();
    assert!(scene.token(&cache).await.is_ok());
    other
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    settle().await;
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    assert!(scene.token(&cache).await.unwrap_err().is_interaction_required());
}

#[tokio::test]
async fn a_gap_in_the_reports_does_not_empty_memory_before_an_outage() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(HOUR)).await;
    scene.sign_in(&cache).await;
    for index in 0..300 {
        // More than a watcher may lag behind.
        let key = StoreKey::new(format!("other/{index}")).unwrap();
        scene
            .backend
            .put(&key, "x".into(), PutOptions::create())
            .await
            .unwrap();
    }
    settle().await;
    scene.down();
    let served = scene.token(&cache).await.unwrap();
    assert!(
        served.served_during_outage(),
        "it is not trusted any more, but it serves"
    );
    scene.up();
    let compared = scene.token(&cache).await.unwrap();
    assert_eq!(compared.source(), TokenSource::Store);
}

#[tokio::test]
async fn a_sign_out_elsewhere_is_noticed_within_the_stated_bound() {
    let scene = Scene::quiet();
    let (cache, other) = (
        scene.cache(from_memory(5 * MINUTE)).await,
        scene.elsewhere().await,
    );
    scene.sign_in(&cache).await;
    scene.down();
    other
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    scene.clock.advance(STALE + 5 * MINUTE - SECOND);
    assert!(scene.token(&cache).await.unwrap().served_during_outage());
    scene.clock.advance(SECOND);
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    assert!(scene.token(&cache).await.unwrap_err().is_interaction_required());
    assert!(
        other.accounts().await.unwrap().accounts.is_empty(),
        "nothing was written back"
    );
}

#[tokio::test]
async fn a_sign_out_in_an_outage_fails_and_is_honoured_in_memory() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(HOUR)).await;
    scene.sign_in(&cache).await;
    scene.down();
    let ticking = ticking(&scene.clock);
    let error = cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap_err();
    drop(ticking);
    assert!(error.is_store_unavailable(), "{error:?}");
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    // It failed, and said so: what is in the store is there until the sign-out is repeated.
    assert!(
        cache
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    scene.down();
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    assert!(scene.token(&cache).await.unwrap_err().is_interaction_required());
}

#[tokio::test]
async fn a_session_serves_in_an_outage_together_with_its_sign_in_or_not_at_all() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(HOUR)).await;
    let session = PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::CallerKey("a caller's own key".into()),
    };
    let response = scene.issuer.sign_in("a");
    cache
        .begin_session(&user(), &session, response, 24 * HOUR)
        .await
        .unwrap();
    let scopes = ScopeSet::parse("a");
    let kind = AuthorityKind::Oidc;
    let request = Arc::new(TokenRequest::new(
        session.clone(),
        kind,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    ));
    let token = async || {
        let call = scene.issuer.call("a");
        let options = AcquireOptions::default();
        cache.acquire(Arc::clone(&request), options, call).await
    };
    settle().await;
    scene.clock.advance(STALE);
    scene.down();
    assert!(token().await.unwrap().served_during_outage());
    let lookup = cache.session_lookup(&session).await.unwrap().unwrap();
    assert!(lookup.served_during_outage());
    // The user is known to have changed; the session itself is still in memory.
    scene
        .elsewhere()
        .await
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    settle().await;
    assert_unavailable(token().await);
}

#[tokio::test]
async fn a_session_that_ends_in_an_outage_is_not_served_longer() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(HOUR)).await;
    let session = PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::CallerKey("a caller's own key".into()),
    };
    let response = scene.issuer.sign_in("a");
    cache
        .begin_session(&user(), &session, response, 10 * MINUTE)
        .await
        .unwrap();
    settle().await;
    scene.down();
    scene.clock.advance(10 * MINUTE - SECOND);
    let lookup = cache.session_lookup(&session).await.unwrap().unwrap();
    assert!(lookup.served_during_outage());
    scene.clock.advance(SECOND);
    assert!(cache.session_lookup(&session).await.unwrap().is_none());
}

#[tokio::test]
async fn a_slow_acknowledgement_does_not_stretch_the_staleness() {
    let scene = Scene::quiet();
    let cache = scene.cache(from_memory(HOUR)).await;
    let (pause, point) = Fault::pause_after();
    let is_user = |key: &StoreKey| RecordKind::of(&Namespace::default(), key) == Some(RecordKind::User);
    scene
        .faults
        .inject(pause.on(Operation::Put).at_key(is_user).once());
    let (signing_in, response) = (cache.clone(), scene.issuer.sign_in("a"));
    let signed_in = tokio::spawn(async move { signing_in.sign_in(&user(), response).await });
    point.reached().await;
    let elsewhere = scene.elsewhere().await;
    assert!(
        elsewhere
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    scene.clock.advance(STALE - SECOND);
    point.release();
    signed_in.await.unwrap().unwrap();
    assert_eq!(scene.token(&cache).await.unwrap().source(), TokenSource::Memory);
    scene.clock.advance(SECOND);
    assert!(scene.token(&cache).await.unwrap_err().is_interaction_required());
}

#[test]
fn a_store_of_which_a_part_is_down_does_not_flood_the_log() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let cache = scene.cache(from_memory(HOUR)).await;
        scene.sign_in(&cache).await;
        scene.clock.advance(STALE);
        for _ in 0..20 {
            scene.down();
            assert!(scene.token(&cache).await.unwrap().served_during_outage());
            scene.faults.heal();
            assert!(cache.id_tokens(&nobody(), CLIENT).await.unwrap().is_empty());
        }
        assert_eq!(recorded.value("tokenkeep_store_outage") as u64, 0);
        assert_eq!(
            recorded.logged("the store cannot be reached; serving without it"),
            1
        );
        assert_eq!(recorded.logged("the store can be reached again"), 1);
    });
}
