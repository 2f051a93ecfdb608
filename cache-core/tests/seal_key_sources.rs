//! Key sources against a real environment and a real store.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::env;
use std::process::Command;
use std::sync::Arc;

use cache_core::seal::{
    EnvironmentKeySource, FileKeySource, KeySource, KeySourceError, PassphraseCost, PassphraseKeySource,
    SealError,
};
use cache_core::secret::Secret;
use seal_support::{World, fixed};

const VARIABLE: &str = "TOKENKEEP_TEST_KEY";
/// Tells a child which part it plays.
const CHILD: &str = "TOKENKEEP_TEST_CHILD";

/// Runs one part of a test in a process of its own: a test may not change its own environment.
fn in_child(part: &str, value: Option<&str>) {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "the_environment_supplies_a_key", "--nocapture"])
        .env(CHILD, part)
        .env_remove(VARIABLE);
    if let Some(value) = value {
        command.env(VARIABLE, value);
    }
    let output = command.output().unwrap();
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("1 passed"), "{shown}");
    if let Some(value) = value {
        assert!(!shown.contains(value), "the key is never shown");
    }
}

#[tokio::test]
async fn the_environment_supplies_a_key() {
    match env::var(CHILD).as_deref() {
        Ok("child_with_a_key") => return child_with_a_key().await,
        Ok("child_with_no_key") => return child_with_no_key().await,
        Ok(_) => return child_with_a_malformed_key().await,
        Err(_) => {}
    }
    in_child("child_with_a_key", Some(&"5a".repeat(32)));
    in_child("child_with_no_key", None);
    in_child("child_with_a_malformed_key", Some("c2hvcnQ="));
}

#[test]
fn each_source_has_a_name_by_which_a_ring_finds_it_again() {
    let passphrase = PassphraseKeySource::new(Secret::new("pass")).unwrap();
    assert_eq!(KeySource::kind(&passphrase), "passphrase");
    assert_eq!(environment().kind(), "environment");
    assert_eq!(FileKeySource::new("key").kind(), "file");
    assert_eq!(fixed(1).kind(), "fixed");
}

/// In a process of its own, whose folder it is.
#[tokio::test]
async fn a_file_can_be_named_by_its_place_in_the_folder() {
    if env::var(CHILD).is_ok() {
        let world = World::new();
        let sealer = world
            .open_with(Arc::new(FileKeySource::new("key")))
            .await
            .unwrap();
        let key = world.write(&sealer, "alice").await;
        let again = world
            .open_with(Arc::new(FileKeySource::new("key")))
            .await
            .unwrap();
        assert_eq!(world.read(&again, &key).await.unwrap(), "alice");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "a_file_can_be_named_by_its_place_in_the_folder";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "child_in_a_folder")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(folder.path().join("key").exists());
}

fn environment() -> Arc<EnvironmentKeySource> {
    Arc::new(EnvironmentKeySource::new(VARIABLE).unwrap())
}

async fn child_with_a_key() {
    let world = World::new();
    let sealer = world.open_with(environment()).await.unwrap();
    let key = world.write(&sealer, "alice").await;
    let reopened = world.open_with(environment()).await.unwrap();
    assert_eq!(world.read(&reopened, &key).await.unwrap(), "alice");
    assert_eq!(env::var(VARIABLE).unwrap().len(), 64, "this process still has it");

    // What a child inherits, with and without scrubbing.
    let has_it = |scrub: bool| {
        let mut child = Command::new("sh");
        child.args(["-c", &format!("test -n \"${VARIABLE}\"")]);
        if scrub {
            environment().scrub(&mut child);
        }
        child.status().unwrap().success()
    };
    assert!(has_it(false));
    assert!(!has_it(true));
}

async fn child_with_no_key() {
    let error = World::new().open_with(environment()).await.unwrap_err();
    assert!(matches!(
        error,
        SealError::KeySource(KeySourceError::Missing { .. })
    ));
}

async fn child_with_a_malformed_key() {
    let error = World::new().open_with(environment()).await.unwrap_err();
    let SealError::KeySource(error) = error else {
        panic!("{error}")
    };
    assert!(matches!(error, KeySourceError::Malformed { .. }));
    assert!(error.to_string().contains(VARIABLE));
}

#[tokio::test]
async fn a_passphrase_opens_its_ring_and_no_other_does() {
    let cost = PassphraseCost {
        memory_kib: 8 << 10,
        passes: 1,
        lanes: 1,
    };
    let source = |text: &str| Arc::new(PassphraseKeySource::with_cost(Secret::new(text), cost).unwrap());
    let world = World::new();
    let sealer = world.open_with(source("correct horse")).await.unwrap();
    let key = world.write(&sealer, "alice").await;
    let reopened = world.open_with(source("correct horse")).await.unwrap();
    assert_eq!(world.read(&reopened, &key).await.unwrap(), "alice");
    let error = world.open_with(source("battery staple")).await.unwrap_err();
    assert!(error.is_wrong_key_source());
    let shown = format!("{error} {error:?} {reopened:?}");
    assert!(!shown.contains("horse") && !shown.contains("battery"));

    // The default cost, once: it takes 64 MiB.
    let dearer = Arc::new(PassphraseKeySource::new(Secret::new("another")).unwrap());
    sealer.rewrap(dearer.clone()).await.unwrap();
    assert_eq!(
        world
            .read(&world.open_with(dearer).await.unwrap(), &key)
            .await
            .unwrap(),
        "alice"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_lost_key_file_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let world = World::new();
    let source = || Arc::new(FileKeySource::new(&path));
    let sealer = world.open_with(source()).await.unwrap();
    let key = world.write(&sealer, "alice").await;
    assert_eq!(
        world
            .read(&world.open_with(source()).await.unwrap(), &key)
            .await
            .unwrap(),
        "alice"
    );

    let saved = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = world.open_with(source()).await.unwrap_err();
    assert!(matches!(
        error,
        SealError::KeySource(KeySourceError::Missing { .. })
    ));
    assert!(!path.exists(), "a new key would not open the ring");

    // Put back, it opens the cache again.
    std::fs::write(&path, saved).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(
        world
            .read(&world.open_with(source()).await.unwrap(), &key)
            .await
            .unwrap(),
        "alice"
    );
}
