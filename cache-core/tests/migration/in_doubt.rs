//! Writes to either side of which nobody knows whether they were stored.

use std::sync::Arc;

use cache_core::cache::migration::{LeftBecause, LeftRecord};
use cache_core::cache::{SignOutScope, TokenCache};
use cache_core::seal::RecordKind;
use cache_core::store::Store;
use cache_core::store::error::Operation;
use cache_testkit::fault::{Fault, FaultStore, PausePoint};

use crate::resumed::{crash_on_the_way, faulty, of_kind};
use crate::scene::*;
use crate::support::*;

/// A target whose write of an account meets the `fault`, and is held before it looks what became of that.
async fn unheard(scene: &Scene, fault: Fault) -> (TokenCache, PausePoint) {
    let faults = FaultStore::new(Arc::clone(&scene.to), Arc::new(scene.clock.clone()));
    let is_user = || of_kind("elsewhere", RecordKind::User);
    faults.inject(fault.on(Operation::Put).at_key(is_user()).once());
    let (pause, look) = Fault::pause_before();
    // Those before the write look whether anything is there.
    faults.inject(pause.on(Operation::Get).at_key(is_user()).after(2).once());
    let to: Arc<dyn Store> = Arc::new(faults);
    (target_over(&to, &scene.clock).await, look)
}

/// What the target has stored and not acknowledged looks, once it is signed out, as if it had never been stored.
#[tokio::test]
async fn who_signs_out_of_what_the_target_has_not_acknowledged_stays_signed_out() {
    for (fault, arrives) in [(Fault::lost_reply(), false), (Fault::lost_request(), true)] {
        let scene = Scene::new();
        let source = scene.source().await;
        scene.sign_in(&source, 1).await;
        let before = Holdings::of(&source).await;
        let (held, look) = unheard(&scene, fault).await;
        let target = scene.target().await;
        let _ticking = ticking(&scene.clock);
        let migration = source.migrate_to(&held);
        let (report, ()) = tokio::join!(migration.run(), async {
            look.reached().await;
            let removed = target.sign_out(&account(1), CLIENT, SignOutScope::Client).await;
            assert_eq!(removed.unwrap(), !arrives);
            look.release();
        });
        let report = report.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!((report.moved, report.gone), (arrives.into(), (!arrives).into()));
        assert_eq!(Holdings::of(&source).await.partitions.len(), 0);
        let there = Holdings::of(&target).await;
        assert_eq!(there.on_their_way, 0);
        if arrives {
            assert_eq!(there, before);
        } else {
            assert!(there.is_empty(), "the sign-out was undone");
        }
    }
}

/// The journal lies beside the target, and cannot tell whether the source signed out what came back: the next run asks it again.
#[tokio::test]
async fn what_the_source_may_not_have_taken_back_stays_on_its_way() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let before = Holdings::of(&source).await;
    crash_on_the_way(&scene, RecordKind::User, "source").await;
    let target = scene.target().await;
    let mut response = scene.granted(1);
    "other-client".clone_into(&mut response.client_id);
    target.sign_in(&account(1), response).await.unwrap();
    let lost = Fault::lost_request().on(Operation::Put);
    let from = faulty(
        &scene.from,
        &scene.clock,
        lost.at_key(of_kind("tokenkeep", RecordKind::User)).once(),
    );
    let held = source_over(&from, &scene.clock).await;
    let _ticking = ticking(&scene.clock);
    for (cache, left, on_their_way) in [(&held, 1, 1), (&source, 0, 0)] {
        let report = cache
            .migrate_to(&target)
            .source_name("source")
            .run()
            .await
            .unwrap();
        assert_eq!(report.left.len(), left, "{report:?}");
        let is_unheard = |left: &LeftRecord| matches!(left.because, LeftBecause::Unheard);
        assert!(report.left.iter().all(is_unheard), "{report:?}");
        assert_eq!(Holdings::of(&target).await.on_their_way, on_their_way);
    }
    assert_eq!(Holdings::of(&source).await, before);
}

/// The sign-out looked before anything had arrived, and removes what arrives then.
#[tokio::test]
async fn who_signs_out_while_it_arrives_unheard_stays_signed_out() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let is_user = || of_kind("elsewhere", RecordKind::User);
    let (clock, to) = (Arc::new(scene.clock.clone()), Arc::clone(&scene.to));
    let [moving, leaving] = [(); 2].map(|()| FaultStore::new(Arc::clone(&to), clock.clone()));
    let held_at = |faults: &FaultStore, get: usize| {
        let (pause, point) = Fault::pause_before();
        faults.inject(pause.on(Operation::Get).at_key(is_user()).after(get).once());
        point
    };
    let lost = Fault::lost_reply().on(Operation::Put).at_key(is_user());
    moving.inject(lost.once());
    let [before_put, after_put] = [held_at(&moving, 1), held_at(&moving, 2)];
    // Its first look is for the journal's sake.
    let before_removal = held_at(&leaving, 1);
    let [moving, leaving]: [Arc<dyn Store>; 2] = [Arc::new(moving), Arc::new(leaving)];
    let (held, target) = (
        target_over(&moving, &scene.clock).await,
        target_over(&leaving, &scene.clock).await,
    );
    let _ticking = ticking(&scene.clock);
    let migration = source.migrate_to(&held);
    let (report, removed) = tokio::join!(migration.run(), async {
        before_put.reached().await;
        let (cache, user) = (target.clone(), account(1));
        let signing_out =
            tokio::spawn(async move { cache.sign_out(&user, CLIENT, SignOutScope::Client).await });
        before_removal.reached().await;
        before_put.release();
        after_put.reached().await;
        before_removal.release();
        let removed = signing_out.await.unwrap().unwrap();
        after_put.release();
        removed
    });
    assert!(removed);
    let report = report.unwrap();
    assert_eq!((report.gone, report.is_complete()), (1, true), "{report:?}");
    assert!(Holdings::of(&target).await.is_empty(), "the sign-out was undone");
}

/// Another client of the user has come since: what was signed out does not go back to the source either.
#[tokio::test]
async fn what_was_signed_out_before_another_client_came_does_not_go_back() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let (held, look) = unheard(&scene, Fault::lost_reply()).await;
    let target = scene.target().await;
    let _ticking = ticking(&scene.clock);
    let migration = source.migrate_to(&held);
    let (report, ()) = tokio::join!(migration.run(), async {
        look.reached().await;
        let removed = target.sign_out(&account(1), CLIENT, SignOutScope::Client).await;
        assert!(removed.unwrap());
        let mut response = scene.granted(1);
        "other-client".clone_into(&mut response.client_id);
        target.sign_in(&account(1), response).await.unwrap();
        look.release();
    });
    let report = report.unwrap();
    assert_eq!((report.gone, report.is_complete()), (1, true), "{report:?}");
    assert!(Holdings::of(&source).await.is_empty());
}
