//! The encryption keys: where they come from, rotation, and what happens when they are lost.

use cache_core::time::{Clock, SystemClock};

use crate::program::{Program, Ran};

const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../cache-core/tests/fixtures/msal/py_msft_two_tenants.json"
);
const CLIENT_CREDENTIALS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../cache-core/tests/fixtures/msal/py_msft_client_credentials.json"
);

#[tokio::test(flavor = "multi_thread")]
async fn rotate_reseal_and_list() {
    let program = Program::new();
    program.json(&["import", FIXTURE]).await;
    program.json(&["import", CLIENT_CREDENTIALS]).await;
    let exported = program.json(&["export"]).await;
    let old = program.json(&["keys", "list"]).await["keys"][0]["id"].clone();

    let new = program.json(&["keys", "rotate"]).await["primary"].clone();
    assert_ne!(new, old);
    assert_eq!(
        program.json(&["export"]).await,
        exported,
        "records under the old key are still read"
    );
    let keys = program.json(&["keys", "list"]).await;
    assert_eq!(
        (&keys["keys"][0]["state"], &keys["keys"][1]["state"]),
        (&"read-only".into(), &"primary".into())
    );

    let report = program.json(&["keys", "reseal"]).await;
    assert_eq!(
        (report["resealed"].as_u64(), report["current"].as_u64()),
        (Some(2), Some(0))
    );
    assert_eq!(report["records_by_key"][new.as_str().unwrap()], 2);
    let again = program.json(&["keys", "reseal"]).await;
    assert_eq!(
        (again["resealed"].as_u64(), again["current"].as_u64()),
        (Some(0), Some(2))
    );
    let records = program.json(&["inspect"]).await["records"].clone();
    let sealed: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["format"] == "sealed")
        .collect();
    assert!(sealed.len() == 2 && sealed.iter().all(|record| record["key_id"] == new));
    assert_eq!(program.json(&["export"]).await, exported);

    // A writer that has not noticed may still use it, so it cannot be wiped yet.
    let error = program
        .failing(&["keys", "retire", old.as_str().unwrap()], 4)
        .await;
    assert_eq!(error["kind"], "ring");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sweeps_at_once_all_succeed() {
    let program = Program::new();
    let folder = std::path::Path::new(FIXTURE).parent().unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|end| end == "json") {
            program.json(&["import", file.to_str().unwrap()]).await;
        }
    }
    let exported = program.json(&["export"]).await;
    for _ in 0..4 {
        program.json(&["keys", "rotate"]).await;
        let reports = futures_util::future::join_all((0..6).map(|_| program.json(&["keys", "reseal"]))).await;
        let sum = |name: &str| {
            reports
                .iter()
                .map(|report| report[name].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!(sum("conflicts") + sum("unreadable") + sum("postponed"), 0);
        let records = sum("resealed");
        assert!(records > 3, "{reports:?}");
        assert_eq!(records + sum("current"), 6 * records, "each moved by one of them");
    }
    assert_eq!(program.json(&["export"]).await, exported);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_from_the_environment() {
    let mut program = Program::new();
    program.options(&["--key", "env:THE_KEY"]);
    let error = program.failing(&["import", FIXTURE], 4).await;
    assert_eq!(error["kind"], "key_source");
    program.set("THE_KEY", &"5a".repeat(32));
    program.json(&["import", FIXTURE]).await;
    program.set("THE_KEY", &"5b".repeat(32));
    assert_eq!(
        program.failing(&["accounts"], 4).await["kind"],
        "wrong_key_source"
    );
    program.set("THE_KEY", "too short");
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "key_source");
    assert!(!error.to_string().contains("too short"), "{error}");
    program.set("THE_KEY", &"5a".repeat(32));
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_phrase_from_the_environment_or_standard_input() {
    let mut program = Program::new();
    program.options(&["--key", "passphrase"]);
    assert_eq!(
        program.failing(&["accounts"], 2).await["kind"],
        "usage",
        "standard input is empty"
    );
    assert!(!program.path("cache.db").exists(), "an empty store was left");

    let piped = |words: &[&str], text: &str| {
        let path = program.path("input");
        std::fs::write(&path, text).unwrap();
        let mut command = program.command(words);
        command.stdin(std::fs::File::open(path).unwrap());
        Ran::of(command)
    };
    piped(&["--json", "import", FIXTURE], "correct horse\n")
        .await
        .succeeded();
    let ran = piped(&["--json", "accounts"], "correct horse\nmore")
        .await
        .succeeded();
    assert_eq!(ran.object()["accounts"].as_array().unwrap().len(), 1);
    let ran = piped(&["--json", "accounts"], "wrong horse\n").await;
    assert_eq!(
        (ran.exit, &ran.object()["error"]["kind"]),
        (Some(4), &"wrong_key_source".into())
    );

    program.set("TOKENKEEP_PASSPHRASE", "correct horse");
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_foreign_key_file_is_told_apart_and_nothing_is_made_anew() {
    let program = Program::new();
    program.json(&["import", FIXTURE]).await;
    let key = program.path("key");
    let kept = program.path("kept");
    std::fs::rename(&key, &kept).unwrap();
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "key_source");
    assert!(error["next"].as_str().unwrap().contains("--key"), "{error}");
    assert!(!key.exists(), "a second key was made");

    let other = Program::new();
    other.json(&["accounts"]).await;
    std::fs::rename(other.path("key"), &key).unwrap();
    assert_eq!(
        program.failing(&["accounts"], 4).await["kind"],
        "wrong_key_source"
    );
    std::fs::rename(&kept, &key).unwrap();
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_lost_for_good_bars_nobody() {
    let program = Program::new();
    program.json(&["import", FIXTURE]).await;
    std::fs::remove_file(program.path("key")).unwrap();
    let error = program.failing(&["accounts"], 4).await;
    assert!(
        error["next"].as_str().unwrap().contains("quarantine --all"),
        "{error}"
    );
    let moved = program.json(&["quarantine", "--all"]).await;
    assert_eq!(moved["moved"].as_array().unwrap().len(), 2);
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    program.json(&["import", FIXTURE]).await;
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let records = program.json(&["inspect"]).await["records"].clone();
    let aside = |record: &&serde_json::Value| record["kind"] == "quarantine";
    assert_eq!(
        records.as_array().unwrap().iter().filter(aside).count(),
        2,
        "the records are kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_starts_at_once_make_one_ring() {
    let program = Program::new();
    futures_util::future::join_all((0..8).map(|_| program.json(&["import", FIXTURE]))).await;
    assert_eq!(
        program.json(&["keys", "list"]).await["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let program = Program::new();
    program.json(&["accounts"]).await;
    std::fs::set_permissions(program.path("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "key_source");
    is_advised(&error, "chmod 600");

    let key = program.path("key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&key, program.path("moved")).unwrap();
    std::os::unix::fs::symlink(program.path("moved"), &key).unwrap();
    is_advised(&program.failing(&["accounts"], 4).await, "regular file");
}

/// Whether the error says `wanted`, and not to give everything up.
#[cfg(unix)]
fn is_advised(error: &serde_json::Value, wanted: &str) {
    let next = error["next"].as_str().unwrap();
    assert!(
        next.contains(wanted) && !next.contains("quarantine --all"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_a_new_key_is_made_for_its_owner_alone() {
    use std::os::unix::fs::MetadataExt;
    let mut program = Program::new();
    let folder = program.path("new");
    let option = format!("file:{}", folder.join("deep/key").display());
    program.options(&["--key", &option]);
    program.json(&["accounts"]).await;
    for made in [&folder, &folder.join("deep")] {
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o700);
    }
    // Of a key that is missing, no folder is made: it may be on a volume that is not there.
    let away = program.path("away");
    std::fs::rename(&folder, &away).unwrap();
    assert_eq!(program.failing(&["accounts"], 4).await["kind"], "key_source");
    assert!(!folder.exists());
    std::fs::write(&folder, "not a folder").unwrap();
    is_advised(&program.failing(&["accounts"], 4).await, "mkdir");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ring_is_rewrapped_for_another_key() {
    let mut program = Program::new();
    program.json(&["import", FIXTURE]).await;
    let exported = program.json(&["export"]).await;
    let new = format!("file:{}", program.path("folder/new").display());
    let object = program.json(&["keys", "rewrap", "--new-key", &new]).await;
    assert_eq!(object["key"], new.as_str());
    assert_eq!(program.failing(&["export"], 4).await["kind"], "wrong_key_source");
    program.options(&["--key", &new]);
    assert_eq!(program.json(&["export"]).await, exported);

    let words = ["keys", "rewrap", "--new-key", "passphrase"];
    let error = program.failing(&words, 2).await;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("TOKENKEEP_NEW_PASSPHRASE"),
        "{error}"
    );
    program.set("TOKENKEEP_NEW_PASSPHRASE", "correct horse");
    program.json(&words).await;
    let error = program.failing(&["export"], 4).await;
    assert!(
        error["next"].as_str().unwrap().contains("tokenkeep keys rewrap"),
        "{error}"
    );
    program.options(&["--key", "passphrase"]);
    program.set("TOKENKEEP_PASSPHRASE", "correct horse");
    assert_eq!(program.json(&["export"]).await, exported);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dates_of_a_key_are_told() {
    let program = Program::new();
    let now = SystemClock.now().to_seconds().0;
    program.json(&["accounts"]).await;
    let key = program.json(&["keys", "list"]).await["keys"][0].clone();
    assert!(key["created_at"].as_i64().unwrap() >= now - 1, "{key}");
    assert_eq!(key["is_primary"], true);
}
