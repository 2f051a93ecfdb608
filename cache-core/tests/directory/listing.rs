//! Accounts are listed page by page, each once, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use cache_core::cache::{DirectoryCursor, DirectoryQuery};
use cache_core::schema::{AuthorityIdentity, PartitionKey, SessionKey};

use crate::scene::*;
use crate::support::{settle, ticking};

const MANY: usize = 2_000;

#[tokio::test]
async fn two_thousand_accounts_are_listed_once_each_in_pages_of_any_size() {
    let scene = Scene::new().await;
    let other = scene.another().await;
    assert!(listed(&scene.cache).await.is_empty());
    for number in 0..MANY {
        let cache = if number % 2 == 0 { &scene.cache } else { &other };
        scene.sign_in(cache, number).await;
    }
    let all: BTreeSet<_> = (0..MANY).collect();
    for limit in [17, 1000] {
        let query = DirectoryQuery::new().limit(limit);
        assert_eq!(list(&other, &query).await, all, "{limit}");
    }
    let page = scene
        .cache
        .directory()
        .page(DirectoryQuery::new().limit(100))
        .await
        .unwrap();
    assert_eq!(page.entries.len(), 100);
    let pages = scene.pages().await.len();
    assert!((MANY / 64..MANY / 4).contains(&pages), "{pages} pages");
    let found = entry(&other, 1234).await.unwrap();
    assert_eq!(found.account.username, "user-1234@example.test");
    assert_eq!(found.cached_account().clients, ["client"]);
    assert!(entry(&other, MANY).await.is_none());
}

#[tokio::test]
async fn a_sign_in_touches_few_records_however_many_there_are() {
    let scene = Scene::new().await;
    for number in 0..600 {
        scene.sign_in(&scene.cache, number).await;
    }
    scene.cache.directory().flush().await;
    let before = scene.pages().await;
    scene.faults.reset_counts();
    scene.sign_in(&scene.cache, 0).await;
    scene.cache.directory().flush().await;
    assert!(scene.faults.total() < 16, "{} operations", scene.faults.total());
    scene.clock.advance(HOUR);
    scene.sign_in(&scene.cache, 0).await;
    let after = scene.pages().await;
    let written = after.iter().filter(|page| !before.contains(page)).count();
    assert_eq!(written, 1, "one page of {}", after.len());
}

#[tokio::test]
async fn what_is_there_throughout_is_listed_once_while_others_come_and_go() {
    let scene = Arc::new(Scene::new().await);
    let other = scene.another().await;
    let _ticking = ticking(&scene.clock);
    for number in 0..200 {
        scene.sign_in(&scene.cache, number).await;
    }
    let changing = tokio::spawn({
        let (scene, other) = (Arc::clone(&scene), other.clone());
        async move {
            for number in 0..400 {
                scene.sign_in(&other, 1000 + number).await;
                if number % 3 == 0 {
                    sign_out(&scene.cache, 1000 + number / 2).await;
                }
                if number % 10 == 0 {
                    sign_out(&scene.cache, 150 + number / 10).await;
                }
            }
        }
    });
    let mut rounds = 0;
    while !changing.is_finished() || rounds == 0 {
        let found = list(&other, &DirectoryQuery::new().limit(20)).await;
        assert!((0..150).all(|number| found.contains(&number)), "{found:?}");
        rounds += 1;
        settle().await;
    }
    changing.await.unwrap();
    scene.cache.directory().flush().await;
    other.directory().flush().await;
    let expected: BTreeSet<_> = scene
        .cache
        .accounts()
        .await
        .unwrap()
        .accounts
        .iter()
        .map(|account| account.account.home_account_id[4..].parse().unwrap())
        .collect();
    assert_eq!(listed(&other).await, expected);
}

#[tokio::test]
async fn a_cursor_outlives_its_process_and_new_accounts() {
    let scene = Scene::new().await;
    for number in 0..100 {
        scene.sign_in(&scene.cache, number).await;
    }
    let first = scene
        .cache
        .directory()
        .page(DirectoryQuery::new().limit(40))
        .await
        .unwrap();
    let text = first.next.unwrap().to_string();
    for number in 100..300 {
        scene.sign_in(&scene.cache, number).await;
    }
    let restarted = scene.another().await;
    let cursor: DirectoryCursor = text.parse().unwrap();
    let rest = list(&restarted, &DirectoryQuery::new().after(cursor)).await;
    for entry in &first.entries {
        assert!(!rest.contains(&number_of(entry)));
    }
    let listed_first: BTreeSet<_> = first.entries.iter().map(number_of).collect();
    for number in (0..100).filter(|number| !listed_first.contains(number)) {
        assert!(rest.contains(&number), "{number}");
    }
}

#[tokio::test]
async fn the_conditions_are_about_the_named_client_or_about_all() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.cache, 1).await;
    scene.clock.advance(HOUR * 2);
    let other = scene.granted("other", 1);
    scene.cache.sign_in(&account(1), other).await.unwrap();
    scene.sign_in(&scene.cache, 2).await;
    let idle = DirectoryQuery::new().idle_for(HOUR);
    assert!(
        list(&scene.cache, &idle).await.is_empty(),
        "some client used each of them"
    );
    assert_eq!(
        list(&scene.cache, &idle.clone().client_id("client")).await,
        [1].into()
    );
    let of_other = DirectoryQuery::new().client_id("other");
    assert_eq!(list(&scene.cache, &of_other).await, [1].into());
    let used = entry(&scene.cache, 2).await.unwrap().last_used();
    assert!(
        list(&scene.cache, &DirectoryQuery::new().used_before(used))
            .await
            .is_empty()
    );
    let directory = scene.cache.directory();
    assert!(
        directory
            .mark_needs_interaction(&account(1), "other")
            .await
            .unwrap()
    );
    let needy = DirectoryQuery::new().needs_interaction(true);
    assert_eq!(list(&scene.cache, &needy).await, [1].into());
    assert!(list(&scene.cache, &needy.client_id("client")).await.is_empty());
    assert!(
        directory
            .clear_needs_interaction(&account(1), "other")
            .await
            .unwrap()
    );
    let content = DirectoryQuery::new().needs_interaction(false);
    assert_eq!(list(&scene.cache, &content).await, [1, 2].into());
    assert!(
        !directory
            .mark_needs_interaction(&account(3), "client")
            .await
            .unwrap()
    );
    assert!(
        !directory
            .mark_needs_interaction(&account(1), "third")
            .await
            .unwrap()
    );
    let session = PartitionKey::Session {
        client_id: "client".into(),
        authority: AuthorityIdentity::of_issuer(crate::support::ISSUER),
        key: SessionKey::AssertionHash([1; 32]),
    };
    assert!(
        !directory
            .mark_needs_interaction(&session, "client")
            .await
            .unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_tasks_of_two_processes_sign_in_at_once() {
    let scene = Arc::new(Scene::new().await);
    let caches = [scene.cache.clone(), scene.another().await];
    let _ticking = ticking(&scene.clock);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (scene, cache) = (Arc::clone(&scene), caches[task % 2].clone());
            tokio::spawn(async move {
                for number in 0..50 {
                    scene.sign_in(&cache, task * 50 + number).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for cache in &caches {
        cache.directory().flush().await;
        assert_eq!(listed(cache).await, (0..400).collect());
    }
}
