//! `--store msal-file:`: a cache file of MSAL programs, used where it is.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use cache_testkit::authority::{Endpoint, FakeAuthority, Grant};
use serde_json::Value;

use crate::program::{Program, Ran, strict_authority};

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
    let (key, mut row) = id_tokens
        .iter()
        .next()
        .map(|(key, row)| (key.clone(), row.clone()))
        .unwrap();
    row["realm"] = "organizations".into();
    id_tokens.insert(
        key.replace(cache_testkit::authority::HOME_TENANT, "organizations"),
        row,
    );
    assert_eq!(id_tokens.len(), 2);
    std::fs::write(shared.path("cache.json"), rows.to_string()).unwrap();
    let who = shared.json(&["whoami"]).await;
    assert_eq!(
        who["accounts"][0]["subjects"].as_array().unwrap().len(),
        1,
        "{who}"
    );
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
    for name in [
        "store file",
        "store folder",
        "writing",
        "store content",
        "store",
        "accounts",
    ] {
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
    assert_eq!(
        (named("store content"), named("store"), named("records")),
        (1, 0, 0),
        "{object}"
    );

    // Another program's settings are JSON too.
    std::fs::write(&file, "{\"name\": \"x\", \"scripts\": {\"a\": \"b\"}}").unwrap();
    let object = program.json(&["doctor"]).await;
    assert_eq!(state(&object, "store content"), "warning", "{object}");

    std::fs::write(&file, b"\x01\x00\x00\x00sealed by DPAPI").unwrap();
    let ran = program.run(&["--json", "doctor"]).await;
    assert_eq!(
        (ran.exit, state(&ran.object(), "store content")),
        (Some(4), "problem")
    );
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
    assert_eq!(authority.grant_count(Grant::DeviceCode).requests, 0);
    assert!(
        authority
            .requests()
            .iter()
            .all(|request| request.endpoint != Endpoint::DeviceCode),
        "a user was asked"
    );
}

/// Runs as a user whom permissions bind, which root is not.
pub(crate) async fn run_bound(program: &Program, words: &[&str]) -> Ran {
    const SOMEBODY: u32 = 65_534;
    let command = program.command(words);
    if !rustix::process::geteuid().is_root() {
        return Ran::of(command).await;
    }
    // The build's own folder may be closed to others.
    let copy = program.path("tokenkeep");
    if !copy.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_tokenkeep"), &copy).unwrap();
    }
    for path in [
        program.folder(),
        &program.path("shared"),
        &program.path("shared/cache.json"),
        &program.path("ca.pem"),
    ] {
        if path.exists() {
            std::os::unix::fs::chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        }
    }
    let mut bound = tokio::process::Command::new("setpriv");
    let id = SOMEBODY.to_string();
    bound.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    bound.arg(copy).args(command.as_std().get_args());
    for (name, value) in command.as_std().get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound.stdin(std::process::Stdio::null());
    Ran::of(bound).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_found_before_a_user_is_asked() {
    let authority = strict_authority().await;
    let mut program = sharing(&authority);
    let folder = program.path("shared");
    std::fs::create_dir(&folder).unwrap();
    let store = format!("msal-file:{}/cache.json", folder.display());
    program.options(&["--store", &store]);
    program.json(&SIGN_IN).await;
    let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    let asked = authority.requests().len();

    let ran = run_bound(&program, &["--json", "doctor"]).await;
    assert_eq!(
        (ran.exit, state(&ran.object(), "writing")),
        (Some(4), "problem"),
        "{ran:?}"
    );
    assert_eq!(state(&ran.object(), "store content"), "ok", "{ran:?}");
    let token = run_bound(&program, &TOKEN).await;
    assert_eq!(token.exit, Some(0), "what is cached can be read: {token:?}");
    let ran = run_bound(
        &program,
        &["--json", "login", "device-code", "--scope", "User.Read"],
    )
    .await;
    assert_eq!(ran.exit, Some(4), "{ran:?}");
    let error = &ran.object()["error"];
    assert_eq!(error["kind"], "store_permission_denied", "{error}");
    assert!(error["message"].as_str().unwrap().contains("shared"), "{error}");
    assert_eq!(authority.requests().len(), asked, "a user was asked");
    // One that is not there yet is no better.
    mode(0o755);
    std::fs::remove_file(program.path("shared/cache.json")).unwrap();
    mode(0o555);
    let ran = run_bound(&program, &["--json", "doctor"]).await;
    assert_eq!(state(&ran.object(), "writing"), "problem", "{ran:?}");

    mode(0o755);
    let ran = run_bound(&program, &["--json", "doctor"]).await;
    assert_eq!(state(&ran.object(), "writing"), "ok", "{ran:?}");
    run_bound(&program, &SIGN_IN).await.succeeded();
}
