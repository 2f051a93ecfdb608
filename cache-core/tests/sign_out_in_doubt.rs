//! Sign-outs of which nobody knows whether they were stored: all that they removed is handed out to be revoked.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, RemovedTokens, SignOutScope, TokenCache};
use cache_core::schema::{AuthorityIdentity, PartitionKey, SessionKey};
use cache_core::store::Store;
use cache_core::store::error::Operation;
use cache_testkit::clock::ManualClock;
use cache_testkit::declared::DeclaredStore;
use cache_testkit::fault::{Fault, FaultStore};
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Two processes over one store, of which the one that signs out does not hear of its removal.
struct World {
    clock: ManualClock,
    issuer: Arc<Issuer>,
    faults: FaultStore,
    leaving: TokenCache,
    other: TokenCache,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let (faults, store) = beside_faults(&clock);
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        Self {
            issuer: Issuer::new(&clock),
            leaving: open(&faulty, &clock).await,
            other: open(&store, &clock).await,
            clock,
            faults,
        }
    }

    /// Removes the record of `key`, and before it looks what became of that, others do as `meanwhile` says.
    async fn remove(
        &self,
        key: &PartitionKey,
        fault: Fault,
        removing: impl Future<Output = Result<RemovedTokens, CacheError>> + Send + 'static,
        meanwhile: impl AsyncFnOnce(),
    ) -> RemovedTokens {
        let stored_key = self.leaving.stored_key(key);
        let is_its = move |key: &cache_core::store::StoreKey| *key == stored_key;
        let lost = fault.on(Operation::Delete).at_key(is_its.clone());
        self.faults.inject(lost.once());
        let (pause, look) = Fault::pause_before();
        let pause = pause.on(Operation::Get).at_key(is_its).after(1);
        self.faults.inject(pause.once());
        let _ticking = ticking(&self.clock);
        let removing = tokio::spawn(removing);
        look.reached().await;
        meanwhile().await;
        look.release();
        removing.await.unwrap().unwrap()
    }
}

fn sign_out(
    cache: &TokenCache,
) -> impl Future<Output = Result<RemovedTokens, CacheError>> + Send + 'static + use<> {
    let cache = cache.clone();
    async move {
        let scope = SignOutScope::Client;
        cache.sign_out_with_tokens(&user(), CLIENT, scope).await
    }
}

fn session() -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::CallerKey("cookie".into()),
    }
}

/// A store that shows what its disk or its replicas may lose.
fn showing_early(faults: &FaultStore) -> Arc<dyn Store> {
    Arc::new(DeclaredStore::new(Arc::new(faults.clone()), |capabilities| {
        capabilities.shows_early = true;
    }))
}

#[tokio::test]
async fn one_that_meets_a_new_sign_in_hands_out_the_tokens_of_both() {
    let world = World::new().await;
    let [first, second] = [world.issuer.sign_in("a"), world.issuer.sign_in("a")];
    let tokens = [first.refresh_token.clone(), second.refresh_token.clone()].map(Option::unwrap);
    world.other.sign_in(&user(), first).await.unwrap();
    let removing = sign_out(&world.leaving);
    let again = async || drop(world.other.sign_in(&user(), second).await.unwrap());
    let removed = world.remove(&user(), Fault::lost_reply(), removing, again).await;
    assert!(removed.refresh_tokens == tokens, "{removed:?}");
    assert!(world.other.accounts().await.unwrap().accounts.is_empty());
}

/// What was not removed after all goes on as a family's that another client has joined: to revoke what it came from would end it.
#[tokio::test]
async fn one_that_did_not_arrive_hands_out_nothing_that_a_family_has_come_to_keep() {
    let world = World::new().await;
    let mut granted = world.issuer.sign_in("a");
    granted.family_id = Some("1".into());
    world.other.sign_in(&user(), granted).await.unwrap();
    let removing = sign_out(&world.leaving);
    let joined = async || {
        let mut granted = world.issuer.sign_in_as("other", "a");
        granted.family_id = Some("1".into());
        world.other.sign_in(&user(), granted).await.unwrap();
    };
    let removed = world
        .remove(&user(), Fault::lost_request(), removing, joined)
        .await;
    assert!(removed.found && removed.refresh_tokens.is_empty(), "{removed:?}");
}

