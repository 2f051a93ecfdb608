//! A process that dies between any two operations leaves a directory that others can use.

use std::collections::BTreeSet;

use cache_core::store::error::Operation;
use cache_core::store::{Record, StoreKey};
use cache_testkit::fault::Fault;

use crate::scene::*;
use crate::support::*;

/// With a full root page: the next sign-in splits it.
const FULL: usize = 64;

async fn full() -> Vec<(StoreKey, Record)> {
    let scene = Scene::new().await;
    for number in 0..FULL {
        scene.sign_in(&scene.cache, number).await;
    }
    scene.cache.directory().flush().await;
    assert_eq!(scene.pages().await.len(), 1);
    scene.records().await
}

async fn signed_in(scene: &Scene) -> BTreeSet<usize> {
    let accounts = scene.another().await.accounts().await.unwrap().accounts;
    let numbers = accounts
        .iter()
        .map(|account| account.account.home_account_id[4..].parse().unwrap());
    numbers.collect()
}

#[tokio::test]
async fn a_crash_during_a_split_loses_no_entry_and_what_it_left_is_cleared_away() {
    let (mut crashed, mut orphans) = (0, 0);
    let full = full().await;
    for after in 0..20 {
        for is_before in [true, false] {
            let scene = Scene::restored(&full).await;
            let fault = if is_before {
                Fault::crash_before()
            } else {
                Fault::crash_after()
            };
            scene.faults.inject(fault.on(Operation::Put).after(after));
            let ticking = ticking(&scene.clock);
            let _ = scene
                .cache
                .sign_in(&account(FULL), scene.granted(CLIENT, FULL))
                .await;
            settle().await;
            drop(ticking);
            crashed += usize::from(scene.faults.has_crashed());
            let other = scene.another().await;
            let found = listed(&other).await;
            let there = signed_in(&scene).await;
            assert!(
                there.is_subset(&found),
                "listed first: put {after}, before {is_before}"
            );
            assert!((0..FULL).all(|number| found.contains(&number)));
            // Life goes on over what the crash left.
            for number in FULL..FULL + 20 {
                scene.sign_in(&other, number).await;
            }
            other.directory().flush().await;
            assert_eq!(listed(&other).await, (0..FULL + 20).collect());
            scene.clock.advance(HOUR);
            let report = other.directory().rebuild().await.unwrap();
            orphans += report.pages_removed;
            assert_eq!((report.accounts, report.entered, report.removed), (84, 0, 0));
            assert_eq!(other.directory().rebuild().await.unwrap().pages_removed, 0);
            assert_eq!(listed(&other).await, (0..FULL + 20).collect());
        }
    }
    assert!(crashed >= 20, "{crashed} crashes");
    assert!(orphans >= 50, "{orphans} pages that nobody could reach");
}

#[tokio::test]
async fn a_lost_acknowledgement_neither_loses_nor_doubles_an_entry() {
    let full = full().await;
    for is_applied in [true, false] {
        for after in 0..20 {
            let scene = Scene::restored(&full).await;
            let fault = if is_applied {
                Fault::lost_reply()
            } else {
                Fault::lost_request()
            };
            scene
                .faults
                .inject(fault.on(Operation::Put).at_key(is_page).after(after).once());
            let _ticking = ticking(&scene.clock);
            scene.sign_in(&scene.cache, FULL).await;
            scene.cache.directory().flush().await;
            assert_eq!(listed(&scene.another().await).await, (0..=FULL).collect());
        }
    }
}

#[tokio::test]
async fn a_crash_during_a_sign_out_leaves_at_most_an_entry_too_many() {
    let full = full().await;
    for after in 0..12 {
        let scene = Scene::restored(&full).await;
        scene.faults.inject(Fault::crash_before().after(after));
        let ticking = ticking(&scene.clock);
        let cache = scene.cache.clone();
        let leaving = tokio::spawn(async move { cache.forget_account(&account(3)).await });
        let _ = leaving.await.unwrap();
        drop(ticking);
        let other = scene.another().await;
        let found = listed(&other).await;
        assert!(signed_in(&scene).await.is_subset(&found), "{after}");
        assert!((0..FULL).all(|number| number == 3 || found.contains(&number)));
        // Whoever meets it takes it off.
        if scene.acquire(&other, 3).await.is_err() {
            other.directory().flush().await;
            assert!(!listed(&other).await.contains(&3), "{after}");
        }
    }
}

#[tokio::test]
async fn two_processes_that_split_one_page_lose_nothing() {
    let full = full().await;
    for after in 0..18 {
        let scene = Scene::restored(&full).await;
        let other = scene.another().await;
        let (fault, held) = Fault::pause_before();
        scene
            .faults
            .inject(fault.on(Operation::Put).at_key(is_page).after(after).once());
        let (cache, granted) = (scene.cache.clone(), scene.granted(CLIENT, FULL));
        let splitting = tokio::spawn(async move { cache.sign_in(&account(FULL), granted).await });
        settle().await;
        let _ticking = ticking(&scene.clock);
        for number in FULL + 1..FULL + 5 {
            scene.sign_in(&other, number).await;
        }
        sign_out(&other, 7).await;
        held.release();
        splitting.await.unwrap().unwrap();
        scene.cache.directory().flush().await;
        let expected: BTreeSet<_> = (0..FULL + 5).filter(|number| *number != 7).collect();
        assert_eq!(listed(&other).await, expected, "{after}");
        // The one that was slower took its pages away.
        scene.clock.advance(HOUR);
        assert_eq!(
            other.directory().rebuild().await.unwrap().pages_removed,
            0,
            "{after}"
        );
    }
}
