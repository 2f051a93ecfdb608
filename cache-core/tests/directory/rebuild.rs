//! The directory is made anew from the partitions, and outlives keys that rotate and pages that cannot be read.

use cache_core::cache::DirectoryQuery;
use cache_core::seal::{KeyState, RollbackPolicy, WRITER_WINDOW};
use cache_core::store::{PutOptions, Store};
use cache_core::strategy::{DirectoryPolicy, Strategy};

use crate::scene::*;

#[tokio::test]
async fn a_store_that_was_used_without_a_directory_gets_one() {
    let scene = Scene::new().await;
    let unaware = scene.without_directory().await;
    for number in 0..200 {
        scene.sign_in(&unaware, number).await;
    }
    scene.sign_in(&scene.cache, 200).await;
    scene.sign_in(&scene.cache, 201).await;
    sign_out(&unaware, 201).await;
    let marked = account(200);
    assert!(
        unaware
            .directory()
            .mark_needs_interaction(&marked, "client")
            .await
            .unwrap()
    );
    let report = unaware.directory().rebuild().await.unwrap();
    assert_eq!((report.accounts, report.entered, report.removed), (201, 200, 1));
    assert!(report.unreadable.is_empty());
    assert_eq!(listed(&scene.cache).await, (0..=200).collect());
    let needy = DirectoryQuery::new().needs_interaction(true);
    assert_eq!(
        list(&scene.cache, &needy).await,
        [200].into(),
        "what was known stays"
    );
    let writes = scene.writes().await;
    let report = unaware.directory().rebuild().await.unwrap();
    assert_eq!((report.accounts, report.entered, report.removed), (201, 0, 0));
    assert_eq!(scene.writes().await, writes, "a second rebuild writes nothing");
}

#[tokio::test]
async fn an_imported_account_is_listed() {
    let scene = Scene::new().await;
    let unaware = scene.without_directory().await;
    scene.sign_in(&unaware, 1).await;
    let export = unaware.export().await.unwrap();
    unaware.forget_account(&account(1)).await.unwrap();
    let identify = |row: &cache_core::codec::msal::RowOrigin<'_>| {
        let _ = row;
        cache_core::schema::AuthorityIdentity::of_issuer(crate::support::ISSUER)
    };
    scene.cache.import(export.json.expose(), &identify).await.unwrap();
    assert_eq!(listed(&scene.cache).await, [1].into());
}

