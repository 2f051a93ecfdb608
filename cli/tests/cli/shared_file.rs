//! `--store msal-file:`: a cache file of MSAL programs, used where it is.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use cache_testkit::authority::FakeAuthority;
use serde_json::Value;

use crate::program::{Program, strict_authority};

const SIGN_IN: [&str; 4] = ["login", "device-code", "--scope", "User.Read"];
const TOKEN: [&str; 3] = ["token", "--scope", "User.Read"];

/// A program whose store is the file `cache.json`.
fn sharing(authority: &FakeAuthority) -> Program {
    let mut program = Program::of_fake(authority);
    program.without("--key");
    let store = format!("msal-file:{}", program.path("cache.json").display());
    program.options(&["--store", &store]);
    program
}

fn document(program: &Program) -> Value {
    serde_json::from_slice(&std::fs::read(program.path("cache.json")).unwrap()).unwrap()
}

fn state<'a>(object: &'a Value, name: &str) -> &'a str {
    let mut checks = object["checks"].as_array().unwrap().iter();
    let found = checks.find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {object}"))["state"]
        .as_str()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_in_clear_in_the_file_and_leaves_it_again() {
    let authority = strict_authority().await;
    let program = sharing(&authority);
    let signed_in = program.run(&SIGN_IN).await.succeeded();
    assert_eq!(
        signed_in.stderr.matches("is not encrypted").count(),
        1,
        "{}",
        signed_in.stderr
    );
    assert!(signed_in.stderr.contains("msal-file:"), "{}", signed_in.stderr);
    let metadata = program.path("cache.json").metadata().unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert!(!program.path("config").exists(), "a key was made");

    let before = authority.requests().len();
    let token = program.json(&TOKEN).await;
    assert_eq!(token["metadata"]["source"], "store");
    assert_eq!(authority.requests().len(), before);
    let rows = document(&program);
    let access_tokens = rows["AccessToken"].as_object().unwrap();
    assert!(
        access_tokens
            .values()
            .any(|row| row["secret"] == token["access_token"])
    );

    for round in 0..3 {
        let forced = program
            .json(&["token", "--scope", "User.Read", "--force-refresh"])
            .await;
        assert_eq!(forced["metadata"]["source"], "authority", "round {round}");
    }
    assert_eq!(document(&program)["RefreshToken"].as_object().unwrap().len(), 1);
    assert_eq!(authority.families_revoked(), 0);

    assert_eq!(program.json(&["logout"]).await["removed"], true);
    program.failing(&TOKEN, 3).await;
    let rows = document(&program);
    let left = |section: &str| rows[section].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(
        (left("RefreshToken"), left("AccessToken"), left("Account")),
        (0, 0, 0),
        "{rows}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_imported_and_exported() {
    let authority = strict_authority().await;
    let own = Program::of_fake(&authority);
    own.json(&SIGN_IN).await;
    let moved = own.path("moved.json");
    own.json(&["export", moved.to_str().unwrap()]).await;

    let shared = sharing(&authority);
    shared.failing(&["export"], 4).await;
    let report = shared.json(&["import", moved.to_str().unwrap()]).await;
    assert_eq!(report["refresh_tokens"], 1);
    let before = authority.requests().len();
    let token = shared.json(&TOKEN).await;
    assert_eq!(authority.requests().len(), before);
    let exported = shared.json(&["export"]).await;
    let rows = exported["AccessToken"].as_object().unwrap();
    assert!(rows.values().any(|row| row["secret"] == token["access_token"]));
    let who = shared.json(&["whoami"]).await;
    assert_eq!(who["accounts"][0]["username"], "alice@contoso.test");

    // A second row with the same ID token names nobody else.
    let mut rows = document(&shared);
    let id_tokens = rows["IdToken"].as_object_mut().unwrap();
    let (key, mut row) = id_tokens.iter().next().map(|(key, row)| (key.clone(), row.clone())).unwrap();
    row["realm"] = "organizations".into();
    id_tokens.insert(key.replace(cache_testkit::authority::HOME_TENANT, "organizations"), row);
    assert_eq!(id_tokens.len(), 2);
    std::fs::write(shared.path("cache.json"), rows.to_string()).unwrap();
    let who = shared.json(&["whoami"]).await;
    assert_eq!(who["accounts"][0]["subjects"].as_array().unwrap().len(), 1, "{who}");
    let shown = shared.run(&["inspect"]).await.succeeded();
    assert!(!shown.stderr.contains("generation"), "{}", shown.stderr);
    let records = shared.json(&["inspect"]).await;
    assert!(records["records"][0]["generation"].is_null(), "{records}");
    assert!(
        !records
            .to_string()
            .contains(token["access_token"].as_str().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_refused_and_not_ignored() {
    let authority = strict_authority().await;
    let program = sharing(&authority);
    let mut words = vec!["--key", "passphrase"];
    words.extend(TOKEN);
    let error = program.failing(&words, 2).await;
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("--key") && message.contains("MSAL programs") && message.contains("cache.json"),
        "{message}"
    );
    let mut by_variable = sharing(&authority);
    by_variable.set("TOKENKEEP_KEY", "passphrase");
    by_variable.failing(&TOKEN, 2).await;
    by_variable.set("TOKENKEEP_KEY", "");
    by_variable.failing(&TOKEN, 3).await;
    assert!(!program.path("cache.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_msal_programs_have_no_place_for_is_refused() {
    let authority = strict_authority().await;
    let program = sharing(&authority);
    program.json(&SIGN_IN).await;
    let before = std::fs::read(program.path("cache.json")).unwrap();
    for words in [
        &["keys", "list"][..],
        &["keys", "rotate"],
        &["keys", "rewrap", "--new-key", "passphrase"],
        &["quarantine", "--all"],
        &["quarantine", "some-record"],
        &["login", "managed-identity", "--scope", "https://vault.azure.net"],
        &[
            "token",
            "--managed-identity",
            "--scope",
            "https://vault.azure.net",
        ],
        &["login", "on-behalf-of", "--assertion-env", "A", "--scope", "s"],
    ] {
        let error = program.failing(words, 2).await;
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("is a place of MSAL programs"),
            "{words:?}: {message}"
        );
        assert!(error["next"].as_str().unwrap().contains("--store"), "{error}");
    }
    assert_eq!(std::fs::read(program.path("cache.json")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_who_can_read_the_file_and_who_holds_it() {
    let authority = strict_authority().await;
    let program = sharing(&authority);
    let object = program.json(&["doctor"]).await;
    assert_eq!(state(&object, "store file"), "warning", "it is not there yet");
    program.json(&SIGN_IN).await;
    let object = program.json(&["doctor"]).await;
    assert_eq!(state(&object, "encryption"), "warning");
    for name in ["store file", "store folder", "writing", "store content", "store", "accounts"] {
        assert_eq!(state(&object, name), "ok", "{name}: {object}");
    }
    assert!(!object.to_string().contains("key source"), "{object}");

    let file = program.path("cache.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ran = program.run(&["--json", "doctor"]).await;
    assert_eq!(
        (ran.exit, state(&ran.object(), "store file")),
        (Some(4), "problem")
    );
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let lock = program.path("cache.json.lockfile");
    std::fs::write(&lock, "4194304 /usr/bin/node").unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let times = std::fs::FileTimes::new().set_modified(old);
    std::fs::File::options()
        .write(true)
        .open(&lock)
        .unwrap()
        .set_times(times)
        .unwrap();
    let object = program.json(&["doctor"]).await;
    assert_eq!(state(&object, "lock file"), "warning");
    assert!(
        object.to_string().contains("process 4194304 (/usr/bin/node)"),
        "{object}"
    );
    std::fs::remove_file(&lock).unwrap();

    // Half of a cache begins like a whole one: one judgement, and nothing beside it is called sound.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let ran = program.run(&["--json", "doctor"]).await;
    let object = ran.object();
    assert_eq!((ran.exit, state(&object, "store content")), (Some(4), "problem"));
    let checks = object["checks"].as_array().unwrap();
    let named = |name: &str| checks.iter().filter(|check| check["name"] == name).count();
    assert_eq!((named("store content"), named("store"), named("records")), (1, 0, 0), "{object}");

    std::fs::write(&file, b"\x01\x00\x00\x00sealed by DPAPI").unwrap();
    let ran = program.run(&["--json", "doctor"]).await;
    assert_eq!(
        (ran.exit, state(&ran.object(), "store content")),
        (Some(4), "problem")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_told_what_happens_and_of_no_gap() {
    let authority = strict_authority().await;
    let program = sharing(&authority);
    program.json(&SIGN_IN).await;
    let watching = program.start(&["watch", "--time", "3", "--json"]);
    crate::program::pause(1_000).await;
    program
        .json(&["token", "--scope", "User.Read", "--force-refresh"])
        .await;
    let output = watching.wait_with_output().await.unwrap();
    let (told, warned) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(told.contains("\"event\":\"refreshed\""), "{told}");
    assert!(!told.contains("\"lost\"") && !warned.contains("missed"), "{told}\n{warned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_cache_is_left_as_it_is() {
    let authority = strict_authority().await;
    let program = sharing(&authority);
    let file = program.path("cache.json");
    for content in ["not JSON", "[1]", "{\"AccessToken\": "] {
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let ran = program.run(&TOKEN).await;
        assert_eq!(ran.exit, Some(4), "{content}: {ran:?}");
        let ran = program.run(&SIGN_IN).await;
        assert_eq!(ran.exit, Some(4), "{content}: {ran:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    }
}
