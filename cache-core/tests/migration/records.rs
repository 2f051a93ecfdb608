//! What arrives.

use std::collections::BTreeMap;

use cache_core::cache::migration::{ConflictCause, CopiedTokens, LeftBecause};
use cache_core::cache::{AcquireOptions, DirectoryQuery, SignOutScope, TokenSource};
use cache_core::random::OsRandom;
use cache_core::seal::{Namespace, Quarantine, RecordKind};
use cache_core::store::{PutOptions, Store};
use cache_core::strategy::DirectoryPolicy;

use crate::scene::*;
use crate::support::*;

#[tokio::test]
async fn every_kind_of_record_arrives_as_it_was_and_leaves_the_source() {
    let scene = Scene::new();
    scene.fill().await;
    let (source, target) = (scene.source().await, scene.target().await);
    let before = Holdings::of(&source).await;
    assert_eq!((before.partitions.len(), before.keys.len()), (5, 2));

    let plan = source.migrate_to(&target).plan().await.unwrap();
    let counts: BTreeMap<_, _> = plan
        .records
        .iter()
        .map(|(kind, count)| (kind.tag(), *count))
        .collect();
    let expected = [
        ("app", 1),
        ("proof-key", 2),
        ("residue", 1),
        ("session", 1),
        ("user", 2),
    ];
    assert_eq!(counts, expected.into());
    assert_eq!((plan.total(), plan.already_there, plan.unfinished), (7, 0, 0));
    assert_eq!(Holdings::of(&source).await, before, "a plan changes nothing");
    assert!(Holdings::of(&target).await.is_empty());

    let report = source.migrate_to(&target).run().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.moved, report.already_there, report.gone), (7, 0, 0));
    assert_eq!(report.bytes, plan.bytes);
    assert_eq!(report.stays.len(), 1, "the key ring: {:?}", report.stays);
    assert_eq!(report.stays[0].kind, Some(RecordKind::KeyRing));
    assert_eq!(Holdings::of(&target).await, before);
    assert!(Holdings::of(&source).await.is_empty());

    // It serves there: the account, its session and the key that its token is bound to.
    let found = target
        .acquire(request_for(1), AcquireOptions::default(), scene.issuer.call("a"))
        .await
        .unwrap();
    assert_eq!(found.source(), TokenSource::Store);
    assert!(target.session_account(&session("s")).await.unwrap().is_some());
    assert_eq!(
        target.proof_key(&owner(Some(1))).await.unwrap().unwrap().key_id,
        "one"
    );
    scene.refresh(&target, 1).await.unwrap();
    scene.refresh(&target, 2).await.unwrap();
    scene.assert_no_token_was_spent_twice();

    let again = source.migrate_to(&target).run().await.unwrap();
    assert_eq!(
        (again.moved, again.already_there, again.is_complete()),
        (0, 0, true)
    );
}

#[tokio::test]
async fn a_cache_that_moves_there_and_back_is_the_same() {
    let scene = Scene::new();
    scene.fill().await;
    let (source, target) = (scene.source().await, scene.target().await);
    let before = Holdings::of(&source).await;
    for _ in 0..3 {
        assert!(source.migrate_to(&target).run().await.unwrap().is_complete());
        assert!(target.migrate_to(&source).run().await.unwrap().is_complete());
    }
    assert_eq!(Holdings::of(&source).await, before);
    assert!(Holdings::of(&target).await.is_empty());
}

