//! Stores in Redis: every command works there, credentials stay out of sight, and errors say what to do.

use cache_testkit::redis::{ClientCertificates, RedisCluster, RedisServer, Sentinels};
use serde_json::Value;

use crate::program::{Program, Ran, bare, strict_authority};

const PASSWORD: &str = "canary-password-7/@:";
const RULES: &str = "~tokenkeep:* &tokenkeep:* +@all";

fn check<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let checks = object["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name)
}

/// Writes a file that only its owner can use.
fn private(program: &Program, name: &str, text: impl AsRef<[u8]>) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = program.path(name);
    std::fs::write(&path, text.as_ref()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_on_redis() {
    let authority = strict_authority().await;
    let server = RedisServer::start().await.unwrap();
    let mut program = Program::of_fake(&authority);
    program.options(&["--store", &server.url()]);
    let scope = ["--scope", "User.Read"];

    program
        .json(&[&["login", "device-code"][..], &scope].concat())
        .await;
    let token = program.json(&[&["token"][..], &scope].concat()).await;
    assert_eq!(token["metadata"]["source"], "store");
    let refreshed = program
        .json(&[&["token", "--force-refresh"][..], &scope].concat())
        .await;
    assert_ne!(refreshed["access_token"], token["access_token"]);
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(program.json(&["whoami"]).await.is_object());

    let first = program.json(&["keys", "list"]).await;
    program.json(&["keys", "rotate"]).await;
    assert_eq!(program.json(&["keys", "reseal"]).await["resealed"], 1);
    let old = first["keys"][0]["id"].as_str().unwrap();
    // Writers may still use it, and the ring that says so is the one in Redis.
    assert_eq!(program.failing(&["keys", "retire", old], 4).await["kind"], "ring");
    let other = format!("file:{}", program.path("other-key").display());
    program.json(&["keys", "rewrap", "--new-key", &other]).await;
    program.options(&["--key", &other]);

    let inspected = program.json(&["inspect"]).await;
    assert_eq!(inspected["store"], server.url().as_str());
    let records = inspected["records"].as_array().unwrap();
    let user = records.iter().find(|record| record["kind"] == "user").unwrap();
    let key = user["key"].as_str().unwrap();
    let moved = program.json(&["quarantine", "--force", key]).await;
    assert!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let aside = moved["quarantined_as"].as_str().unwrap();
    program.json(&["quarantine", "--restore", aside]).await;

    let doctor = program.json(&["doctor"]).await;
    let good = [
        "store connection",
        "server",
        "server memory",
        "durability",
        "store notification",
        "store",
        "key ring",
        "records",
    ];
    for name in good {
        assert_eq!(check(&doctor, name).unwrap()["state"], "ok", "{name}: {doctor}");
    }

    let file = program.path("exported.json");
    let file = file.to_str().unwrap();
    program.run(&["export", file]).await.succeeded();
    let logged_out = program.json(&["logout"]).await;
    assert_eq!(logged_out["removed"], true);
    program.failing(&[&["token"][..], &scope].concat(), 3).await;
    program.json(&["import", file]).await;
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    program.json(&["quarantine", "--all"]).await;
    assert!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_user_of_its_own_are_a_matter_of_options() {
    let authority = strict_authority().await;
    let server = RedisServer::builder()
        .tls(ClientCertificates::Required)
        .acl_user("tokenkeep", PASSWORD, RULES)
        .start()
        .await
        .unwrap();
    let mut program = Program::of_fake(&authority);
    let url = server.url().replacen("://", "://tokenkeep@", 1);
    let authorities = program.path("redis-ca.pem");
    std::fs::write(&authorities, server.ca_pem().unwrap()).unwrap();
    let identity = server.client_certificate().unwrap();
    let certificate = program.path("redis-client.pem");
    std::fs::write(&certificate, &identity.certificate_pem).unwrap();
    let key = private(&program, "redis-client.key", &identity.key_pem);
    let password = private(&program, "redis-password", format!("{PASSWORD}\n"));
    program.options(&["--store", &url]);
    let login = ["login", "device-code", "--scope", "User.Read"];

    let error = program.failing(&login, 2).await;
    let next = error["next"].as_str().unwrap();
    assert!(
        next.contains("TOKENKEEP_REDIS_PASSWORD"),
        "a user without a password: {error}"
    );
    program.options(&["--redis-password-file", &password]);
    let error = program.failing(&login, 4).await;
    assert!(
        error["next"].as_str().unwrap().contains("--redis-ca-cert"),
        "{error}"
    );
    program.options(&["--redis-ca-cert", authorities.to_str().unwrap()]);
    program.options(&["--redis-client-cert", certificate.to_str().unwrap()]);
    let error = program.failing(&login, 2).await;
    assert!(error["message"].as_str().unwrap().contains("--redis-client-key"));
    program.options(&["--redis-client-key", &key]);
    program.json(&login).await;

    // The whole of it from the environment; the prefix too, and then it is another store.
    let mut elsewhere = Program::of_fake(&authority);
    elsewhere.options.drain(..4);
    elsewhere.set(
        "TOKENKEEP_KEY",
        &format!("file:{}", program.path("key").display()),
    );
    elsewhere.set("TOKENKEEP_STORE", &url);
    elsewhere.set("TOKENKEEP_REDIS_PASSWORD", PASSWORD);
    elsewhere.set("TOKENKEEP_REDIS_CA_CERT", authorities.to_str().unwrap());
    elsewhere.set("TOKENKEEP_REDIS_CLIENT_CERT", certificate.to_str().unwrap());
    elsewhere.set("TOKENKEEP_REDIS_CLIENT_KEY", &key);
    assert_eq!(
        elsewhere.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    elsewhere.set("TOKENKEEP_REDIS_KEY_PREFIX", "tokenkeep:other:");
    assert!(
        elsewhere.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let doctor = program.run(&["--json", "doctor"]).await.succeeded();
    assert!(
        check(&doctor.object(), "store connection").unwrap()["detail"]
            .as_str()
            .unwrap()
            .contains("TLS")
    );
    hides_the_password(&doctor);
}

fn hides_the_password(ran: &Ran) {
    assert!(
        !ran.stdout.contains("canary") && !ran.stderr.contains("canary"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_never_an_argument_and_never_shown() {
    let server = RedisServer::builder()
        .acl_user("tokenkeep", PASSWORD, RULES)
        .start()
        .await
        .unwrap();
    let url = server
        .url()
        .replacen("://", "://tokenkeep:canary-password-7%2F%40%3A@", 1);
    let mut program = Program::new();
    for words in [["--store", &url, "accounts"], ["accounts", "--store", &url]] {
        let mut command = bare();
        command.arg("--json").args(words);
        let ran = Ran::of(command).await;
        assert_eq!(ran.exit, Some(2), "{ran:?}");
        hides_the_password(&ran);
        let message = ran.object()["error"]["message"].clone();
        assert!(
            message.as_str().unwrap().contains("TOKENKEEP_REDIS_PASSWORD"),
            "{message}"
        );
    }
    // The environment is this user's alone.
    program.options.drain(..2);
    program.set("TOKENKEEP_STORE", &url);
    program.set("TOKENKEEP_LOG", "trace");
    for words in [&["accounts"][..], &["inspect"], &["doctor"]] {
        let ran = program.run(&[&["--json"][..], words].concat()).await.succeeded();
        hides_the_password(&ran);
    }
    // A password that cannot be understood is not repeated either.
    program.set("TOKENKEEP_STORE", "redis://tokenkeep:canary/x@127.0.0.1");
    let ran = program.run(&["accounts"]).await;
    assert_eq!(ran.exit, Some(2));
    hides_the_password(&ran);
    program.set(
        "TOKENKEEP_STORE",
        &server.url().replacen("://", "://tokenkeep:canary-wrong@", 1),
    );
    let ran = program.run(&["--json", "accounts"]).await;
    assert_eq!(ran.exit, Some(4), "{ran:?}");
    assert_eq!(ran.object()["error"]["kind"], "store_permission_denied");
    hides_the_password(&ran);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_secrets_must_be_private_and_options_must_have_a_use() {
    use std::os::unix::fs::PermissionsExt;
    let mut program = Program::new();
    let error = program
        .failing(&["accounts", "--redis-key-prefix", "x:"], 2)
        .await;
    assert!(
        error["message"].as_str().unwrap().contains("--redis-key-prefix"),
        "{error}"
    );
    program.options(&["--store", "redis://tokenkeep@127.0.0.1:1"]);
    let file = private(&program, "password", "canary");
    program.options(&["--redis-password-file", &file]);
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "store_unavailable");
    assert!(error["next"].as_str().unwrap().contains("127.0.0.1:1"), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = program.failing(&["accounts"], 2).await;
    assert!(error["next"].as_str().unwrap().contains("chmod 600"), "{error}");
    let link = program.path("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    program.options(&["--redis-password-file", link.to_str().unwrap()]);
    let error = program.failing(&["accounts"], 2).await;
    assert!(
        error["message"].as_str().unwrap().contains("symbolic link"),
        "{error}"
    );
    program.options(&["--redis-durability", "replicated:none"]);
    assert_eq!(program.failing(&["accounts"], 2).await["kind"], "usage");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_only_look_make_nothing() {
    let server = RedisServer::start().await.unwrap();
    let mut program = Program::new();
    program.options(&["--store", &server.url()]);
    for words in [
        &["inspect"][..],
        &["keys", "list"],
        &["watch"],
        &["quarantine", "--all"],
        &["export"],
    ] {
        let ran = program.run(&[&["--json"][..], words].concat()).await;
        if words[0] == "export" {
            continue;
        }
        assert_eq!(ran.exit, Some(4), "{words:?} {ran:?}");
        assert_eq!(ran.object()["error"]["kind"], "store_missing", "{words:?}");
    }
    let doctor = program.json(&["doctor"]).await;
    assert_eq!(check(&doctor, "store").unwrap()["state"], "warning");
    assert!(!program.path("key").exists());
    assert_eq!(server.command(&["DBSIZE"]).await.unwrap().trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_has_a_kind_and_a_way_on() {
    let mut server = RedisServer::start().await.unwrap();
    let replica = RedisServer::builder().replica_of(&server).start().await.unwrap();
    let mut program = Program::new();
    program.options(&["--store", &replica.url()]);
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "store_read_only", "{error}");
    assert!(error["next"].as_str().unwrap().contains("primary"), "{error}");

    program.options(&["--store", &server.url()]);
    server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "store_full", "{error}");
    assert!(error["next"].is_string(), "{error}");
    server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    program.json(&["accounts"]).await;
    server.kill();
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "store_unavailable", "{error}");
    let doctor = program.run(&["--json", "doctor"]).await;
    assert_eq!(doctor.exit, Some(4));
    assert_eq!(check(&doctor.object(), "store").unwrap()["state"], "problem");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_clusters_are_a_matter_of_the_url() {
    let authority = strict_authority().await;
    let (sentinels, cluster) = tokio::join!(Sentinels::start(1, 3), RedisCluster::start(3, 0));
    let (sentinels, cluster) = (sentinels.unwrap(), cluster.unwrap());
    for (url, arrangement) in [(sentinels.url(), "Sentinels"), (cluster.url(), "Cluster")] {
        let mut program = Program::of_fake(&authority);
        program.options(&["--store", &url]);
        program
            .json(&["login", "device-code", "--scope", "User.Read"])
            .await;
        let token = program.json(&["token", "--scope", "User.Read"]).await;
        assert_eq!(token["metadata"]["source"], "store");
        let doctor = program.run(&["--json", "doctor"]).await.succeeded().object();
        let server = check(&doctor, "server").unwrap();
        assert!(
            server["detail"].as_str().unwrap().contains(arrangement),
            "{server}"
        );
        program.json(&["logout"]).await;
    }
    // As many replicas as there are, and more.
    let mut program = Program::of_fake(&authority);
    program.options(&["--redis-key-prefix", "another:"]);
    program.options(&[
        "--store",
        &sentinels.url(),
        "--redis-durability",
        "replicated:1:5",
    ]);
    program
        .json(&["login", "device-code", "--scope", "User.Read"])
        .await;
    let doctor = program.json(&["doctor"]).await;
    assert_eq!(check(&doctor, "durability").unwrap()["state"], "ok");
    program.options(&["--redis-durability", "replicated:2:0.2"]);
    let doctor = program.run(&["--json", "doctor"]).await;
    assert_eq!(check(&doctor.object(), "durability").unwrap()["state"], "problem");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_warns_of_a_server_that_may_forget() {
    let server = RedisServer::builder()
        .directive("maxmemory", "64mb")
        .directive("maxmemory-policy", "allkeys-lru")
        .start()
        .await
        .unwrap();
    let mut program = Program::new();
    program.options(&["--store", &server.url()]);
    program.json(&["accounts"]).await;
    let ran = program.run(&["--json", "doctor"]).await.succeeded();
    for (name, word) in [("server memory", "noeviction"), ("server log", "appendonly")] {
        let found = check(&ran.object(), name).unwrap().clone();
        assert_eq!(found["state"], "warning", "{found}");
        assert!(found["detail"].as_str().unwrap().contains(word), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_have_a_login_of_their_own() {
    let authority = strict_authority().await;
    let sentinels = Sentinels::start(0, 1).await.unwrap();
    sentinels.require_password("canary-sentinel").await.unwrap();
    let mut program = Program::of_fake(&authority);
    program.options(&["--store", &sentinels.url()]);
    let login = ["login", "device-code", "--scope", "User.Read"];
    let error = program.failing(&login, 4).await;
    assert_eq!(error["kind"], "store_permission_denied", "{error}");
    program.set("TOKENKEEP_REDIS_SENTINEL_PASSWORD", "canary-sentinel");
    let ran = program.run(&[&["--json"][..], &login].concat()).await.succeeded();
    hides_the_password(&ran);
    program.set("TOKENKEEP_REDIS_SENTINEL_PASSWORD", "");
    let file = private(&program, "sentinel-password", "canary-sentinel\n");
    program.options(&["--redis-sentinel-password-file", &file]);
    program.json(&["accounts"]).await;
    program.options(&["--redis-sentinel-user", "default"]);
    program.json(&["accounts"]).await;
    let file = private(&program, "sentinel-password", "\n");
    let error = program.failing(&["accounts"], 2).await;
    assert!(
        error["message"].as_str().unwrap().contains("is empty"),
        "{error} {file}"
    );
}
