use std::fs;
use std::path::Path;
use std::sync::Mutex;

use cache_core::random::OsRandom;
use cache_core::time::SystemClock;
use tempfile::TempDir;

use super::*;

fn lock() -> (TempDir, PathBuf, PeerLock) {
    let directory = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(directory.path()).unwrap().join("cache.lockfile");
    let lock = lock_at(&path);
    (directory, path, lock)
}

fn lock_at(path: &Path) -> PeerLock {
    let limits = LockLimits::default().ended_after(Duration::from_millis(300));
    PeerLock::new(
        vec![path.to_owned()],
        limits,
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    )
}

#[tokio::test]
async fn a_panic_under_the_lock_releases_it() {
    let (_directory, path, lock) = lock();
    let outcome: Result<(), _> = lock.with(|_guard| panic!("as the test wants it")).await;
    assert!(matches!(outcome, Err(LockError::Aborted { .. })), "{outcome:?}");
    assert!(!path.exists());
    lock.acquire().await.unwrap();
}

#[tokio::test]
async fn tasks_of_one_process_come_in_their_order() {
    let (_directory, path, lock) = lock();
    let order = Arc::new(Mutex::new(Vec::new()));
    let held = lock.acquire().await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..8 {
        // Each with a lock of its own: the turns are the process's.
        let (lock, order) = (lock_at(&path), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let noted = lock.with(move |_guard| order.lock().unwrap().push(number));
            noted.await.unwrap();
        }));
        // It comes to wait before the next one is started.
        tokio::task::yield_now().await;
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_waiter_that_gives_up_leaves_the_lock_to_others() {
    let (_directory, path, lock) = lock();
    let held = lock.acquire().await.unwrap();
    let waiter = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await.map(drop) }
    });
    tokio::task::yield_now().await;
    waiter.abort();
    assert!(waiter.await.unwrap_err().is_cancelled());
    drop(held);
    lock.acquire().await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_lock_that_was_taken_away_is_not_held_and_not_given_back() {
    let (_directory, path, lock) = lock();
    let held = lock.acquire().await.unwrap();
    assert!(held.is_held());
    fs::remove_file(&path).unwrap();
    assert!(!held.is_held());
    fs::write(&path, "1 another program").unwrap();
    assert!(!held.is_held());
    drop(held);
    assert_eq!(fs::read_to_string(&path).unwrap(), "1 another program");
}

#[tokio::test]
async fn what_an_earlier_process_of_our_number_left_is_taken_over_in_place() {
    let (directory, path, lock) = lock();
    let content = format!(
        "{} of a container that was started anew, with a long name",
        std::process::id()
    );
    fs::write(&path, content).unwrap();
    let inode = |path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&path);
    let held = lock.acquire().await.unwrap();
    assert_eq!(inode(&path), before);
    let content = fs::read_to_string(&path).unwrap();
    assert_eq!(content, format!("{} tokenkeep", std::process::id()));
    drop(held);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_document_that_bears_the_lock_files_name_too_is_not_written() {
    let (directory, path, lock) = lock();
    let document = directory.path().join("document");
    fs::write(&document, "somebody's words").unwrap();
    let opened = fs::File::options().write(true).open(&document).unwrap();
    opened.set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::hard_link(&document, &path).unwrap();
    let held = lock.acquire().await.unwrap();
    assert!(held.is_held());
    assert_eq!(fs::read_to_string(&document).unwrap(), "somebody's words");
    drop(held);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
