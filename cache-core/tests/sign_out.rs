//! A refresh that meets a sign-out, a new sign-in or its own death, at every point where it touches the store.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, Acquired, CacheError, SignOutScope, TokenCache, TokenSource};
use cache_core::secret::Secret;
use cache_core::store::Store;
use cache_core::store::error::Operation;
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore, PausePoint};
use support::*;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3600);

/// More than a refresh has of either kind, so that the walk ends after its end.
const MOST_OPERATIONS: usize = 8;

/// Two processes over one store; the first one's operations are the test's to hold or to fail.
struct World {
    clock: ManualClock,
    issuer: Arc<Issuer>,
    store: Arc<dyn Store>,
    faults: FaultStore,
    refreshing: TokenCache,
    other: TokenCache,
}

impl World {
    /// With an account whose access token has expired.
    async fn new() -> Self {
        let clock = ManualClock::new();
        let (faults, store) = beside_faults(&clock);
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        let (refreshing, other) = (open(&faulty, &clock).await, open(&store, &clock).await);
        let issuer = Issuer::new(&clock);
        other.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        clock.advance(HOUR);
        Self {
            clock,
            issuer,
            store,
            faults,
            refreshing,
            other,
        }
    }

    fn refresh(&self) -> JoinHandle<Result<Acquired, CacheError>> {
        let (cache, call) = (self.refreshing.clone(), self.issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request("a"), AcquireOptions::default(), call).await })
    }

    async fn acquire(&self, cache: &TokenCache) -> Result<Acquired, CacheError> {
        let call = self.issuer.call("a");
        cache.acquire(request("a"), AcquireOptions::default(), call).await
    }
}

/// What another process does while the refresh is held.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    SignOut,
    Forget,
    SignIn,
    SignOutAndIn,
}

/// The points at which a refresh is held: before and after each operation on the account's record.
fn points() -> impl Iterator<Item = (&'static str, Operation, usize)> {
    let operations = [Operation::Get, Operation::Put];
    let places = ["before", "after"];
    operations.into_iter().flat_map(move |operation| {
        places
            .into_iter()
            .flat_map(move |place| (0..MOST_OPERATIONS).map(move |number| (place, operation, number)))
    })
}

fn pause(place: &str, operation: Operation, number: usize) -> (Fault, PausePoint) {
    let (fault, point) = match place {
        "before" => Fault::pause_before(),
        _ => Fault::pause_after(),
    };
    (fault.on(operation).at_key(is_user).after(number).once(), point)
}

#[tokio::test]
async fn whatever_the_other_process_does_during_a_refresh_stays_done() {
    let (mut reached, mut discarded_by) = (0, 0);
    for meanwhile in [
        Meanwhile::SignOut,
        Meanwhile::Forget,
        Meanwhile::SignIn,
        Meanwhile::SignOutAndIn,
    ] {
        for (place, operation, number) in points() {
            let at = format!("{meanwhile:?} {place} {operation:?} {number}");
            let world = World::new().await;
            let (fault, point) = pause(place, operation, number);
            world.faults.inject(fault);
            let refresh = world.refresh();
            settle().await;
            let is_held = !refresh.is_finished();
            reached += usize::from(is_held);
            let _ticking = ticking(&world.clock);
            let signed_in = match meanwhile {
                Meanwhile::SignOut => {
                    assert!(
                        world
                            .other
                            .sign_out(&user(), CLIENT, SignOutScope::Client)
                            .await
                            .unwrap(),
                        "{at}"
                    );
                    None
                }
                Meanwhile::Forget => {
                    assert!(world.other.forget_account(&user()).await.unwrap(), "{at}");
                    None
                }
                Meanwhile::SignIn => {
                    let response = world.issuer.sign_in("a");
                    Some(world.other.sign_in(&user(), response).await.unwrap())
                }
                Meanwhile::SignOutAndIn => {
                    world
                        .other
                        .sign_out(&user(), CLIENT, SignOutScope::Client)
                        .await
                        .unwrap();
                    let response = world.issuer.sign_in("a");
                    Some(world.other.sign_in(&user(), response).await.unwrap())
                }
            };
            point.release();
            let refreshed = refresh.await.unwrap();
            settle().await;
            if let Some(signed_in) = signed_in {
                let kept = world.acquire(&world.other).await.unwrap();
                if is_held {
                    refreshed.unwrap_or_else(|error| panic!("{at}: {error:?}"));
                }
                assert!(kept.token().expires_on >= signed_in.token().expires_on, "{at}");
                // The session that lives is the new one: its refresh token works, and the old one's is not tried.
                world.clock.advance(HOUR);
                world
                    .acquire(&world.other)
                    .await
                    .unwrap_or_else(|error| panic!("{at}: {error:?}"));
            } else {
                if let Err(error) = refreshed {
                    assert!(error.is_interaction_required(), "{at}: {error:?}");
                }
                for cache in [&world.refreshing, &world.other] {
                    let error = world
                        .acquire(cache)
                        .await
                        .err()
                        .unwrap_or_else(|| panic!("{at}: served"));
                    assert!(error.is_interaction_required(), "{at}: {error:?}");
                }
                assert!(
                    world
                        .store
                        .get(&world.other.stored_key(&user()))
                        .await
                        .unwrap()
                        .is_none(),
                    "{at}"
                );
            }
            assert!(!world.issuer.sent_twice(), "{at}");
            assert_eq!(world.issuer.revoked_families(), 0, "{at}");
            for discarded in world.issuer.discarded() {
                assert!(!world.issuer.is_live(&Secret::new(discarded)), "{at}");
                discarded_by += 1;
                assert!(
                    matches!(meanwhile, Meanwhile::SignOut | Meanwhile::Forget),
                    "{at}"
                );
            }
        }
    }
    assert!(discarded_by >= 4, "only {discarded_by} tokens were discarded");
    // Three reads and two writes, each held before and after, for each of the four.
    assert!(reached >= 40, "only {reached} points were reached");
}

