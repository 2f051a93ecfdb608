//! Spenders that come back after their deadline: what they bring is refused, and nothing that others did is overwritten.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::cache::{AcquireOptions, Acquired, CacheError, TokenCache, TokenSource};
use cache_core::random::OsRandom;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::secret::Secret;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, Store};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use support::*;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3600);

/// Beyond the deadline of a marker under the default limits.
const TOO_LONG: Duration = Duration::from_secs(41);

/// Of the writes of a refresh: the marker is the first, the reply the second.
const REPLY: usize = 1;

/// Two processes over one store, and an account whose access token has expired.
struct World {
    clock: ManualClock,
    issuer: Arc<Issuer>,
    store: Arc<dyn Store>,
    /// What the spender's operations on the store go through.
    faults: FaultStore,
    spender: TokenCache,
    other: TokenCache,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new();
        Self::with_spender_at(&clock, &clock).await
    }

    /// With a spender that is stopped: time passes for all but it.
    async fn with_stopped_spender() -> (Self, ManualClock) {
        let stopped = ManualClock::new();
        let world = Self::with_spender_at(&ManualClock::new(), &stopped).await;
        stopped.advance(HOUR);
        (world, stopped)
    }

    async fn with_spender_at(clock: &ManualClock, own: &ManualClock) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
        let faults = FaultStore::new(Arc::clone(&store), Arc::new(own.clone()));
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        let (spender, other) = (open(&faulty, own).await, open(&store, clock).await);
        let issuer = Issuer::new(clock);
        other.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        clock.advance(HOUR);
        faults.reset_counts();
        Self {
            clock: clock.clone(),
            issuer,
            store,
            faults,
            spender,
            other,
        }
    }

    /// Begins a refresh by the spender; what it sent was executed when this returns, and its reply is held back.
    async fn spend(&self, scopes: &'static str, options: AcquireOptions) -> JoinHandle<Answer> {
        self.issuer.close_gate();
        let (cache, call) = (self.spender.clone(), self.issuer.call(scopes));
        let spending = tokio::spawn(async move { cache.acquire(request(scopes), options, call).await });
        self.issuer.arrived(1).await;
        spending
    }

    async fn ask_other(&self, scopes: &str) -> Answer {
        let call = self.issuer.call(scopes);
        self.other
            .acquire(request(scopes), AcquireOptions::default(), call)
            .await
    }

    /// The account's record as it is stored.
    async fn record(&self) -> Bytes {
        let key = self.other.stored_key(&user());
        self.store.get(&key).await.unwrap().unwrap().payload
    }

    /// Whether the one refresh token that was let go is dead at the issuer.
    fn has_revoked_what_came_late(&self) -> bool {
        let discarded = self.issuer.discarded();
        discarded.len() == 1 && !self.issuer.is_live(&Secret::new(discarded[0].clone()))
    }
}

type Answer = Result<Acquired, CacheError>;

fn asks_the_user(answer: Answer) -> bool {
    let error = answer.unwrap_err();
    error.is_outcome_unknown() && error.is_interaction_required()
}

#[tokio::test]
async fn whoever_asks_the_user_fences_the_spender_off_first() {
    let (world, stopped) = World::with_stopped_spender().await;
    let late = world.spend("a", AcquireOptions::default()).await;
    let marked = world.record().await;
    world.clock.advance(TOO_LONG);
    assert!(asks_the_user(world.ask_other("a").await));
    let fenced = world.record().await;
    assert_ne!(fenced, marked, "the answer is on the row before it is given");
    assert!(asks_the_user(world.ask_other("a").await));
    assert_eq!(world.record().await, fenced, "and it is stored once");

    // It wakes, and believes that no time has passed.
    world.issuer.open_gate();
    let _ticking = ticking(&stopped);
    assert!(asks_the_user(late.await.unwrap()));
    assert_eq!(world.record().await, fenced, "nothing is overwritten");
    assert_eq!(world.spender.shutdown(HOUR).await, 0);
    assert!(world.has_revoked_what_came_late());
    assert_eq!((world.issuer.redeemed(), world.issuer.revoked_families()), (1, 0));
    // A new sign-in ends it.
    let signed_in = world.issuer.sign_in("a");
    world.other.sign_in(&user(), signed_in).await.unwrap();
    world.clock.advance(HOUR);
    assert_eq!(
        world.ask_other("a").await.unwrap().source(),
        TokenSource::Authority
    );
}

