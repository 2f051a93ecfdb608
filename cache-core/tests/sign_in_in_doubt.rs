//! Sign-ins of which nobody knows whether they were stored: what others did with them meanwhile stands.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, Acquired, CacheError, Freshness, SignOutScope, TokenCache};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest, TokenResponse,
};
use cache_core::store::Store;
use cache_core::store::error::Operation;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use support::*;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3600);

type Answer = Result<Acquired, CacheError>;

/// A process that signs users in, over a store that it does not always hear from, and another one.
struct World {
    clock: ManualClock,
    issuer: Arc<Issuer>,
    faults: FaultStore,
    front_end: TokenCache,
    worker: TokenCache,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let (faults, store) = beside_faults(&clock);
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        Self {
            issuer: Issuer::new(&clock),
            front_end: open(&faulty, &clock).await,
            worker: open(&store, &clock).await,
            clock,
            faults,
        }
    }

    /// Has the front end store what was granted. Its write of the record of `key` meets the `fault`, and before it looks what became of
    /// that, others do as `meanwhile` says.
    async fn store<T>(
        &self,
        key: &PartitionKey,
        fault: Fault,
        storing: impl Future<Output = Answer> + Send + 'static,
        meanwhile: impl AsyncFnOnce() -> T,
    ) -> T {
        let stored_key = self.front_end.stored_key(key);
        let is_its = move |key: &cache_core::store::StoreKey| *key == stored_key;
        self.faults
            .inject(fault.on(Operation::Put).at_key(is_its.clone()).once());
        // The first look comes before the write.
        let (pause, look) = Fault::pause_before();
        self.faults
            .inject(pause.on(Operation::Get).at_key(is_its).after(1).once());
        let storing = tokio::spawn(storing);
        look.reached().await;
        let done = meanwhile().await;
        look.release();
        let _ticking = ticking(&self.clock);
        storing.await.unwrap().unwrap();
        done
    }

    fn sign_in(&self, granted: TokenResponse) -> impl Future<Output = Answer> + Send + 'static {
        let cache = self.front_end.clone();
        async move { cache.sign_in(&user(), granted).await }
    }

    /// Has an access token refreshed that is still good.
    fn refresh(&self, cache: &TokenCache, request: Arc<TokenRequest>) -> JoinHandle<Answer> {
        let options = AcquireOptions {
            freshness: Freshness::Forced { rejected: None },
            ..AcquireOptions::default()
        };
        let (cache, call) = (cache.clone(), self.issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request, options, call).await })
    }

    /// Each refreshes, and the issuer gets no token twice.
    async fn go_on(&self, request: &Arc<TokenRequest>) {
        for cache in [&self.worker, &self.front_end, &self.worker] {
            self.refresh(cache, Arc::clone(request)).await.unwrap().unwrap();
        }
        assert!(!self.issuer.sent_twice());
    }
}

/// How many refresh tokens the user's record has.
async fn refresh_tokens(cache: &TokenCache) -> usize {
    let export = cache.export().await.unwrap();
    let file: serde_json::Value = serde_json::from_slice(export.json.expose()).unwrap();
    file["RefreshToken"].as_object().unwrap().len()
}

#[tokio::test]
async fn a_refresh_of_what_it_stored_is_not_undone() {
    let world = World::new().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let refreshed = async || world.refresh(&world.worker, request("a")).await.unwrap();
    let refreshed = world
        .store(&user(), Fault::lost_reply(), signing_in, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
}

#[tokio::test]
async fn a_refresh_that_made_its_token_a_familys_is_not_undone() {
    let world = World::new().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let refreshed = async || {
        world.issuer.grant_to_family("1");
        world.refresh(&world.worker, request("a")).await.unwrap()
    };
    let refreshed = world
        .store(&user(), Fault::lost_reply(), signing_in, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
    assert_eq!(refresh_tokens(&world.worker).await, 1, "and none that is spent");
}

#[tokio::test]
async fn a_refresh_that_is_under_way_keeps_its_marker() {
    let world = World::new().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    world.issuer.close_gate();
    #[expect(clippy::async_yields_async, reason = "it ends later")]
    let sent = async || {
        let refreshing = world.refresh(&world.worker, request("a"));
        world.issuer.arrived(1).await;
        refreshing
    };
    let refreshing = world.store(&user(), Fault::lost_reply(), signing_in, sent).await;
    let other = world.refresh(&world.front_end, request("a"));
    settle().await;
    assert_eq!(world.issuer.redeemed(), 1, "the other waits");
    world.issuer.open_gate();
    refreshing.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    world.go_on(&request("a")).await;
}

#[tokio::test]
async fn a_refresh_of_a_session_that_began_is_not_undone() {
    let world = World::new().await;
    world
        .front_end
        .sign_in(&user(), world.issuer.sign_in("a"))
        .await
        .unwrap();
    let session = PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::AssertionHash([1; 32]),
    };
    let (kind, scopes) = (AuthorityKind::Oidc, ScopeSet::parse("a"));
    let request = TokenRequest::new(session.clone(), kind, CLIENT, "issuer.example", "", scopes);
    let request = Arc::new(request);
    let (cache, granted, key) = (
        world.front_end.clone(),
        world.issuer.sign_in("a"),
        session.clone(),
    );
    let beginning = async move { cache.begin_session(&user(), &key, granted, HOUR).await };
    let refreshed = async || world.refresh(&world.worker, Arc::clone(&request)).await.unwrap();
    let refreshed = world
        .store(&session, Fault::lost_reply(), beginning, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request).await;
}

/// Where there was no sign-in before, a sign-in that was stored and ended cannot be told from one that was never stored.
#[tokio::test]
async fn a_sign_out_of_a_second_sign_in_is_not_undone() {
    let world = World::new().await;
    world
        .front_end
        .sign_in(&user(), world.issuer.sign_in("a"))
        .await
        .unwrap();
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let signed_out = async || world.worker.sign_out(&user(), CLIENT, SignOutScope::Client).await;
    let signed_out = world
        .store(&user(), Fault::lost_reply(), signing_in, signed_out)
        .await;
    signed_out.unwrap();
    for cache in [&world.worker, &world.front_end] {
        assert!(cache.accounts().await.unwrap().accounts.is_empty());
    }
}

#[tokio::test]
async fn what_did_not_arrive_is_stored_in_place_of_the_sign_in_before() {
    let world = World::new().await;
    for _ in 0..2 {
        let granted = world.issuer.sign_in("a");
        let token = granted.refresh_token.clone().unwrap();
        let signing_in = world.sign_in(granted);
        world
            .store(&user(), Fault::lost_request(), signing_in, async || {})
            .await;
        world.go_on(&request("a")).await;
        let sent = world.issuer.sent();
        assert_eq!(sent[sent.len() - 3], token.expose());
    }
}

/// Whether it was stored and then refreshed, or not stored and the sign-in before it refreshed, nobody can tell. Either goes on.
#[tokio::test]
async fn of_two_sign_ins_the_one_that_was_refreshed_meanwhile_goes_on() {
    let world = World::new().await;
    world
        .front_end
        .sign_in(&user(), world.issuer.sign_in("a"))
        .await
        .unwrap();
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let refreshed = async || world.refresh(&world.worker, request("a")).await.unwrap();
    let refreshed = world
        .store(&user(), Fault::lost_request(), signing_in, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
    assert_eq!(world.issuer.revoked_families(), 0);
}