#[tokio::test]
async fn a_process_that_dies_during_a_refresh_leaves_the_others_an_answer_in_time() {
    let mut died = 0;
    for (place, operation, number) in points() {
        let at = format!("{place} {operation:?} {number}");
        let world = World::new().await;
        let crash = match place {
            "before" => Fault::crash_before(),
            _ => Fault::crash_after(),
        };
        world
            .faults
            .inject(crash.on(operation).at_key(is_user).after(number).once());
        let refresh = world.refresh();
        settle().await;
        let sent = world.issuer.redeemed();
        died += usize::from(world.faults.has_crashed());
        refresh.abort();
        let before = world.clock.now();
        let _ticking = ticking(&world.clock);
        let answer = world.acquire(&world.other).await;
        let waited = world.clock.now().duration_since(before);
        assert!(waited <= Duration::from_secs(45), "{at}: {waited:?}");
        match answer {
            Ok(_) => assert_eq!(world.issuer.redeemed(), 1, "{at}"),
            Err(error) => {
                assert!(
                    error.is_outcome_unknown() && error.is_interaction_required(),
                    "{at}: {error:?}"
                );
                assert_eq!(world.issuer.redeemed(), sent, "{at}");
            }
        }
        assert!(!world.issuer.sent_twice(), "{at}");
        assert_eq!(world.issuer.revoked_families(), 0, "{at}");
        // A new sign-in ends it, whatever it was.
        let response = world.issuer.sign_in("a");
        world.other.sign_in(&user(), response).await.unwrap();
        world.clock.advance(HOUR);
        world
            .acquire(&world.other)
            .await
            .unwrap_or_else(|error| panic!("{at}: {error:?}"));
    }
    assert!(died >= 10, "only {died} points were reached");
}

#[tokio::test]
async fn a_runtime_that_ends_during_a_refresh_leaves_the_others_an_answer_in_time() {
    for (place, operation, number) in points() {
        let at = format!("{place} {operation:?} {number}");
        let world = World::new().await;
        let (fault, _point) = pause(place, operation, number);
        world.faults.inject(fault);
        let (faulty, clock): (Arc<dyn Store>, _) = (Arc::new(world.faults.clone()), world.clock.clone());
        let call = world.issuer.call("a");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let cache = open(&faulty, &clock).await;
                let _refresh = tokio::spawn(async move {
                    cache.acquire(request("a"), AcquireOptions::default(), call).await
                });
                settle().await;
            });
        })
        .join()
        .unwrap();
        let before = world.clock.now();
        let _ticking = ticking(&world.clock);
        let answer = world.acquire(&world.other).await;
        let waited = world.clock.now().duration_since(before);
        assert!(waited <= Duration::from_secs(45), "{at}: {waited:?}");
        if let Err(error) = answer {
            assert!(
                error.is_outcome_unknown() && error.is_interaction_required(),
                "{at}: {error:?}"
            );
        }
        assert!(!world.issuer.sent_twice(), "{at}");
        assert_eq!(world.issuer.revoked_families(), 0, "{at}");
    }
}

