//! Tokens of sessions that bring their own proof: asked for once, kept with their user's sign-in, gone with the session.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, Acquired, AppTokenCall, CacheError, CallError, CallOutcome, SignOutScope, TokenCache,
    TokenSource,
};
use cache_core::random::OsRandom;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::store::error::Operation;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::Strategy;
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use support::*;
use tokio::sync::Semaphore;

const HOUR: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// An authority that answers whoever presents an assertion.
struct Assertions {
    issuer: Arc<Issuer>,
    asked: AtomicUsize,
    gate: Semaphore,
    account: Option<&'static str>,
    refresh_token: bool,
    refresh_in: Option<Duration>,
    fails: std::sync::atomic::AtomicBool,
}

impl Assertions {
    fn new(clock: &ManualClock) -> Self {
        Self {
            issuer: Issuer::new(clock),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(1000),
            account: Some("sub-1"),
            refresh_token: false,
            refresh_in: None,
            fails: false.into(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Ask(Arc<Assertions>);

#[async_trait]
impl AppTokenCall for Ask {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        let Self(authority) = self;
        authority.asked.fetch_add(1, Ordering::SeqCst);
        let _permit = authority.gate.acquire().await.unwrap();
        if authority.fails.load(Ordering::SeqCst) {
            return CallOutcome::NotSent(CallError::new("no route"));
        }
        let mut response = authority.issuer.sign_in("a");
        match (&mut response.account, authority.account) {
            (Some(account), Some(id)) => account.home_account_id = id.into(),
            (account, _) => *account = None,
        }
        if !authority.refresh_token {
            response.refresh_token = None;
        }
        response.refresh_on = authority
            .refresh_in
            .map(|wait| response.requested_at.saturating_add(wait));
        CallOutcome::Granted(Box::new(response))
    }
}

fn session(assertion: u8) -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::AssertionHash([assertion; 32]),
    }
}

fn request_in(partition: PartitionKey) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse("a");
    let kind = AuthorityKind::Oidc;
    Arc::new(TokenRequest::new(
        partition,
        kind,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    ))
}

async fn token(
    cache: &TokenCache,
    authority: &Arc<Assertions>,
    assertion: u8,
) -> Result<Acquired, CacheError> {
    let call = Arc::new(Ask(Arc::clone(authority)));
    cache
        .acquire_session(
            request_in(session(assertion)),
            AcquireOptions::default(),
            call,
            LONGEST,
        )
        .await
}

async fn settled(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come to pass");
}

#[tokio::test]
async fn many_who_present_one_assertion_make_one_request_and_another_assertion_its_own() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open_with(&store, &clock, Strategy::web_front_end()).await;
    let tokens = futures_util::future::join_all((0..50).map(|_| token(&cache, &authority, 1))).await;
    let first = tokens[0].as_ref().unwrap().token().secret.to_secret();
    assert!(
        tokens
            .iter()
            .all(|token| token.as_ref().unwrap().token().secret == first)
    );
    assert_eq!(authority.asked(), 1);
    assert_eq!(tokens[0].as_ref().unwrap().source(), TokenSource::Authority);

    let other = token(&cache, &authority, 2).await.unwrap();
    assert_ne!(other.token().secret, first);
    let again = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(
        (again.token().secret.to_secret(), again.source()),
        (first, TokenSource::Memory)
    );
    assert_eq!(authority.asked(), 2);
    // The session's tokens are nobody else's: not the user's, and not found without the assertion.
    let error = cache
        .acquire(
            request("a"),
            AcquireOptions::default(),
            authority.issuer.call("a"),
        )
        .await;
    assert!(error.unwrap_err().is_interaction_required());
}

#[tokio::test]
async fn an_expired_token_is_asked_for_again_with_the_assertion_and_no_refresh_token_is_spent() {
    let (clock, store) = parts();
    let mut authority = Assertions::new(&clock);
    authority.refresh_token = true;
    let authority = Arc::new(authority);
    let cache = open(&store, &clock).await;
    let first = token(&cache, &authority, 1).await.unwrap();
    clock.advance(2 * HOUR);
    let second = token(&cache, &authority, 1).await.unwrap();
    assert_ne!(first.token().secret, second.token().secret);
    assert_eq!((authority.asked(), authority.issuer.redeemed()), (2, 0));
}