#[tokio::test]
async fn another_sign_in_in_the_target_is_never_overwritten() {
    let scene = Scene::new();
    scene.fill().await;
    let (source, target) = (scene.source().await, scene.target().await);
    scene.sign_in(&target, 1).await;
    let (kept, theirs) = (Holdings::of(&source).await, Holdings::of(&target).await);
    let plan = source.migrate_to(&target).plan().await.unwrap();
    assert_eq!(plan.conflicts.len(), 1);

    let report = source.migrate_to(&target).run().await.unwrap();
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(report.conflicts[0].cause, ConflictCause::TargetDiffers);
    assert_eq!(report.conflicts[0].key, source.stored_key(&account(1)));
    // Its session and its keys stay with it.
    let because: Vec<_> = report.left.iter().map(|left| left.because.to_string()).collect();
    assert_eq!(because.len(), 2, "{because:?}");
    assert!(
        report
            .left
            .iter()
            .all(|left| matches!(left.because, LeftBecause::AccountStays))
    );
    let (now, there) = (Holdings::of(&source).await, Holdings::of(&target).await);
    for key in [account(1).to_bytes(), session("s").to_bytes()] {
        assert_eq!(now.partitions.get(&key), kept.partitions.get(&key));
    }
    let key = account(1).to_bytes();
    assert_eq!(there.partitions.get(&key), theirs.partitions.get(&key));
    assert_eq!(there.partitions.len(), 4, "everything else has moved");

    // Whoever signs out in the target lets it in.
    target
        .sign_out(&account(1), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    let report = source.migrate_to(&target).run().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(Holdings::of(&source).await.is_empty());
    let there = Holdings::of(&target).await;
    assert_eq!(there.partitions, kept.partitions);
    assert_eq!(there.keys, kept.keys);
}

#[tokio::test]
async fn what_cannot_be_opened_or_is_set_aside_stays_and_is_told() {
    let scene = Scene::new();
    scene.fill().await;
    let (source, target) = (scene.source().await, scene.target().await);
    let damaged = source.stored_key(&account(2));
    let mut bytes = scene.from.get(&damaged).await.unwrap().unwrap().payload.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    scene
        .from
        .put(&damaged, bytes.into(), PutOptions::overwrite())
        .await
        .unwrap();
    let random = std::sync::Arc::new(OsRandom);
    let aside = Quarantine::new(std::sync::Arc::clone(&scene.from), Namespace::default(), random);
    aside
        .put_aside(&source.stored_key(&app()))
        .await
        .unwrap()
        .unwrap();

    let plan = source.migrate_to(&target).plan().await.unwrap();
    assert_eq!(plan.unreadable.len(), 1);
    let report = source.migrate_to(&target).run().await.unwrap();
    assert!(!report.is_complete());
    assert_eq!(report.left.len(), 1, "{report:?}");
    assert_eq!(report.left[0].key, damaged);
    assert!(matches!(report.left[0].because, LeftBecause::Unreadable(_)));
    let stays: Vec<_> = report
        .stays
        .iter()
        .map(|stays| (stays.kind, stays.count))
        .collect();
    assert_eq!(
        stays,
        [(Some(RecordKind::KeyRing), 1), (Some(RecordKind::Quarantine), 1)]
    );
    assert!(scene.from.get(&damaged).await.unwrap().is_some());
    assert_eq!(report.moved, 5);
}

#[tokio::test]
async fn the_directory_is_made_anew_in_both() {
    let scene = Scene::new();
    let strategy = strategy().directory(DirectoryPolicy::on());
    let source = open_with(&scene.from, &scene.clock, strategy).await;
    for number in 0..3 {
        scene.sign_in(&source, number).await;
    }
    let target = scene.target().await;
    let report = source.migrate_to(&target).run().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    let listed = |cache: cache_core::cache::TokenCache| async move {
        let page = cache.directory().page(DirectoryQuery::new()).await.unwrap();
        page.entries.len()
    };
    assert_eq!(listed(target).await, 3);
    assert_eq!(listed(source).await, 0);
}

#[tokio::test]
async fn a_copy_takes_no_refresh_tokens_unless_it_is_told_twice() {
    let scene = Scene::new();
    scene.fill().await;
    let (source, target) = (scene.source().await, scene.target().await);
    let before = Holdings::of(&source).await;
    let copy = source
        .migrate_to(&target)
        .keep_source(CopiedTokens::WithoutRefreshTokens);
    let report = copy.run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (7, true), "{report:?}");
    assert_eq!(Holdings::of(&source).await, before);
    let copied = Holdings::of(&target).await;
    assert!(copied.refresh_tokens().is_empty());
    let accesses = |holdings: &Holdings| {
        holdings
            .partitions
            .values()
            .map(|rows| rows.access_tokens.len())
            .sum::<usize>()
    };
    assert_eq!(accesses(&copied), accesses(&before));
    assert_eq!(copy.run().await.unwrap().already_there, 7);

    let fresh = empty(&scene.clock);
    let target = target_over(&fresh, &scene.clock).await;
    let copy = source
        .migrate_to(&target)
        .keep_source(CopiedTokens::WithRefreshTokens);
    assert!(copy.run().await.unwrap().is_complete());
    assert_eq!(Holdings::of(&target).await, before);
}

#[tokio::test]
async fn what_nobody_understands_is_joined_to_what_the_target_has() {
    let scene = Scene::new();
    let (source, target) = (scene.source().await, scene.target().await);
    let identify = |origin: &cache_core::codec::msal::RowOrigin<'_>| origin.default_identity();
    let ours = serde_json::json!({
        "AccessToken": {},
        "Future": { "same": { "a": 1 }, "other": { "a": 1 }, "only ours": { "a": 1 } },
        "version": 1,
    });
    let theirs = serde_json::json!({
        "Future": { "same": { "a": 1 }, "other": { "a": 2 } },
        "version": 2,
    });
    source
        .import(ours.to_string().as_bytes(), &identify)
        .await
        .unwrap();
    target
        .import(theirs.to_string().as_bytes(), &identify)
        .await
        .unwrap();

    let plan = source.migrate_to(&target).plan().await.unwrap();
    assert!(plan.conflicts.is_empty(), "{plan:?}");
    assert_eq!(plan.total(), 1);
    // Again after a run that was stopped before the source's went.
    let copied = source
        .migrate_to(&target)
        .keep_source(CopiedTokens::WithoutRefreshTokens);
    assert!(copied.run().await.unwrap().is_complete());
    let plan = source.migrate_to(&target).plan().await.unwrap();
    assert_eq!((plan.total(), plan.already_there), (0, 1));
    let report = source.migrate_to(&target).run().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(Holdings::of(&source).await.is_empty());

    let joined = target.export().await.unwrap();
    let joined: serde_json::Value = serde_json::from_slice(joined.json.expose()).unwrap();
    let expected = serde_json::json!({
        "AccessToken": {},
        "Future": {
            "same": { "a": 1 },
            "other": { "a": 2 },
            "other~2": { "a": 1 },
            "only ours": { "a": 1 },
        },
        "version": 2,
        "version~2": 1,
    });
    assert_eq!(joined, expected);
}
