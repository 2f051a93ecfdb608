//! Sign-ins, sessions and imports of which nobody knows whether they were stored: what others did with them meanwhile stands.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, Acquired, CacheError, Freshness, SignOutScope, TokenCache};
use cache_core::codec::msal::RowOrigin;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest, TokenResponse,
};
use cache_core::store::error::Operation;
use cache_core::store::{PutOptions, Store};
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
    store: Arc<dyn Store>,
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
            store,
            faults,
        }
    }

    /// With a user who is signed in.
    async fn signed_in() -> Self {
        let world = Self::new().await;
        let granted = world.issuer.sign_in("a");
        world.worker.sign_in(&user(), granted).await.unwrap();
        world
    }

    /// Has the front end store what was granted. Its write of the record of `key` meets the `fault`, and before it looks what became of
    /// that, others do as `meanwhile` says.
    async fn store<R: Send + 'static, T>(
        &self,
        key: &PartitionKey,
        fault: Fault,
        storing: impl Future<Output = Result<R, CacheError>> + Send + 'static,
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

    async fn sign_out(&self, client_id: &str) -> bool {
        let user = user();
        let signed_out = self.worker.sign_out(&user, client_id, SignOutScope::Client);
        signed_out.await.unwrap()
    }

    fn begin(
        &self,
        session: &PartitionKey,
        granted: TokenResponse,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let (cache, session) = (self.front_end.clone(), session.clone());
        async move { cache.begin_session(&user(), &session, granted, HOUR).await }
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

fn session() -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::AssertionHash([1; 32]),
    }
}

