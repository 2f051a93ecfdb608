//! What stands in the way of a record, and is told.

use std::sync::Arc;

use cache_core::cache::SignOutScope;
use cache_core::cache::migration::{ConflictCause, LeftBecause, MigrationError, NotKeptBecause};
use cache_core::seal::{RecordKind, RollbackPolicy};
use cache_core::store::{PutOptions, Store};

use crate::refusals::file_over;
use crate::resumed::crash_on_the_way;
use crate::scene::*;
use crate::support::*;

#[tokio::test]
async fn what_is_on_its_way_from_one_source_is_in_the_way_of_another() {
    let scene = Scene::new();
    let first = scene.source().await;
    scene.sign_in(&first, 1).await;
    let tokens = Holdings::of(&first).await.refresh_tokens();
    crash_on_the_way(&scene, RecordKind::User, "").await;
    let target = scene.target().await;
    let second = sealed(&empty(&scene.clock), &scene.clock, "second", 5).await;
    scene.sign_in(&second, 1).await;
    let theirs = Holdings::of(&second).await;

    assert_eq!(
        second
            .migrate_to(&target)
            .plan()
            .await
            .unwrap()
            .unfinished_of_others,
        1
    );
    let report = second.migrate_to(&target).run().await.unwrap();
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(report.conflicts[0].cause, ConflictCause::OtherMigration);
    assert_eq!((report.unfinished_of_others, report.moved), (1, 0));
    assert_eq!(Holdings::of(&second).await, theirs);

    let report = first.migrate_to(&target).run().await.unwrap();
    assert_eq!((report.moved, report.unfinished_of_others), (1, 0), "{report:?}");
    let report = second.migrate_to(&target).run().await.unwrap();
    assert_eq!(
        report.conflicts[0].cause,
        ConflictCause::TargetDiffers,
        "{report:?}"
    );
    assert_eq!(Holdings::of(&target).await.refresh_tokens(), tokens);
    assert_eq!(Holdings::of(&second).await, theirs);
}

#[tokio::test]
async fn what_is_on_its_way_waits_while_both_have_another_sign_in() {
    let scene = Scene::new();
    let (source, target) = (scene.source().await, scene.target().await);
    scene.sign_in(&source, 1).await;
    let tokens = Holdings::of(&source).await.refresh_tokens();
    crash_on_the_way(&scene, RecordKind::User, "").await;
    for (cache, client) in [(&source, "another"), (&target, "a-third")] {
        let mut response = scene.granted(1);
        client.clone_into(&mut response.client_id);
        cache.sign_in(&account(1), response).await.unwrap();
    }
    for _ in 0..2 {
        let report = source.migrate_to(&target).run().await.unwrap();
        assert_eq!(report.conflicts.len(), 1, "{report:?}");
        assert_eq!(report.conflicts[0].cause, ConflictCause::BothDiffer);
        assert_eq!(Holdings::of(&target).await.on_their_way, 1);
    }
    for (cache, client) in [(&source, "another"), (&target, "a-third")] {
        assert!(
            cache
                .sign_out(&account(1), client, SignOutScope::Client)
                .await
                .unwrap()
        );
    }
    let report = source.migrate_to(&target).run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (1, true), "{report:?}");
    assert_eq!(Holdings::of(&target).await.refresh_tokens(), tokens);
}

#[tokio::test]
async fn an_account_stays_with_keys_that_the_target_has_others_of() {
    let scene = Scene::new();
    scene.fill().await;
    let (source, target) = (scene.source().await, scene.target().await);
    let token = scene.granted(1).refresh_token;
    target
        .add_proof_key(&owner(Some(1)), &proof_key("another"), token.as_ref())
        .await
        .unwrap();
    let (before, there) = (Holdings::of(&source).await, Holdings::of(&target).await.keys);
    let report = source.migrate_to(&target).run().await.unwrap();
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(report.conflicts[0].cause, ConflictCause::ProofKeysDiffer);
    let stay =
        |because: fn(&LeftBecause) -> bool| report.left.iter().filter(|left| because(&left.because)).count();
    assert_eq!(
        stay(|because| matches!(because, LeftBecause::ProofKeysStay)),
        1,
        "{report:?}"
    );
    assert_eq!(
        stay(|because| matches!(because, LeftBecause::AccountStays)),
        1,
        "{report:?}"
    );
    let kept = Holdings::of(&source).await;
    for key in [account(1).to_bytes(), session("s").to_bytes()] {
        assert_eq!(kept.partitions.get(&key), before.partitions.get(&key));
    }
    assert!(there.is_subset(&Holdings::of(&target).await.keys));
    scene.refresh(&source, 1).await.unwrap();
}

#[tokio::test]
async fn an_account_stays_with_sessions_that_a_file_has_no_place_for() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let response = scene.granted(1);
    source
        .begin_session(&account(1), &session("s"), response, 24 * HOUR)
        .await
        .unwrap();
    let place: Arc<dyn Store> = Arc::new(OneRecord(Arc::clone(&scene.to)));
    let file = file_over(&place, &scene.clock);
    let error = source
        .migrate_to(&file)
        .allow_plaintext()
        .run()
        .await
        .unwrap_err();
    let MigrationError::NotKept(not_kept) = error else {
        panic!("{error:?}");
    };
    let mut because: Vec<_> = not_kept
        .iter()
        .map(|kept| (kept.kind.tag(), kept.because))
        .collect();
    because.sort_by_key(|kept| kept.0);
    let expected = [
        ("session", NotKeptBecause::NoPlace),
        ("user", NotKeptBecause::ItsSessions),
    ];
    assert_eq!(because, expected);
}

#[tokio::test]
async fn what_was_rolled_back_stays() {
    let scene = Scene::new();
    let strategy = strategy().rollback(RollbackPolicy::MissAndReport);
    let source = open_with(&scene.from, &scene.clock, strategy).await;
    scene.sign_in(&source, 1).await;
    let key = source.stored_key(&account(1));
    let old = scene.from.get(&key).await.unwrap().unwrap();
    let _ticking = ticking(&scene.clock);
    scene.refresh(&source, 1).await.unwrap();
    scene
        .from
        .put(&key, old.payload.clone(), PutOptions::overwrite())
        .await
        .unwrap();
    let target = scene.target().await;
    let report = source.migrate_to(&target).run().await.unwrap();
    assert_eq!(report.left.len(), 1, "{report:?}");
    assert!(
        matches!(report.left[0].because, LeftBecause::RolledBack),
        "{report:?}"
    );
    assert!(Holdings::of(&target).await.is_empty());
    assert_eq!(scene.from.get(&key).await.unwrap().unwrap().payload, old.payload);
}

/// Two runs begin at once: one finds the mark by which the other asks whether its two stores are one.
#[tokio::test]
async fn the_mark_of_another_run_is_none_of_the_journals() {
    let scene = Scene::new();
    scene.sign_in(&scene.source().await, 1).await;
    let (source, target) = (scene.source().await, scene.target().await);
    let mark = target.sealer().stored_key(RecordKind::Migration, b"5:place,");
    let put = scene.to.put(&mark, vec![1; 32].into(), PutOptions::create());
    put.await.unwrap();
    let report = source.migrate_to(&target).run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (1, true), "{report:?}");
}