#[tokio::test]
async fn pages_move_to_a_new_key_and_the_old_one_can_be_retired() {
    let scene = Scene::new().await;
    for number in 0..150 {
        scene.sign_in(&scene.cache, number).await;
    }
    scene.cache.directory().flush().await;
    let sealer = scene.cache.sealer();
    let old = sealer
        .keys()
        .into_iter()
        .find(|key| key.state == KeyState::Primary)
        .unwrap()
        .id;
    sealer.rotate().await.unwrap();
    scene.clock.advance(WRITER_WINDOW * 3);
    assert!(sealer.retire(old).await.is_err(), "pages are still under it");
    let report = sealer.reseal(u64::MAX).await.unwrap();
    assert!(report.is_complete() && report.resealed > 150);
    sealer.retire(old).await.unwrap();
    let newcomer = scene.another().await;
    assert_eq!(listed(&newcomer).await, (0..150).collect());
    scene.sign_in(&newcomer, 150).await;
    assert_eq!(listed(&scene.cache).await, (0..=150).collect());
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_reported_and_made_anew() {
    let scene = Scene::new().await;
    for number in 0..150 {
        scene.sign_in(&scene.cache, number).await;
    }
    scene.cache.directory().flush().await;
    let pages = scene.pages().await;
    // Some leaf; the root would take the whole listing along.
    let root = pages.iter().max_by_key(|page| page.1).unwrap().0.clone();
    let damaged = pages.iter().find(|page| page.0 != root).unwrap().0.clone();
    let record = scene.store.get(&damaged).await.unwrap().unwrap();
    let mut bytes = record.payload.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    scene
        .store
        .put(&damaged, bytes.into(), PutOptions::overwrite())
        .await
        .unwrap();

    let page = scene
        .cache
        .directory()
        .page(DirectoryQuery::new().limit(1000))
        .await
        .unwrap();
    assert_eq!(page.unreadable.len(), 1);
    assert_eq!(page.unreadable[0].0, damaged);
    let left = page.entries.len();
    assert!((100..150).contains(&left), "{left}");
    let report = scene.cache.directory().rebuild().await.unwrap();
    assert!(report.unreadable.iter().all(|found| found.0 == damaged) && report.entered == 0);
    scene.cache.quarantine(&damaged).await.unwrap().unwrap();
    let report = scene.cache.directory().rebuild().await.unwrap();
    assert_eq!(usize::try_from(report.entered).unwrap(), 150 - left);
    assert_eq!(listed(&scene.cache).await, (0..150).collect());
}

#[tokio::test]
async fn what_lies_beneath_an_unreadable_page_stays_until_that_is_set_aside() {
    let scene = Scene::new().await;
    for number in 0..150 {
        scene.sign_in(&scene.cache, number).await;
    }
    scene.cache.directory().flush().await;
    let pages = scene.pages().await;
    let root = pages.iter().max_by_key(|page| page.1).unwrap().0.clone();
    let overwrite = PutOptions::overwrite();
    let record = scene.store.get(&root).await.unwrap().unwrap();
    let damaged = record.payload.slice(..record.payload.len() - 1);
    scene.store.put(&root, damaged, overwrite).await.unwrap();
    scene.clock.advance(HOUR * 2);
    let report = scene.cache.directory().rebuild().await.unwrap();
    assert_eq!((report.entered, report.pages_removed), (0, 0));
    assert_eq!(report.unreadable[0].0, root);
    assert_eq!(scene.pages().await.len(), pages.len());

    scene.cache.quarantine(&root).await.unwrap().unwrap();
    let report = scene.cache.directory().rebuild().await.unwrap();
    assert_eq!(report.entered, 150);
    assert_eq!(usize::try_from(report.pages_removed).unwrap(), pages.len() - 1);
    assert_eq!(listed(&scene.cache).await, (0..150).collect());
}

#[tokio::test]
async fn a_page_that_went_back_is_refused_or_serves_as_the_strategy_says() {
    for policy in [RollbackPolicy::Refuse, RollbackPolicy::MissAndReport] {
        let strategy = Strategy::desktop_tool()
            .directory(DirectoryPolicy::on())
            .rollback(policy);
        let scene = Scene::with(strategy).await;
        scene.sign_in(&scene.cache, 1).await;
        let root = scene.pages().await[0].0.clone();
        let old = scene.store.get(&root).await.unwrap().unwrap();
        scene.sign_in(&scene.cache, 2).await;
        scene.cache.directory().flush().await;
        scene
            .store
            .put(&root, old.payload, PutOptions::overwrite())
            .await
            .unwrap();
        let page = scene.cache.directory().page(DirectoryQuery::new()).await.unwrap();
        if policy == RollbackPolicy::Refuse {
            assert!(page.entries.is_empty() && page.unreadable.len() == 1);
            scene.sign_in(&scene.cache, 3).await;
            continue;
        }
        assert_eq!(page.entries.len(), 1, "a hint of what was so");
        scene.sign_in(&scene.cache, 3).await;
        assert_eq!(listed(&scene.another().await).await, [1, 3].into());
        scene.cache.directory().rebuild().await.unwrap();
        assert_eq!(listed(&scene.cache).await, [1, 2, 3].into());
    }
}

#[tokio::test]
async fn pages_stay_within_a_store_of_small_records() {
    let (clock, store) = crate::support::parts();
    let small = crate::support::quiet_and_small(store, 2_560);
    let strategy = Strategy::desktop_tool().directory(DirectoryPolicy::on());
    let cache = crate::support::open_with(&small, &clock, strategy).await;
    let scene = Scene::new().await;
    for number in 0..200 {
        scene.sign_in(&cache, number).await;
    }
    assert_eq!(listed(&cache).await, (0..200).collect());
    for record in cache.inspect().await.unwrap() {
        assert!(record.bytes <= 2_560);
    }
}