/// Both wait while another write is under way. Made again together, the sign-out would take what the sign-in after it has stored.
#[tokio::test]
async fn one_that_waits_before_a_sign_in_does_not_take_its_token() {
    let clock = ManualClock::new();
    let (clock_, issuer) = (clock.clone(), Issuer::new(&clock));
    let (faults, store) = beside_faults(&clock);
    let (cache, other) = (
        open(&showing_early(&faults), &clock).await,
        open(&store, &clock).await,
    );
    let [first, second] = [issuer.sign_in("a"), issuer.sign_in("a")];
    let [of_first, of_second] = [first.refresh_token.clone(), second.refresh_token.clone()];
    other.sign_in(&user(), first).await.unwrap();

    let (pause, begun) = Fault::pause_before();
    faults.inject(pause.on(Operation::Get).at_key(is_user).once());
    let lost = Fault::lost_reply().on(Operation::Put).at_key(is_user);
    faults.inject(lost.after(1).once());
    let sign_in = |granted| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.sign_in(&user(), granted).await })
    };
    let under_way = sign_in(issuer.sign_in_as("other", "a"));
    begun.reached().await;
    let leaving = tokio::spawn(sign_out(&cache));
    settle().await;
    let coming = sign_in(second);
    settle().await;
    let _ticking = ticking(&clock_);
    begun.release();
    under_way.await.unwrap().unwrap();
    coming.await.unwrap().unwrap();
    let removed = leaving.await.unwrap().unwrap();
    assert!(removed.refresh_tokens == [of_first.unwrap()], "{removed:?}");
    clock_.advance(HOUR);
    let call = issuer.call("a");
    let refreshed = other.acquire(request("a"), AcquireOptions::default(), call);
    refreshed.await.unwrap();
    assert_eq!(issuer.sent(), [of_second.unwrap().expose()]);
}

#[tokio::test]
async fn an_end_of_a_session_that_meets_it_begun_anew_hands_out_the_tokens_of_both() {
    let world = World::new().await;
    let session = session();
    let begin = async |granted| {
        let begun = world.other.begin_session(&user(), &session, granted, HOUR).await;
        drop(begun.unwrap());
    };
    let [first, second] = [world.issuer.sign_in("a"), world.issuer.sign_in("a")];
    let tokens = [first.refresh_token.clone(), second.refresh_token.clone()].map(Option::unwrap);
    begin(first).await;
    let (cache, ended) = (world.leaving.clone(), session.clone());
    let ending = async move { cache.end_session_with_tokens(&ended).await };
    let again = async || begin(second).await;
    let removed = world.remove(&session, Fault::lost_reply(), ending, again).await;
    assert!(removed.refresh_tokens == tokens, "{removed:?}");
    assert_eq!(world.other.session_account(&session).await.unwrap(), None);
}

/// First the removal, then what is to settle it: the record without rows that the second leaves is nobody's.
#[tokio::test]
async fn an_end_of_a_session_that_is_not_heard_of_twice_hands_out_its_token_and_ends_its_listing() {
    let clock = ManualClock::new();
    let issuer = Issuer::new(&clock);
    let (faults, store) = beside_faults(&clock);
    let (cache, other) = (
        open(&showing_early(&faults), &clock).await,
        open(&store, &clock).await,
    );
    let session = session();
    let granted = issuer.sign_in("a");
    let token = granted.refresh_token.clone().unwrap();
    let begun = other.begin_session(&user(), &session, granted, HOUR).await;
    drop(begun.unwrap());
    let stored_key = cache.stored_key(&session);
    for operation in [Operation::Delete, Operation::Put] {
        let stored_key = stored_key.clone();
        let lost = Fault::lost_reply().on(operation);
        faults.inject(lost.at_key(move |key| *key == stored_key).once());
    }
    let _ticking = ticking(&clock);
    let removed = cache.end_session_with_tokens(&session).await.unwrap();
    assert!(removed.refresh_tokens == [token], "{removed:?}");
    assert!(other.accounts().await.unwrap().accounts.is_empty());
    assert!(!cache.end_session(&session).await.unwrap());
}
