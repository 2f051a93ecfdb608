//! `migrate`: from any store to any other, with processes that refresh, stop and die meanwhile.

use cache_testkit::redis::RedisServer;
use serde_json::{Value, json};

use crate::on_behalf_of::middle_tier;
use crate::program::{Program, Ran, strict_authority};

pub(crate) const SIGN_IN: [&str; 4] = ["login", "device-code", "--scope", "User.Read"];
pub(crate) const TOKEN: [&str; 3] = ["token", "--scope", "User.Read"];
pub(crate) const REFRESH: [&str; 4] = ["token", "--scope", "User.Read", "--force-refresh"];

pub(crate) fn sqlite(program: &Program, name: &str) -> String {
    format!("sqlite:{}", program.path(name).display())
}

pub(crate) fn key(program: &Program, name: &str) -> String {
    format!("file:{}", program.path(name).display())
}

/// Runs with other options than the program's own.
pub(crate) async fn at(program: &Program, store: &str, key: Option<&str>, words: &[&str]) -> Ran {
    let mut command = program.command(&["--json"]);
    command.args(words).args(["--store", store]);
    match key {
        Some(key) => command.args(["--key", key]),
        None => &mut command,
    };
    Ran::of(command).await
}

pub(crate) async fn accounts(program: &Program, store: &str, key: &str) -> usize {
    let listed = at(program, store, Some(key), &["accounts"])
        .await
        .succeeded()
        .object();
    listed["accounts"].as_array().unwrap().len()
}

/// A cache file of an MSAL program with that many accounts.
pub(crate) fn many(count: usize) -> Value {
    let host = "login.microsoftonline.com";
    let (mut account_rows, mut refresh_rows) = (serde_json::Map::new(), serde_json::Map::new());
    for number in 0..count {
        let home = format!("user-{number}.tenant");
        account_rows.insert(
            format!("{home}-{host}-tenant"),
            json!({
                "home_account_id": home, "environment": host, "realm": "tenant", "local_account_id": format!("user-{number}"),
                "username": format!("user-{number}@contoso.test"), "authority_type": "MSSTS",
            }),
        );
        refresh_rows.insert(
            format!("{home}-{host}-refreshtoken-client--"),
            json!({
                "home_account_id": home, "environment": host, "credential_type": "RefreshToken", "client_id": "client",
                "secret": format!("canary-refresh-{number}"), "target": "s", "last_modification_time": "1700000000",
            }),
        );
    }
    json!({ "AccessToken": {}, "IdToken": {}, "AppMetadata": {}, "Account": account_rows, "RefreshToken": refresh_rows })
}

/// A program whose store has that many accounts.
pub(crate) async fn crowded(count: usize) -> Program {
    let program = Program::new();
    let file = program.path("many.json");
    std::fs::write(&file, many(count).to_string()).unwrap();
    program.json(&["import", file.to_str().unwrap()]).await;
    program
}