#[tokio::test]
async fn a_spender_past_its_deadline_is_refused_although_nobody_noticed() {
    let world = World::new().await;
    let late = world.spend("a", AcquireOptions::default()).await;
    // The reply is there in the same moment in which it wakes.
    world.clock.advance(TOO_LONG);
    world.issuer.open_gate();
    assert!(asks_the_user(late.await.unwrap()));
    assert_eq!(world.spender.shutdown(HOUR).await, 0);
    assert!(world.has_revoked_what_came_late());
    assert!(asks_the_user(world.ask_other("a").await), "all are told the same");
    assert_eq!((world.issuer.redeemed(), world.issuer.revoked_families()), (1, 0));
}

#[tokio::test]
async fn a_wall_clock_that_jumps_costs_nobody_a_session() {
    let world = World::new().await;
    let spending = world.spend("a", AcquireOptions::default()).await;
    world
        .clock
        .set(ManualClock::START.saturating_add(HOUR + TOO_LONG));
    world.issuer.open_gate();
    spending.await.unwrap().unwrap();
    assert_eq!(world.ask_other("a").await.unwrap().source(), TokenSource::Store);
    assert_eq!(world.issuer.discarded(), [""; 0]);
}

#[tokio::test]
async fn what_comes_late_is_not_revoked_while_its_grant_still_serves() {
    let world = World::new().await;
    let signed_in = world.issuer.sign_in("a");
    world.other.sign_in(&user(), signed_in).await.unwrap();
    let late = world.spend("b", AcquireOptions::default()).await;
    world.clock.advance(TOO_LONG);
    world.issuer.open_gate();
    assert!(asks_the_user(late.await.unwrap()));
    assert_eq!(world.spender.shutdown(HOUR).await, 0);
    assert_eq!(
        world.issuer.discarded(),
        [""; 0],
        "to revoke it would end the token for `a`"
    );
    world.ask_other("a").await.unwrap();
    assert!(asks_the_user(world.ask_other("b").await));
}

fn web_session(key: &str) -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::WebSession(key.into()),
    }
}

#[tokio::test]
async fn what_comes_late_is_not_revoked_while_a_session_of_the_user_goes_on() {
    let world = World::new().await;
    let granted = world.issuer.sign_in("a");
    world
        .other
        .begin_session(&user(), &web_session("browser"), granted, 24 * HOUR)
        .await
        .unwrap();
    let late = world.spend("a", AcquireOptions::default()).await;
    world.clock.advance(TOO_LONG);
    world.issuer.open_gate();
    assert!(asks_the_user(late.await.unwrap()));
    assert_eq!(world.spender.shutdown(HOUR).await, 0);
    assert_eq!(world.issuer.discarded(), [""; 0]);
}

#[tokio::test]
async fn what_a_session_brings_after_its_end_is_revoked_only_if_it_was_the_user_s_last() {
    for is_last in [false, true] {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let (refreshing, other) = (open(&store, &clock).await, open(&store, &clock).await);
        let (ended, kept) = (web_session("ended"), web_session("kept"));
        for session in [Some(&ended), Some(&kept).filter(|_| !is_last)]
            .into_iter()
            .flatten()
        {
            let granted = issuer.sign_in("a");
            other
                .begin_session(&user(), session, granted, 24 * HOUR)
                .await
                .unwrap();
        }
        clock.advance(HOUR);
        issuer.close_gate();
        let request = TokenRequest::new(
            ended.clone(),
            AuthorityKind::Oidc,
            CLIENT,
            "issuer.example",
            "",
            ScopeSet::parse("a"),
        );
        let (cache, call) = (refreshing.clone(), issuer.call("a"));
        let late = tokio::spawn(async move {
            cache
                .acquire(Arc::new(request), AcquireOptions::default(), call)
                .await
        });
        issuer.arrived(1).await;
        assert!(other.end_session(&ended).await.unwrap());
        issuer.open_gate();
        assert!(late.await.unwrap().unwrap_err().is_interaction_required());
        assert_eq!(refreshing.shutdown(HOUR).await, 0);
        assert_eq!(issuer.discarded().len(), usize::from(is_last));
    }
}