#[tokio::test]
async fn signing_out_one_client_leaves_the_other_and_the_account() {
    let world = World::new().await;
    let response = world.issuer.sign_in_as("other", "a");
    world.other.sign_in(&user(), response).await.unwrap();
    assert!(
        world
            .refreshing
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(
        !world
            .refreshing
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    let listing = world.other.accounts().await.unwrap();
    assert_eq!(listing.accounts.len(), 1);
    assert_eq!(listing.accounts[0].silent_clients, ["other"]);
    assert!(world.other.forget_account(&user()).await.unwrap());
    assert!(!world.other.forget_account(&user()).await.unwrap());
    assert!(world.refreshing.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn a_spender_that_was_stopped_past_its_deadline_is_refused_when_it_wakes() {
    let world = World::new().await;
    world.issuer.allow_reuse();
    world.issuer.close_gate();
    // A process that is stopped: time passes for all but it.
    let stopped = ManualClock::new();
    stopped.advance(HOUR);
    let sleeper = open(&world.store, &stopped).await;
    let spawn = |cache: TokenCache| {
        let call = world.issuer.call("a");
        tokio::spawn(async move { cache.acquire(request("a"), retry_once(), call).await })
    };
    let late = spawn(sleeper);
    world.issuer.arrived(1).await;
    world.clock.advance(Duration::from_secs(41));
    let successor = spawn(world.other.clone());
    world.issuer.arrived(2).await;
    // The one that slept has its answer first.
    world.issuer.open_gate();
    let _ticking = ticking(&stopped);
    let successor = successor.await.unwrap().unwrap();
    assert_eq!(
        successor.source(),
        TokenSource::Authority,
        "its right was not taken away"
    );
    let late = late.await.unwrap().unwrap();
    assert_eq!(
        late.token().secret,
        successor.token().secret,
        "it adopts what is there"
    );
    assert_eq!(world.issuer.redeemed(), 2);
    assert_eq!(
        world.issuer.discarded(),
        [""; 0],
        "its refresh token belongs to the grant that lives on"
    );
    // What is stored is the successor's: the next refresh spends its refresh token.
    world.clock.advance(HOUR);
    world.acquire(&world.other).await.unwrap();
    assert_eq!(world.issuer.redeemed(), 3);
}

#[tokio::test]
async fn a_sign_out_hands_out_the_refresh_tokens_that_it_removed_and_no_others() {
    let world = World::new().await;
    let own = world.acquire(&world.other).await.unwrap();
    assert_eq!(own.source(), TokenSource::Authority);
    let kept = world.issuer.sign_in_as("other", "a");
    world.other.sign_in(&user(), kept.clone()).await.unwrap();
    let removed = world
        .refreshing
        .sign_out_with_tokens(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert!(removed.found);
    let [token] = &removed.refresh_tokens[..] else {
        panic!("{removed:?}")
    };
    assert!(world.issuer.is_live(token) && Some(token) != kept.refresh_token.as_ref());
    assert!(!format!("{removed:?}").contains("canary"));
    let again = world
        .refreshing
        .sign_out_with_tokens(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert!(!again.found && again.refresh_tokens.is_empty());
}

#[tokio::test]
async fn a_family_token_that_stays_for_others_is_not_handed_out() {
    let world = World::new().await;
    world.other.forget_account(&user()).await.unwrap();
    for client in [CLIENT, "sister"] {
        let mut response = world.issuer.sign_in_as(client, "a");
        response.family_id = Some("1".into());
        world.other.sign_in(&user(), response).await.unwrap();
    }
    let sign_out = |client: &'static str, scope| {
        let cache = world.other.clone();
        async move { cache.sign_out_with_tokens(&user(), client, scope).await.unwrap() }
    };
    let first = sign_out(CLIENT, SignOutScope::Client).await;
    assert!(first.found && first.refresh_tokens.is_empty(), "{first:?}");
    let last = sign_out("sister", SignOutScope::Client).await;
    assert_eq!(last.refresh_tokens.len(), 1, "the last member takes it along");
}

#[tokio::test]
async fn a_refresh_by_a_familys_token_does_not_sign_in_again_whom_a_sign_out_left_out() {
    let world = World::new().await;
    world.other.forget_account(&user()).await.unwrap();
    world.issuer.grant_to_family("1");
    for client in ["sister", CLIENT] {
        let response = world.issuer.sign_in_as(client, "a");
        world.other.sign_in(&user(), response).await.unwrap();
    }
    world.clock.advance(HOUR);
    world.issuer.close_gate();
    let refresh = world.refresh();
    world.issuer.arrived(1).await;
    let scope = SignOutScope::Client;
    assert!(world.other.sign_out(&user(), CLIENT, scope).await.unwrap());
    world.issuer.open_gate();
    let error = refresh.await.unwrap().unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
    let error = world.acquire(&world.refreshing).await.unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
    let listed = world.other.accounts().await.unwrap().accounts;
    assert_eq!(listed[0].clients, ["sister"]);
    // The family goes on with the token that came back: the one before it is spent.
    let call = world.issuer.call_as("sister", "a");
    let sisters = world
        .other
        .acquire(request_of("sister", "a"), AcquireOptions::default(), call);
    sisters.await.unwrap();
    assert!(!world.issuer.sent_twice());
    assert_eq!(world.issuer.discarded(), [""; 0]);
}

#[tokio::test]
async fn a_sign_out_whose_acknowledgement_is_lost_still_hands_out_its_tokens() {
    let world = World::new().await;
    let lost = Fault::lost_reply().on(Operation::Delete).at_key(is_user).once();
    world.faults.inject(lost);
    let _ticking = ticking(&world.clock);
    let removed = world
        .refreshing
        .sign_out_with_tokens(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert!(removed.found);
    assert_eq!(removed.refresh_tokens.len(), 1);
    assert!(world.issuer.is_live(&removed.refresh_tokens[0]));
}
