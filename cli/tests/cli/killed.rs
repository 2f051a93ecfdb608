//! Processes that are killed, stopped or interrupted in the middle of a refresh.

#[cfg(unix)]
use std::time::Duration;

#[cfg(unix)]
use cache_core::time::{Clock, SystemClock};
use cache_testkit::oidc_provider::{OidcProvider, Options};
#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Program, pause};

const TOKEN: [&str; 5] = ["token", "--scope", "api:read", "--request-timeout", "1"];

async fn expired() -> (OidcProvider, Program) {
    let provider = OidcProvider::start(Options {
        access_token_ttl_seconds: 1,
    })
    .await
    .unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;
    pause(2100).await;
    provider.set_access_token_ttl(3600).await.unwrap();
    (provider, program)
}

/// Waits until the provider has acted on a refresh, whose reply it holds back.
async fn until_spent(provider: &OidcProvider) {
    for _ in 0..3000 {
        if provider.statistics().await.unwrap().refresh_tokens_consumed > 0 {
            return;
        }
        pause(10).await;
    }
    panic!("no refresh token arrived");
}

/// The provider has acted, and its reply is held back when the process dies: nobody knows the new token.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_in_a_refresh_the_token_is_not_sent_again() {
    let (provider, program) = expired().await;
    provider.set_token_delay(60_000).await.unwrap();
    let mut child = program.start(&["token", "--scope", "api:read", "--request-timeout", "2"]);
    until_spent(&provider).await;
    child.kill().await.unwrap();
    provider.set_token_delay(0).await.unwrap();

    let error = program.failing(&TOKEN, 3).await;
    assert_eq!(error["kind"], "interaction_required", "{error}");
    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 1, "the spent token was sent again");
    assert_eq!(
        (statistics.refresh_tokens_reused, statistics.grants_revoked),
        (0, 0)
    );

    // Everything is still there, and signing in again mends it.
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    program.sign_in(&provider).await;
    assert!(program.json(&TOKEN).await["access_token"].is_string());
}

/// A reply that comes after the limit: the process ends in time with a typed error.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_does_not_come_is_an_unknown_outcome_in_bounded_time() {
    let (provider, program) = expired().await;
    provider.set_token_delay(60_000).await.unwrap();
    let error = program.failing(&TOKEN, 5).await;
    assert_eq!(error["kind"], "outcome_unknown", "{error}");
    let error = program.failing(&TOKEN, 3).await;
    assert_eq!(error["kind"], "interaction_required", "{error}");
    assert_eq!(provider.statistics().await.unwrap().refresh_requests(), 1);
}

#[cfg(unix)]
fn send(child: &tokio::process::Child, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

/// Where core dumps are allowed, and it has a refresh token in its memory.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_no_core_dump() {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Core);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Core, most).unwrap();
    let (provider, program) = expired().await;
    provider.set_token_delay(60_000).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut child = program
        .command(&["token", "--scope", "api:read", "--request-timeout", "60"])
        .current_dir(folder.path())
        .spawn()
        .unwrap();
    until_spent(&provider).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id().unwrap())).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
    send(&child, Signal::ABORT);
    let status = child.wait().await.unwrap();
    assert_eq!(
        (status.signal(), status.core_dumped()),
        (Some(Signal::ABORT.as_raw()), false)
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A process that is stopped past its deadline while its reply is there: nobody else sends the token, nobody
/// waits longer than the deadline, and when it goes on it is told what the others were told.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_past_its_deadline_stores_nothing() {
    let (provider, program) = expired().await;
    provider.set_token_delay(500).await.unwrap();
    let child = program.start(&["--json", "token", "--scope", "api:read", "--request-timeout", "1"]);
    until_spent(&provider).await;
    send(&child, Signal::STOP);
    let clock = SystemClock;
    let began = clock.monotonic();
    let error = program.failing(&TOKEN, 3).await;
    assert_eq!(error["kind"], "interaction_required", "{error}");
    assert!(
        clock.monotonic() - began < Duration::from_secs(20),
        "it waited beyond the deadline"
    );

    send(&child, Signal::CONT);
    let output = child.wait_with_output().await.unwrap();
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kind = object["error"]["kind"].as_str();
    assert!(
        matches!(kind, Some("interaction_required" | "outcome_unknown")),
        "{object}"
    );
    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 1, "the spent token was sent again");
    assert_eq!(statistics.refresh_tokens_reused, 0);
    // It may wake with its time for the request over, too late even to look at the reply. Else it lets go of what it brought, which
    // nobody could use any more.
    let is_let_go = u64::from(kind == Some("interaction_required"));
    assert!(statistics.grants_revoked <= is_let_go, "{object}");
    let error = program.failing(&TOKEN, 3).await;
    assert_eq!(
        error["kind"], "interaction_required",
        "what it obtained is not stored: {error}"
    );
}

/// An interrupt is answered at once, but the tokens of the refresh under way are stored first.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_in_a_refresh_loses_no_token() {
    let (provider, program) = expired().await;
    provider.set_token_delay(700).await.unwrap();
    let child = program.start(&["--json", "token", "--scope", "api:read"]);
    until_spent(&provider).await;
    send(&child, Signal::INT);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"]["kind"], "interrupted");

    let token = program.json(&TOKEN).await;
    assert_eq!(
        token["metadata"]["source"], "store",
        "the interrupted process stored what it obtained"
    );
    assert_eq!(provider.statistics().await.unwrap().refresh_requests(), 1);
}

/// Killed again and again at moments that nobody chose, the database stays readable.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_leave_a_readable_file() {
    let program = Program::new();
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../cache-core/tests/fixtures/msal/py_msft_two_tenants.json"
    );
    program.json(&["import", fixture]).await;
    for delay in (0..40).map(|step| step * 2) {
        let words: &[&str] = if delay % 4 == 0 {
            &["import", fixture]
        } else {
            &["keys", "reseal"]
        };
        let mut child = program.start(words);
        pause(delay).await;
        child.kill().await.unwrap();
        if delay % 20 == 10 {
            program.json(&["keys", "rotate"]).await;
        }
    }
    let accounts = program.json(&["accounts"]).await;
    assert!(!accounts["accounts"].as_array().unwrap().is_empty());
    program.json(&["doctor"]).await;
}
