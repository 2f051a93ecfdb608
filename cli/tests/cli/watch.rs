//! `watch`: one process looks on while others sign in, refresh and sign out.

use std::time::Duration;

use cache_core::time::{Clock, SystemClock, with_deadline};
use cache_testkit::authority::{ALICE, FakeAuthority};
use cache_testkit::redis::RedisServer;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::program::{Program, pause, strict_authority};

const PATIENCE: Duration = Duration::from_secs(20);
const LOGIN: [&str; 4] = ["login", "device-code", "--scope", "User.Read"];
const REFRESH: [&str; 4] = ["token", "--force-refresh", "--scope", "User.Read"];

/// A process that watches with `--json`.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    read: String,
}

impl Watching {
    /// Returns when the process has begun to watch.
    async fn start(program: &Program) -> Self {
        let mut child = program.start(&["--json", "watch"]);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watching = Self {
            child,
            lines,
            read: String::new(),
        };
        let first = watching.next().await;
        assert_eq!(first["event"], "watching", "{first}");
        watching
    }

    async fn next(&mut self) -> Value {
        let line = with_deadline(&SystemClock, PATIENCE, self.lines.next_line()).await;
        let line = line
            .expect("no event in time")
            .unwrap()
            .expect("the process ended");
        self.read.push_str(&line);
        let object: Value = serde_json::from_str(&line).unwrap();
        assert!(object["event"].is_string(), "{object}");
        object
    }

    /// The next event of this name; what comes before it is passed over, but another sign-in, refresh or sign-out.
    async fn expect(&mut self, name: &str) -> Value {
        self.expect_any(&[name]).await
    }

    /// As [`expect`](Self::expect), where it depends on the moment which of them it is.
    async fn expect_any(&mut self, names: &[&str]) -> Value {
        loop {
            let object = self.next().await;
            let event = object["event"].as_str().unwrap();
            if names.contains(&event) {
                return object;
            }
            let passed_over = [
                "refresh_started",
                "committed",
                "key_ring_changed",
                "lost",
                "watching",
            ];
            assert!(
                passed_over.contains(&event),
                "{object} where {names:?} was expected"
            );
        }
    }

    /// Interrupts the process, which ends well, and gives what it wrote.
    async fn interrupt(mut self) -> (String, String) {
        let id = self.child.id().unwrap().to_string();
        let killed = tokio::process::Command::new("kill")
            .args(["-INT", &id])
            .status()
            .await;
        assert!(killed.unwrap().success());
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.read.push_str(&line);
        }
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).await.unwrap();
        assert_eq!(self.child.wait().await.unwrap().code(), Some(0), "{stderr}");
        (self.read, stderr)
    }
}

/// What must not appear: every token of the cache.
async fn secrets(program: &Program) -> Vec<String> {
    let exported: Value = serde_json::from_str(&program.run(&["export"]).await.succeeded().stdout).unwrap();
    let sections = exported
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_object);
    let rows = sections.flat_map(|rows| rows.values());
    rows.filter_map(|row| Some(row.get("secret")?.as_str()?.to_owned()))
        .collect()
}

