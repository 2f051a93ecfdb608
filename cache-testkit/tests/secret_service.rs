//! The session that tests start: it answers, changes as it is told, and is gone afterwards.

#![cfg(target_os = "linux")]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::secret_service::{Error, Keyrings, SecretServiceSession, is_inside};
use rustix::process::{Pid, Signal, kill_process_group};

#[tokio::test]
async fn a_service_is_locked_unlocked_and_replaced() {
    let mut session = SecretServiceSession::start().await.unwrap();
    assert!(!session.is_locked().await.unwrap());
    session.lock().await.unwrap();
    assert!(session.is_locked().await.unwrap());
    session.unlock().await.unwrap();
    assert!(!session.is_locked().await.unwrap());
    assert!(session.items().await.unwrap().is_empty());

    let first = session.service_id();
    session.replace_service(Keyrings::Kept).await.unwrap();
    assert_ne!(session.service_id(), first);
    assert!(!session.is_locked().await.unwrap());

    session.stop_service();
    assert!(matches!(session.lock().await, Err(Error::Absent { .. })));
    session.start_locked_service().await.unwrap();
    assert!(session.is_locked().await.unwrap());
    session.replace_service(Keyrings::New).await.unwrap();
    assert!(!session.is_locked().await.unwrap());

    session.stop_bus();
    assert!(matches!(
        session.start_service(Keyrings::New).await,
        Err(Error::Absent { .. })
    ));
}

#[tokio::test]
async fn keepassxc_is_another_service() {
    let mut session = SecretServiceSession::start_keepassxc().await.unwrap();
    assert!(!session.is_locked().await.unwrap());
    assert!(session.items().await.unwrap().is_empty());
    session.replace_service(Keyrings::Kept).await.unwrap();
    assert!(!session.is_locked().await.unwrap());
    session.replace_service(Keyrings::New).await.unwrap();
    assert!(!session.is_locked().await.unwrap());
}

#[tokio::test]
async fn a_denied_service_answers_nobody() {
    let session = SecretServiceSession::start().await.unwrap();
    session.deny_service().await.unwrap();
    assert!(matches!(session.items().await, Err(Error::Call { .. })));
}

#[tokio::test]
async fn a_paused_service_answers_when_it_goes_on() {
    let session = SecretServiceSession::start().await.unwrap();
    session.pause_service().unwrap();
    let answered = tokio::select! {
        answered = session.is_locked() => Some(answered),
        () = SystemClock.sleep(Duration::from_millis(300)) => None,
    };
    assert!(answered.is_none());
    session.resume_service().unwrap();
    assert!(!session.is_locked().await.unwrap());
}

#[tokio::test]
async fn a_test_runs_inside() {
    if is_inside() {
        println!("bus: {:?}", std::env::var("DBUS_SESSION_BUS_ADDRESS"));
        return;
    }
    let mut session = SecretServiceSession::start_without_service().await.unwrap();
    let inside = |session: &SecretServiceSession| {
        let output = session.run_inside("a_test_runs_inside").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = inside(&session);
    assert!(
        shown.contains(&format!("bus: Ok({:?})", session.address())),
        "{shown}"
    );
    session.stop_bus();
    let shown = inside(&session);
    assert!(shown.contains("bus: Err"), "{shown}");
}

#[tokio::test]
async fn nothing_stays() {
    let session = SecretServiceSession::start().await.unwrap();
    session.pause_service().unwrap();
    let folder = session.folder().to_owned();
    drop(session);
    assert!(!folder.exists());
    assert_eq!(processes_in(&folder), 0);
}

#[tokio::test]
async fn nothing_stays_of_a_killed_test() {
    if is_inside() {
        let session = SecretServiceSession::start().await.unwrap();
        println!("folder: {}", session.folder().display());
        std::future::pending::<()>().await;
    }
    let session = SecretServiceSession::without_bus().unwrap();
    let mut command = session.run_inside("nothing_stays_of_a_killed_test");
    // As a group, as whatever limits the time of a test run ends it.
    let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
    let shown = std::io::BufReader::new(child.stdout.take().unwrap());
    let folder = std::io::BufRead::lines(shown)
        .map_while(Result::ok)
        .find_map(|line| line.split_once("folder: ").map(|(_, folder)| folder.to_owned()))
        .unwrap();
    let folder = Path::new(&folder);
    assert!(processes_in(folder) >= 2);
    kill_process_group(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
    for _ in 0..500 {
        if !folder.exists() && processes_in(folder) == 0 {
            return;
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    panic!("something of {} is still there", folder.display());
}

/// How many processes work in the folder, also after it was removed.
fn processes_in(folder: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let folders = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
    folders
        .filter(|at| {
            at.to_string_lossy()
                .starts_with(folder.to_string_lossy().as_ref())
        })
        .count()
}
