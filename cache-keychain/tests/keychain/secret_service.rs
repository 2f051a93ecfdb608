//! The conditions of a Secret Service, at the first start of a program and later.

use std::path::Path;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::secret_service::{Keyrings, SecretServiceSession};
use tempfile::TempDir;

use crate::inside::{self, Answer, Program, assert_nothing_was_written};

const SERVICE: &str = "tokenkeep-test";

fn start(session: &SecretServiceSession, folder: &Path) -> Program {
    Program::start(session.run_inside(inside::NAME), folder, SERVICE)
}

/// The error is of the kind, says what to do, and nothing was made; a second look is the same.
fn assert_first_start_fails(session: &SecretServiceSession, kind: &str, advice: &str) {
    let folder = TempDir::new().unwrap();
    let mut program = start(session, folder.path());
    for _ in 0..2 {
        let answer = program.expect("open", kind);
        assert!(answer.text.contains(advice), "{answer:?}");
        assert!(answer.text.contains("--key file:"), "{answer:?}");
        assert_nothing_was_written(&mut program, folder.path());
    }
    program.expect("try", kind);
}

/// A later start fails the same way, and nothing of the cache is lost.
fn assert_later_start_fails(program: &mut Program, folder: &Path, kind: &str) -> Answer {
    assert_eq!(program.records(), "2", "the ring and a record");
    let answer = program.expect("open", kind);
    assert!(!answer.text.contains("--key file:"), "{answer:?}");
    assert_eq!(program.records(), "2");
    assert!(!folder.join("key").exists());
    // Not even where another source is there: the ring says whose key it needs.
    program.expect("prefer", kind);
    assert!(!folder.join("key").exists());
    answer
}

#[tokio::test]
async fn headless_there_is_no_keychain() {
    let session = SecretServiceSession::without_bus().unwrap();
    assert_first_start_fails(&session, "Absent", "no session bus");
    let folder = TempDir::new().unwrap();
    let report = start(&session, folder.path()).expect("examine", "ok");
    assert!(
        report
            .text
            .contains("present=false locked=false persistence=None"),
        "{report:?}"
    );
}

#[tokio::test]
async fn without_a_service_there_is_no_keychain() {
    let session = SecretServiceSession::start_without_service().await.unwrap();
    assert_first_start_fails(&session, "Absent", "nobody offers one");
}