async fn what_others_do_is_seen(authority: &FakeAuthority, program: &Program) {
    program.json(&["accounts"]).await;
    let mut watching = Watching::start(program).await;
    let mut hidden = Vec::new();

    program.json(&LOGIN).await;
    let signed_in = watching.expect("signed_in").await;
    assert_eq!(signed_in["account"]["username"], ALICE, "{signed_in}");
    assert_eq!(signed_in["again"], false);
    let id = signed_in["account"]["home_account_id"].clone();
    let listed = program.json(&["accounts"]).await;
    assert_eq!(listed["accounts"][0]["home_account_id"], id);
    assert_eq!(listed["accounts"][0]["clients"][0], signed_in["client_id"]);
    hidden.extend(secrets(program).await);

    let token = program.json(&REFRESH).await;
    let refreshed = watching.expect("refreshed").await;
    assert_eq!(refreshed["expires_on"], token["expires_on"]);
    assert_eq!(refreshed["account"]["home_account_id"], id);
    assert!(refreshed["scopes"].as_u64().unwrap() >= 1);
    hidden.extend(secrets(program).await);

    program.json(&["logout"]).await;
    let signed_out = watching.expect("signed_out").await;
    assert_eq!(signed_out["clients"][0], signed_in["client_id"]);
    assert_eq!(signed_out["account"]["home_account_id"], id);

    let (stdout, stderr) = watching.interrupt().await;
    assert!(hidden.len() >= 4, "{}", hidden.len());
    for secret in &hidden {
        assert!(!stdout.contains(secret.as_str()) && !stderr.contains(secret.as_str()));
    }
    assert_eq!(stderr, "", "people are told nothing that the objects say");
    let _ = authority;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_is_seen_on_sqlite() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    what_others_do_is_seen(&authority, &program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_is_seen_on_redis() {
    let authority = strict_authority().await;
    let server = RedisServer::start().await.unwrap();
    let mut program = Program::of_fake(&authority);
    program.options(&["--store", &server.url()]);
    what_others_do_is_seen(&authority, &program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_and_comes_back_is_told() {
    let authority = strict_authority().await;
    let mut server = cache_testkit::redis::RedisServer::builder()
        .append_only(true)
        .start()
        .await
        .unwrap();
    let mut program = Program::of_fake(&authority);
    program.options(&["--store", &server.url()]);
    program.json(&LOGIN).await;
    let mut watching = Watching::start(&program).await;
    server.kill();
    let failed = watching.expect("store_failed").await;
    assert_eq!(failed["error"]["kind"], "store_unavailable", "{failed}");
    server.restart().await.unwrap();
    watching.expect("store_back").await;
    program.json(&REFRESH).await;
    watching.expect("refreshed").await;
    let (_, stderr) = watching.interrupt().await;
    assert!(stderr.contains("the store is out of reach"), "{stderr}");
    assert!(stderr.contains("the store answers again"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_lines_and_an_end_when_they_ask_for_one() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let missing = program.failing(&["watch"], 4).await;
    assert_eq!(missing["kind"], "store_missing");
    program.json(&["accounts"]).await;
    let started = SystemClock.monotonic();
    let ran = program.run(&["watch", "--for", "0.3"]).await.succeeded();
    assert!(SystemClock.monotonic().saturating_sub(started) >= Duration::from_millis(300));
    assert!(ran.stderr.starts_with("watching sqlite:"), "{ran:?}");
    assert_eq!(ran.stdout, "");

    let mut child = program.start(&["watch", "--count", "1"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("watching"));
    program.json(&LOGIN).await;
    let line = with_deadline(&SystemClock, PATIENCE, lines.next_line()).await;
    let line = line.expect("no line in time").unwrap().unwrap();
    let (moment, rest) = line.split_once("  ").unwrap();
    assert!(moment.ends_with('Z') && moment.len() == 24, "{line}");
    assert!(rest.starts_with(&format!("signed in: {ALICE} (")), "{line}");
    assert!(child.wait().await.unwrap().success());

    let error = program.failing(&["watch", "--count", "0"], 2).await;
    assert_eq!(error["kind"], "usage");
    let mut in_memory = Program::of_fake(&authority);
    in_memory.options(&["--store", "memory:"]);
    assert_eq!(in_memory.failing(&["watch"], 2).await["kind"], "usage");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_is_no_failure() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program.json(&["accounts"]).await;
    let mut watching = Watching::start(&program).await;
    drop(watching.lines);
    pause(50).await;
    program.json(&LOGIN).await;
    let ended = with_deadline(&SystemClock, PATIENCE, watching.child.wait()).await;
    assert_eq!(ended.expect("it goes on").unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_a_file_of_msal_programs_is_seen() {
    let authority = strict_authority().await;
    let mut program = Program::of_fake(&authority);
    program.without("--key");
    let store = format!("msal-file:{}", program.path("cache.json").display());
    program.options(&["--store", &store]);
    program.json(&LOGIN).await;
    let mut watching = Watching::start(&program).await;
    program.json(&REFRESH).await;
    // MSAL's rows do not say that a token came of another, so a refresh looks like another sign-in: unless the file was read while the
    // marker was in it.
    let seen = watching.expect_any(&["signed_in", "refreshed"]).await;
    assert!(seen["event"] == "refreshed" || seen["again"] == true, "{seen}");
    assert_eq!(seen["account"]["username"], ALICE);
    program.json(&["logout"]).await;
    watching.expect("signed_out").await;
    let (read, stderr) = watching.interrupt().await;
    assert!(!read.contains("eyJ"), "a token was shown: {read}");
    assert!(stderr.contains("is not encrypted"), "{stderr}");
    // Each change is announced as a gap, in which nothing was missed.
    assert!(
        !read.contains("\"lost\"") && !stderr.contains("missed"),
        "{read}\n{stderr}"
    );
}
