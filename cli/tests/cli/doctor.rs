//! `doctor`.

use serde_json::Value;

use crate::program::{Program, strict_authority};
#[cfg(unix)]
use crate::shared_file::run_bound;

fn state<'a>(object: &'a Value, name: &str) -> Vec<&'a str> {
    let checks = object["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| check["name"] == name)
        .map(|check| check["state"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cache_has_no_problem() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program
        .run(&["login", "device-code", "--scope", "User.Read"])
        .await
        .succeeded();
    let object = program.json(&["doctor", "--online"]).await;
    for name in [
        "clock",
        "store file",
        "writing",
        "store",
        "key ring",
        "records",
        "authority",
    ] {
        let states = state(&object, name);
        assert!(
            !states.is_empty() && states.iter().all(|state| *state == "ok"),
            "{name}: {object}"
        );
    }
    assert!(state(&object, "key source").contains(&"warning"));
    assert!(
        object.to_string().contains("in the folder of the database"),
        "{object}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_sign_in_nothing_is_made() {
    let program = Program::new();
    program.json(&["doctor"]).await;
    assert!(!program.path("cache.db").exists() && !program.path("key").exists());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn files_that_others_can_read_are_a_problem() {
    use std::os::unix::fs::PermissionsExt;
    let program = Program::new();
    program.json(&["accounts"]).await;
    for (name, check) in [("cache.db", "store file"), ("key", "key source")] {
        let path = program.path(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let ran = program.run(&["--json", "doctor"]).await;
        assert_eq!(ran.exit, Some(4));
        assert!(state(&ran.object(), check).contains(&"problem"), "{}", ran.stdout);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    program.json(&["doctor"]).await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_a_problem() {
    use std::os::unix::fs::PermissionsExt;
    let mut program = Program::new();
    let folder = program.path("shared");
    std::fs::create_dir(&folder).unwrap();
    program.options(&["--store", &format!("sqlite:{}/cache.db", folder.display())]);
    for (mode, expected) in [(0o700, "ok"), (0o555, "problem")] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = run_bound(&program, &["--json", "doctor"]).await;
        assert_eq!(state(&ran.object(), "writing"), [expected], "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_there_is_a_problem_of_its_own() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program.json(&["doctor"]).await;
    authority.shutdown().await;
    let error = program.failing(&["doctor", "--online"], 5).await;
    assert_eq!(error["kind"], "doctor");
}
