//! Tokens of applications that are stored in the background.

use cache_core::cache::{AcquireOptions, Freshness, TokenSource};
use cache_core::seal::{Namespace, RecordKind};
use cache_core::store::StoreKey;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::strategy::{OutagePolicy, Partitioning, RefreshPolicy, Strategy, WritePolicy};
use cache_testkit::fault::Fault;

use crate::recorded::Recorded;
use crate::scene::*;
use crate::support::*;

const DROPPED: &str = "tokenkeep_writes_behind_failed_total because=";

fn is_app(key: &StoreKey) -> bool {
    RecordKind::of(&Namespace::default(), key) == Some(RecordKind::App)
}

/// All scopes in one partition, no circuit breaker, so that what is counted is the queue's own.
fn behind(max_pending: usize) -> Strategy {
    Strategy::high_volume_daemon()
        .partitioning(Partitioning::ByTenant)
        .refresh(RefreshPolicy::OnDemand)
        .circuit_breaker(None)
        .write_policy(WritePolicy::Behind { max_pending })
}

/// One attempt each, so that the writer and not the commit is who waits.
fn puts_fail() -> Fault {
    Fault::fail_as(ErrorKind::Unavailable, Retry::No)
        .on(Operation::Put)
        .at_key(is_app)
}

#[tokio::test]
async fn what_waits_serves_every_request_of_its_partition_that_it_covers() {
    let scene = Scene::new();
    let cache = scene.cache(behind(8)).await;
    let (pause, held) = Fault::pause_before();
    scene.faults.inject(pause.on(Operation::Put).at_key(is_app));
    let obtained = scene.app_token(&cache, "one two").await.unwrap();
    held.reached().await;
    for scopes in ["one two", "two one", "one", "two"] {
        let found = scene.app_token(&cache, scopes).await.unwrap();
        assert_eq!(found.source(), TokenSource::Memory, "{scopes}");
        assert!(found.token().secret == obtained.token().secret, "{scopes}");
    }
    assert_eq!(scene.issuer.obtained(), 1);
    scene.app_token(&cache, "three").await.unwrap();
    assert_eq!(scene.issuer.obtained(), 2);
    held.release();
    assert_eq!(cache.shutdown(MINUTE).await, 0);
    assert_eq!(scene.stored_app_tokens().await, 2);
}

#[tokio::test]
async fn a_forced_request_adopts_what_another_obtained_and_nobody_has_stored_yet() {
    let scene = Scene::new();
    let cache = scene.cache(behind(8)).await;
    let first = scene.app_token(&cache, "one").await.unwrap();
    settle().await;
    scene.clock.advance(SECOND);
    let (pause, _held) = Fault::pause_before();
    scene.faults.inject(pause.on(Operation::Put).at_key(is_app));
    let forced = || async {
        let rejected = Some(first.token().secret.sha256());
        let options = AcquireOptions {
            freshness: Freshness::Forced { rejected },
            ..AcquireOptions::default()
        };
        cache
            .acquire_app(app_request("one"), options, scene.issuer.call("one"))
            .await
            .unwrap()
    };
    let second = forced().await;
    let third = forced().await;
    assert!(second.token().secret != first.token().secret);
    assert!(third.token().secret == second.token().secret);
    assert_eq!(scene.issuer.obtained(), 2);
}

#[test]
fn beyond_the_bound_callers_wait_and_at_last_do_without() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let cache = scene.cache(behind(1)).await;
        let (pause, held) = Fault::pause_before();
        scene.faults.inject(pause.on(Operation::Put).at_key(is_app));
        scene.app_token(&cache, "one").await.unwrap();
        assert_eq!(recorded.value("tokenkeep_writes_behind_pending") as u64, 1);
        let caller = |scopes: &'static str| {
            let (cache, call) = (cache.clone(), scene.issuer.call(scopes));
            let request = app_request(scopes);
            tokio::spawn(async move { cache.acquire_app(request, AcquireOptions::default(), call).await })
        };
        let second = caller("two");
        settle().await;
        assert!(!second.is_finished(), "it waits for a place");
        scene.clock.advance(10 * SECOND);
        second.await.unwrap().unwrap();
        assert_eq!(recorded.value(&format!("{DROPPED}queue_full")) as u64, 1);
        assert_eq!(recorded.logged("a token was not stored in the background"), 1);

        let third = caller("three");
        settle().await;
        held.release();
        third.await.unwrap().unwrap();
        assert_eq!(cache.shutdown(MINUTE).await, 0);
        assert_eq!(scene.stored_app_tokens().await, 2, "the first and the third");
        assert_eq!(recorded.value("tokenkeep_writes_behind_pending") as u64, 0);
    });
}