#[tokio::test]
async fn where_reuse_is_safe_a_late_spender_sends_once_more() {
    let world = World::new().await;
    world.issuer.allow_reuse();
    let late = world.spend("a", retry_once()).await;
    world.clock.advance(TOO_LONG);
    world.issuer.open_gate();
    let acquired = late.await.unwrap().unwrap();
    assert_eq!(acquired.source(), TokenSource::Authority);
    assert_eq!(world.issuer.redeemed(), 2);
    assert!(world.issuer.sent_twice(), "the token that it had marked");
    let stored = world.ask_other("a").await.unwrap();
    assert_eq!(stored.token().secret, acquired.token().secret);
    assert_eq!(world.spender.shutdown(HOUR).await, 0);
    assert_eq!(world.issuer.discarded(), [""; 0]);
}

#[tokio::test]
async fn where_reuse_is_safe_two_late_replies_are_the_last() {
    let (world, stopped) = World::with_stopped_spender().await;
    world.issuer.allow_reuse();
    let late = world.spend("a", retry_once()).await;
    world.clock.advance(TOO_LONG);
    let second = {
        let (cache, call) = (world.other.clone(), world.issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request("a"), retry_once(), call).await })
    };
    world.issuer.arrived(2).await;
    world.clock.advance(TOO_LONG);
    world.issuer.open_gate();
    assert!(asks_the_user(second.await.unwrap()));
    let fenced = world.record().await;
    let _ticking = ticking(&stopped);
    assert!(asks_the_user(late.await.unwrap()));
    assert_eq!(world.record().await, fenced);
    assert_eq!(world.issuer.redeemed(), 2, "never a third time");
}

#[tokio::test]
async fn a_reply_that_waits_for_the_store_beyond_the_deadline_is_not_stored_either() {
    let world = World::new().await;
    let full = Fault::fail(ErrorKind::Full).on(Operation::Put).after(REPLY);
    world.faults.inject(full);
    let late = world.spend("a", AcquireOptions::default()).await;
    let marked = world.record().await;
    world.issuer.open_gate();
    settle().await;
    // The store takes writes again, a moment too late.
    world.faults.heal();
    world.clock.advance(TOO_LONG);
    let error = late.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, CacheError::NotPersisted(cause) if cause.is_storage()),
        "{error:?}"
    );
    assert_eq!(world.record().await, marked);
    assert_eq!(world.spender.shutdown(HOUR).await, 0);
    assert_eq!(world.issuer.discarded(), [""; 0]);
    assert!(asks_the_user(world.ask_other("a").await));
    assert_eq!(world.issuer.redeemed(), 1);
}

