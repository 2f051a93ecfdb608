//! What a migration refuses before anything moves.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::cache::TokenCache;
use cache_core::cache::migration::{
    LeftBecause, MigrationError, MigrationObserver, MigrationProgress, NotKeptBecause,
};
use cache_core::layout::MsalLayout;
use cache_core::seal::Namespace;
use cache_core::store::Store;
use cache_core::strategy::SealPolicy;

use crate::scene::*;
use crate::support::*;

#[tokio::test]
async fn one_place_by_two_names_is_refused() {
    let scene = Scene::new();
    scene.fill().await;
    let (source, again) = (scene.source().await, scene.source().await);
    let before = snapshot(&scene.from).await;
    for target in [&source, &again] {
        let error = source.migrate_to(target).run().await.unwrap_err();
        assert!(matches!(error, MigrationError::SamePlace), "{error:?}");
    }
    let error = source.migrate_to(&source).plan().await.unwrap_err();
    assert!(matches!(error, MigrationError::SamePlace));
    assert_eq!(snapshot(&scene.from).await, before);

    // A copy of the files is no such place.
    let copy = restored(&scene.clock, &before).await;
    let copy = source_over(&copy, &scene.clock).await;
    let report = source.migrate_to(&copy).run().await.unwrap();
    assert_eq!(
        (report.already_there, report.is_complete()),
        (7, true),
        "{report:?}"
    );
    assert!(Holdings::of(&source).await.is_empty());

    // Nor is another namespace of one store.
    let neighbour = sealed(&scene.from, &scene.clock, "neighbour", 3).await;
    assert!(copy.migrate_to(&neighbour).run().await.unwrap().is_complete());
    assert_eq!(Holdings::of(&neighbour).await.partitions.len(), 5);
}

#[tokio::test]
async fn sealed_tokens_are_laid_open_only_on_request() {
    let scene = Scene::new();
    scene.fill().await;
    let source = scene.source().await;
    let open = TokenCache::builder(Arc::clone(&scene.to))
        .clock(Arc::new(scene.clock.clone()))
        .strategy(strategy().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext(Namespace::default())
        .unwrap();
    let before = Holdings::of(&source).await;
    let error = source.migrate_to(&open).run().await.unwrap_err();
    assert!(matches!(error, MigrationError::PlaintextTarget));
    assert_eq!(snapshot(&scene.to).await.len(), 0);
    let report = source.migrate_to(&open).allow_plaintext().run().await.unwrap();
    assert!(report.is_complete());
    assert_eq!(Holdings::of(&open).await, before);
    // The way back needs no such word.
    assert!(
        open.migrate_to(&source)
            .source_name("open")
            .run()
            .await
            .unwrap()
            .is_complete()
    );
    assert_eq!(Holdings::of(&source).await, before);
}

#[tokio::test]
async fn what_the_target_cannot_keep_is_found_before_anything_moves() {
    let scene = Scene::new();
    scene.fill().await;
    let source = scene.source().await;
    let place: Arc<dyn Store> = Arc::new(OneRecord(Arc::clone(&scene.to)));
    let file = file_over(&place, &scene.clock);
    let before = Holdings::of(&source).await;
    let plan = source.migrate_to(&file).plan().await.unwrap();
    let migration = source.migrate_to(&file).allow_plaintext();
    let error = migration.run().await.unwrap_err();
    let MigrationError::NotKept(not_kept) = error else {
        panic!("{error:?}");
    };
    assert_eq!(plan.not_kept, not_kept);
    let mut because: Vec<_> = not_kept
        .iter()
        .map(|kept| (kept.kind.tag(), kept.because))
        .collect();
    because.sort_by_key(|kept| kept.0);
    // The account's tokens are bound to its keys, and its session would die without it.
    let expected = [
        ("proof-key", NotKeptBecause::NoPlace),
        ("proof-key", NotKeptBecause::NoPlace),
        ("session", NotKeptBecause::NoPlace),
        ("user", NotKeptBecause::ItsProofKeys),
    ];
    assert_eq!(because, expected);
    assert_eq!(Holdings::of(&source).await, before);
    assert!(snapshot(&scene.to).await.is_empty());

    let report = migration.leave_behind().run().await.unwrap();
    assert_eq!((report.moved, report.left.len()), (3, 4), "{report:?}");
    assert!(
        report
            .left
            .iter()
            .all(|left| matches!(left.because, LeftBecause::NotKept(_)))
    );
    let kept = Holdings::of(&source).await;
    assert_eq!((kept.partitions.len(), kept.keys.len()), (2, 2));
    assert_eq!(
        kept.partitions.get(&account(1).to_bytes()),
        before.partitions.get(&account(1).to_bytes())
    );
    scene.refresh(&source, 1).await.unwrap();
    scene.refresh(&file, 2).await.unwrap();
    scene.assert_no_token_was_spent_twice();
}

#[tokio::test]
async fn records_that_are_too_large_stay() {
    let scene = Scene::new();
    scene.fill().await;
    let source = scene.source().await;
    let small = quiet_and_small(Arc::clone(&scene.to), 900);
    let target = target_over(&small, &scene.clock).await;
    let error = source.migrate_to(&target).run().await.unwrap_err();
    assert!(matches!(error, MigrationError::NotKept(_)), "{error:?}");
    let before = Holdings::of(&source).await;
    let report = source.migrate_to(&target).leave_behind().run().await.unwrap();
    let (kept, there) = (Holdings::of(&source).await, Holdings::of(&target).await);
    assert_eq!((kept.on_their_way, there.on_their_way), (0, 0));
    assert_eq!(
        kept.partitions.len() + there.partitions.len(),
        before.partitions.len()
    );
    assert!(!report.is_complete() && kept.partitions.contains_key(&account(1).to_bytes()));
}

/// Ends a migration after some records.
struct StopAfter(u64, AtomicU64);

impl MigrationObserver for StopAfter {
    fn progress(&self, progress: &MigrationProgress) -> ControlFlow<()> {
        assert!(progress.done <= progress.total);
        assert!(self.1.swap(progress.done, Ordering::Relaxed) <= progress.done);
        if progress.done >= self.0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[tokio::test]
async fn an_observer_stops_it_between_records_and_another_run_goes_on() {
    for stop_after in 0..7 {
        let scene = Scene::new();
        scene.fill().await;
        let (source, target) = (scene.source().await, scene.target().await);
        let before = Holdings::of(&source).await;
        let observer = Arc::new(StopAfter(stop_after, AtomicU64::new(0)));
        let report = source.migrate_to(&target).observer(observer).run().await.unwrap();
        assert!(report.interrupted && !report.is_complete());
        let (kept, there) = (Holdings::of(&source).await, Holdings::of(&target).await);
        assert_eq!((kept.on_their_way, there.on_their_way), (0, 0));
        assert!(kept.refresh_tokens().is_disjoint(&there.refresh_tokens()));
        let report = source.migrate_to(&target).run().await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(Holdings::of(&target).await, before);
        assert!(Holdings::of(&source).await.is_empty());
    }
}

pub fn file_over(store: &Arc<dyn Store>, clock: &cache_testkit::clock::ManualClock) -> TokenCache {
    let record = OneRecord::key();
    TokenCache::builder(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .strategy(strategy().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext_shared(
            Namespace::default(),
            MsalLayout::single_record(record).authority(authority()),
        )
        .unwrap()
}