#[tokio::test]
async fn a_locked_keychain_is_an_error_until_it_is_unlocked() {
    let session = SecretServiceSession::start().await.unwrap();
    session.lock().await.unwrap();
    assert_first_start_fails(&session, "Locked", "unlock your login keyring");
    assert!(session.items().await.unwrap().is_empty());

    session.unlock().await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut program = start(&session, folder.path());
    let ring = program.expect("open", "ok").text;
    session.lock().await.unwrap();
    let answer = assert_later_start_fails(&mut program, folder.path(), "Locked");
    assert!(answer.text.contains("unlock your login keyring"), "{answer:?}");
    assert!(answer.text.contains("only the keychain has"), "{answer:?}");
    let report = program.expect("examine", "ok");
    assert!(
        report
            .text
            .contains("present=true locked=true persistence=Some(Disk)"),
        "{report:?}"
    );
    assert!(report.text.contains("gnome-keyring-daemon"), "{report:?}");

    session.unlock().await.unwrap();
    assert_eq!(program.expect("open", "ok").text, ring);
    assert_eq!(session.items().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_hung_keychain_is_an_error_within_the_deadline_until_it_goes_on() {
    let session = SecretServiceSession::start().await.unwrap();
    session.pause_service().unwrap();
    assert_first_start_fails(&session, "TimedOut", "did not answer");
    session.resume_service().unwrap();
    assert!(session.items().await.unwrap().is_empty());

    let folder = TempDir::new().unwrap();
    let mut program = start(&session, folder.path());
    let ring = program.expect("open", "ok").text;
    session.pause_service().unwrap();
    assert_later_start_fails(&mut program, folder.path(), "TimedOut");
    let report = program.expect("examine", "ok");
    assert!(report.text.contains("did not answer"), "{report:?}");
    session.resume_service().unwrap();
    assert_eq!(program.expect("open", "ok").text, ring);
}

#[tokio::test]
async fn a_keychain_that_was_replaced_is_used_if_it_has_the_key() {
    let mut session = SecretServiceSession::start().await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut program = start(&session, folder.path());
    let ring = program.expect("open", "ok").text;

    session.replace_service(Keyrings::Kept).await.unwrap();
    assert_eq!(program.expect("open", "ok").text, ring, "connected anew");

    session.stop_service();
    assert_later_start_fails(&mut program, folder.path(), "Absent");
    session.start_locked_service().await.unwrap();
    assert_later_start_fails(&mut program, folder.path(), "Locked");
    session.replace_service(Keyrings::Kept).await.unwrap();
    assert_eq!(program.expect("open", "ok").text, ring);

    session.replace_service(Keyrings::New).await.unwrap();
    let answer = assert_later_start_fails(&mut program, folder.path(), "Missing");
    assert!(answer.text.contains("restore it"), "{answer:?}");
    assert!(
        session.items().await.unwrap().is_empty(),
        "no second key was made"
    );

    session.stop_bus();
    assert_later_start_fails(&mut program, folder.path(), "Absent");
}

#[tokio::test]
async fn a_keychain_that_ends_during_a_call_is_disconnected() {
    let mut session = SecretServiceSession::start().await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut program = start(&session, folder.path());
    let ring = program.expect("open", "ok").text;
    for _ in 0..20 {
        session.pause_service().unwrap();
        program.tell("open");
        // Time for the call to reach the service. A call that comes too late finds no service: once more.
        SystemClock.sleep(inside::DEADLINE / 5).await;
        session.stop_service();
        let answer = program.hear();
        session.start_service(Keyrings::Kept).await.unwrap();
        assert_eq!(program.expect("open", "ok").text, ring);
        if answer.word == "Disconnected" {
            assert!(answer.text.contains("try again"), "{answer:?}");
            return;
        }
        assert_eq!(answer.word, "Absent", "{answer:?}");
    }
    panic!("no call was under way when the service ended");
}

#[tokio::test]
async fn a_keychain_that_the_system_denies_is_none() {
    let session = SecretServiceSession::start().await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut program = start(&session, folder.path());
    program.expect("open", "ok");
    session.deny_service().await.unwrap();
    assert_first_start_fails(&session, "Denied", "does not allow it");
    assert_later_start_fails(&mut program, folder.path(), "Denied");
}

#[tokio::test]
async fn keys_are_rotated_listed_and_removed() {
    let session = SecretServiceSession::start().await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut program = start(&session, folder.path());
    let ring = program.expect("open", "ok").text;
    program.expect("try", "ok");
    program.expect("rotate", "ok");
    assert_eq!(program.expect("open", "ok").text, ring);
    assert_eq!(session.items().await.unwrap().len(), 1);
}

#[tokio::test]
async fn keepassxc_keeps_keys_as_well() {
    let mut session = SecretServiceSession::start_keepassxc().await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut program = start(&session, folder.path());
    let ring = program.expect("open", "ok").text;
    program.expect("try", "ok");
    program.expect("rotate", "ok");
    assert_eq!(program.expect("open", "ok").text, ring);
    assert_eq!(program.expect("list", "ok").text, "1");
    let report = program.expect("examine", "ok");
    assert!(report.text.contains("(keepassxc)"), "{report:?}");

    session.pause_service().unwrap();
    assert_later_start_fails(&mut program, folder.path(), "TimedOut");
    session.resume_service().unwrap();
    assert_eq!(program.expect("open", "ok").text, ring);
    session.replace_service(Keyrings::Kept).await.unwrap();
    assert_eq!(program.expect("open", "ok").text, ring);
    session.lock().await.unwrap();
    assert_later_start_fails(&mut program, folder.path(), "Locked");
    session.replace_service(Keyrings::New).await.unwrap();
    assert_later_start_fails(&mut program, folder.path(), "Missing");
}

#[tokio::test]
async fn a_bus_that_fails_is_no_reason_to_take_another_key() {
    let session = SecretServiceSession::without_bus().unwrap();
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("bus");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // Whoever connects is turned away, as by a bus that is at its limit of connections.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let mut command = session.run_inside(inside::NAME);
    command.env(
        "DBUS_SESSION_BUS_ADDRESS",
        format!("unix:path={}", socket.display()),
    );
    let cache = TempDir::new().unwrap();
    let mut program = Program::start(command, cache.path(), SERVICE);
    for action in ["open", "prefer"] {
        let answer = program.expect(action, "Disconnected");
        assert!(answer.text.contains("try again"), "{answer:?}");
        assert_nothing_was_written(&mut program, cache.path());
    }
}
