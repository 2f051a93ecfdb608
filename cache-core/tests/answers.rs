//! Lookups that memory answers at once: they give what an acquisition would, and end with everything that ends that.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, Acquired, Freshness, Lookup, PartitionRef, SignOutScope, TokenCache, TokenSource,
};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenContext, TokenRequest,
    TokenType,
};
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::Store;
use cache_core::strategy::{MemoryTier, RefreshPolicy, Strategy, WritePolicy};
use cache_core::time::{Clock, CoarseTime, UnixMillis};
use cache_testkit::clock::ManualClock;
use support::*;

const SECOND: Duration = Duration::from_secs(1);
/// How long the default tier trusts a partition.
const STALE: Duration = Duration::from_secs(30);

fn authority() -> AuthorityIdentity {
    AuthorityIdentity::of_issuer(ISSUER)
}

fn find_in(cache: &TokenCache, partition: &PartitionKey, scopes: &[&str]) -> Option<Acquired> {
    cache.find(&Lookup {
        partition: PartitionRef::of(partition).unwrap(),
        kind: AuthorityKind::Oidc,
        client_id: CLIENT,
        environment: "issuer.example",
        realm: "",
        scopes,
        token_type: &TokenType::Bearer,
        context: &TokenContext::default(),
    })
}

fn find(cache: &TokenCache, scopes: &[&str]) -> Option<Acquired> {
    find_in(cache, &user(), scopes)
}

struct World {
    clock: ManualClock,
    store: Arc<dyn Store>,
    issuer: Arc<Issuer>,
}

impl World {
    fn new() -> Self {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        Self { clock, store, issuer }
    }

    async fn cache(&self) -> TokenCache {
        open(&self.store, &self.clock).await
    }

    /// A cache that believes its memory for a day.
    async fn trusting(&self) -> TokenCache {
        let tier = MemoryTier::bounded(1 << 20).max_staleness(86_400 * SECOND);
        let ahead = RefreshPolicy::Ahead { jitter: 0.25 };
        let strategy = Strategy::desktop_tool().memory_tier(tier).refresh(ahead);
        open_with(&self.store, &self.clock, strategy).await
    }

    async fn sign_in(&self, cache: &TokenCache, scopes: &str) {
        cache.sign_in(&user(), self.issuer.sign_in(scopes)).await.unwrap();
    }

    async fn acquire(&self, cache: &TokenCache, scopes: &str) -> Acquired {
        let call = self.issuer.call(scopes);
        let acquired = cache
            .acquire(request(scopes), AcquireOptions::default(), call)
            .await;
        acquired.unwrap()
    }

    /// Signs in, and asks until memory answers.
    async fn remembered(&self, cache: &TokenCache) -> Acquired {
        self.sign_in(cache, "a b").await;
        for _ in 0..2 {
            self.acquire(cache, "a").await;
        }
        find(cache, &["a"]).unwrap()
    }
}

#[tokio::test]
async fn what_memory_answered_is_found_by_its_arguments_alone() {
    let world = World::new();
    let cache = world.cache().await;
    assert!(find(&cache, &["a"]).is_none(), "nothing is there");
    world.sign_in(&cache, "a b").await;
    let acquired = world.acquire(&cache, "a b").await;
    let found = find(&cache, &["a", "b"]).unwrap();
    assert!(found.token().secret == acquired.token().secret);
    assert_eq!(found.source(), TokenSource::Memory);
    assert_eq!(found.account().unwrap().home_account_id, "sub-1");
    assert!(find(&cache, &["a b"]).is_some(), "a text of several words");
    for others in [
        &["b", "a"][..],
        &["a"],
        &["a", "b", "c"],
        &["ab"],
        &["A", "b"],
        &[],
    ] {
        assert!(find(&cache, others).is_none(), "{others:?}");
    }
    let other_user = PartitionKey::User {
        authority: authority(),
        home_account_id: "sub-2".into(),
    };
    assert!(find_in(&cache, &other_user, &["a", "b"]).is_none());
}

#[tokio::test]
async fn a_sign_out_ends_it_here_and_in_other_processes() {
    let world = World::new();
    let caches = [world.cache().await, world.cache().await];
    world.remembered(&caches[0]).await;
    for _ in 0..2 {
        world.acquire(&caches[1], "a").await;
    }
    let prepared = caches[1].prepare(request("a"));
    assert!(prepared.peek().is_some());
    assert!(find(&caches[1], &["a"]).is_some());
    caches[0]
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert!(find(&caches[0], &["a"]).is_none());
    settle().await;
    assert!(find(&caches[1], &["a"]).is_none());
    assert!(prepared.peek().is_none());
}

#[tokio::test]
async fn a_new_token_is_found_at_once_and_the_old_one_is_not() {
    let world = World::new();
    let cache = world.cache().await;
    let old = world.remembered(&cache).await;
    world.sign_in(&cache, "a b").await;
    assert!(find(&cache, &["a"]).is_none_or(|found| found.token().secret != old.token().secret));
    let new = world.acquire(&cache, "a").await;
    assert!(new.token().secret != old.token().secret);
    assert!(find(&cache, &["a"]).unwrap().token().secret == new.token().secret);
}

