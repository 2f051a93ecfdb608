//! What the tests of this binary have in common.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use cache_core::store::{PutOptions, Record, Store, StoreError, StoreKey, Version};
use cache_keychain::msal_file::{LockLimits, MsalFileConfig, MsalFileStore};
use serde_json::{Value, json};

/// Names the file to a test that runs in a process of its own.
const FILE: &str = "MSAL_FILE_TEST_FILE";

pub(crate) fn key(name: &str) -> StoreKey {
    StoreKey::new(name).unwrap()
}

pub(crate) async fn open(path: &Path) -> MsalFileStore {
    MsalFileStore::open(MsalFileConfig::new(path)).await.unwrap()
}

/// A store for which other programs' lock files are abandoned soon.
pub(crate) async fn open_hasty(path: &Path) -> MsalFileStore {
    let limits = LockLimits::default()
        .ended_after(Duration::from_millis(300))
        .abandoned_after(Duration::from_secs(1));
    MsalFileStore::open(MsalFileConfig::new(path).lock(limits))
        .await
        .unwrap()
}

pub(crate) async fn get(store: &MsalFileStore) -> Option<Record> {
    store.get(&store.record()).await.unwrap()
}

pub(crate) async fn put(
    store: &MsalFileStore,
    document: &Value,
    options: PutOptions,
) -> Result<Version, StoreError> {
    let json = Bytes::from(document.to_string());
    store.put(&store.record(), json, options).await
}

/// A document with a row for each of `names`.
pub(crate) fn rows(names: &[&str]) -> Value {
    let rows: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "secret": *name })))
        .collect();
    json!({ "RefreshToken": rows })
}

/// Adds the row `name` to the document, whoever else writes.
pub(crate) async fn add_row(store: &MsalFileStore, name: &str) {
    loop {
        let (mut document, options) = match get(store).await {
            None => (json!({ "RefreshToken": {} }), PutOptions::create()),
            Some(record) => {
                let document = serde_json::from_slice(&record.payload).unwrap();
                (document, PutOptions::update(record.version))
            }
        };
        document["RefreshToken"][name] = json!({ "secret": name });
        match put(store, &document, options).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_conflict(), "a row was not added: {error:?}"),
        }
    }
}

/// How many rows the file has.
pub(crate) fn count_rows(path: &Path) -> usize {
    let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    document["RefreshToken"].as_object().unwrap().len()
}

pub(crate) fn lock_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lockfile");
    name.into()
}

/// The names of everything in a directory, sorted.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// This test binary again, to run only the test `name`, which finds that it [is a child](child_file) and works on the file.
pub(crate) fn process(name: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// In such a process: the file to work on.
pub(crate) fn child_file() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[allow(clippy::disallowed_methods, reason = "other processes know no injected clock")]
pub(crate) fn wait(duration: Duration) {
    std::thread::sleep(duration);
}

#[allow(clippy::disallowed_methods, reason = "other processes know no injected clock")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "other processes know no injected clock")]
pub(crate) async fn within<T>(limit: Duration, awaited: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("{awaited} took longer than {limit:?}"))
}
