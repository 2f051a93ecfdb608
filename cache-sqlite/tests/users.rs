//! Permissions as other users and other umasks meet them. Each case runs in a process of its own, because a
//! umask and a user belong to a process, and root is stopped by no permission bit.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Store};
use cache_sqlite::{SqliteConfig, SqliteStore};
use rustix::fs::Mode;
use support::{database, is_child, key, must_succeed, open, process};
use tempfile::tempdir;

/// A user without privileges, for when the tests run as root: `nobody` on most systems.
const UNPRIVILEGED: u32 = 65_534;

#[test]
fn files_are_private_under_any_umask() {
    if is_child() {
        return child_under_a_umask();
    }
    let directory = tempdir().unwrap();
    for umask in ["000", "022", "077", "777"] {
        let path = directory.path().join(umask).join("deeper/cache.db");
        if umask == "777" {
            // Nobody could enter a directory that is created under it.
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let mut command = process("files_are_private_under_any_umask", &path);
        command.env("CACHE_SQLITE_TEST_UMASK", umask);
        must_succeed(command);
    }
}

fn child_under_a_umask() {
    let umask = std::env::var("CACHE_SQLITE_TEST_UMASK").unwrap();
    rustix::process::umask(Mode::from_bits_truncate(u32::from_str_radix(&umask, 8).unwrap()));
    let path = database();
    block_on(async {
        let store = open(&path).await;
        store
            .put(&key("record"), "payload".into(), PutOptions::create())
            .await
            .unwrap();
        assert!(store.get(&key("record")).await.unwrap().is_some());
        let mut names = 0;
        for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
            let entry = entry.unwrap();
            names += 1;
            assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.file_name());
        }
        assert_eq!(names, 3, "the database, its log and its index");
        if umask != "777" {
            assert_eq!(mode(path.parent().unwrap()), 0o700);
            assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);
        }
    });
}

#[test]
fn file_of_another_user_is_refused_and_left_as_it_is() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a file away; but there is always one that belongs to root.
        let error = block_on(SqliteStore::open(SqliteConfig::new("/etc/passwd"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        return;
    }
    let directory = tempdir().unwrap();
    let path = directory.path().join("cache.db");
    block_on(async { open(&path).await.close().await });
    chown(&path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let state = || {
        let found = fs::metadata(&path).unwrap();
        let names = fs::read_dir(directory.path()).unwrap().count();
        let content = fs::read(&path).unwrap();
        (
            content,
            found.ino(),
            found.uid(),
            found.mode(),
            found.mtime(),
            names,
        )
    };
    let before = state();
    let error = block_on(SqliteStore::open(SqliteConfig::new(&path))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("65534"), "{error}");
    assert!(state() == before, "it was changed");
}

#[test]
fn write_protection_is_told_apart_from_lacking_permission() {
    if is_child() {
        return child_without_permissions();
    }
    run_unprivileged("write_protection_is_told_apart_from_lacking_permission");
}

fn child_without_permissions() {
    let path = database();
    let directory = path.parent().unwrap();
    block_on(async {
        let store = open(&path).await;
        let version = store
            .put(&key("record"), "payload".into(), PutOptions::create())
            .await
            .unwrap();
        store.close().await;

        // A write-protected file can be read.
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        let store = open(&path).await;
        assert_eq!(store.head(&key("record")).await.unwrap(), Some(version));
        let error = store
            .put(&key("record"), "other".into(), PutOptions::overwrite())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
        assert!(!error.is_outcome_unknown());
        assert_eq!(store.head(&key("record")).await.unwrap(), Some(version));
        store.close().await;

        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        let error = SqliteStore::open(SqliteConfig::new(&path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

        fs::set_permissions(directory, Permissions::from_mode(0o500)).unwrap();
        let new = SqliteConfig::new(directory.join("new.db"));
        let error = SqliteStore::open(new).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();

        let store = open(&path).await;
        assert_eq!(store.head(&key("record")).await.unwrap(), Some(version));
    });
}

#[test]
fn what_was_write_protected_when_it_was_opened_is_written_when_it_no_longer_is() {
    if is_child() {
        return child_that_gets_permission();
    }
    run_unprivileged("what_was_write_protected_when_it_was_opened_is_written_when_it_no_longer_is");
}

fn child_that_gets_permission() {
    let path = database();
    block_on(async {
        let store = open(&path).await;
        let first = store
            .put(&key("record"), "first".into(), PutOptions::create())
            .await
            .unwrap();
        store.close().await;

        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        let store = open(&path).await;
        // All connections that there can be: each of them keeps what SQLite found out about the file.
        let reads = (0..64).map(|_| async { store.head(&key("record")).await.unwrap() });
        assert_eq!(futures_util::future::join_all(reads).await, [Some(first); 64]);
        let record = key("record");
        let change = || store.put(&record, "second".into(), PutOptions::overwrite());
        assert_eq!(change().await.unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(store.head(&key("record")).await.unwrap(), Some(first));

        for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
            fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o600)).unwrap();
        }
        let second = change().await.unwrap();
        assert_eq!(store.head(&key("record")).await.unwrap(), Some(second));
        store.close().await;
        assert_eq!(
            open(&path).await.head(&key("record")).await.unwrap(),
            Some(second)
        );
    });
}

/// Runs a test's child in a folder of its own, as a user whom permission bits stop.
fn run_unprivileged(test: &str) {
    let directory = tempdir().unwrap();
    let mut child = process(test, &directory.path().join("cache.db"));
    if rustix::process::geteuid().is_root() {
        chown(directory.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        child.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    must_succeed(child);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