#[tokio::test]
async fn it_ends_when_the_store_is_to_be_asked_and_begins_anew() {
    let world = World::new();
    let store = quiet(Arc::clone(&world.store));
    let cache = open(&store, &world.clock).await;
    world.remembered(&cache).await;
    world.clock.advance(STALE - SECOND);
    assert!(find(&cache, &["a"]).is_some());
    world.clock.advance(SECOND);
    assert!(find(&cache, &["a"]).is_none());
    assert_eq!(world.acquire(&cache, "a").await.source(), TokenSource::Store);
    world.acquire(&cache, "a").await;
    assert!(find(&cache, &["a"]).is_some());
}

#[tokio::test]
async fn it_ends_at_the_margin_before_the_expiry() {
    let world = World::new();
    let cache = world.trusting().await;
    let found = world.remembered(&cache).await;
    let left = found.token().lifetime() - found.token().margin();
    world.clock.advance(left - SECOND);
    assert!(find(&cache, &["a"]).is_some());
    world.clock.advance(SECOND);
    assert!(find(&cache, &["a"]).is_none());
    assert_eq!(world.acquire(&cache, "a").await.source(), TokenSource::Authority);
}

#[tokio::test]
async fn it_ends_when_the_token_is_due_for_a_refresh_which_the_next_call_starts() {
    let world = World::new();
    let cache = world.trusting().await;
    let mut response = world.issuer.sign_in("a");
    response.refresh_on = Some(response.requested_at.saturating_add(1000 * SECOND));
    cache.sign_in(&user(), response).await.unwrap();
    let before = world.acquire(&cache, "a").await;
    assert!(find(&cache, &["a"]).is_some());
    world.clock.advance(999 * SECOND);
    assert!(find(&cache, &["a"]).is_some());
    // The jitter may delay it.
    world.clock.advance(1300 * SECOND);
    assert!(find(&cache, &["a"]).is_none());
    let meanwhile = world.acquire(&cache, "a").await;
    assert!(meanwhile.token().secret == before.token().secret);
    settle().await;
    assert_eq!(world.issuer.redeemed(), 1);
    let after = world.acquire(&cache, "a").await;
    assert!(after.token().secret != before.token().secret);
}

#[tokio::test]
async fn a_wall_clock_that_jumps_either_way_ends_it() {
    for jump in [-3_600_000, -1, 3_600_000] {
        let world = World::new();
        let cache = world.trusting().await;
        world.remembered(&cache).await;
        let now = world.clock.now();
        world.clock.set(UnixMillis(now.0 + jump));
        assert!(find(&cache, &["a"]).is_none(), "{jump}");
        world.acquire(&cache, "a").await;
        world.clock.set(now);
        // Set back to where it was: only what was computed since may be given, and only if it is not from a later time.
        let found = find(&cache, &["a"]);
        assert_eq!(found.is_some(), jump < 0 && jump > -3_600_000, "{jump}");
        assert!(!world.issuer.sent_twice());
    }
}

/// A clock whose coarse monotonic half stands still while the machine is suspended, as Linux's does.
#[derive(Clone, Debug)]
struct Suspending(ManualClock);

