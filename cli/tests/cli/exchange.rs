//! `import` and `export` of MSAL cache files.

use std::path::{Path, PathBuf};

use cache_core::time::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::program::{Program, strict_authority};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache-core/tests/fixtures/msal");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let fixtures: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
        .collect();
    assert_eq!(fixtures.len(), 13);
    fixtures
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_comes_out_as_it_went_in() {
    for fixture in fixtures() {
        let program = Program::new();
        let report = program.json(&["import", fixture.to_str().unwrap()]).await;
        assert_eq!(report["unread"], json!([]), "{}", fixture.display());
        let out = program.path("out.json");
        program.json(&["export", out.to_str().unwrap()]).await;
        assert_eq!(read(&out), read(&fixture), "{}", fixture.display());
        // Twice the same file is once the same file.
        program.json(&["import", out.to_str().unwrap()]).await;
        assert_eq!(
            program.json(&["export"]).await,
            read(&fixture),
            "{}",
            fixture.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_and_sections_are_kept() {
    let mut file = read(&fixtures()[0]);
    file["FutureSection"] = json!({ "row": { "deep": [1, { "er": null }] } });
    for section in ["AccessToken", "RefreshToken", "IdToken", "Account", "AppMetadata"] {
        if let Some(rows) = file[section].as_object_mut() {
            rows.values_mut()
                .for_each(|row| row["future_field"] = json!({ "a": [1.5, "b", false] }));
        }
    }
    let program = Program::new();
    let path = program.path("in.json");
    std::fs::write(&path, file.to_string()).unwrap();
    program.json(&["import", path.to_str().unwrap()]).await;
    assert_eq!(program.json(&["export", "-"]).await, file);
}

/// The first access token of a cache file that serves without its session, made live.
fn revive(file: &mut Value) -> Option<Value> {
    let now = SystemClock.now().to_seconds().0;
    let rows = file["AccessToken"].as_object_mut().unwrap();
    for row in rows.values_mut() {
        row["cached_at"] = (now - 60).to_string().into();
        row["expires_on"] = (now + 3000).to_string().into();
        row["extended_expires_on"] = (now + 3000).to_string().into();
        row.as_object_mut().unwrap().remove("refresh_on");
    }
    rows.values()
        .find(|row| row.get("userAssertionHash").is_none())
        .cloned()
}

/// The authority that the rows are of. MSAL Python leaves the port of a host out.
fn authority_of(row: &Value) -> String {
    let realm = row["realm"].as_str().unwrap();
    match row["environment"].as_str().unwrap() {
        "login.windows.net" => format!("https://login.microsoftonline.com/{realm}"),
        "127.0.0.1" => format!("https://127.0.0.1:8443/{realm}"),
        environment => format!("https://{environment}/{realm}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_cache_serves_without_a_request() {
    let (mut served, mut applications) = (0, 0);
    for fixture in fixtures() {
        let name = fixture.display();
        let mut file = read(&fixture);
        let Some(row) = revive(&mut file) else { continue };
        served += 1;
        let mut program = Program::new();
        // Nobody answers there: what is not in the cache fails.
        program.set("HTTPS_PROXY", "http://127.0.0.1:1");
        program.options(&[
            "--client-id",
            row["client_id"].as_str().unwrap(),
            "--request-timeout",
            "1",
        ]);
        program.options(&["--authority", &authority_of(&row)]);
        let path = program.path("in.json");
        std::fs::write(&path, file.to_string()).unwrap();
        program.json(&["import", path.to_str().unwrap()]).await;

        let is_app = row["home_account_id"].as_str().is_none_or(str::is_empty);
        let accounts = program.json(&["accounts"]).await;
        assert_eq!(
            accounts["accounts"].as_array().unwrap().len(),
            usize::from(!is_app),
            "{name}"
        );
        let target = row["target"].as_str().unwrap();
        let words = ["token", "--scope", target.split(' ').next().unwrap()];
        let token = program.json(&words).await;
        assert_eq!(token["metadata"]["source"], "store", "{name}");
        let imported = file["AccessToken"].as_object().unwrap();
        assert!(
            imported
                .values()
                .any(|row| row["secret"] == token["access_token"]),
            "{name}"
        );
        if is_app {
            applications += 1;
            program.options(&["--client-secret-env", "THE_SECRET"]);
            program.set("THE_SECRET", "a secret that is not needed");
            assert_eq!(
                program.json(&words).await["access_token"],
                token["access_token"],
                "{name}"
            );
        }
    }
    assert!(served >= 12, "{served}");
    assert_eq!(applications, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_an_application_gets_nothing_but_its_live_token() {
    let mut program = Program::new();
    program.set("HTTPS_PROXY", "http://127.0.0.1:1");
    let fixture = fixtures()
        .into_iter()
        .find(|file| file.ends_with("py_msft_client_credentials.json"))
        .unwrap();
    let mut file = read(&fixture);
    let row = revive(&mut file).unwrap();
    program.options(&["--client-id", row["client_id"].as_str().unwrap()]);
    program.options(&["--authority", &authority_of(&row), "--request-timeout", "1"]);
    let words = ["token", "--scope", row["target"].as_str().unwrap()];
    let error = program.failing(&words, 3).await;
    assert!(
        error["next"].as_str().unwrap().contains("--client-secret-env"),
        "{error}"
    );

    let path = program.path("in.json");
    std::fs::write(&path, file.to_string()).unwrap();
    program.json(&["import", path.to_str().unwrap()]).await;
    program.json(&words).await;
    program
        .failing(&[&words[..], &["--force-refresh"]].concat(), 3)
        .await;
    program
        .failing(&[&words[..], &["--account", "nobody"]].concat(), 3)
        .await;
    program.failing(&["token", "--scope", "other/.default"], 3).await;
    program.options(&["--client-id", "another"]);
    program.failing(&words, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_authority_serve_nobody() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let fixture = fixtures()
        .into_iter()
        .find(|file| file.ends_with("py_msft_device_code.json"))
        .unwrap();
    program.json(&["import", fixture.to_str().unwrap()]).await;
    let error = program.failing(&["token", "--scope", "User.Read"], 3).await;
    assert_eq!(error["kind"], "interaction_required");
    assert!(authority.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_moves_to_another_store_by_file() {
    let authority = strict_authority().await;
    let first = Program::of_fake(&authority);
    let signed_in = first
        .json(&["login", "device-code", "--scope", "User.Read"])
        .await;
    let file = first.path("moved.json");
    first.json(&["export", file.to_str().unwrap()]).await;

    let second = Program::of_fake(&authority);
    let before = authority.requests().len();
    let mut command = second.command(&["--json", "import", "-"]);
    command.stdin(std::fs::File::open(&file).unwrap());
    let report = crate::program::Ran::of(command).await.succeeded().object();
    assert_eq!(
        (&report["accounts"], &report["refresh_tokens"]),
        (&json!(1), &json!(1))
    );
    let token = second.json(&["token", "--scope", "User.Read"]).await;
    assert_eq!(token["expires_on"], signed_in["expires_on"]);
    assert_eq!(authority.requests().len(), before, "no request was needed");
    let forced = second
        .json(&["token", "--scope", "User.Read", "--force-refresh"])
        .await;
    assert_eq!(forced["metadata"]["source"], "authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_private_and_replaces_nothing_unasked() {
    let program = Program::new();
    let fixture = &fixtures()[0];
    program.json(&["import", fixture.to_str().unwrap()]).await;
    let out = program.path("out.json");
    let out_text = out.to_str().unwrap();
    std::fs::write(&out, "precious").unwrap();
    assert_eq!(program.failing(&["export", out_text], 2).await["kind"], "usage");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "precious");

    program.json(&["export", out_text, "--force"]).await;
    assert_eq!(read(&out), read(fixture));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(out.metadata().unwrap().mode() & 0o777, 0o600);
        let link = program.path("link.json");
        let target = program.path("target.json");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        program.failing(&["export", link.to_str().unwrap()], 2).await;
        assert!(!target.exists(), "a dangling link was followed");
    }
    let left = std::fs::read_dir(program.folder()).unwrap();
    let left = left.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("out.json")
    });
    assert_eq!(left.count(), 1, "a half-written file was left");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_forced_export_replaces_regular_files_alone() {
    use std::os::unix::fs::FileTypeExt;
    let program = Program::new();
    program.json(&["import", fixtures()[0].to_str().unwrap()]).await;
    let pipe = program.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let target = program.path("target.json");
    std::fs::write(&target, "precious").unwrap();
    let link = program.path("link.json");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let folder = program.path("folder");
    std::fs::create_dir(&folder).unwrap();
    for place in [&pipe, &link, &folder] {
        let error = program
            .failing(&["export", "--force", place.to_str().unwrap()], 2)
            .await;
        assert!(
            error["message"].as_str().unwrap().contains("not a regular file"),
            "{error}"
        );
    }
    assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_cache_file_changes_nothing() {
    let program = Program::new();
    let path = program.path("in.json");
    for content in [
        "",
        "not json",
        "[1]",
        "{\"AccessToken\": 3}",
        "{\"AccessToken\": {\"a\":",
    ] {
        std::fs::write(&path, content).unwrap();
        let error = program.failing(&["import", path.to_str().unwrap()], 2).await;
        assert_eq!(error["kind"], "not_a_cache_file", "{content}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("in.json") && !message.contains("record"),
            "{error}"
        );
    }
    assert_eq!(
        program.failing(&["import", "/nonexistent/file"], 2).await["kind"],
        "usage"
    );
    assert_eq!(program.json(&["export"]).await, json!({}));
}
