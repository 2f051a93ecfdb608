//! A test within a session of its own.
//!
//! A process finds its session by environment variables, so the test runs itself once more inside. There it asks the outer one to do to
//! the session what the test needs, line by line.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::print_stdout, reason = "the two processes of a test talk by it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use cache_testkit::secret_service::{Keyrings, SecretServiceSession, is_inside};

const REQUEST: &str = "request: ";
const DONE: &str = "done inside";

/// Runs `test` within a session with an unlocked keyring; `name` is that of the calling test, with its module.
pub(crate) async fn within_session(name: &str, test: impl Future<Output = ()>) {
    if is_inside() {
        test.await;
        println!("{REQUEST}{DONE}");
        return;
    }
    serve(SecretServiceSession::start().await.unwrap(), name).await;
}

/// The same, in `session`, which only the outer one starts.
pub(crate) async fn within(
    session: impl Future<Output = SecretServiceSession>,
    name: &str,
    test: impl Future<Output = ()>,
) {
    if is_inside() {
        test.await;
        println!("{REQUEST}{DONE}");
        return;
    }
    serve(session.await, name).await;
}

/// Inside: has the session changed, and says what the outer one answered.
pub(crate) fn ask(request: &str) -> String {
    println!("{REQUEST}{request}");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).unwrap();
    answer.trim_end().to_owned()
}

/// Inside: the attributes of all items in the keyring.
pub(crate) fn items() -> Vec<HashMap<String, String>> {
    serde_json::from_str(&ask("items")).unwrap()
}

/// Runs a program to its end, with `input`, and gives what it writes.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn serve(mut session: SecretServiceSession, name: &str) {
    let mut child = session
        .run_inside(name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut is_done = false;
    for line in lines {
        let line = line.unwrap();
        // The test harness does not end its own line before the test begins to write.
        let Some((_, request)) = line.split_once(REQUEST) else {
            println!("{line}");
            continue;
        };
        let answer = match request {
            DONE => {
                is_done = true;
                continue;
            }
            "lock" => session.lock().await.map(|()| String::new()),
            "unlock" => session.unlock().await.map(|()| String::new()),
            "pause" => session.pause_service().map(|()| String::new()),
            "resume" => session.resume_service().map(|()| String::new()),
            "stop" => {
                session.stop_service();
                Ok(String::new())
            }
            "start" => session
                .start_service(Keyrings::Kept)
                .await
                .map(|()| String::new()),
            "items" => session
                .items()
                .await
                .map(|items| serde_json::to_string(&items).unwrap()),
            other => panic!("the test asks for {other:?}"),
        };
        writeln!(answers, "{}", answer.unwrap()).unwrap();
    }
    let status = child.wait().unwrap();
    assert!(
        status.success() && is_done,
        "{name} failed inside the session: {status}"
    );
}
