//! No secret is in any log at TRACE, error, file or output but that of `token` and `export`.

use std::collections::BTreeSet;
use std::time::Duration;

use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, FakeAuthority, Grant, Lifetimes, Script, ScriptedError,
};
use serde_json::Value;

use crate::program::{Program, Ran, strict_authority, wait_until_expired};

const SECRET_PARAMETERS: [&str; 6] = [
    "refresh_token",
    "device_code",
    "client_secret",
    "code",
    "code_verifier",
    "client_assertion",
];

/// What must appear nowhere: what was sent to the authority, and every token of the cache.
async fn canaries(authority: &FakeAuthority, programs: &[&Program]) -> BTreeSet<String> {
    let forms = (0..authority.requests().len())
        .filter_map(|index| authority.request_form(index))
        .flatten();
    let mut canaries: BTreeSet<_> = forms
        .filter(|(name, _)| SECRET_PARAMETERS.contains(&name.as_str()))
        .map(|(_, value)| value)
        .collect();
    for program in programs {
        let exported = program.json(&["export"]).await;
        let rows = exported
            .as_object()
            .unwrap()
            .values()
            .flat_map(|rows| rows.as_object().unwrap().values());
        canaries.extend(rows.filter_map(|row| row["secret"].as_str()).map(str::to_owned));
    }
    canaries.retain(|canary| !canary.is_empty());
    canaries
}

fn holds_none(text: &[u8], canaries: &BTreeSet<String>, place: &str) {
    for canary in canaries {
        // Part of a secret is a leak too; the first half of a token is its public header.
        let tail = &canary.as_bytes()[canary.len() - canary.len().min(24)..];
        assert!(
            !text.windows(tail.len()).any(|window| window == tail),
            "a secret is in {place}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_logs_errors_or_files() {
    let authority = strict_authority().await;
    authority.set_lifetimes(
        Lifetimes::default()
            .access_token(Duration::from_secs(1))
            .extended(None),
    );
    let mut program = Program::of_fake(&authority);
    program.set("TOKENKEEP_LOG", "trace");
    program.set("RUST_BACKTRACE", "1");
    let mut runs: Vec<(String, Ran)> = Vec::new();
    let mut canaries_seen = BTreeSet::new();

    let scope = ["--scope", "User.Read"];
    let with_scope = |words: &[&'static str]| [words, &scope].concat();
    let sign_in = program
        .run(&[&["--json"], &with_scope(&["login", "device-code"])[..]].concat())
        .await;
    let expires_on: Value = sign_in.object()["expires_on"].clone();
    assert!(
        sign_in.stderr.contains("TRACE"),
        "the log is not at TRACE: {}",
        sign_in.stderr
    );
    runs.push(("login".into(), sign_in));
    wait_until_expired(&expires_on).await;

    let refresh = |name: &str, ran: Ran| {
        // The token itself may stand on standard output, and there alone.
        (
            name.to_owned(),
            Ran {
                stdout: String::new(),
                ..ran
            },
        )
    };
    authority.script(
        Script::error(ScriptedError::new("server_error", 50_000).status(500)).grant(Grant::RefreshToken),
    );
    runs.push(refresh(
        "failing refresh",
        program.run(&with_scope(&["token"])).await,
    ));
    authority.script(Script::lost_reply().grant(Grant::RefreshToken));
    runs.push(refresh(
        "lost reply",
        program
            .run(&with_scope(&["token", "--request-timeout", "1"]))
            .await,
    ));
    runs.push(refresh(
        "refusal",
        program
            .run(&with_scope(&["token", "--request-timeout", "1"]))
            .await,
    ));
    canaries_seen.extend(canaries(&authority, &[&program]).await);
    runs.push((
        "login again".into(),
        program.run(&with_scope(&["login", "device-code"])).await,
    ));
    runs.push(refresh("token", program.run(&with_scope(&["token"])).await));
    runs.push(refresh(
        "forced",
        program.run(&with_scope(&["token", "--force-refresh"])).await,
    ));
    for words in [
        &["accounts"][..],
        &["--json", "accounts"],
        &["inspect", "--show-names"],
        &["--json", "inspect", "--show-names"],
        &["keys", "rotate"],
        &["keys", "reseal"],
        &["--json", "keys", "list"],
        &["doctor", "--online"],
    ] {
        runs.push((words.join(" "), program.run(words).await));
    }
    let file = program.path("exported.json");
    runs.push((
        "export".into(),
        program.run(&["export", file.to_str().unwrap()]).await,
    ));
    runs.push((
        "import".into(),
        program.run(&["import", file.to_str().unwrap()]).await,
    ));
    std::fs::write(
        program.path("broken.json"),
        &std::fs::read(&file).unwrap()[..2000],
    )
    .unwrap();
    let broken = program.path("broken.json");
    runs.push((
        "broken import".into(),
        program.run(&["import", broken.to_str().unwrap()]).await,
    ));

    let mut service = Program::of_fake(&authority);
    service.set("TOKENKEEP_LOG", "trace");
    service.set("THE_SECRET", CONFIDENTIAL_SECRET);
    service.options(&[
        "--client-id",
        CONFIDENTIAL_CLIENT,
        "--client-secret-env",
        "THE_SECRET",
    ]);
    let graph = ["--scope", "https://graph.microsoft.com/.default"];
    runs.push((
        "service".into(),
        service
            .run(&[&["login", "client-credentials"], &graph[..]].concat())
            .await,
    ));
    runs.push(refresh(
        "service token",
        service.run(&[&["token"], &graph[..]].concat()).await,
    ));

    canaries_seen.extend(canaries(&authority, &[&program, &service]).await);
    assert!(canaries_seen.len() >= 10, "only {} canaries", canaries_seen.len());
    assert!(canaries_seen.contains(CONFIDENTIAL_SECRET));
    for (name, ran) in &runs {
        holds_none(
            ran.stderr.as_bytes(),
            &canaries_seen,
            &format!("standard error of {name}"),
        );
        holds_none(
            ran.stdout.as_bytes(),
            &canaries_seen,
            &format!("standard output of {name}"),
        );
    }

    runs.push(("logout".into(), program.run(&["logout"]).await.succeeded()));
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(&broken).unwrap();
    for folder in [program.folder(), service.folder()] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                holds_none(
                    &std::fs::read(&path).unwrap(),
                    &canaries_seen,
                    &path.display().to_string(),
                );
            }
        }
    }
}

/// A tool that shows the environment or the arguments of a process sees no token.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_arguments_of_a_process() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program
        .run(&["login", "device-code", "--scope", "User.Read"])
        .await
        .succeeded();
    authority.script(
        Script::pass()
            .delayed(Duration::from_millis(500))
            .grant(Grant::RefreshToken),
    );
    let child = program.start(&["token", "--scope", "User.Read", "--force-refresh"]);
    while authority.grant_count(Grant::RefreshToken).requests == 0 {
        crate::program::pause(5).await;
    }
    let process = format!("/proc/{}", child.id().unwrap());
    let seen = canaries(&authority, &[]).await;
    assert!(!seen.is_empty());
    holds_none(
        &std::fs::read(format!("{process}/cmdline")).unwrap(),
        &seen,
        "the arguments",
    );
    match std::fs::read(format!("{process}/environ")) {
        Ok(environment) => holds_none(&environment, &seen, "the environment"),
        // The program is undumpable, so that nobody but root sees its environment.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    assert!(child.wait_with_output().await.unwrap().status.success());
}