#[tokio::test]
async fn in_an_outage_nobody_waits_for_a_place() {
    let scene = Scene::new();
    let cache = scene.cache(behind(1)).await;
    scene.down();
    let ticking = ticking(&scene.clock);
    scene.app_token(&cache, "one").await.unwrap();
    drop(ticking);
    // Time stands still: whoever waited for the store would wait for ever.
    let waiting = cache.clone();
    let call = scene.issuer.call("two");
    let second = tokio::spawn(async move {
        let options = AcquireOptions::default();
        waiting.acquire_app(app_request("two"), options, call).await
    });
    settle().await;
    assert!(second.is_finished());
    assert!(second.await.unwrap().unwrap().served_during_outage());
}

#[test]
fn an_outage_is_outlasted() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let cache = scene.cache(behind(8)).await;
        scene.faults.inject(puts_fail().times(5));
        let _ticking = ticking(&scene.clock);
        scene.app_token(&cache, "one").await.unwrap();
        while scene.stored_app_tokens().await == 0 {
            settle().await;
        }
        assert!(recorded.value("tokenkeep_writes_behind_retried_total") >= 1.0);
        assert_eq!(recorded.value(&format!("{DROPPED}store_unavailable")) as u64, 0);
    });
}

#[test]
fn an_outage_that_lasts_too_long_costs_the_token_and_says_so() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let at_most = MINUTE;
        let strategy = behind(1).outage(OutagePolicy::ServeFromMemory { at_most });
        let cache = scene.cache(strategy).await;
        scene.faults.inject(puts_fail());
        let ticking = ticking(&scene.clock);
        scene.app_token(&cache, "one").await.unwrap();
        let dropped = || recorded.value(&format!("{DROPPED}store_unavailable")) as u64;
        while dropped() == 0 {
            settle().await;
        }
        drop(ticking);
        assert_eq!(recorded.logged("a token was not stored in the background"), 1);
        // Its place is free again, and the token can be had for a request.
        scene.faults.heal();
        scene.app_token(&cache, "one").await.unwrap();
        assert_eq!(scene.issuer.obtained(), 2);
        assert_eq!(cache.shutdown(MINUTE).await, 0);
        assert_eq!(scene.stored_app_tokens().await, 1);
    });
}

#[tokio::test]
async fn what_the_store_refuses_is_dropped_at_once() {
    let scene = Scene::new();
    let cache = scene.cache(behind(8)).await;
    scene
        .faults
        .inject(Fault::fail(ErrorKind::Full).on(Operation::Put).at_key(is_app));
    scene.app_token(&cache, "one").await.unwrap();
    settle().await;
    assert_eq!(cache.shutdown(SECOND).await, 0);
    assert_eq!(
        scene.faults.count(Operation::Put),
        2,
        "the key ring and one attempt"
    );
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_being_stored_and_no_longer_than_its_deadline() {
    let scene = Scene::new();
    let cache = scene.cache(behind(8)).await;
    let (pause, held) = Fault::pause_before();
    scene.faults.inject(pause.on(Operation::Put).at_key(is_app));
    scene.app_token(&cache, "one").await.unwrap();
    held.reached().await;
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.shutdown(5 * SECOND).await }
    });
    settle().await;
    scene.clock.advance(5 * SECOND);
    assert_ne!(closing.await.unwrap(), 0, "a write is still under way");
    held.release();
    assert_eq!(cache.shutdown(5 * SECOND).await, 0);
    assert_eq!(scene.stored_app_tokens().await, 1);
}

#[tokio::test]
async fn a_shutdown_makes_one_more_attempt_of_what_waits_for_the_store() {
    for is_back in [true, false] {
        let scene = Scene::new();
        let cache = scene.cache(behind(8)).await;
        scene.faults.inject(puts_fail());
        scene.app_token(&cache, "one").await.unwrap();
        // The first attempt is over, and the clock stands still.
        scene.clock.wait_for_sleepers(1).await;
        if is_back {
            scene.faults.heal();
        }
        let _ticking = ticking(&scene.clock);
        assert_eq!(cache.shutdown(MINUTE).await, 0, "nothing is left, stored or not");
        assert_eq!(scene.stored_app_tokens().await, usize::from(is_back));
    }
}

#[tokio::test]
async fn a_durable_commit_stores_what_waits_for_its_partition_first() {
    let scene = Scene::new();
    let cache = scene.cache(behind(8)).await;
    scene.faults.inject(puts_fail());
    scene.app_token(&cache, "one").await.unwrap();
    scene.clock.wait_for_sleepers(1).await;
    settle().await;
    scene.faults.heal();
    assert_eq!(scene.stored_app_tokens().await, 0);
    // The waiting write sleeps, and the clock stands still.
    cache
        .sign_in(&app_key(), scene.issuer.sign_in("two"))
        .await
        .unwrap();
    let stored = cache.inspect().await.unwrap();
    let contents = stored.into_iter().find_map(|record| record.contents).unwrap();
    assert_eq!(contents.unwrap().access_tokens, 2);
}

