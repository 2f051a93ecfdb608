//! The time of last use is coarse, and a token out of memory costs nothing for it.

use std::time::Duration;

use cache_core::cache::TokenSource;
use cache_core::strategy::{DirectoryPolicy, MemoryTier, Strategy};

use crate::scene::*;

const ALICE: usize = 1;

/// Access tokens outlive the test, so that every use is a look-up.
async fn scene(tier: MemoryTier) -> Scene {
    let strategy = Strategy::desktop_tool()
        .memory_tier(tier)
        .directory(DirectoryPolicy::on());
    let scene = Scene::with(strategy).await;
    scene.issuer.lifetime(1_000_000);
    scene.sign_in(&scene.cache, ALICE).await;
    scene.cache.directory().flush().await;
    scene
}

#[tokio::test]
async fn a_token_out_of_memory_costs_no_operation_and_no_task() {
    let tier = MemoryTier::bounded(1 << 20).max_staleness(HOUR * 24);
    let scene = scene(tier).await;
    scene.clock.advance(HOUR * 5);
    let metrics = tokio::runtime::Handle::current().metrics();
    scene.faults.reset_counts();
    let tasks = metrics.num_alive_tasks();
    for _ in 0..1000 {
        let acquired = scene.acquire(&scene.cache, ALICE).await.unwrap();
        assert_eq!(acquired.source(), TokenSource::Memory);
    }
    assert_eq!(scene.faults.total(), 0);
    assert_eq!(metrics.num_alive_tasks(), tasks);
}

#[tokio::test]
async fn a_use_is_written_once_in_a_while_for_each_account_by_the_whole_fleet() {
    let scene = scene(MemoryTier::off()).await;
    let other = scene.another().await;
    let signed_in = entry(&other, ALICE).await.unwrap().last_used();
    let mut writes = scene.writes().await;
    for hour in 0..5 {
        for minute in 0..60 {
            for cache in [&scene.cache, &other] {
                scene.acquire(cache, ALICE).await.unwrap();
                cache.directory().flush().await;
            }
            let at_most = u64::from(minute == 0 && hour > 0);
            let now = scene.writes().await;
            assert_eq!(now - writes, at_most, "hour {hour}, minute {minute}");
            writes = now;
            scene.clock.advance(Duration::from_secs(60));
        }
    }
    let last_used = entry(&other, ALICE).await.unwrap().last_used();
    assert_eq!(last_used.duration_since(signed_in), HOUR * 4);
}

#[tokio::test]
async fn uses_of_many_accounts_on_one_page_share_a_write() {
    let scene = scene(MemoryTier::off()).await;
    for number in 2..40 {
        scene.sign_in(&scene.cache, number).await;
    }
    scene.cache.directory().flush().await;
    scene.clock.advance(HOUR);
    let before = scene.writes().await;
    // The first is written at once; the others gather meanwhile.
    for number in 1..40 {
        scene.acquire(&scene.cache, number).await.unwrap();
    }
    scene.cache.directory().flush().await;
    let writes = scene.writes().await - before;
    assert!((1..10).contains(&writes), "{writes}");
    let now = cache_core::time::Clock::now(&scene.clock).to_seconds();
    for number in 1..40 {
        assert_eq!(entry(&scene.cache, number).await.unwrap().last_used(), now);
    }
}

#[tokio::test]
async fn what_was_noted_is_entered_before_a_shutdown_ends_and_nothing_after() {
    let scene = scene(MemoryTier::off()).await;
    scene.clock.advance(HOUR);
    scene.acquire(&scene.cache, ALICE).await.unwrap();
    assert_eq!(scene.cache.shutdown(HOUR).await, 0);
    let now = cache_core::time::Clock::now(&scene.clock).to_seconds();
    let reader = scene.without_directory().await;
    assert_eq!(entry(&reader, ALICE).await.unwrap().last_used(), now);
    scene.clock.advance(HOUR);
    scene.acquire(&scene.cache, ALICE).await.unwrap();
    crate::support::settle().await;
    assert_eq!(entry(&reader, ALICE).await.unwrap().last_used(), now);
}

#[tokio::test]
async fn a_refresh_that_a_shutdown_waits_for_is_noted_too() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.cache, ALICE).await;
    let directory = scene.cache.directory();
    assert!(
        directory
            .mark_needs_interaction(&account(ALICE), "client")
            .await
            .unwrap()
    );
    scene.clock.advance(HOUR);
    scene.issuer.close_gate();
    let (cache, issuer) = (scene.cache.clone(), std::sync::Arc::clone(&scene.issuer));
    let refreshing = tokio::spawn(async move {
        let options = cache_core::cache::AcquireOptions::default();
        cache.acquire(request_for(ALICE), options, issuer.call("a")).await
    });
    scene.issuer.arrived(1).await;
    let cache = scene.cache.clone();
    let closing = tokio::spawn(async move { cache.shutdown(HOUR).await });
    crate::support::settle().await;
    scene.issuer.open_gate();
    assert_eq!(closing.await.unwrap(), 0);
    refreshing.await.unwrap().unwrap();
    let entry = entry(&scene.without_directory().await, ALICE).await.unwrap();
    let client = entry.client("client").unwrap();
    assert_eq!(client.needs_interaction, None);
    assert_eq!(
        client.last_used,
        cache_core::time::Clock::now(&scene.clock).to_seconds()
    );
}

#[tokio::test]
async fn an_account_that_is_used_but_not_listed_is_entered() {
    let scene = scene(MemoryTier::off()).await;
    let unaware = scene.without_directory().await;
    scene.sign_in(&unaware, 2).await;
    assert_eq!(listed(&scene.cache).await, [ALICE].into());
    scene.acquire(&scene.cache, 2).await.unwrap();
    scene.cache.directory().flush().await;
    assert_eq!(listed(&scene.cache).await, [ALICE, 2].into());
}
