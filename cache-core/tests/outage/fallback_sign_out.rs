//! Sign-outs while a fallback store has copies.

use cache_core::cache::{CacheError, DirectoryQuery, SignOutScope};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::time::Clock;
use cache_testkit::fault::Fault;

use futures_util::FutureExt;

use crate::machine::*;
use crate::scene::*;
use crate::support::*;

#[tokio::test]
async fn a_sign_out_takes_the_copy_along_whether_the_store_can_be_reached_or_not() {
    for in_outage in [false, true] {
        let machine = Machine::new();
        let scene = &machine.scene;
        let cache = machine.process().await;
        scene.sign_in(&cache).await;
        assert_eq!(machine.copies().await.len(), 1);
        if in_outage {
            scene.down();
        }
        let ticking = ticking(&scene.clock);
        let signed_out = cache.sign_out(&user(), CLIENT, SignOutScope::Client).await;
        drop(ticking);
        assert_eq!(signed_out.is_err(), in_outage);
        assert!(machine.copies().await.is_empty());
        if !in_outage {
            scene.down();
        }
        for process in [&cache, &machine.process().await] {
            assert_unavailable(scene.token(process).await);
        }
    }
}

#[tokio::test]
async fn a_sign_out_in_an_outage_whose_caller_goes_away_is_honoured_all_the_same() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    scene.down();
    let gone = cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .now_or_never();
    assert!(gone.is_none());
    let ticking = ticking(&scene.clock);
    settle().await;
    drop(ticking);
    assert!(machine.copies().await.is_empty());
    assert_unavailable(scene.token(&cache).await);
}

#[tokio::test]
async fn a_sign_out_whose_copy_cannot_be_removed_says_so_and_this_process_does_not_serve_it() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    machine.local_faults.inject(Fault::fail(ErrorKind::ReadOnly));
    let error = cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap_err();
    assert!(error.is_storage(), "{error:?}");
    // What hangs on the rows that the store does not have any more is done all the same.
    let listed = cache.directory().page(DirectoryQuery::new()).await.unwrap();
    assert!(listed.entries.is_empty());
    machine.local_faults.heal();
    assert_eq!(machine.copies().await.len(), 1);
    scene.down();
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    // Repeated, it finds nothing in the store and takes the copy away.
    assert!(
        !cache
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(machine.copies().await.is_empty());
}

#[tokio::test]
async fn a_sign_out_elsewhere_that_was_reported_takes_the_copy_along_and_nothing_brings_it_back() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let (cache, other) = (machine.process().await, scene.elsewhere().await);
    scene.sign_in(&cache).await;
    scene.down();
    assert!(
        other
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(machine.copies().await.is_empty());
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    assert!(scene.token(&cache).await.unwrap_err().is_interaction_required());
    assert!(other.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn a_report_that_comes_while_an_earlier_one_is_dealt_with_is_not_taken_for_done() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let (one, two) = (machine.process().await, machine.process().await);
    let (pause, point) = Fault::pause_before();
    machine.local_faults.inject(pause.on(Operation::Head).once());
    // The other process learns of it, and looks whether the copy is of what was reported.
    scene.sign_in(&one).await;
    drop(one);
    let elsewhere = scene.elsewhere().await;
    elsewhere
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    settle().await;
    point.release();
    settle().await;
    scene.down();
    assert_unavailable(scene.token(&two).await);
    assert!(machine.copies().await.is_empty());
}

#[tokio::test]
async fn a_fallback_store_that_hangs_neither_piles_up_work_nor_holds_up_a_sign_out() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    machine.copies().await;
    machine.local_faults.inject(Fault::delay(1000 * HOUR));
    for index in 0..20_000 {
        let key = StoreKey::new(format!("tokenkeep/user/{index}")).unwrap();
        let record = PutOptions::overwrite();
        scene.backend.put(&key, "another's".into(), record).await.unwrap();
        tokio::task::yield_now().await;
    }
    settle().await;
    let waiting = cache.shutdown(std::time::Duration::ZERO).await;
    assert!((1..=256).contains(&waiting), "{waiting}");

    let before = scene.clock.monotonic();
    let ticking = ticking(&scene.clock);
    let error = cache.sign_out(&user(), CLIENT, SignOutScope::Client).await;
    drop(ticking);
    assert!(matches!(error.unwrap_err(), CacheError::TimedOut));
    assert!(scene.clock.monotonic() - before < MINUTE);
    // More was reported than is remembered one by one, and none of it serves.
    machine.local_faults.heal();
    scene.down();
    assert_unavailable(scene.token(&cache).await);
}
