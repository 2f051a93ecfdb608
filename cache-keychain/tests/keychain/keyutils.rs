//! The conditions of the kernel's keyrings: what comes nearest to those of a service that can be absent, locked, hung and replaced.
//!
//! | condition of a service | of the kernel's keyrings | error |
//! |---|---|---|
//! | headless: no bus | no such system call (`ENOSYS`) | `Absent` |
//! | absent: no service | the container denies the system calls (`EPERM`) | `Denied` |
//! | locked | the session's keyring gives no permission (`EACCES`) | `Denied` |
//! | hung | nothing in the kernel waits; the quota is exhausted instead, so a write is refused (`EDQUOT`) | `TooLarge` |
//! | replaced | the session's keyring was revoked, or expired | `Disconnected` |
//! | replaced by an empty one | the key is gone, as after a restart | `Missing` |

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::inside::{self, Program, assert_nothing_was_written};

const DENY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keychain/deny_keyrings.py");

/// `ENOSYS` and `EPERM`, which are the same numbers wherever seccomp is.
const NO_SUCH_CALL: &str = "38";
const NOT_PERMITTED: &str = "1";

/// Runs the program with a keyring of its own. Its keys are removed in the end: the user's persistent keyring has them too.
struct Session {
    folder: TempDir,
    service: &'static str,
}

