//! `bench`: measurements in processes of their own, with a report that needs nothing but itself.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::program::{Program, Ran, bare, pause};

/// A workload that takes a second, with users whose refresh tokens rotate and an application that acts as itself.
const SMALL: &str = r#"
title = "Small <b>&"
summary = "a test"
[subjects]
users = 6
tokens_per_user = 2
tenants = 4
resources_per_tenant = 2
zipf = 0.8
[load]
processes = 2
tasks = 2
think_milliseconds = 4.0
seconds = 3.0
warm_up_seconds = 0.6
[tokens]
lifetime_seconds = 3
refresh_after = 0.4
bytes = 400
[authority]
latency_milliseconds = 10
rotates = true
[store]
kind = "sqlite"
[strategy]
preset = "web-front-end"
"#;

fn workload(program: &Program, text: &str) -> String {
    let path = program.path("workload.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The program with temporary files in a folder of the test's own.
fn bench(program: &Program, words: &[&str]) -> Command {
    let temporary = program.path("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = bare();
    command.env("TMPDIR", temporary).arg("bench").args(words);
    command
}

fn left_behind(program: &Program) -> Vec<String> {
    let entries = std::fs::read_dir(program.path("temporary")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn json_of(path: &Value) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path.as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_store_and_nobody_is_signed_out() {
    let program = Program::new();
    let file = workload(&program, SMALL);
    let out = program.path("report");
    // What the environment names is the user's own cache.
    let mut command = bench(
        &program,
        &[
            &file,
            "--quick",
            "--json",
            "--out",
            out.to_str().unwrap(),
            "--seed",
            "5",
        ],
    );
    command.env(
        "TOKENKEEP_STORE",
        format!("sqlite:{}", program.path("cache.db").display()),
    );
    let object = Ran::of(command).await.succeeded().object();
    let page = std::fs::read_to_string(object["report"].as_str().unwrap()).unwrap();
    for reference in ["src=", "href=", "url(", "http://", "https://", "<script", "<b>&"] {
        assert!(!page.contains(reference), "{reference}");
    }
    let numbers = json_of(&object["numbers"]);
    let measured = &numbers["measurement"];
    assert_eq!(measured["processes"], 2);
    assert_eq!(measured["calls"]["errors"], serde_json::json!({}));
    assert_eq!(measured["authority"]["signed_out"], 0);
    assert!(measured["store"]["get"].as_u64().unwrap() > 0, "{measured}");
    assert!(object["figures"]["calls"].as_u64().unwrap() > 50, "{object}");
    assert!(
        !Path::new(&program.path("cache.db")).exists(),
        "the user's cache was touched"
    );
    assert_eq!(left_behind(&program), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_and_processes_that_live_shortly() {
    let program = Program::new();
    let alone = SMALL
        .replace("processes = 2", "processes = 1")
        .replace("\"sqlite\"", "\"memory\"");
    let file = workload(&program, &alone);
    let out = program.path("memory.html");
    let ran = Ran::of(bench(
        &program,
        &[&file, "--quick", "--json", "--out", out.to_str().unwrap()],
    ))
    .await;
    let object = ran.succeeded().object();
    assert_eq!(object["store"], "memory");
    assert_eq!(
        json_of(&object["numbers"])["measurement"]["calls"]["errors"],
        serde_json::json!({})
    );

    let short = SMALL.replace("warm_up_seconds = 0.6", "requests_per_process = 2");
    let file = workload(&program, &short);
    let ran = Ran::of(bench(
        &program,
        &[&file, "--quick", "--json", "--out", out.to_str().unwrap()],
    ))
    .await;
    let measured = json_of(&ran.succeeded().object()["numbers"])["measurement"].clone();
    let processes = measured["processes"].as_u64().unwrap();
    assert!(processes >= 2, "{processes}");
    let lives: u64 = measured["lives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|life| life[1].as_u64().unwrap())
        .sum();
    assert_eq!(lives, processes, "each process has a life");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let program = Program::new();
    let file = workload(&program, &SMALL.replace("tasks = 2", "tasks = 2\nthreads = 2"));
    let usage = async |words: &[&str]| {
        let ran = Ran::of(bench(&program, words)).await;
        assert_eq!(ran.exit, Some(2), "{ran:?}");
        ran.stderr
    };
    let told = usage(&[&file]).await;
    assert!(
        told.contains("is no workload") && told.contains("line 13") && told.contains("threads"),
        "{told}"
    );
    assert!(
        usage(&["mainframe"])
            .await
            .contains("neither a shipped workload nor a file")
    );
    assert!(
        usage(&["--print", "mainframe"])
            .await
            .contains("no shipped workload")
    );
    usage(&[]).await;
    usage(&["desktop-tool", "--budget", "60"]).await;
    assert!(
        usage(&["desktop-tool", "--store", "memory:"])
            .await
            .contains("ends with each process")
    );
    assert!(
        usage(&["desktop-tool", "--store", "keychain"])
            .await
            .contains("bench measures")
    );
    let store = format!("sqlite:{file}");
    assert!(
        usage(&["desktop-tool", "--store", &store])
            .await
            .contains("left alone")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_written_is_no_reason_to_measure_first() {
    let program = Program::new();
    let file = workload(&program, SMALL);
    // There is a file where a folder would have to be.
    let out = format!("{file}/report.html");
    let ran = Ran::of(bench(&program, &[&file, "--out", &out])).await;
    assert_eq!(ran.exit, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("could not write"), "{ran:?}");
    assert!(!ran.stderr.contains("measuring"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shipped_workloads_are_listed_and_printed() {
    let program = Program::new();
    let listed = Ran::of(bench(&program, &["--list", "--json"]))
        .await
        .succeeded()
        .object();
    assert_eq!(listed["workloads"].as_array().unwrap().len(), 3);
    let printed = Ran::of(bench(&program, &["--print", "desktop-tool"]))
        .await
        .succeeded();
    assert!(
        printed.stdout.contains("[subjects]") && printed.stderr.is_empty(),
        "{printed:?}"
    );
    let mut help = bare();
    help.arg("--help");
    let help = Ran::of(help).await.succeeded().stdout;
    assert!(help.contains("\n  bench "), "{help}");
    assert!(!help.contains("bench-worker"), "{help}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_nothing_behind() {
    let program = Program::new();
    let file = workload(&program, &SMALL.replace("seconds = 3.0", "seconds = 60.0"));
    let out = program.path("never.html");
    let mut child = bench(&program, &[&file, "--out", out.to_str().unwrap()])
        .spawn()
        .unwrap();
    while left_behind_or_none(&program).is_empty() {
        pause(20).await;
    }
    pause(300).await;
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert_eq!(left_behind(&program), Vec::<String>::new());
    assert!(!out.exists());
}

#[cfg(unix)]
fn left_behind_or_none(program: &Program) -> Vec<String> {
    if program.path("temporary").exists() {
        left_behind(program)
    } else {
        Vec::new()
    }
}