fn session_request(session: &PartitionKey) -> Arc<TokenRequest> {
    let (kind, scopes) = (AuthorityKind::Oidc, ScopeSet::parse("a"));
    Arc::new(TokenRequest::new(
        session.clone(),
        kind,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    ))
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
    let world = World::signed_in().await;
    let session = session();
    let request = session_request(&session);
    let beginning = world.begin(&session, world.issuer.sign_in("a"));
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
    let world = World::signed_in().await;
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
    let world = World::signed_in().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let refreshed = async || world.refresh(&world.worker, request("a")).await.unwrap();
    let refreshed = world
        .store(&user(), Fault::lost_request(), signing_in, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
    assert_eq!(world.issuer.revoked_families(), 0);
}

/// What the first run stored was signed out, and the second stores it anew. (See `docs/design.md`, "Not undone".)
#[tokio::test]
async fn a_session_under_a_sign_in_that_ended_stays_dead_when_that_is_stored_again() {
    let world = World::new().await;
    let session = session();
    let stored_key = world.worker.stored_key(&session);
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let begun_and_ended = async || {
        let granted = world.issuer.sign_in("a");
        world
            .worker
            .begin_session(&user(), &session, granted, HOUR)
            .await
            .unwrap();
        let left = world.store.get(&stored_key).await.unwrap().unwrap();
        assert!(world.sign_out(CLIENT).await);
        left
    };
    let left = world
        .store(&user(), Fault::lost_reply(), signing_in, begun_and_ended)
        .await;
    // As where its removal failed.
    let again = world
        .store
        .put(&stored_key, left.payload, PutOptions::create())
        .await;
    again.unwrap();
    assert_eq!(world.front_end.accounts().await.unwrap().accounts.len(), 1);
    let looked_up = world.front_end.session_account(&session).await.unwrap();
    assert_eq!(looked_up, None, "it belongs to the sign-in that was ended");
}

#[tokio::test]
async fn a_session_that_began_anew_under_another_sign_in_goes_on() {
    let world = World::signed_in().await;
    let session = session();
    let beginning = world.begin(&session, world.issuer.sign_in("a"));
    let anew = async || {
        assert!(world.sign_out(CLIENT).await);
        let [of_user, of_session] = [world.issuer.sign_in("a"), world.issuer.sign_in("a")];
        world.worker.sign_in(&user(), of_user).await.unwrap();
        world
            .worker
            .begin_session(&user(), &session, of_session, HOUR)
            .await
            .unwrap();
    };
    world.store(&session, Fault::lost_reply(), beginning, anew).await;
    world.go_on(&session_request(&session)).await;
}

/// The other member's refresh has replaced the family's token, by which a first run that was not stored would have signed this one in.
#[tokio::test]
async fn a_member_is_signed_in_whose_family_was_refreshed_meanwhile() {
    for fault in [Fault::lost_request(), Fault::lost_reply()] {
        let world = World::new().await;
        world.issuer.grant_to_family("1");
        let granted = world.issuer.sign_in_as("other", "a");
        world.worker.sign_in(&user(), granted).await.unwrap();
        let signing_in = world.sign_in(world.issuer.sign_in("a"));
        let refreshed = async || {
            let options = AcquireOptions {
                freshness: Freshness::Forced { rejected: None },
                ..AcquireOptions::default()
            };
            let call = world.issuer.call_as("other", "a");
            let refreshed = world.worker.acquire(request_of("other", "a"), options, call);
            refreshed.await.unwrap();
        };
        world.store(&user(), fault, signing_in, refreshed).await;
        let accounts = world.worker.accounts().await.unwrap().accounts;
        assert_eq!(accounts[0].clients, [CLIENT, "other"]);
        assert_eq!(refresh_tokens(&world.worker).await, 1, "and none that is spent");
        world.go_on(&request("a")).await;
    }
}

#[tokio::test]
async fn a_refresh_of_what_was_imported_is_not_undone() {
    let world = World::new().await;
    let elsewhere = open(&parts().1, &world.clock).await;
    let granted = world.issuer.sign_in("a");
    elsewhere.sign_in(&user(), granted).await.unwrap();
    let file = elsewhere.export().await.unwrap().json;
    let cache = world.front_end.clone();
    let importing = async move {
        let identify = |_: &RowOrigin<'_>| AuthorityIdentity::of_issuer(ISSUER);
        cache.import(file.expose(), &identify).await
    };
    let refreshed = async || world.refresh(&world.worker, request("a")).await.unwrap();
    let refreshed = world
        .store(&user(), Fault::lost_reply(), importing, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
}

/// A sign-in and an import are one write at first, and two where they no longer fit into one record together.
#[tokio::test]
async fn a_refresh_is_not_undone_where_a_write_of_many_is_made_one_by_one() {
    let world = World::new().await;
    let small = quiet_and_small(Arc::new(world.faults.clone()), 12_000);
    let front_end = open(&small, &world.clock).await;
    let identify = |_: &RowOrigin<'_>| AuthorityIdentity::of_issuer(ISSUER);
    let stored_key = front_end.stored_key(&user());
    let is_its = move |key: &cache_core::store::StoreKey| *key == stored_key;
    let (held, first) = Fault::pause_before();
    let (pause, look) = Fault::pause_before();
    let held = held.on(Operation::Get).at_key(is_its.clone()).once();
    world.faults.inject(held);

    // Those that wait while one is under way are written together.
    let importing = |client: &'static str, length: usize| {
        let (cache, file) = (front_end.clone(), file_with(client, length));
        tokio::spawn(async move { cache.import(&file, &identify).await })
    };
    let under_way = importing("first", 10);
    first.reached().await;
    let large = importing("large", 6_000);
    settle().await;
    let (cache, granted) = (front_end.clone(), world.issuer.sign_in("a"));
    let signing_in = tokio::spawn(async move { cache.sign_in(&user(), granted).await });
    settle().await;
    // After the write that is under way.
    let lost = Fault::lost_reply().on(Operation::Put).at_key(is_its.clone());
    world.faults.inject(lost.after(1).once());
    let look_again = pause.on(Operation::Get).at_key(is_its).after(1).once();
    world.faults.inject(look_again);
    first.release();
    look.reached().await;
    under_way.await.unwrap().unwrap();
    world.refresh(&world.worker, request("a")).await.unwrap().unwrap();
    assert!(world.sign_out("large").await, "both were stored");
    let file = file_with("in its place", 6_000);
    world.worker.import(&file, &identify).await.unwrap();
    look.release();
    let _ticking = ticking(&world.clock);
    signing_in.await.unwrap().unwrap();
    let refused = large.await.unwrap().unwrap_err();
    assert!(
        matches!(refused, CacheError::PartitionTooLarge { .. }),
        "{refused}"
    );
    world.refresh(&front_end, request("a")).await.unwrap().unwrap();
    world.go_on(&request("a")).await;
}

/// A cache file with an access token of `length` bytes for the user.
fn file_with(client: &str, length: usize) -> Vec<u8> {
    let PartitionKey::User { home_account_id, .. } = user() else {
        unreachable!("it is a user's");
    };
    let now = ManualClock::START.to_seconds().0;
    let token = serde_json::json!({
        "credential_type": "AccessToken", "home_account_id": home_account_id, "environment": "issuer.example",
        "client_id": client, "realm": "", "target": "s", "secret": "s".repeat(length),
        "cached_at": now.to_string(), "expires_on": (now + 3600).to_string(),
    });
    let file = serde_json::json!({ "AccessToken": { client: token } });
    file.to_string().into_bytes()
}