impl Session {
    fn new(service: &'static str) -> Self {
        let session = Self {
            folder: TempDir::new().unwrap(),
            service,
        };
        // Of a run that was killed.
        session.start(&[]).expect("clear keyutils", "ok");
        session
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program, run by the programs `before` it.
    fn start(&self, before: &[&str]) -> Program {
        let before: Vec<_> = ["keyctl", "session", "-"].iter().chain(before).collect();
        let mut command = Command::new(before[0]);
        command
            .args(&before[1..])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", inside::NAME, "--nocapture", "--test-threads=1"])
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        Program::start(command, self.folder(), self.service)
    }

    fn assert_first_start_fails(&self, program: &mut Program, kind: &str, advice: &str) {
        for _ in 0..2 {
            let answer = program.expect("open keyutils", kind);
            assert!(answer.text.contains(advice), "{answer:?}");
            assert_nothing_was_written(program, self.folder());
        }
    }

    fn assert_later_start_fails(&self, program: &mut Program, kind: &str) {
        assert_eq!(program.records(), "2", "the ring and a record");
        program.expect("open keyutils", kind);
        program.expect("prefer keyutils", kind);
        assert_eq!(program.records(), "2");
        assert!(!self.folder().join("key").exists());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.start(&[]).ask("clear keyutils");
    }
}

#[test]
fn a_kernel_without_keyrings_has_no_keychain() {
    let session = Session::new("tokenkeep-test-absent");
    let mut program = session.start(&["python3", DENY, NO_SUCH_CALL]);
    session.assert_first_start_fails(&mut program, "Absent", "has no keyrings");
    let report = program.expect("examine keyutils", "ok");
    assert!(report.text.contains("present=false"), "{report:?}");
}

#[test]
fn a_container_that_denies_keyrings_has_no_keychain() {
    let session = Session::new("tokenkeep-test-denied");
    let ring = session.start(&[]).expect("open keyutils", "ok").text;
    let mut program = session.start(&["python3", DENY, NOT_PERMITTED]);
    session.assert_later_start_fails(&mut program, "Denied");

    let elsewhere = Session::new("tokenkeep-test-denied-first");
    let mut program = elsewhere.start(&["python3", DENY, NOT_PERMITTED]);
    elsewhere.assert_first_start_fails(&mut program, "Denied", "does not allow");
    // There is no keychain here: it is decided once, and stays so when there is one.
    let made = program.expect("prefer keyutils", "ok").text;
    assert!(made.ends_with("file"), "{made}");
    assert!(elsewhere.folder().join("key").exists());
    let mut program = elsewhere.start(&[]);
    assert_eq!(program.expect("prefer keyutils", "ok").text, made);
    assert_eq!(program.expect("list keyutils", "ok").text, "0");
    program.expect("open keyutils", "Mismatch");

    assert_eq!(session.start(&[]).expect("open keyutils", "ok").text, ring);
}

#[test]
fn a_keyring_without_permissions_is_denied() {
    let session = Session::new("tokenkeep-test-permissions");
    let mut program = session.start(&[]);
    let ring = program.expect("open keyutils", "ok").text;
    program.expect("run - keyctl setperm @s 0", "ok");
    session.assert_later_start_fails(&mut program, "Denied");
    // Another session has a keyring of its own, and both link the user's persistent one.
    assert_eq!(session.start(&[]).expect("open keyutils", "ok").text, ring);

    let elsewhere = Session::new("tokenkeep-test-permissions-first");
    let mut program = elsewhere.start(&[]);
    program.expect("run - keyctl setperm @s 0", "ok");
    elsewhere.assert_first_start_fails(&mut program, "Denied", "may not be used");
}

#[test]
fn an_exhausted_quota_refuses_a_key_and_leaves_nothing() {
    let session = Session::new("tokenkeep-test-quota");
    // The quota of root is too large to be used up.
    let mut before = Vec::new();
    if session.folder().metadata().unwrap().uid() == 0 {
        before = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        chown(session.folder(), Some(65534), Some(65534)).unwrap();
    }
    before.extend(["keyctl", "session", "-"]);
    let mut program = session.start(&before);
    program.expect("clear keyutils", "ok");
    let filler = "f".repeat(19_500);
    program.expect(&format!("run - keyctl add user filler {filler} @s"), "ok");
    // Smaller and smaller, until nothing more fits.
    for (length, count) in [(400, 4), (100, 4), (20, 8)] {
        for number in 0..count {
            let filler = "f".repeat(length);
            program.ask(&format!(
                "attempt - keyctl add user filler-{length}-{number} {filler} @s"
            ));
        }
    }
    session.assert_first_start_fails(&mut program, "TooLarge", "is full");
    program.expect("prefer keyutils", "TooLarge");
    assert_nothing_was_written(&mut program, session.folder());
    program.expect("run - keyctl clear @s", "ok");
    // The kernel gives back what cleared keys took when it comes to it.
    let is_open = (0..500).any(|_| {
        program.ask("attempt - sleep 0.02");
        program.ask("open keyutils").word == "ok"
    });
    assert!(is_open);
    program.expect("clear keyutils", "ok");
}

#[test]
fn a_session_that_ended_is_disconnected_and_another_one_has_the_key() {
    for (service, end) in [
        ("tokenkeep-test-revoked", "run - keyctl revoke @s"),
        (
            "tokenkeep-test-expired",
            "run - sh -c keyctl${IFS}timeout${IFS}@s${IFS}1;sleep${IFS}2",
        ),
    ] {
        let session = Session::new(service);
        let mut program = session.start(&[]);
        let ring = program.expect("open keyutils", "ok").text;
        program.expect(end, "ok");
        session.assert_later_start_fails(&mut program, "Disconnected");
        // A program of the next session.
        assert_eq!(session.start(&[]).expect("open keyutils", "ok").text, ring);
    }
}

#[test]
fn a_key_that_is_gone_is_missing_and_is_not_made_anew() {
    let session = Session::new("tokenkeep-test-gone");
    let mut program = session.start(&[]);
    let ring = program.expect("open keyutils", "ok").text;
    assert!(ring.ends_with("keychain"), "{ring}");
    assert_eq!(program.expect("list keyutils", "ok").text, "1");
    // As a restart of the machine does.
    program.expect("clear keyutils", "ok");
    session.assert_later_start_fails(&mut program, "Missing");
    assert_eq!(program.expect("list keyutils", "ok").text, "0");
}

#[test]
fn keys_are_rotated_listed_and_removed() {
    let session = Session::new("tokenkeep-test-rotated");
    let mut program = session.start(&[]);
    let ring = program.expect("open keyutils", "ok").text;
    program.expect("try keyutils", "ok");
    program.expect("rotate keyutils", "ok");
    assert_eq!(program.expect("open keyutils", "ok").text, ring);
    let report = program.expect("examine keyutils", "ok");
    assert!(
        report
            .text
            .contains("present=true locked=false persistence=Some(UntilRestart)"),
        "{report:?}"
    );
}
