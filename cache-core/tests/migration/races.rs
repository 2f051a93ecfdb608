//! Programs that use the source, or the target, while it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::cache::migration::{ConflictCause, LeftBecause};
use cache_core::cache::{SignOutScope, TokenCache};
use cache_core::seal::{Namespace, RecordKind};
use cache_core::store::error::Operation;
use cache_core::store::{Store, StoreKey};
use cache_testkit::fault::{Fault, FaultStore, PausePoint};

use crate::scene::*;
use crate::support::*;

#[tokio::test]
async fn programs_that_refresh_all_the_while_spend_no_token_twice() {
    const ACCOUNTS: usize = 12;
    for round in 0..20 {
        let scene = Arc::new(Scene::new());
        let _ticking = ticking(&scene.clock);
        let source = scene.source().await;
        for number in 0..ACCOUNTS {
            scene.sign_in(&source, number).await;
        }
        let (stop, refreshed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut programs = Vec::new();
        for program in 0..3 {
            let (scene, stop, refreshed) = (Arc::clone(&scene), Arc::clone(&stop), Arc::clone(&refreshed));
            programs.push(tokio::spawn(async move {
                let (old, new) = (scene.source().await, scene.target().await);
                let mut turn = program;
                while !stop.load(Ordering::Relaxed) {
                    let number = turn % ACCOUNTS;
                    turn += 1;
                    for cache in [&old, &new] {
                        match scene.refresh(cache, number).await {
                            Ok(_) => {
                                refreshed.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => assert!(error.is_interaction_required(), "{error:?}"),
                        }
                        tokio::task::yield_now().await;
                    }
                }
            }));
        }
        for _ in 0..round * 7 {
            tokio::task::yield_now().await;
        }
        let target = scene.target().await;
        let mut complete = false;
        for _ in 0..10 {
            let report = source.migrate_to(&target).run().await.unwrap();
            assert!(report.conflicts.is_empty(), "{report:?}");
            complete = report.is_complete();
            if complete {
                break;
            }
        }
        assert!(complete);
        stop.store(true, Ordering::Relaxed);
        for program in programs {
            program.await.unwrap();
        }
        assert!(refreshed.load(Ordering::Relaxed) > 0);
        scene.assert_no_token_was_spent_twice();
        assert!(Holdings::of(&source).await.is_empty());
        for number in 0..ACCOUNTS {
            scene.refresh(&target, number).await.unwrap();
        }
        scene.assert_no_token_was_spent_twice();
    }
}

/// The source, where the first removal of a user's record waits to be let go on.
async fn held_before_removal(scene: &Scene) -> (TokenCache, PausePoint) {
    let faults = FaultStore::new(Arc::clone(&scene.from), Arc::new(scene.clock.clone()));
    let (fault, paused) = Fault::pause_before();
    faults.inject(fault.on(Operation::Delete).at_key(is_user).once());
    let faulty: Arc<dyn Store> = Arc::new(faults);
    (source_over(&faulty, &scene.clock).await, paused)
}

#[tokio::test]
async fn a_refresh_between_reading_and_removing_is_carried_over() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let (held, paused) = held_before_removal(&scene).await;
    let target = scene.target().await;
    let _ticking = ticking(&scene.clock);
    let migration = held.migrate_to(&target);
    let (report, newest) = tokio::join!(migration.run(), async {
        paused.reached().await;
        assert_eq!(Holdings::of(&target).await.on_their_way, 1);
        scene.refresh(&source, 1).await.unwrap();
        let newest = Holdings::of(&source).await.refresh_tokens();
        paused.release();
        newest
    });
    let report = report.unwrap();
    assert_eq!((report.moved, report.is_complete()), (1, true), "{report:?}");
    assert_eq!(Holdings::of(&target).await.refresh_tokens(), newest);
    scene.refresh(&target, 1).await.unwrap();
    scene.assert_no_token_was_spent_twice();
}

#[tokio::test]
async fn a_refresh_that_is_under_way_is_waited_for() {
    let scene = Arc::new(Scene::new());
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    scene.issuer.close_gate();
    let (program, theirs) = (scene.source().await, Arc::clone(&scene));
    let refreshing = tokio::spawn(async move { theirs.refresh(&program, 1).await });
    scene.issuer.arrived(1).await;
    let target = scene.target().await;
    let _ticking = ticking(&scene.clock);

    // Not for ever.
    let hasty = source.migrate_to(&target).spend_wait(Duration::from_millis(100));
    let report = hasty.run().await.unwrap();
    assert_eq!(report.left.len(), 1, "{report:?}");
    assert!(matches!(report.left[0].because, LeftBecause::BeingSpent));
    assert!(Holdings::of(&target).await.is_empty());

    let open = Arc::clone(&scene);
    let (report, ()) = tokio::join!(
        async {
            let migration = source.migrate_to(&target).spend_wait(Duration::from_secs(25));
            migration.run().await.unwrap()
        },
        async move {
            settle().await;
            open.issuer.open_gate();
        }
    );
    refreshing.await.unwrap().unwrap();
    assert!(report.is_complete(), "{report:?}");
    scene.refresh(&target, 1).await.unwrap();
    scene.assert_no_token_was_spent_twice();
}

/// In the target a program would meet a session without an account, and end it.
#[tokio::test]
async fn sessions_wait_with_an_account_whose_token_is_being_spent() {
    let scene = Arc::new(Scene::new());
    scene.fill().await;
    let source = scene.source().await;
    let before = Holdings::of(&source).await;
    scene.issuer.close_gate();
    let (program, theirs) = (scene.source().await, Arc::clone(&scene));
    let refreshing = tokio::spawn(async move { theirs.refresh(&program, 1).await });
    scene.issuer.arrived(1).await;
    let target = scene.target().await;
    let _ticking = ticking(&scene.clock);
    let hasty = source.migrate_to(&target).spend_wait(Duration::from_millis(100));
    let report = hasty.run().await.unwrap();
    let because: Vec<_> = report.left.iter().map(|left| &left.because).collect();
    assert!(
        because
            .iter()
            .any(|because| matches!(because, LeftBecause::BeingSpent)),
        "{report:?}"
    );
    let key = session("s").to_bytes();
    assert!(
        !Holdings::of(&target).await.partitions.contains_key(&key),
        "{report:?}"
    );
    assert_eq!(
        Holdings::of(&source).await.partitions.get(&key),
        before.partitions.get(&key)
    );

    scene.issuer.open_gate();
    refreshing.await.unwrap().unwrap();
    assert!(source.migrate_to(&target).run().await.unwrap().is_complete());
    assert!(target.session_account(&session("s")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sign_out_on_the_way_is_not_undone() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let (held, paused) = held_before_removal(&scene).await;
    let target = scene.target().await;
    let _ticking = ticking(&scene.clock);
    let migration = held.migrate_to(&target);
    let (report, ()) = tokio::join!(migration.run(), async {
        paused.reached().await;
        source
            .sign_out(&account(1), CLIENT, SignOutScope::Client)
            .await
            .unwrap();
        paused.release();
    });
    let report = report.unwrap();
    assert_eq!((report.gone, report.moved), (1, 0), "{report:?}");
    assert!(Holdings::of(&target).await.is_empty() && Holdings::of(&source).await.is_empty());
}

#[tokio::test]
async fn who_signs_in_at_the_target_first_sends_the_record_back() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let before = Holdings::of(&source).await;
    let target = scene.target().await;
    let faults = FaultStore::new(Arc::clone(&scene.to), Arc::new(scene.clock.clone()));
    let elsewhere = Namespace::new("elsewhere").unwrap();
    let (fault, paused) = Fault::pause_before();
    let is_user = move |key: &StoreKey| RecordKind::of(&elsewhere, key) == Some(RecordKind::User);
    faults.inject(fault.on(Operation::Put).at_key(is_user).once());
    let faulty: Arc<dyn Store> = Arc::new(faults);
    let held = target_over(&faulty, &scene.clock).await;
    let _ticking = ticking(&scene.clock);
    let migration = source.migrate_to(&held);
    let other_client = "other-client";
    let (report, ()) = tokio::join!(migration.run(), async {
        paused.reached().await;
        assert!(Holdings::of(&source).await.is_empty());
        let mut response = scene.granted(1);
        other_client.clone_into(&mut response.client_id);
        target.sign_in(&account(1), response).await.unwrap();
        paused.release();
    });
    let report = report.unwrap();
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(report.conflicts[0].cause, ConflictCause::TargetDiffers);
    assert_eq!(Holdings::of(&source).await, before);
    let there = Holdings::of(&target).await;
    assert_eq!((there.partitions.len(), there.on_their_way), (1, 0));
    scene.refresh(&source, 1).await.unwrap();
    scene.assert_no_token_was_spent_twice();
}

#[tokio::test]
async fn who_signs_in_at_the_source_after_a_crash_keeps_that_sign_in() {
    let scene = Scene::new();
    scene.sign_in(&scene.source().await, 1).await;
    let faults = FaultStore::new(Arc::clone(&scene.from), Arc::new(scene.clock.clone()));
    faults.inject(Fault::crash_after().on(Operation::Delete).at_key(is_user));
    let faulty: Arc<dyn Store> = Arc::new(faults);
    let (held, target) = (source_over(&faulty, &scene.clock).await, scene.target().await);
    held.migrate_to(&target).run().await.unwrap_err();
    settle().await;
    let source = scene.source().await;
    assert!(Holdings::of(&source).await.is_empty());
    assert_eq!(Holdings::of(&target).await.on_their_way, 1);
    assert_eq!(source.migrate_to(&target).plan().await.unwrap().unfinished, 1);
    scene.sign_in(&source, 1).await;
    let anew = Holdings::of(&source).await;

    let report = source.migrate_to(&target).run().await.unwrap();
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(Holdings::of(&source).await, anew);
    scene.refresh(&source, 1).await.unwrap();
    scene.refresh(&target, 1).await.unwrap();
    scene.assert_no_token_was_spent_twice();
    assert_eq!(Holdings::of(&target).await.on_their_way, 0);
}

#[tokio::test]
async fn two_runs_at_once_move_everything_once() {
    for _ in 0..20 {
        let scene = Scene::new();
        let source = scene.source().await;
        for number in 0..8 {
            scene.sign_in(&source, number).await;
        }
        let before = Holdings::of(&source).await;
        let _ticking = ticking(&scene.clock);
        let target = scene.target().await;
        let (other_source, other_target) = (scene.source().await, scene.target().await);
        let (one, two) = (source.migrate_to(&target), other_source.migrate_to(&other_target));
        let (one, two) = tokio::join!(
            tokio::spawn(async move { one.run().await }),
            tokio::spawn(async move { two.run().await })
        );
        one.unwrap().unwrap();
        two.unwrap().unwrap();
        assert!(source.migrate_to(&target).run().await.unwrap().is_complete());
        assert_eq!(Holdings::of(&target).await, before);
        assert!(Holdings::of(&source).await.is_empty());
    }
}
