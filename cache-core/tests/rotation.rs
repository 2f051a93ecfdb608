//! Keys that rotate under load: nobody's read or write fails, and old keys come to an end.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::cache::{AcquireOptions, TokenCache};
use cache_core::random::OsRandom;
use cache_core::schema::{AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenRequest};
use cache_core::seal::{KeyState, WRITER_WINDOW};
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{MemoryTier, Strategy, TimeLimits};
use cache_testkit::clock::ManualClock;
use support::*;

const ROTATIONS: usize = 20;
const USERS: usize = 8;

fn user(number: usize) -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: format!("sub-{number}"),
    }
}

async fn sign_in(cache: &TokenCache, issuer: &Issuer, number: usize) {
    let mut response = issuer.sign_in("a");
    response.account.as_mut().unwrap().home_account_id = format!("sub-{number}");
    cache.sign_in(&user(number), response).await.unwrap();
}

async fn read(cache: &TokenCache, issuer: &Arc<Issuer>, number: usize) {
    let request = TokenRequest::new(
        user(number),
        AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        ScopeSet::parse("a"),
    );
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    cache
        .acquire(Arc::new(request), options, issuer.call("a"))
        .await
        .unwrap_or_else(|error| panic!("user {number}: {error:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_and_no_write_fails_while_keys_rotate_and_old_keys_come_to_an_end() {
    let clock = ManualClock::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
    let issuer = Issuer::new(&clock);
    issuer.lifetime(1_000_000_000);
    let _ticking = ticking(&clock);
    // Every read goes to the store, under whatever ring the process has.
    let strategy = Strategy::desktop_tool()
        .memory_tier(MemoryTier::off())
        // The test's clock leaps on while the system may leave a thread waiting.
        .limits(TimeLimits {
            acquire: Duration::from_secs(86_400),
            ..TimeLimits::default()
        });
    let rotating = open_with(&store, &clock, strategy.clone()).await;
    for number in 0..USERS {
        sign_in(&rotating, &issuer, number).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let operations = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for process in 0..4 {
        let cache = open_with(&store, &clock, strategy.clone()).await;
        for writes in [false, true] {
            let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
            let (stop, operations) = (Arc::clone(&stop), Arc::clone(&operations));
            tasks.push(tokio::spawn(async move {
                let mut number = process;
                while !stop.load(Ordering::SeqCst) {
                    number = (number + 1) % USERS;
                    if writes {
                        sign_in(&cache, &issuer, number).await;
                    } else {
                        read(&cache, &issuer, number).await;
                    }
                    operations.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
            }));
        }
    }
    let sealer = rotating.sealer();
    for _ in 0..ROTATIONS {
        let before = operations.load(Ordering::SeqCst);
        let old: Vec<_> = sealer
            .keys()
            .into_iter()
            .filter(|key| key.state == KeyState::Primary)
            .collect();
        sealer.rotate().await.unwrap();
        while operations.load(Ordering::SeqCst) < before + 50 {
            tokio::task::yield_now().await;
        }
        // Every writer must have noticed before the old key may go.
        clock.advance(WRITER_WINDOW);
        while operations.load(Ordering::SeqCst) < before + 100 {
            tokio::task::yield_now().await;
        }
        clock.advance(WRITER_WINDOW + Duration::from_secs(1));
        while !sealer.reseal(u64::MAX).await.unwrap().is_complete() {}
        sealer.retire(old[0].id).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let live: Vec<_> = sealer
        .keys()
        .into_iter()
        .filter(|key| key.state != KeyState::Retired)
        .collect();
    assert_eq!(live.len(), 1, "old keys reach zero");
    let newcomer = open_with(&store, &clock, strategy).await;
    for number in 0..USERS {
        read(&newcomer, &issuer, number).await;
    }
    assert!(operations.load(Ordering::SeqCst) >= ROTATIONS * 100);
}