/// The refresh tokens of a store, by an export.
pub(crate) async fn refresh_tokens(program: &Program, store: &str, key: &str) -> Vec<String> {
    let exported = at(program, store, Some(key), &["export"])
        .await
        .succeeded()
        .object();
    let rows = exported["RefreshToken"].as_object().cloned().unwrap_or_default();
    let mut tokens: Vec<_> = rows
        .values()
        .map(|row| row["secret"].as_str().unwrap().to_owned())
        .collect();
    tokens.sort();
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_goes_to_redis_under_another_key_and_comes_back() {
    let authority = strict_authority().await;
    let server = RedisServer::start().await.unwrap();
    let program = Program::of_fake(&authority);
    program.json(&SIGN_IN).await;
    let before = program.json(&TOKEN).await;
    let (own, own_key) = (sqlite(&program, "cache.db"), key(&program, "key"));
    let (url, other_key) = (server.url(), key(&program, "other-key"));

    let there = ["migrate", "--to", &url, "--to-key", &other_key];
    let plan = program.json(&[&there[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        (&plan["would_move"], &plan["records"]),
        (&json!(1), &json!({ "user": 1 }))
    );
    assert!(!program.path("other-key").exists(), "a dry run makes nothing");
    at(&program, &url, Some(&other_key), &["inspect"]).await.object()["error"]["kind"]
        .as_str()
        .filter(|kind| *kind == "store_missing")
        .unwrap();

    let said = program.run(&there).await.succeeded();
    assert_eq!(said.stdout, "");
    assert!(
        said.stderr.contains("moved 1 record from ")
            && said.stderr.contains("was read back")
            && said.stderr.contains("is empty now: programs that still use it"),
        "{}",
        said.stderr
    );
    assert_eq!(
        (
            accounts(&program, &own, &own_key).await,
            accounts(&program, &url, &other_key).await
        ),
        (0, 1)
    );
    let requests = authority.requests().len();
    let found = at(&program, &url, Some(&other_key), &TOKEN)
        .await
        .succeeded()
        .object();
    assert_eq!(found["access_token"], before["access_token"]);
    assert_eq!(
        authority.requests().len(),
        requests,
        "it was served from the store"
    );
    at(&program, &url, Some(&other_key), &REFRESH).await.succeeded();

    let again = program.json(&there).await;
    assert_eq!((&again["moved"], &again["complete"]), (&json!(0), &json!(true)));

    let back = ["migrate", "--from", &url, "--from-key", &other_key, "--to", &own];
    let report = program.json(&back).await;
    assert_eq!(
        (&report["moved"], &report["complete"]),
        (&json!(1), &json!(true)),
        "{report}"
    );
    program.json(&REFRESH).await;
    assert_eq!(authority.families_revoked(), 0);
    let inspected = at(&program, &url, Some(&other_key), &["inspect"])
        .await
        .succeeded()
        .object();
    let kinds: Vec<_> = inspected["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["kind"])
        .collect();
    assert_eq!(kinds, ["keyring"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_by_two_names_and_memory_are_refused() {
    let server = RedisServer::start().await.unwrap();
    let program = crowded(1).await;
    let own = sqlite(&program, "cache.db");
    let link = program.path("link.db");
    std::os::unix::fs::symlink(program.path("cache.db"), &link).unwrap();
    let hard = program.path("hard.db");
    std::fs::hard_link(program.path("cache.db"), &hard).unwrap();
    let dotted = format!("sqlite:{}/./cache.db", program.folder().display());
    for to in [
        own.clone(),
        dotted,
        format!("sqlite:{}", link.display()),
        format!("sqlite:{}", hard.display()),
    ] {
        let error = program.failing(&["migrate", "--to", &to], 2).await;
        assert!(
            error["message"].as_str().unwrap().contains("same place"),
            "{error}"
        );
    }
    // The store itself refuses a file of two names from here on.
    std::fs::remove_file(&hard).unwrap();
    for words in [["--to", "memory:"], ["--from", "memory:"]] {
        let error = program
            .failing(&[&["migrate", "--to", "keychain"][..], &words].concat(), 2)
            .await;
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let error = program.failing(&["migrate", "--to", "memory:"], 2).await;
    assert!(error["message"].as_str().unwrap().contains("memory"), "{error}");
    let with_password = server.url().replace("redis://", "redis://u:canary@");
    let error = program.failing(&["migrate", "--to", &with_password], 2).await;
    assert!(
        error["message"].as_str().unwrap().contains("command line") && !error.to_string().contains("canary")
    );

    // By names that do not tell: the store itself does.
    let url = server.url();
    program.json(&["migrate", "--to", &url]).await;
    let port = url.rsplit_once(':').unwrap().1.trim_end_matches('/').to_owned();
    let alias = format!("redis://127.1.2.3:{port}");
    let from = ["migrate", "--from", &url, "--to"];
    let spelled = format!("{}/0", url.trim_end_matches('/'));
    let error = program.failing(&[&from[..], &[&spelled]].concat(), 2).await;
    assert!(error["message"].as_str().unwrap().contains("same"), "{error}");
    let ran = program.run(&[&["--json"], &from[..], &[&alias]].concat()).await;
    // A server that listens at one address only has no such second name.
    if ran.exit != Some(4) {
        assert_eq!(ran.exit, Some(2), "{ran:?}");
        assert!(ran.stdout.contains("same store"), "{ran:?}");
    }
    assert_eq!(accounts(&program, &url, &key(&program, "key")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sign_ins_in_the_target_stay_and_the_exit_code_says_so() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program.json(&SIGN_IN).await;
    let (other, own_key) = (sqlite(&program, "other.db"), key(&program, "key"));
    at(&program, &other, Some(&own_key), &SIGN_IN).await.succeeded();
    let ran = program.run(&["--json", "migrate", "--to", &other]).await;
    assert_eq!(ran.exit, Some(4), "{ran:?}");
    let object = ran.object();
    assert_eq!(object["error"]["kind"], "incomplete");
    assert_eq!(
        object["migration"]["conflicts"].as_array().unwrap().len(),
        1,
        "{object}"
    );
    program.json(&REFRESH).await;
    at(&program, &other, Some(&own_key), &REFRESH).await.succeeded();

    at(&program, &other, Some(&own_key), &["logout"])
        .await
        .succeeded();
    let report = program.json(&["migrate", "--to", &other]).await;
    assert_eq!(report["moved"], 1);
    at(&program, &other, Some(&own_key), &REFRESH).await.succeeded();
    assert_eq!(authority.families_revoked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_goes_into_a_file_of_msal_programs_and_back() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program.json(&SIGN_IN).await;
    let file = format!("msal-file:{}", program.path("msal.json").display());
    let error = program.failing(&["migrate", "--to", &file], 2).await;
    assert!(
        error["next"].as_str().unwrap().contains("--allow-plaintext"),
        "{error}"
    );
    assert!(!program.path("msal.json").exists());
    let plan = program.json(&["migrate", "--to", &file, "--dry-run"]).await;
    assert_eq!(plan["would_move"], 1);
    assert!(!program.path("msal.json").exists());
    let error = program
        .failing(&["migrate", "--to", &file, "--to-key", "passphrase"], 2)
        .await;
    assert!(error["message"].as_str().unwrap().contains("--to-key"), "{error}");

    let report = program
        .json(&["migrate", "--to", &file, "--allow-plaintext"])
        .await;
    assert_eq!(
        (&report["moved"], &report["complete"]),
        (&json!(1), &json!(true)),
        "{report}"
    );
    let text = std::fs::read_to_string(program.path("msal.json")).unwrap();
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows["RefreshToken"].as_object().unwrap().len(), 1);
    let own = sqlite(&program, "cache.db");
    assert_eq!(accounts(&program, &own, &key(&program, "key")).await, 0);
    let mut shared = Program::of_fake(&authority);
    shared.without("--key");
    shared.options(&["--store", &file]);
    shared.json(&REFRESH).await;

    // Into another file, and from there home.
    let second = format!("msal-file:{}", program.path("second.json").display());
    let plan = program
        .run(&["--json", "migrate", "--from", &file, "--to", &second, "--dry-run"])
        .await
        .succeeded();
    assert!(
        plan.stderr
            .contains("signs users out of the other programs that keep their sign-in in msal-file:"),
        "{}",
        plan.stderr
    );
    let report = program.json(&["migrate", "--from", &file, "--to", &second]).await;
    assert_eq!(
        (&report["moved"], &report["complete"]),
        (&json!(1), &json!(true)),
        "{report}"
    );
    let report = program.json(&["migrate", "--from", &second, "--to", &own]).await;
    assert_eq!(
        (&report["moved"], &report["complete"]),
        (&json!(1), &json!(true)),
        "{report}"
    );
    program.json(&REFRESH).await;
    assert_eq!(authority.families_revoked(), 0);
    for name in ["msal.json", "second.json"] {
        let left = std::fs::read_to_string(program.path(name)).unwrap_or_default();
        let left: Value = serde_json::from_str(&left).unwrap_or_default();
        let rows = left["RefreshToken"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(rows, 0, "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_cannot_keep_is_named_before_anything_moves() {
    let authority = strict_authority().await;
    let (program, _) = middle_tier(&authority).await;
    let words = [
        "login",
        "on-behalf-of",
        "--scope",
        "Mail.Read",
        "--assertion-env",
        "ASSERTION",
    ];
    program.run(&words).await.succeeded();
    let file = format!("msal-file:{}", program.path("msal.json").display());
    let migrate = ["--json", "migrate", "--to", &file, "--allow-plaintext"];
    let ran = program.run(&migrate).await;
    assert_eq!(ran.exit, Some(4), "{ran:?}");
    let object = ran.object();
    assert_eq!(object["error"]["kind"], "not_kept");
    assert!(
        object["error"]["next"]
            .as_str()
            .unwrap()
            .contains("--leave-behind"),
        "{object}"
    );
    let mut kinds: Vec<_> = object["not_kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kept| kept["kind"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["session", "user"],
        "the account would leave its session alone"
    );
    let before = program.json(&["inspect"]).await;

    let ran = program
        .run(&[&migrate[..], &["--leave-behind"]].concat())
        .await
        .succeeded();
    assert_eq!(ran.object()["left"].as_array().unwrap().len(), 2, "{ran:?}");
    assert_eq!(program.json(&["inspect"]).await["records"], before["records"]);
    let token = ["token", "--scope", "Mail.Read", "--assertion-env", "ASSERTION"];
    assert_eq!(program.json(&token).await["metadata"]["source"], "store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_warns_and_leaves_refresh_tokens_out() {
    let program = crowded(3).await;
    let (own, copy, own_key) = (
        sqlite(&program, "cache.db"),
        sqlite(&program, "copy.db"),
        key(&program, "key"),
    );
    let copied = program
        .run(&["migrate", "--to", &copy, "--copy"])
        .await
        .succeeded();
    assert!(
        copied
            .stderr
            .contains("takes a token that is used from two places for stolen"),
        "{}",
        copied.stderr
    );
    assert!(
        copied.stderr.contains("is as it was") && !copied.stderr.contains("is empty"),
        "{}",
        copied.stderr
    );
    assert_eq!(accounts(&program, &copy, &own_key).await, 3);
    assert_eq!(
        refresh_tokens(&program, &copy, &own_key).await,
        Vec::<String>::new()
    );
    let kept = refresh_tokens(&program, &own, &own_key).await;
    assert_eq!(kept.len(), 3);
    let error = program
        .failing(&["migrate", "--to", &copy, "--copy-refresh-tokens"], 2)
        .await;
    assert!(error["message"].as_str().unwrap().contains("--copy"), "{error}");
    let whole = sqlite(&program, "whole.db");
    let copied = program
        .run(&["migrate", "--to", &whole, "--copy", "--copy-refresh-tokens"])
        .await
        .succeeded();
    assert!(
        copied.stderr.contains("refresh tokens too") && !copied.stderr.contains("left out"),
        "{}",
        copied.stderr
    );
    assert_eq!(refresh_tokens(&program, &whole, &own_key).await, kept);
}