#[tokio::test]
async fn a_removal_cancels_what_waits_for_its_partition() {
    let scene = Scene::new();
    let cache = scene.cache(behind(8)).await;
    scene.faults.inject(puts_fail());
    scene.app_token(&cache, "one").await.unwrap();
    scene.clock.wait_for_sleepers(1).await;
    settle().await;
    cache.forget_account(&app_key()).await.unwrap();
    scene.faults.heal();
    let again = scene.app_token(&cache, "two").await.unwrap();
    assert_eq!(again.source(), TokenSource::Authority);
    let _ticking = ticking(&scene.clock);
    assert_eq!(cache.shutdown(MINUTE).await, 0);
    assert_eq!(
        scene.stored_app_tokens().await,
        1,
        "only what came after the removal"
    );
}

#[tokio::test]
async fn a_token_that_waited_long_does_not_replace_a_newer_one() {
    let scene = Scene::new();
    let (cut_off, other) = (scene.cache(behind(8)).await, scene.elsewhere().await);
    scene.faults.inject(puts_fail());
    scene.app_token(&cut_off, "one").await.unwrap();
    scene.clock.wait_for_sleepers(1).await;
    scene.clock.advance(SECOND);
    let newer = scene.app_token(&other, "one").await.unwrap();
    scene.faults.heal();
    let _ticking = ticking(&scene.clock);
    assert_eq!(cut_off.shutdown(MINUTE).await, 0);
    let stored = scene.app_token(&scene.elsewhere().await, "one").await.unwrap();
    assert!(stored.token().secret == newer.token().secret);
}

#[test]
fn without_the_store_an_application_s_token_is_obtained_once_and_stored_later() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let worker = Strategy::background_worker().refresh(RefreshPolicy::OnDemand);
        for strategy in [worker, behind(8)] {
            let (obtained, stored) = (scene.issuer.obtained(), scene.stored_app_tokens().await);
            let cache = scene.cache(strategy).await;
            let scopes = format!("api{obtained}");
            scene.down();
            for _ in 0..3 {
                let token = scene.app_token(&cache, &scopes).await.unwrap();
                assert!(token.served_during_outage());
            }
            assert_eq!(scene.issuer.obtained(), obtained + 1);
            assert_eq!(scene.stored_app_tokens().await, stored);
            scene.faults.heal();
            let _ticking = ticking(&scene.clock);
            while scene.stored_app_tokens().await == stored {
                settle().await;
            }
        }
        assert!(recorded.value("tokenkeep_served_during_outage_total from=authority") >= 2.0);
    });
}

#[tokio::test]
async fn a_write_through_that_meets_an_outage_leaves_its_token_to_the_queue() {
    let scene = Scene::new();
    let strategy = Strategy::background_worker()
        .refresh(RefreshPolicy::OnDemand)
        .circuit_breaker(None);
    let cache = scene.cache(strategy.clone()).await;
    scene.faults.inject(puts_fail().times(2));
    let _ticking = ticking(&scene.clock);
    assert!(
        scene
            .app_token(&cache, "one")
            .await
            .unwrap()
            .served_during_outage()
    );
    while scene.stored_app_tokens().await == 0 {
        settle().await;
    }
    // Where nothing may be served without the store, the caller is told.
    let cache = scene.cache(strategy.outage(OutagePolicy::Fail)).await;
    scene.faults.inject(puts_fail());
    assert_unavailable(scene.app_token(&cache, "two").await);
}

#[tokio::test]
async fn the_bound_is_on_tokens_and_not_on_requests() {
    let scene = Scene::new();
    let cache = scene.cache(behind(2)).await;
    let (pause, held) = Fault::pause_before();
    scene.faults.inject(pause.on(Operation::Put).at_key(is_app));
    let force = || {
        let (cache, call) = (cache.clone(), scene.issuer.call("one"));
        let options = AcquireOptions {
            freshness: Freshness::Forced { rejected: None },
            ..AcquireOptions::default()
        };
        tokio::spawn(async move { cache.acquire_app(app_request("one"), options, call).await })
    };
    force().await.unwrap().unwrap();
    force().await.unwrap().unwrap();
    let third = force();
    settle().await;
    assert!(!third.is_finished());
    held.release();
    third.await.unwrap().unwrap();
}
