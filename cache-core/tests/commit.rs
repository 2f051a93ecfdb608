//! Commits: no update is lost, whatever the store does to the writes.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, SignOutScope, TokenCache};
use cache_core::codec::{BincodeCodec, Codec, CodecError};
use cache_core::random::Random;
use cache_core::schema::Partition;
use cache_core::seal::Namespace;
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::Store;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::strategy::{SealPolicy, Strategy};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::Fault;
use cache_testkit::random::SeededRandom;
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

async fn sign_in_as(cache: &TokenCache, issuer: &Issuer, client: &str, scopes: &str) {
    cache
        .sign_in(&user(), issuer.sign_in_as(client, scopes))
        .await
        .unwrap();
}

/// The clients that a cache that has read nothing yet finds in the store.
async fn clients(store: &Arc<dyn Store>, clock: &ManualClock) -> HashSet<String> {
    let listing = open(store, clock).await.accounts().await.unwrap();
    assert!(listing.unreadable.is_empty());
    listing
        .accounts
        .into_iter()
        .flat_map(|account| account.silent_clients)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost_when_writes_conflict_and_their_answers_are_lost() {
    for seed in 0..12 {
        let (clock, faults, store) = faulty();
        let _ticking = ticking(&clock);
        let issuer = Issuer::new(&clock);
        let caches = [open(&store, &clock).await, open(&store, &clock).await];
        let random = SeededRandom::new(seed);
        for _ in 0..40 {
            let mut draw = [0; 2];
            random.fill(&mut draw).unwrap();
            let fault = match draw[0] % 5 {
                0 => Fault::lost_reply(),
                1 => Fault::lost_request(),
                2 => Fault::fail(ErrorKind::Unavailable),
                3 => Fault::fail(ErrorKind::Conflict),
                _ => Fault::delay(Duration::from_millis(draw[1].into())),
            };
            faults.inject(
                fault
                    .on(Operation::Put)
                    .at_key(is_user)
                    .after(draw[1].into())
                    .once(),
            );
            let read = Fault::lost_reply().on(Operation::Get).at_key(is_user);
            faults.inject(read.after(usize::from(draw[1]) * 2).once());
        }
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let (cache, issuer) = (caches[task % 2].clone(), Arc::clone(&issuer));
                tokio::spawn(async move {
                    for round in 0..6 {
                        sign_in_as(&cache, &issuer, &format!("client-{task}-{round}"), "a").await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        faults.heal();
        assert_eq!(clients(&store, &clock).await.len(), 96, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_arrives_as_another_ends_is_never_dropped() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
            tokio::spawn(async move {
                for _ in 0..150 {
                    sign_in_as(&cache, &issuer, &format!("client-{task}"), "a").await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn commits_that_wait_are_written_together() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    faults.reset_counts();
    let (pause, held) = Fault::pause_before();
    faults.inject(pause.on(Operation::Put).at_key(is_user).once());
    let spawn = |client: usize| {
        let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
        tokio::spawn(async move { sign_in_as(&cache, &issuer, &format!("client-{client}"), "a").await })
    };
    let mut tasks = vec![spawn(0)];
    held.reached().await;
    tasks.extend((1..11).map(spawn));
    settle().await;
    held.release();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(faults.count(Operation::Put), 2);
    assert_eq!(clients(&store, &clock).await.len(), 11);
}

#[tokio::test]
async fn endless_conflicts_end_in_a_typed_error_and_leave_what_was_there() {
    let (clock, faults, store) = faulty();
    let _ticking = ticking(&clock);
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    sign_in_as(&cache, &issuer, CLIENT, "a").await;
    let before = store.get(&cache.stored_key(&user())).await.unwrap();
    faults.inject(
        Fault::fail(ErrorKind::Conflict)
            .on(Operation::Put)
            .at_key(is_user),
    );
    let error = cache
        .sign_in(&user(), issuer.sign_in_as("other", "a"))
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::Contended { .. }), "{error:?}");
    assert_eq!(store.get(&cache.stored_key(&user())).await.unwrap(), before);
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_not_mistaken_for_one_that_others_write_to() {
    let (clock, faults, store) = faulty();
    let _ticking = ticking(&clock);
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    faults.inject(
        Fault::fail_as(ErrorKind::ReadOnly, Retry::Yes)
            .on(Operation::Put)
            .at_key(is_user),
    );
    let error = cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap_err();
    let CacheError::Store(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_commit() {
    for fault in [Fault::pause_before, Fault::pause_after] {
        let (clock, faults, store) = faulty();
        let issuer = Issuer::new(&clock);
        let cache = open(&store, &clock).await;
        let (pause, held) = fault();
        faults.inject(pause.on(Operation::Put).at_key(is_user).once());
        let caller = {
            let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
            tokio::spawn(async move { sign_in_as(&cache, &issuer, CLIENT, "a").await })
        };
        held.reached().await;
        caller.abort();
        held.release();
        assert_eq!(cache.shutdown(Duration::from_secs(60)).await, 0);
        assert_eq!(clients(&store, &clock).await.len(), 1);
    }
}

/// Fails as a merge would that has a defect.
#[derive(Debug, Default)]
struct Panicking(AtomicBool);

impl Codec for Panicking {
    fn id(&self) -> u8 {
        BincodeCodec.id()
    }

    fn schema_version(&self) -> u16 {
        BincodeCodec.schema_version()
    }

    fn encode(&self, partition: &Partition) -> Result<SecretBytes, CodecError> {
        assert!(!self.0.swap(false, Ordering::SeqCst), "expected by the test");
        BincodeCodec.encode(partition)
    }

    fn decode(&self, bytes: &[u8], schema_version: u16) -> Result<Partition, CodecError> {
        BincodeCodec.decode(bytes, schema_version)
    }
}

#[tokio::test]
async fn a_commit_that_panics_is_reported_and_the_next_one_works() {
    let (clock, _, store) = faulty();
    let issuer = Issuer::new(&clock);
    let codec = Arc::new(Panicking::default());
    let cache = TokenCache::builder(Arc::clone(&store))
        .clock(Arc::new(clock.clone()))
        .strategy(
            Strategy::desktop_tool()
                .codec(codec.clone())
                .seal(SealPolicy::PlaintextAllowed),
        )
        .open_plaintext(Namespace::default())
        .unwrap();
    codec.0.store(true, Ordering::SeqCst);
    let key = user();
    let (lost, also) = tokio::join!(
        cache.sign_in(&key, issuer.sign_in("a")),
        cache.sign_in(&key, issuer.sign_in("b"))
    );
    assert!(matches!(lost.unwrap_err(), CacheError::LeaderLost));
    // It was in the same batch, or came after: told so, or stored.
    assert!(also.map_or_else(|error| matches!(error, CacheError::LeaderLost), |_| true));
    sign_in_as(&cache, &issuer, CLIENT, "a").await;
    assert_eq!(cache.shutdown(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn a_sign_out_whose_answer_is_lost_is_done_and_nothing_serves_the_account_any_more() {
    for others_stay in [false, true] {
        let (clock, faults, store) = faulty();
        let _ticking = ticking(&clock);
        let issuer = Issuer::new(&clock);
        // Without change notification only the cache itself can drop what it has in memory.
        let cache = open(&quiet(store), &clock).await;
        sign_in_as(&cache, &issuer, CLIENT, "a").await;
        if others_stay {
            sign_in_as(&cache, &issuer, "other", "a").await;
        }
        let operation = if others_stay {
            Operation::Put
        } else {
            Operation::Delete
        };
        faults.inject(Fault::lost_reply().on(operation).at_key(is_user).once());
        assert!(
            cache
                .sign_out(&user(), CLIENT, SignOutScope::Client)
                .await
                .unwrap()
        );
        let error = cache
            .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
            .await
            .unwrap_err();
        assert!(error.is_interaction_required(), "{error:?}");
        assert_eq!(issuer.redeemed(), 0);
    }
}

#[tokio::test]
async fn a_sign_out_that_may_have_failed_leaves_nothing_in_memory() {
    let (clock, faults, store) = faulty();
    let _ticking = ticking(&clock);
    let issuer = Issuer::new(&clock);
    let cache = open(&quiet(store), &clock).await;
    sign_in_as(&cache, &issuer, CLIENT, "a").await;
    faults.inject(Fault::lost_reply().on(Operation::Delete).at_key(is_user).once());
    faults.inject(
        Fault::fail(ErrorKind::Other)
            .on(Operation::Get)
            .at_key(is_user)
            .after(1)
            .once(),
    );
    let error = cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::Store(_)), "{error:?}");
    let error = cache
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
}

#[tokio::test]
async fn one_callers_large_token_does_not_keep_anothers_sign_out_from_being_stored() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let small = quiet_and_small(store, 8192);
    let cache = open(&small, &clock).await;
    sign_in_as(&cache, &issuer, CLIENT, "a").await;
    sign_in_as(&cache, &issuer, "other", "a").await;
    let (pause, held) = Fault::pause_before();
    faults.inject(pause.on(Operation::Put).at_key(is_user).once());
    let first = {
        let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
        tokio::spawn(async move { cache.sign_in(&user(), issuer.sign_in_as("third", "a")).await })
    };
    held.reached().await;
    let large = {
        let (cache, mut response) = (cache.clone(), issuer.sign_in_as("large", "a"));
        response.access_token = Some(Secret::new("x".repeat(10_000)));
        tokio::spawn(async move { cache.sign_in(&user(), response).await })
    };
    let out = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.sign_out(&user(), CLIENT, SignOutScope::Client).await })
    };
    settle().await;
    held.release();
    first.await.unwrap().unwrap();
    let error = large.await.unwrap().unwrap_err();
    assert!(matches!(error, CacheError::PartitionTooLarge { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("split an application's tokens by resource")
    );
    assert!(out.await.unwrap().unwrap());
    let kept = clients(&small, &clock).await;
    assert_eq!(kept, ["other".to_owned(), "third".to_owned()].into());
}

#[tokio::test]
async fn tokens_that_cannot_be_stored_are_given_to_nobody_and_never_obtained_twice() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    sign_in_as(&caches[0], &issuer, CLIENT, "a").await;
    clock.advance(HOUR);
    let _ticking = ticking(&clock);
    // The marker is written, and then the disk is full.
    faults.inject(
        Fault::fail(ErrorKind::Full)
            .on(Operation::Put)
            .at_key(is_user)
            .after(1),
    );
    let error = caches[0]
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CacheError::NotPersisted(cause) if cause.is_storage()),
        "{error:?}"
    );
    faults.heal();
    for cache in &caches {
        let error = cache
            .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
            .await
            .unwrap_err();
        assert!(error.is_outcome_unknown(), "{error:?}");
    }
    assert_eq!((issuer.redeemed(), issuer.revoked_families()), (1, 0));
}

#[tokio::test]
async fn tokens_are_stored_when_the_store_recovers_before_the_deadline() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    sign_in_as(&cache, &issuer, CLIENT, "a").await;
    clock.advance(HOUR);
    let _ticking = ticking(&clock);
    faults.inject(
        Fault::fail(ErrorKind::Full)
            .on(Operation::Put)
            .at_key(is_user)
            .after(1)
            .times(20),
    );
    cache
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap();
    assert_eq!(issuer.redeemed(), 1);
}

#[tokio::test]
async fn a_marker_that_was_written_for_nothing_costs_nobody_the_session() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    sign_in_as(&cache, &issuer, CLIENT, "a").await;
    clock.advance(HOUR);
    let _ticking = ticking(&clock);
    // The marker is applied, nobody hears of it, and then the store is down for a while.
    faults.inject(Fault::lost_reply().on(Operation::Put).at_key(is_user).once());
    let down = Fault::fail(ErrorKind::Other).on(Operation::Get).at_key(is_user);
    faults.inject(down.after(2).times(5));
    let error = cache
        .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::Store(_)), "{error:?}");
    let recovered = loop {
        match cache
            .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
            .await
        {
            Err(error) if error.is_storage() => settle().await,
            result => break result,
        }
    };
    recovered.unwrap();
    assert_eq!((issuer.redeemed(), issuer.revoked_families()), (1, 0));
}