#[tokio::test]
async fn a_failed_request_leaves_a_valid_token_but_not_one_whose_user_signed_out_meanwhile() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    let first = token(&cache, &authority, 1).await.unwrap();
    // Within the margin: it is replaced if that is possible, and serves if it is not.
    clock.advance(HOUR - Duration::from_secs(60));
    authority.fails.store(true, Ordering::SeqCst);
    let still = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(still.token().secret, first.token().secret);

    authority.gate.forget_permits(1000);
    let waiting = {
        let (cache, authority) = (cache.clone(), Arc::clone(&authority));
        tokio::spawn(async move { token(&cache, &authority, 1).await })
    };
    settled(|| authority.asked() == 3).await;
    cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    authority.gate.add_permits(1000);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, CacheError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_token_that_was_asked_for_ahead_of_a_sign_out_is_discarded_after_it() {
    let (clock, store) = parts();
    let mut authority = Assertions::new(&clock);
    authority.refresh_in = Some(Duration::from_secs(600));
    let authority = Arc::new(authority);
    let (cache, other) = (
        open_with(&store, &clock, Strategy::web_front_end()).await,
        open(&store, &clock).await,
    );
    token(&cache, &authority, 1).await.unwrap();
    clock.advance(Duration::from_secs(3000));
    authority.gate.forget_permits(1000);
    let cached = token(&cache, &authority, 1).await.unwrap();
    assert_ne!(
        cached.source(),
        TokenSource::Authority,
        "the cached one serves meanwhile"
    );
    settled(|| authority.asked() == 2).await;
    other
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    authority.gate.add_permits(1000);
    cache.shutdown(HOUR).await;
    assert!(store.get(&cache.stored_key(&session(1))).await.unwrap().is_none());
    assert!(store.get(&cache.stored_key(&user())).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_was_asked_for_before_its_user_was_signed_out_does_not_begin_after_it() {
    for forgotten in [false, true] {
        let (clock, store) = parts();
        let authority = Arc::new(Assertions::new(&clock));
        let cache = open(&store, &clock).await;
        authority.gate.forget_permits(1000);
        let waiting = {
            let (cache, authority) = (cache.clone(), Arc::clone(&authority));
            tokio::spawn(async move { token(&cache, &authority, 1).await })
        };
        settled(|| authority.asked() == 1).await;
        // Nobody knows yet whose token it will be, so there is nothing to find.
        let found = if forgotten {
            cache.forget_account(&user()).await
        } else {
            cache.sign_out(&user(), CLIENT, SignOutScope::Client).await
        };
        assert!(!found.unwrap());
        cache
            .sign_out(&user(), "another", SignOutScope::Client)
            .await
            .unwrap();
        authority.gate.add_permits(1000);
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_interaction_required(), "{error:?}");
        for key in [user(), session(1)] {
            assert!(store.get(&cache.stored_key(&key)).await.unwrap().is_none());
        }
        // Whoever presents the assertion after that is not who was signed out.
        token(&cache, &authority, 1).await.unwrap();
        assert!(cache.session_account(&session(1)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_sign_out_ends_what_assertions_brought_although_the_user_has_no_account_here() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    token(&caches[0], &authority, 1).await.unwrap();
    token(&caches[1], &authority, 1).await.unwrap();
    assert!(
        caches[1].accounts().await.unwrap().accounts.is_empty(),
        "a pure middle tier"
    );
    assert!(
        caches[1]
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    for cache in &caches {
        assert!(cache.session_account(&session(1)).await.unwrap().is_none());
    }
    assert!(
        store
            .get(&caches[0].stored_key(&session(1)))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(authority.asked(), 1);
}

#[tokio::test]
async fn a_record_is_forgotten_with_its_session_and_a_refresh_does_not_lengthen_it() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    let expiry = async |key: &PartitionKey| {
        let record = store.get(&cache.stored_key(key)).await.unwrap().unwrap();
        record.expires_at
    };
    // Without a refresh token nothing is left to use when the token has expired.
    token(&cache, &authority, 1).await.unwrap();
    assert_eq!(expiry(&session(1)).await, Some(clock.now().saturating_add(HOUR)));

    assert_eq!(
        expiry(&user()).await,
        expiry(&session(1)).await,
        "known by this session alone"
    );

    let end = clock.now().saturating_add(LONGEST);
    cache
        .begin_session(&user(), &session(2), authority.issuer.sign_in("a"), LONGEST)
        .await
        .unwrap();
    assert_eq!(expiry(&session(2)).await, Some(end));
    assert_eq!(expiry(&user()).await, Some(end));
    clock.advance(2 * HOUR);
    let call = authority.issuer.call("a");
    cache
        .acquire(request_in(session(2)), AcquireOptions::default(), call)
        .await
        .unwrap();
    assert_eq!(authority.issuer.redeemed(), 1);
    assert_eq!(expiry(&session(2)).await, Some(end));
    clock.advance(LONGEST);
    assert!(store.get(&cache.stored_key(&session(2))).await.unwrap().is_none());
}

#[tokio::test]
async fn a_reply_that_names_nobody_is_kept_for_its_assertion_alone() {
    let (clock, store) = parts();
    let mut authority = Assertions::new(&clock);
    authority.account = None;
    let authority = Arc::new(authority);
    let cache = open(&store, &clock).await;
    let first = token(&cache, &authority, 1).await.unwrap();
    assert!(first.account().is_none());
    let again = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(again.token().secret, first.token().secret);
    assert!(
        store.get(&cache.stored_key(&user())).await.unwrap().is_none(),
        "nobody is linked"
    );
    assert!(cache.session_account(&session(1)).await.unwrap().is_none());
    assert!(cache.end_session(&session(1)).await.unwrap());
    assert!(!cache.end_session(&session(1)).await.unwrap());
}

#[tokio::test]
async fn ending_a_session_removes_it_and_its_link_and_leaves_the_others() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    for assertion in [1, 2] {
        token(&caches[0], &authority, assertion).await.unwrap();
    }
    assert!(caches[1].end_session(&session(1)).await.unwrap());
    token(&caches[0], &authority, 2).await.unwrap();
    assert_eq!(authority.asked(), 2, "the other goes on");
    assert!(caches[1].session_account(&session(1)).await.unwrap().is_none());
    assert!(caches[1].end_session(&session(2)).await.unwrap());
    let key = caches[0].stored_key(&user());
    assert!(
        store.get(&key).await.unwrap().is_none(),
        "nothing is left of the user"
    );
    let error = caches[0].end_session(&user()).await.unwrap_err();
    assert!(matches!(error, CacheError::Strategy(_)));
}

#[tokio::test]
async fn a_session_s_refresh_that_is_under_way_when_it_ends_is_discarded() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let (refreshing, other) = (open(&store, &clock).await, open(&store, &clock).await);
    let granted = authority.issuer.sign_in("a");
    refreshing
        .begin_session(&user(), &session(1), granted, LONGEST)
        .await
        .unwrap();
    clock.advance(HOUR);
    authority.issuer.close_gate();
    let refresh = {
        let (cache, call) = (refreshing.clone(), authority.issuer.call("a"));
        tokio::spawn(async move {
            cache
                .acquire(request_in(session(1)), AcquireOptions::default(), call)
                .await
        })
    };
    authority.issuer.arrived(1).await;
    assert!(other.end_session(&session(1)).await.unwrap());
    authority.issuer.open_gate();
    assert!(refresh.await.unwrap().unwrap_err().is_interaction_required());
    assert!(store.get(&other.stored_key(&session(1))).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_was_begun_anew_for_somebody_else_survives_the_first_user_s_sign_out() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    token(&cache, &authority, 1).await.unwrap();
    let mut response = authority.issuer.sign_in("a");
    response.account.as_mut().unwrap().home_account_id = "sub-2".into();
    let PartitionKey::User {
        authority: identity, ..
    } = user()
    else {
        unreachable!()
    };
    let second = PartitionKey::User {
        authority: identity,
        home_account_id: "sub-2".into(),
    };
    cache
        .begin_session(&second, &session(1), response, LONGEST)
        .await
        .unwrap();
    cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    let account = cache.session_account(&session(1)).await.unwrap().unwrap();
    assert_eq!(account.home_account_id, "sub-2");
    // And what the first user's assertion brings now is not put into the second one's session.
    let error = cache
        .acquire_session(
            request_in(session(1)),
            AcquireOptions {
                freshness: cache_core::cache::Freshness::Claims,
                ..AcquireOptions::default()
            },
            Arc::new(Ask(authority)),
            LONGEST,
        )
        .await;
    assert!(matches!(error, Err(CacheError::WrongAccount)), "{error:?}");
}

fn faulty(clock: &ManualClock) -> (FaultStore, Arc<dyn Store>) {
    let inner = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
    let faults = FaultStore::new(Arc::new(inner.clone()), Arc::new(clock.clone()));
    (faults, Arc::new(inner))
}

#[tokio::test]
async fn a_crash_between_the_listing_and_the_session_leaves_no_session_and_the_next_call_begins_it() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let (faults, inner) = faulty(&clock);
    let authority = Arc::new(Assertions::new(&clock));
    let dying = open(&(Arc::new(faults.clone()) as Arc<dyn Store>), &clock).await;
    let survivor = open(&inner, &clock).await;
    faults.inject(
        Fault::crash_before()
            .on(Operation::Put)
            .at_key(|key| key.as_str().contains("/session/")),
    );
    token(&dying, &authority, 1).await.unwrap_err();
    assert!(faults.has_crashed());
    assert!(
        inner.get(&survivor.stored_key(&user())).await.unwrap().is_some(),
        "listed"
    );
    assert!(survivor.session_account(&session(1)).await.unwrap().is_none());
    token(&survivor, &authority, 1).await.unwrap();
    assert!(
        survivor
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(
        inner
            .get(&survivor.stored_key(&session(1)))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn lost_acknowledgements_neither_double_a_session_nor_hide_its_end() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let (faults, inner) = faulty(&clock);
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&(Arc::new(faults.clone()) as Arc<dyn Store>), &clock).await;
    faults.inject(Fault::lost_reply().on(Operation::Put).times(2));
    let begun = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(authority.asked(), 1);
    let late = open(&inner, &clock).await;
    let seen = token(&late, &authority, 1).await.unwrap();
    assert_eq!(seen.token().secret, begun.token().secret);

    faults.inject(Fault::lost_reply().on(Operation::Delete).times(2));
    assert!(cache.end_session(&session(1)).await.unwrap());
    for key in [session(1), user()] {
        assert!(inner.get(&late.stored_key(&key)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_request_for_another_kind_of_partition_is_refused() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    let call = Arc::new(Ask(Arc::clone(&authority)));
    let error = cache
        .acquire_session(request("a"), AcquireOptions::default(), call, LONGEST)
        .await;
    assert!(matches!(error, Err(CacheError::Strategy(_))));
    assert_eq!(authority.asked(), 0);
}
