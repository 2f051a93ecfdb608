//! When a commit tries again, how often, and what it says in the end.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, SignOutScope, TokenCache};
use cache_core::secret::Secret;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_testkit::fault::Fault;
use support::*;
use tokio::task::JoinHandle;

fn sign_in(cache: &TokenCache, issuer: &Arc<Issuer>, client: &str) -> JoinHandle<Result<(), CacheError>> {
    let (cache, issuer, client) = (cache.clone(), Arc::clone(issuer), client.to_owned());
    tokio::spawn(async move {
        let response = issuer.sign_in_as(&client, "a");
        cache.sign_in(&user(), response).await.map(drop)
    })
}

#[tokio::test]
async fn a_commit_that_somebody_was_faster_than_waits_before_it_looks_again() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    faults.reset_counts();
    let conflict = Fault::fail(ErrorKind::Conflict)
        .on(Operation::Put)
        .at_key(is_user);
    faults.inject(conflict.times(3));
    let signing_in = sign_in(&cache, &issuer, CLIENT);
    for attempts in 1..=3 {
        clock.wait_for_sleepers(1).await;
        assert_eq!(faults.count(Operation::Put), attempts);
        // No pause is longer than what an attempt doubles from two milliseconds on.
        clock.advance(Duration::from_millis(1 << attempts));
        settle().await;
    }
    signing_in.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_without_a_wait() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    faults.reset_counts();
    faults.inject(Fault::lost_reply().on(Operation::Put).at_key(is_user).once());
    let signing_in = sign_in(&cache, &issuer, CLIENT);
    // Nobody moves the clock.
    settle().await;
    assert!(signing_in.is_finished());
    signing_in.await.unwrap().unwrap();
    assert_eq!(faults.count(Operation::Put), 1);
}

#[tokio::test]
async fn a_write_that_cannot_be_looked_for_is_reported_at_once() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    faults.inject(Fault::lost_reply().on(Operation::Put).at_key(is_user).once());
    let unreadable = Fault::fail_as(ErrorKind::Corrupt, Retry::No).on(Operation::Get);
    faults.inject(unreadable.at_key(is_user).after(1));
    let signing_in = sign_in(&cache, &issuer, CLIENT);
    settle().await;
    assert!(signing_in.is_finished());
    let error = signing_in.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, CacheError::Store(error) if error.kind() == ErrorKind::Corrupt),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_not_mistaken_for_one_that_others_write_to() {
    let (clock, faults, store) = faulty();
    let _ticking = ticking(&clock);
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    faults.inject(
        Fault::fail(ErrorKind::Unavailable)
            .on(Operation::Get)
            .at_key(is_user),
    );
    let error = sign_in(&cache, &issuer, CLIENT).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, CacheError::Store(error) if error.kind() == ErrorKind::Unavailable),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_a_slow_commit_leaves_in_memory_is_as_old_as_its_reading() {
    for changes in [false, true] {
        let (clock, faults, store) = faulty();
        let issuer = Issuer::new(&clock);
        // Without change notification it is age alone that has memory compared with the store.
        let cache = open(&quiet(store), &clock).await;
        sign_in(&cache, &issuer, CLIENT).await.unwrap().unwrap();
        let (pause, held) = Fault::pause_after();
        let slow = if changes { Operation::Put } else { Operation::Get };
        faults.inject(pause.on(slow).at_key(is_user).once());
        let commit = if changes {
            sign_in(&cache, &issuer, "other")
        } else {
            let cache = cache.clone();
            tokio::spawn(async move {
                let client = "of nobody";
                cache
                    .sign_out(&user(), client, SignOutScope::Client)
                    .await
                    .map(drop)
            })
        };
        held.reached().await;
        clock.advance(Duration::from_secs(31));
        held.release();
        commit.await.unwrap().unwrap();
        faults.reset_counts();
        cache
            .acquire(request("a"), AcquireOptions::default(), issuer.call("a"))
            .await
            .unwrap();
        let asked = faults.count(Operation::Get) + faults.count(Operation::Head);
        assert_eq!(asked, 1, "changes: {changes}");
    }
}

#[tokio::test]
async fn a_single_token_that_is_too_large_is_tried_once() {
    let (clock, faults, store) = faulty();
    let issuer = Issuer::new(&clock);
    let cache = open(&quiet_and_small(store, 8192), &clock).await;
    faults.reset_counts();
    let mut response = issuer.sign_in_as(CLIENT, "a");
    response.access_token = Some(Secret::new("x".repeat(10_000)));
    let error = cache.sign_in(&user(), response).await.unwrap_err();
    assert!(matches!(error, CacheError::PartitionTooLarge { .. }), "{error:?}");
    assert_eq!(
        (faults.count(Operation::Get), faults.count(Operation::Put)),
        (1, 0)
    );
}
