//! Programs that lock as MSAL programs do, with the packages of MSAL's authors where there are any: each keeps this store out and is kept
//! out by it, and what it leaves behind when it is killed is taken over.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cache_core::store::PutOptions;
use cache_core::store::error::{ErrorKind, Retry};
use cache_keychain::msal_file::{LockLimits, MsalFileConfig, MsalFileStore};
use futures_util::future::join_all;
use program::{Peer, Protocol};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{
    add_row, child_file, count_rows, get, lock_file, names_in, now, open, open_hasty, process, put, rows,
    runtime, within,
};

/// Long enough for whoever could get in to do so.
const A_WHILE: Duration = Duration::from_millis(1_200);

/// Python waits 5 seconds for a lock file to go away, before anything else.
const PATIENCE: Duration = Duration::from_secs(30);

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("msal_token_cache.json");
    (directory, path)
}

#[allow(
    clippy::disallowed_methods,
    reason = "another process knows no injected clock"
)]
async fn takes_longer<T>(duration: Duration, awaited: &str, future: impl Future<Output = T>) {
    let ended = tokio::time::timeout(duration, future).await;
    assert!(ended.is_err(), "{awaited} did not wait");
}

async fn keeps_out_and_is_kept_out(protocol: Protocol) {
    let (directory, path) = place();
    let store = open(&path).await;
    let mut peer = Peer::start(protocol, &path).await;

    peer.must("lock").await;
    let document = rows(&["ours"]);
    {
        let put = put(&store, &document, PutOptions::create());
        let mut put = std::pin::pin!(put);
        takes_longer(A_WHILE, "a write under a peer's lock", &mut put).await;
        assert!(!path.exists());
        peer.must("unlock").await;
        within(PATIENCE, "the write after the peer's", put).await.unwrap();
    }

    let hold = store.hold().await.unwrap();
    peer.send("lock").await;
    takes_longer(A_WHILE, "a peer under our lock", peer.answer()).await;
    let lock = fs::read_to_string(lock_file(&path)).unwrap();
    assert_eq!(lock, format!("{} tokenkeep", std::process::id()));
    drop(hold);
    assert_eq!(within(PATIENCE, "the peer", peer.answer()).await, "done");
    peer.must("unlock").await;
    put(&store, &rows(&["more"]), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}

async fn loses_no_row(protocol: Protocol) {
    let (directory, path) = place();
    let store = open(&path).await;
    let mut peer = Peer::start(protocol, &path).await;
    let theirs = async {
        for row in 0..40 {
            peer.must(&format!("add their-{row}")).await;
        }
    };
    let ours = async {
        for row in 0..200 {
            add_row(&store, &format!("our-{row}")).await;
        }
    };
    within(PATIENCE * 2, "all rows", async { tokio::join!(theirs, ours) }).await;
    assert_eq!(count_rows(&path), 240);
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}

async fn is_taken_over_from(protocol: Protocol) {
    let (directory, path) = place();
    let store = open_hasty(&path).await;
    let mut peer = Peer::start(protocol, &path).await;
    peer.must("lock").await;
    peer.kill().await;
    assert!(lock_file(&path).exists());
    let started = now();
    let document = rows(&["ours"]);
    put(&store, &document, PutOptions::create()).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
    assert_eq!(
        get(&store).await.unwrap().payload,
        document.to_string().as_bytes()
    );

    // The next one of its kind, which might wait for ever, finds nothing in its way.
    let mut next = Peer::start(protocol, &path).await;
    next.must("lock").await;
    next.must("unlock").await;
}

/// A process of ours that holds the lock of the file.
async fn holder(path: &Path) -> Child {
    let mut command = Command::from(process("peers::holds_until_it_is_killed", path));
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("holds") {
                return;
            }
        }
        panic!("the process ended");
    };
    within(PATIENCE, "a process of ours", held).await;
    child
}

#[test]
fn holds_until_it_is_killed() {
    // Other tests start it in a process of its own.
    let Some(path) = child_file() else { return };
    runtime().block_on(async {
        let store = open(&path).await;
        let _hold = store.hold().await.unwrap();
        println!("holds");
        std::future::pending::<()>().await;
    });
}

/// Those who hold by the kernel's locks do not wait for a process of ours that was killed.
async fn passes_over_our_dead(protocol: Protocol) {
    let (_directory, path) = place();
    holder(&path).await.kill().await.unwrap();
    assert!(lock_file(&path).exists());
    let mut peer = Peer::start(protocol, &path).await;
    peer.must("lock").await;
    peer.must("unlock").await;
}

/// Those who hold by the existence of the file wait until a process of ours puts it in order.
async fn is_freed_from_our_dead(protocol: Protocol) {
    let (directory, path) = place();
    holder(&path).await.kill().await.unwrap();
    let mut peer = Peer::start(protocol, &path).await;
    peer.send("lock").await;
    takes_longer(A_WHILE, "a peer under a dead process's lock", peer.answer()).await;
    let store = open(&path).await;
    put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
    assert_eq!(within(PATIENCE, "the peer", peer.answer()).await, "done");
    peer.must("unlock").await;
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}