#[tokio::test]
async fn a_token_that_expires_before_it_is_stored_is_renewed_within_the_callers_time() {
    // A store that takes two seconds, once: the next token serves.
    let world = World::new().await;
    world.issuer.lifetime(2);
    let slow = |times| {
        Fault::delay(Duration::from_secs(2))
            .on(Operation::Put)
            .after(REPLY)
            .times(times)
    };
    world.faults.inject(slow(1));
    let _ticking = ticking(&world.clock);
    let call = world.issuer.call("a");
    let acquired = world
        .spender
        .acquire(request("a"), AcquireOptions::default(), call)
        .await;
    assert_eq!(acquired.unwrap().source(), TokenSource::Authority);
    assert_eq!(world.issuer.redeemed(), 2);

    // One that always does: the caller waits no longer than for anything else, and the session goes on.
    let world = World::new().await;
    world.issuer.lifetime(2);
    world.faults.inject(slow(usize::MAX));
    let _ticking = ticking(&world.clock);
    let call = world.issuer.call("a");
    let error = world
        .spender
        .acquire(request("a"), AcquireOptions::default(), call)
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::TimedOut), "{error:?}");
    assert!((3..=45).contains(&world.issuer.redeemed()));
    world.ask_other("a").await.unwrap();
    assert_eq!(world.issuer.revoked_families(), 0);

    // And one that the issuer gives no time at all is not asked for again.
    let world = World::new().await;
    world.issuer.lifetime(0);
    let error = world.ask_other("a").await.unwrap_err();
    assert!(matches!(error, CacheError::NoAccessToken), "{error:?}");
    assert_eq!(world.issuer.redeemed(), 1);
}

#[tokio::test]
async fn a_write_that_was_begun_in_time_is_judged_by_the_store() {
    // Nobody acted meanwhile: it is applied, and to refuse it afterwards would lose what all can see.
    let world = World::new().await;
    let (pause, held) = Fault::pause_before();
    world.faults.inject(pause.on(Operation::Put).after(REPLY).once());
    let slow = world.spend("a", AcquireOptions::default()).await;
    world.issuer.open_gate();
    settle().await;
    world.clock.advance(TOO_LONG);
    held.release();
    let acquired = slow.await.unwrap().unwrap();
    let stored = world.ask_other("a").await.unwrap();
    assert_eq!(stored.token().secret, acquired.token().secret);

    // Somebody did: the version is the fence.
    let world = World::new().await;
    let (pause, held) = Fault::pause_before();
    world.faults.inject(pause.on(Operation::Put).after(REPLY).once());
    let slow = world.spend("a", AcquireOptions::default()).await;
    world.issuer.open_gate();
    settle().await;
    world.clock.advance(TOO_LONG);
    assert!(asks_the_user(world.ask_other("a").await));
    let fenced = world.record().await;
    held.release();
    let _ticking = ticking(&world.clock);
    assert!(asks_the_user(slow.await.unwrap()));
    assert_eq!(world.record().await, fenced);
}

#[tokio::test]
async fn an_acknowledgement_that_comes_after_the_deadline_is_recognised() {
    let world = World::new().await;
    world
        .faults
        .inject(Fault::lost_reply().on(Operation::Put).after(REPLY).once());
    let (pause, held) = Fault::pause_before();
    let slow = world.spend("a", AcquireOptions::default()).await;
    // The look at what became of the write, after the one before it.
    world.faults.inject(pause.on(Operation::Get).after(1).once());
    world.issuer.open_gate();
    settle().await;
    world.clock.advance(TOO_LONG);
    held.release();
    let _ticking = ticking(&world.clock);
    let acquired = slow.await.unwrap().unwrap();
    assert_eq!(acquired.source(), TokenSource::Authority);
    assert_eq!(world.issuer.discarded(), [""; 0]);
    assert_eq!(world.issuer.redeemed(), 1);
}

#[tokio::test]
async fn nobody_is_told_what_could_not_be_recorded() {
    let world = World::new().await;
    // A process that dies after it has sent the token.
    world.spend("a", AcquireOptions::default()).await.abort();
    world.clock.advance(TOO_LONG);
    world
        .faults
        .inject(Fault::fail(ErrorKind::Full).on(Operation::Put));
    let faulty: Arc<dyn Store> = Arc::new(world.faults.clone());
    let cache = open(&faulty, &world.clock).await;
    let ask = || {
        let (cache, call) = (cache.clone(), world.issuer.call("a"));
        async move { cache.acquire(request("a"), AcquireOptions::default(), call).await }
    };
    let error = ask().await.unwrap_err();
    assert!(error.is_storage(), "{error:?}");
    world.faults.heal();
    assert!(asks_the_user(ask().await));
    assert_eq!(world.issuer.redeemed(), 1);
}