#[async_trait]
impl Clock for Suspending {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime {
            wall: self.0.now(),
            monotonic: 0,
        }
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

#[tokio::test]
async fn it_ends_while_the_machine_is_suspended() {
    let world = World::new();
    let source = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let cache = TokenCache::builder(quiet(Arc::clone(&world.store)))
        .clock(Arc::new(Suspending(world.clock.clone())))
        .strategy(Strategy::desktop_tool())
        .open_sealed(Namespace::default(), source)
        .await
        .unwrap();
    world.remembered(&cache).await;
    world.clock.advance(STALE - SECOND);
    assert!(find(&cache, &["a"]).is_some());
    world.clock.advance(SECOND);
    assert!(find(&cache, &["a"]).is_none());
}

#[tokio::test]
async fn a_wall_clock_that_is_slow_does_not_lengthen_the_trust_in_memory() {
    let world = World::new();
    let cache = open(&quiet(Arc::clone(&world.store)), &world.clock).await;
    world.remembered(&cache).await;
    let wall = world.clock.now();
    world.clock.advance(STALE);
    world.clock.set(wall);
    assert!(find(&cache, &["a"]).is_none());
}

#[tokio::test]
async fn a_token_that_waits_to_be_stored_comes_before_what_memory_remembers() {
    let world = World::new();
    let strategy = Strategy::desktop_tool().write_policy(WritePolicy::Behind { max_pending: 10 });
    let cache = open_with(&world.store, &world.clock, strategy).await;
    let partition = cache.app_partition(CLIENT, &authority(), "", &ScopeSet::parse("a"));
    let kind = AuthorityKind::Oidc;
    let scopes = ScopeSet::parse("a");
    let request = Arc::new(TokenRequest::new(
        partition.clone(),
        kind,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    ));
    let acquire = async |options| {
        let acquired = cache
            .acquire_app(Arc::clone(&request), options, world.issuer.call("a"))
            .await;
        acquired.unwrap().token().secret.to_secret()
    };
    let first = acquire(AcquireOptions::default()).await;
    settle().await;
    for _ in 0..2 {
        assert!(acquire(AcquireOptions::default()).await == first);
    }
    assert!(find_in(&cache, &partition, &["a"]).unwrap().token().secret == first);
    let anew = AcquireOptions {
        freshness: Freshness::Forced {
            rejected: Some(first.sha256()),
        },
        ..AcquireOptions::default()
    };
    let second = acquire(anew).await;
    assert!(second != first);
    for _ in 0..3 {
        // While it waits, and when it is stored.
        let found = find_in(&cache, &partition, &["a"]);
        assert!(found.is_none_or(|found| found.token().secret == second));
        assert!(acquire(AcquireOptions::default()).await == second);
        settle().await;
    }
    assert!(find_in(&cache, &partition, &["a"]).unwrap().token().secret == second);
}

/// A session of a caller.
fn session() -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: authority(),
        key: SessionKey::CallerKey("one".into()),
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

#[tokio::test]
async fn an_answer_in_a_session_ends_with_its_users_sign_in() {
    let world = World::new();
    let caches = [world.cache().await, world.cache().await];
    let session = session();
    let response = world.issuer.sign_in("a");
    caches[0]
        .begin_session(&user(), &session, response, 3600 * SECOND)
        .await
        .unwrap();
    let request = request_in(&session, "a");
    for cache in &caches {
        for _ in 0..3 {
            let call = world.issuer.call("a");
            cache
                .acquire(Arc::clone(&request), AcquireOptions::default(), call)
                .await
                .unwrap();
        }
        assert!(find_in(cache, &session, &["a"]).is_some());
    }
    // The user's partition alone is written first; the session's own record goes later.
    caches[0]
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    settle().await;
    for cache in &caches {
        assert!(find_in(cache, &session, &["a"]).is_none());
    }
}

/// Memory may be believed for longer than the session lasts.
#[tokio::test]
async fn a_session_ends_with_its_lifetime_in_memory_too() {
    let world = World::new();
    let cache = world.trusting().await;
    let (session, options) = (session(), AcquireOptions::default());
    let request = request_in(&session, "a");
    let response = world.issuer.sign_in("a");
    cache
        .begin_session(&user(), &session, response, 60 * SECOND)
        .await
        .unwrap();
    let acquire = || cache.acquire(Arc::clone(&request), options, world.issuer.call("a"));
    for _ in 0..3 {
        acquire().await.unwrap();
    }
    world.clock.advance(59 * SECOND);
    assert!(find_in(&cache, &session, &["a"]).is_some());
    world.clock.advance(SECOND);
    assert!(find_in(&cache, &session, &["a"]).is_none());
    acquire().await.unwrap_err();
}

#[tokio::test]
async fn who_wants_no_cached_token_or_sends_claims_is_not_answered_so() {
    let world = World::new();
    let cache = world.cache().await;
    let old = world.remembered(&cache).await;
    let prepared = cache.prepare(request("a"));
    assert!(prepared.peek().unwrap().token().secret == old.token().secret);
    let rejected = Some(old.token().secret.sha256());
    let forced = AcquireOptions {
        freshness: Freshness::Forced { rejected },
        ..AcquireOptions::default()
    };
    let new = prepared.acquire(forced, world.issuer.call("a")).await.unwrap();
    assert_eq!(new.source(), TokenSource::Authority);
    assert!(new.token().secret != old.token().secret);
    let claims = AcquireOptions {
        freshness: Freshness::Claims,
        ..AcquireOptions::default()
    };
    let newest = prepared.acquire(claims, world.issuer.call("a")).await.unwrap();
    assert!(newest.token().secret != new.token().secret);
}

#[tokio::test]
async fn a_prepared_request_gives_what_is_found_and_lends_it() {
    let world = World::new();
    let cache = world.cache().await;
    let prepared = cache.prepare(request("a"));
    assert!(prepared.peek().is_none());
    let found = world.remembered(&cache).await;
    let peeked = prepared.peek().unwrap();
    assert!(peeked.token().secret == found.token().secret);
    let acquired = peeked.to_acquired();
    assert_eq!(acquired.account().unwrap().home_account_id, "sub-1");
    assert!(acquired.id_token().is_none());
    let kept = peeked.to_acquired();
    let acquired = prepared
        .acquire(AcquireOptions::default(), world.issuer.call("a"))
        .await
        .unwrap();
    assert!(acquired.token().secret == kept.token().secret);
    cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert!(prepared.peek().is_none());
    assert!(peeked.token().secret == kept.token().secret, "what is lent stays");
}
