//! Refresh tokens that work once, refreshed by one program after the other.

use cache_testkit::authority::Grant;

use crate::party::{Party, Usage, Who};
use crate::scene::{SECTIONS, Scene};

const ONE_EACH: [usize; 5] = [1; SECTIONS.len()];

/// Two programs take turns, `rotations` in all. The first signs in, and the second refreshes first.
async fn take_turns(first: Who, second: Who, usage: Usage, rotations: usize) {
    let scene = Scene::set().await;
    let file = "cache.json";
    let mut parties = [
        scene.party(first, usage, file).await,
        scene.party(second, usage, file).await,
    ];
    if second == Who::Node {
        for party in &mut parties {
            party.share_with_node_alone().await;
        }
    }
    let (home, _) = parties[0].sign_in().await;
    let mut most = scene.rows(file);
    for rotation in 1..=rotations {
        let party = &mut parties[rotation % 2];
        let who = party.who();
        let forced = party.silent(&home, true).await;
        let forced = forced.unwrap_or_else(|problem| panic!("rotation {rotation}, {who}: {problem}"));
        assert!(!forced.from_cache, "rotation {rotation}, {who}");
        let rows = scene.rows(file);
        println!("rotation {rotation:>2} by {who}: {rows:?}");
        most = std::array::from_fn(|section| most[section].max(rows[section]));
        let seen = parties[(rotation + 1) % 2].silent(&home, false).await.unwrap();
        assert!(seen.from_cache, "rotation {rotation}: the other sees it");
        assert_eq!(seen.token, forced.token, "rotation {rotation}: the other sees it");
    }
    println!("{first} and {second}, {usage:?}: {rotations} rotations, at most {most:?} rows of {SECTIONS:?}");
    assert_eq!(most, ONE_EACH, "no duplicate rows");
    assert_clean(&scene, rotations);
}

fn assert_clean(scene: &Scene, rotations: usize) {
    assert_eq!(scene.authority.families_revoked(), 0);
    let refreshes = scene.authority.grant_count(Grant::RefreshToken);
    assert_eq!(
        (refreshes.requests, refreshes.issued),
        (rotations as u64, rotations as u64),
        "no invalid_grant"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokenkeep_and_python_that_live_long() {
    take_turns(Who::Python, Who::Tokenkeep, Usage::LongLived, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokenkeep_and_python_that_run_once_for_each_command() {
    take_turns(Who::Tokenkeep, Who::Python, Usage::PerCommand, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokenkeep_and_node_that_live_long() {
    take_turns(Who::Node, Who::Tokenkeep, Usage::LongLived, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokenkeep_and_node_that_run_once_for_each_command() {
    take_turns(Who::Tokenkeep, Who::Node, Usage::PerCommand, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokenkeep_python_and_node_in_turn() {
    for usage in [Usage::LongLived, Usage::PerCommand] {
        let scene = Scene::set().await;
        let file = "cache.json";
        let mut parties: Vec<Party> = Vec::new();
        for who in [Who::Tokenkeep, Who::Python, Who::Node] {
            parties.push(scene.party(who, usage, file).await);
        }
        let (home, _) = parties[0].sign_in().await;
        for round in 1..=20 {
            for turn in 0..parties.len() {
                let party = &mut parties[turn];
                let who = party.who();
                let forced = party.silent(&home, true).await;
                let forced = forced.unwrap_or_else(|problem| panic!("round {round}, {who}: {problem}"));
                assert!(!forced.from_cache, "round {round}, {who}");
                let rows = scene.rows(file);
                println!("round {round:>2}, {who:<12}: {rows:?}");
                if who == Who::Tokenkeep {
                    assert_eq!(rows, ONE_EACH, "tokenkeep leaves one row of each, round {round}");
                }
                for other in parties.iter_mut().filter(|other| other.who() != who) {
                    let (seen, other) = (other.silent(&home, false).await, other.who());
                    let seen = seen
                        .unwrap_or_else(|problem| panic!("round {round}, {other} after {who}: {problem}"));
                    assert!(seen.from_cache, "round {round}, {other} after {who}");
                    assert_eq!(seen.token, forced.token, "round {round}, {other} after {who}");
                }
            }
        }
        assert_clean(&scene, 60);
    }
}

/// Without the names of Node, its first refresh leaves the row that it spent; the next refresh here mends that, for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_node_left_is_gone_with_the_next_refresh() {
    let scene = Scene::set().await;
    let file = "cache.json";
    let mut tokenkeep = scene.party(Who::Tokenkeep, Usage::LongLived, file).await;
    let mut node = scene.party(Who::Node, Usage::PerCommand, file).await;
    let (home, _) = tokenkeep.sign_in().await;
    node.silent(&home, true).await.unwrap();
    assert_eq!(scene.rows(file)[3], 2);
    for _ in 0..3 {
        tokenkeep.silent(&home, true).await.unwrap();
        assert_eq!(scene.rows(file), ONE_EACH);
        node.silent(&home, true).await.unwrap();
        node.silent(&home, true).await.unwrap();
        assert_eq!(scene.rows(file), ONE_EACH);
    }
    assert_clean(&scene, 10);
}
