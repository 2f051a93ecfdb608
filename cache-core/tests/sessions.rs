//! Sessions end with the sign-in that they belong to.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, SignOutScope, TokenCache, TokenSource};
use cache_core::random::OsRandom;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::store::{MemoryStore, PutOptions, Store};
use cache_core::strategy::Strategy;
use cache_testkit::clock::ManualClock;
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

fn session(name: &str) -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::CallerKey(name.into()),
    }
}

fn request_in(session: &PartitionKey, scopes: &str) -> Arc<TokenRequest> {
    Arc::new(TokenRequest::new(
        session.clone(),
        AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        ScopeSet::parse(scopes),
    ))
}

struct World {
    clock: ManualClock,
    store: Arc<dyn Store>,
    issuer: Arc<Issuer>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
        let issuer = Issuer::new(&clock);
        Self { clock, store, issuer }
    }

    async fn cache(&self) -> TokenCache {
        open_with(&self.store, &self.clock, Strategy::web_front_end()).await
    }

    async fn begin(&self, cache: &TokenCache, name: &str) {
        let response = self.issuer.sign_in("a");
        cache
            .begin_session(&user(), &session(name), response, 24 * HOUR)
            .await
            .unwrap();
    }

    async fn token(&self, cache: &TokenCache, name: &str) -> Result<cache_core::cache::Acquired, CacheError> {
        let call = self.issuer.call("a");
        cache
            .acquire(request_in(&session(name), "a"), AcquireOptions::default(), call)
            .await
    }
}

#[tokio::test]
async fn a_session_serves_its_own_key_and_no_other() {
    let world = World::new();
    let caches = [world.cache().await, world.cache().await];
    world.begin(&caches[0], "one").await;
    world.begin(&caches[0], "two").await;
    let one = world.token(&caches[1], "one").await.unwrap();
    let two = world.token(&caches[1], "two").await.unwrap();
    assert_eq!(one.source(), TokenSource::Store);
    assert_ne!(one.token().secret, two.token().secret);
    let error = world.token(&caches[1], "three").await.unwrap_err();
    assert!(error.is_interaction_required());
    let call = world.issuer.call("a");
    let error = caches[0]
        .acquire(request("a"), AcquireOptions::default(), call)
        .await;
    assert!(
        error.unwrap_err().is_interaction_required(),
        "no session's token serves the user"
    );
    world.clock.advance(HOUR);
    let refreshed = world.token(&caches[1], "one").await.unwrap();
    assert_eq!(refreshed.source(), TokenSource::Authority);
    assert_eq!(world.issuer.redeemed(), 1);
}

#[tokio::test]
async fn a_sign_out_ends_every_session_of_the_client_in_every_process() {
    let world = World::new();
    let caches = [world.cache().await, world.cache().await];
    world.begin(&caches[0], "one").await;
    world.begin(&caches[0], "two").await;
    world.token(&caches[1], "one").await.unwrap();
    let kept = world
        .store
        .get(&caches[0].stored_key(&session("one")))
        .await
        .unwrap()
        .unwrap();
    assert!(
        caches[0]
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    tokio::task::yield_now().await;
    for name in ["one", "two"] {
        let key = caches[0].stored_key(&session(name));
        assert!(
            world.store.get(&key).await.unwrap().is_none(),
            "{name} is removed"
        );
        for cache in &caches {
            assert!(
                world
                    .token(cache, name)
                    .await
                    .unwrap_err()
                    .is_interaction_required()
            );
        }
    }
    // A session that is put back, and the user's next sign-in, do not bring the old one to life.
    let key = caches[0].stored_key(&session("one"));
    world
        .store
        .put(&key, kept.payload, PutOptions::create())
        .await
        .unwrap();
    world.begin(&caches[0], "new").await;
    let late = world.cache().await;
    assert!(
        world
            .token(&late, "one")
            .await
            .unwrap_err()
            .is_interaction_required()
    );
    world.token(&late, "new").await.unwrap();
    assert_eq!(world.issuer.redeemed(), 0);
    // Begun anew under the same key it starts from nothing.
    world.begin(&late, "one").await;
    world.token(&late, "one").await.unwrap();
}

#[tokio::test]
async fn a_sign_out_during_a_session_s_refresh_is_not_undone() {
    let world = World::new();
    let (refreshing, other) = (world.cache().await, world.cache().await);
    world.begin(&refreshing, "one").await;
    world.clock.advance(HOUR);
    world.issuer.close_gate();
    let refresh = {
        let (cache, call) = (refreshing.clone(), world.issuer.call("a"));
        let request = request_in(&session("one"), "a");
        tokio::spawn(async move { cache.acquire(request, AcquireOptions::default(), call).await })
    };
    world.issuer.arrived(1).await;
    other
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    world.issuer.open_gate();
    assert!(refresh.await.unwrap().unwrap_err().is_interaction_required());
    let key = other.stored_key(&session("one"));
    assert!(world.store.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_reply_for_somebody_else_begins_no_session() {
    let world = World::new();
    let cache = world.cache().await;
    let mut response = world.issuer.sign_in("a");
    if let Some(account) = &mut response.account {
        account.home_account_id = "sub-2".into();
    }
    let error = cache
        .begin_session(&user(), &session("one"), response, HOUR)
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::WrongAccount), "{error:?}");
    let error = cache
        .begin_session(&session("one"), &user(), world.issuer.sign_in("a"), HOUR)
        .await;
    assert!(matches!(error.unwrap_err(), CacheError::Strategy(_)));
}
