//! `migrate` beside processes that refresh, and cut short by kills and interrupts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache_testkit::redis::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::migrate::*;
use crate::program::{Program, pause, strict_authority};

/// Killed again and again at moments that nobody chose, it goes on until everything is there, once.
#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_lose_and_double_nothing() {
    const ACCOUNTS: usize = 300;
    let program = crowded(ACCOUNTS).await;
    let (own, other, own_key) = (
        sqlite(&program, "cache.db"),
        sqlite(&program, "other.db"),
        key(&program, "key"),
    );
    let before = refresh_tokens(&program, &own, &own_key).await;
    assert_eq!(before.len(), ACCOUNTS);
    let mut in_the_middle = 0;
    for round in 0..12 {
        let mut child = program.start(&["migrate", "--to", &other]);
        pause(60 + 35 * round).await;
        child.kill().await.unwrap();
        if !program.path("other.db").exists() {
            continue;
        }
        let kept = refresh_tokens(&program, &own, &own_key).await;
        let there = at(&program, &other, Some(&own_key), &["export"]).await;
        // It may have died before there was a key ring.
        if there.exit != Some(0) {
            continue;
        }
        let there = refresh_tokens(&program, &other, &own_key).await;
        assert!(
            kept.iter().all(|token| !there.contains(token)),
            "a token is in use in both"
        );
        // One may be on its way.
        assert!(kept.len() + there.len() + 1 >= ACCOUNTS);
        in_the_middle += usize::from(!kept.is_empty() && !there.is_empty());
    }
    assert!(in_the_middle > 0, "no kill was in the middle");
    let report = program.json(&["migrate", "--to", &other]).await;
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(refresh_tokens(&program, &other, &own_key).await, before);
    assert_eq!(accounts(&program, &own, &own_key).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_between_records_and_says_how_to_go_on() {
    const ACCOUNTS: usize = 700;
    let program = crowded(ACCOUNTS).await;
    let (own, other, own_key) = (
        sqlite(&program, "cache.db"),
        sqlite(&program, "other.db"),
        key(&program, "key"),
    );
    let child = program.start(&["--json", "migrate", "--to", &other]);
    let id = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    // Until the target has something.
    while !program.path("other.db").exists() {
        pause(5).await;
    }
    pause(400).await;
    kill_process(id, Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(
        output.stderr.starts_with(b"error: interrupted"),
        "nothing but the error: {output:?}"
    );
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"]["kind"], "interrupted");
    assert!(
        object["error"]["next"]
            .as_str()
            .unwrap()
            .contains("goes on where it stopped")
    );
    let moved = usize::try_from(object["migration"]["moved"].as_u64().unwrap()).unwrap();
    assert_eq!(accounts(&program, &own, &own_key).await, ACCOUNTS - moved);
    assert_eq!(accounts(&program, &other, &own_key).await, moved);

    let ran = program.run(&["migrate", "--to", &other]).await.succeeded();
    assert!(
        ran.stderr
            .contains(&format!("moved {} records", ACCOUNTS + 1 - moved)),
        "{}",
        ran.stderr
    );
    assert_eq!(accounts(&program, &other, &own_key).await, ACCOUNTS);
}

/// An authority that revokes a family whose token comes twice sees nothing of a migration.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_refresh_meanwhile_keep_their_sign_in() {
    let authority = strict_authority().await;
    let server = RedisServer::start().await.unwrap();
    let program = Arc::new(Program::of_fake(&authority));
    program.json(&SIGN_IN).await;
    let file = program.path("many.json");
    std::fs::write(&file, many(40).to_string()).unwrap();
    program.json(&["import", file.to_str().unwrap()]).await;
    let url = server.url();
    let own_key = key(&program, "key");
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for _ in 0..3 {
        let (program, stop) = (Arc::clone(&program), Arc::clone(&stop));
        running.push(tokio::spawn(async move {
            let mut refreshed = 0;
            while !stop.load(Ordering::Relaxed) {
                let ran = program
                    .run(&[&["--json"], &REFRESH[..], &["--account", "alice@contoso.test"]].concat())
                    .await;
                match ran.exit {
                    Some(0) => refreshed += 1,
                    // Once it has moved.
                    _ => assert_eq!(ran.exit, Some(3), "{ran:?}"),
                }
            }
            refreshed
        }));
    }
    pause(700).await;
    let report = program.json(&["migrate", "--to", &url]).await;
    assert_eq!(
        (&report["moved"], &report["complete"]),
        (&json!(42), &json!(true)),
        "{report}"
    );
    pause(300).await;
    stop.store(true, Ordering::Relaxed);
    let mut refreshed = 0;
    for program in running {
        refreshed += program.await.unwrap();
    }
    assert!(refreshed > 0);
    let words = [&REFRESH[..], &["--account", "alice@contoso.test"]].concat();
    at(&program, &url, Some(&own_key), &words).await.succeeded();
    assert_eq!(authority.families_revoked(), 0);
}
