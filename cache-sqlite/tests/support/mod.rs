//! What the tests of this crate share.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cache_core::store::StoreKey;
use cache_sqlite::{SqliteConfig, SqliteStore};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

/// Names the database to a test that runs in a process of its own.
const DATABASE: &str = "CACHE_SQLITE_TEST_DATABASE";

pub(crate) fn key(name: &str) -> StoreKey {
    StoreKey::new(name).unwrap()
}

pub(crate) async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(SqliteConfig::new(path)).await.unwrap()
}

/// This test binary again, to run only the test `name`, which finds that it [is a child](is_child) and works on the
/// database at `path`.
pub(crate) fn process(name: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(DATABASE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Whether this is such a process.
pub(crate) fn is_child() -> bool {
    std::env::var_os(DATABASE).is_some()
}

/// In such a process: the database to work on.
pub(crate) fn database() -> std::path::PathBuf {
    std::env::var_os(DATABASE)
        .unwrap_or_else(|| panic!("{DATABASE} is not set; another test starts this one"))
        .into()
}

/// Runs such a process to its end, which must be a success.
pub(crate) fn must_succeed(mut command: Command) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(
        output.status.success(),
        "the process failed: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What the process prints with `prefix` in front, line by line.
///
/// The test harness writes its own progress to the same place, and not always with a line end.
pub(crate) fn lines(child: &mut Child, prefix: &'static str) -> impl Iterator<Item = String> + Send + use<> {
    let output = BufReader::new(child.stdout.take().unwrap());
    output
        .lines()
        .map_while(Result::ok)
        .filter_map(move |line| line.split_once(prefix).map(|(_, rest)| rest.to_owned()))
}

#[allow(
    clippy::disallowed_methods,
    reason = "other processes do not run on a manual clock"
)]
pub(crate) async fn within<T>(limit: Duration, awaited: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("{awaited} took longer than {limit:?}"))
}

/// A connection of its own, without anything that the store sets up.
pub(crate) async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

pub(crate) async fn run(connection: &mut SqliteConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}