macro_rules! with_peers {
    ($($name:ident: $protocol:ident, $our_dead:ident;)*) => {
        $(mod $name {
            use super::Protocol::$protocol;

            #[tokio::test]
            async fn keeps_out_and_is_kept_out() {
                super::keeps_out_and_is_kept_out($protocol).await;
            }

            #[tokio::test]
            async fn loses_no_row() {
                super::loses_no_row($protocol).await;
            }

            #[tokio::test]
            async fn is_taken_over_from() {
                super::is_taken_over_from($protocol).await;
            }

            #[tokio::test]
            async fn gets_on_where_ours_was_killed() {
                super::$our_dead($protocol).await;
            }
        })*
    };
}

with_peers! {
    msal_python_with_portalocker: Portalocker, passes_over_our_dead;
    msal_python_without_portalocker: Existence, is_freed_from_our_dead;
    msal_node: Node, is_freed_from_our_dead;
    java: Java, passes_over_our_dead;
    as_msal_go: Flock, passes_over_our_dead;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn flock_keeps_out_and_is_kept_out() {
    let (directory, path) = place();
    let store = open_hasty(&path).await;
    let mut peer = Peer::start(Protocol::Util, &path).await;
    peer.must("lock").await;
    let document = rows(&["ours"]);
    {
        let mut put = std::pin::pin!(put(&store, &document, PutOptions::create()));
        // It leaves an empty file, which counts as abandoned after a second without a lock on it, and not before.
        takes_longer(A_WHILE * 2, "a write under a peer's lock", &mut put).await;
        peer.must("unlock").await;
        within(PATIENCE, "the write after the peer's", put).await.unwrap();
    }
    let hold = store.hold().await.unwrap();
    peer.send("lock").await;
    takes_longer(A_WHILE, "a peer under our lock", peer.answer()).await;
    drop(hold);
    assert_eq!(within(PATIENCE, "the peer", peer.answer()).await, "done");
    peer.kill().await;
    put(&store, &rows(&["more"]), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);

    let mut peer = Peer::start(Protocol::Util, &path).await;
    peer.must("lock").await;
    peer.kill().await;
    put(&store, &rows(&["again"]), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}

/// All those at once whose protocol has no gap among themselves.
#[tokio::test]
async fn a_crowd_loses_no_row() {
    let (directory, path) = place();
    let mut peers = [
        Peer::start(Protocol::Existence, &path).await,
        Peer::start(Protocol::Node, &path).await,
        Peer::start(Protocol::Node, &path).await,
    ];
    let theirs = peers.iter_mut().enumerate().map(|(number, peer)| async move {
        for row in 0..20 {
            peer.must(&format!("add their-{number}-{row}")).await;
        }
    });
    let (one, two) = (open(&path).await, open(&path).await);
    let ours = [&one, &two].map(|store| async move {
        for row in 0..100 {
            add_row(store, &format!("our-{store:p}-{row}")).await;
        }
    });
    let all = async { tokio::join!(join_all(theirs), join_all(ours)) };
    within(PATIENCE * 2, "all rows", all).await;
    assert_eq!(count_rows(&path), 3 * 20 + 2 * 100);
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}

#[tokio::test]
async fn a_holder_that_stays_is_named_when_patience_ends() {
    let (_directory, path) = place();
    let mut peer = Peer::start(Protocol::Existence, &path).await;
    peer.must("lock").await;
    let limits = LockLimits::default().patience(Duration::from_millis(200));
    let store = MsalFileStore::open(MsalFileConfig::new(&path).lock(limits))
        .await
        .unwrap();
    let refused = put(&store, &rows(&["a"]), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(
        (refused.kind(), refused.retry()),
        (ErrorKind::Unavailable, Retry::Yes)
    );
    let text = refused.to_string();
    assert!(text.contains(&format!("process {}", peer.id())), "{text}");
    assert!(!path.exists());
    let held = store.hold().await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Unavailable);
    peer.must("unlock").await;

    // Tasks of this process take turns, and wait as long.
    let _hold = store.hold().await.unwrap();
    let refused = put(&store, &rows(&["a"]), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn of_many_who_find_an_abandoned_lock_each_gets_it_in_turn() {
    let (directory, path) = place();
    let mut dead = Peer::start(Protocol::Existence, &path).await;
    for round in 0..5 {
        dead.must("lock").await;
        dead.kill().await;
        let children: Vec<_> = (0..6)
            .map(|_| {
                let mut command = Command::from(process("peers::adds_a_row_hastily", &path));
                command.spawn().unwrap()
            })
            .collect();
        for mut child in children {
            assert!(
                within(PATIENCE, "a writer", child.wait())
                    .await
                    .unwrap()
                    .success()
            );
        }
        assert_eq!(count_rows(&path), (round + 1) * 6);
        assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
        dead = Peer::start(Protocol::Existence, &path).await;
    }
}

#[test]
fn adds_a_row_hastily() {
    // Another test starts it in a process of its own.
    let Some(path) = child_file() else { return };
    runtime().block_on(async {
        let store = open_hasty(&path).await;
        add_row(&store, &std::process::id().to_string()).await;
    });
}
