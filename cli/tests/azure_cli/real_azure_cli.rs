//! Sign-ins of the Azure CLI, used and renewed by both.

use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Grant, HOME_TENANT, Lifetimes,
};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::scene::{SCOPE, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_users_sign_in_is_shared_and_renewed_by_both() {
    let scene = Scene::new().await;
    let error = scene.tokenkeep.failing(&["token", "--scope", SCOPE], 3).await;
    assert!(error["next"].as_str().unwrap().contains("az login"), "{error}");

    let signed_in = scene
        .az(&["login", "--use-device-code", "--output", "json"])
        .await;
    signed_in.succeeded();
    let before = scene.requests();
    let found = scene.token(&[]).await;
    assert_eq!(found["metadata"]["source"], "store");
    assert_eq!(found["account"]["username"], "alice@contoso.test");
    assert_eq!(found["tenant"], HOME_TENANT);
    assert_eq!(scene.requests(), before, "a request was made");
    let shown = scene.manager.bearers();
    assert_eq!(found["access_token"], shown.last().unwrap().as_str());

    // What this program renewed, the Azure CLI uses without a request.
    let renewed = scene.token(&["--force-refresh"]).await;
    assert_ne!(renewed["access_token"], found["access_token"]);
    let before = scene.requests();
    assert_eq!(scene.az_token().await, renewed["access_token"]);
    assert_eq!(scene.requests().0, before.0 + discovery_of_az(&scene, before.0));

    // Of 300 seconds, which the Azure CLI takes for expired and this program does not.
    scene
        .authority
        .set_lifetimes(Lifetimes::default().access_token(Duration::from_secs(300)));
    for round in 0..4 {
        let ours = scene.token(&["--force-refresh"]).await;
        assert_eq!(ours["metadata"]["source"], "authority", "round {round}");
        let theirs = scene.az_token().await;
        assert_ne!(ours["access_token"], theirs, "the Azure CLI had to refresh");
        let found = scene.token(&[]).await;
        assert_eq!(found["access_token"], theirs, "round {round}");
        assert_eq!(found["metadata"]["source"], "store");
    }
    assert_eq!(scene.authority.families_revoked(), 0);
    assert_eq!(scene.authority.grant_count(Grant::DeviceCode).issued, 1);

    let signed_out = scene.tokenkeep.json(&["logout"]).await;
    assert_eq!(signed_out["removed"], true);
    let refused = scene.az(&["account", "get-access-token"]).await;
    assert_ne!(refused.exit, Some(0));
    assert!(refused.stderr.contains("az login"), "{refused:?}");
    scene.tokenkeep.failing(&["token", "--scope", SCOPE], 3).await;
}

/// Requests of the Azure CLI for metadata, which it may not have kept.
fn discovery_of_az(scene: &Scene, before: usize) -> usize {
    let requests = scene.authority.requests();
    let is_token = |request: &&cache_testkit::authority::RecordedRequest| {
        request.endpoint == cache_testkit::authority::Endpoint::Token
    };
    let new = &requests[before..];
    assert_eq!(new.iter().filter(is_token).count(), 0, "a token was asked for");
    new.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_principals_sign_in_is_shared_and_renewed_by_both() {
    let scene = Scene::new().await;
    let login = [
        "login",
        "--service-principal",
        "--username",
        CONFIDENTIAL_CLIENT,
        "--password",
        CONFIDENTIAL_SECRET,
        "--tenant",
        HOME_TENANT,
    ];
    scene.az(&login).await.succeeded();
    let before = scene.requests();
    let found = scene.token(&[]).await;
    assert_eq!(found["metadata"]["source"], "store");
    assert!(found["account"].is_null());
    assert_eq!(scene.requests(), before, "a request was made");
    assert_eq!(found["access_token"], scene.az_token().await);

    for _ in 0..3 {
        let ours = scene.token(&["--force-refresh"]).await;
        assert_eq!(ours["metadata"]["source"], "authority");
        assert_eq!(scene.az_token().await, ours["access_token"]);
    }
    scene
        .authority
        .set_lifetimes(Lifetimes::default().access_token(Duration::from_secs(300)));
    let ours = scene.token(&["--force-refresh"]).await;
    // Rows say the second they are of: of two tokens of one second, neither is the later.
    SystemClock.sleep(Duration::from_millis(1100)).await;
    let theirs = scene.az_token().await;
    assert_ne!(ours["access_token"], theirs, "the Azure CLI had to ask");
    assert_eq!(scene.token(&[]).await["access_token"], theirs);

    let refused = scene.tokenkeep.failing(&["logout"], 2).await;
    assert!(
        refused["next"].as_str().unwrap().contains("az logout"),
        "{refused}"
    );
    scene.az(&["logout"]).await.succeeded();
    scene.tokenkeep.failing(&["token", "--scope", SCOPE], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_principals_certificate_is_used_by_both() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let app =
        Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET).assertion_key(&key.public_key_pem());
    let scene = Scene::with(|config| config.client(app)).await;
    let file = scene.tokenkeep.path("app.pem");
    std::fs::write(&file, format!("{}{}", key.serialize_pem(), certificate.pem())).unwrap();
    let login = [
        "login",
        "--service-principal",
        "--username",
        CONFIDENTIAL_CLIENT,
        "--certificate",
        file.to_str().unwrap(),
        "--tenant",
        HOME_TENANT,
    ];
    scene.az(&login).await.succeeded();
    let before = scene.requests();
    let found = scene.token(&[]).await;
    assert_eq!(found["metadata"]["source"], "store");
    assert_eq!(scene.requests(), before, "a request was made");
    let ours = scene.token(&["--force-refresh"]).await;
    assert_eq!(ours["metadata"]["source"], "authority");
    assert_eq!(scene.az_token().await, ours["access_token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_and_a_report_tell_what_the_azure_cli_keeps() {
    let scene = Scene::new().await;
    scene.az(&["login", "--use-device-code"]).await.succeeded();
    let accounts = scene.tokenkeep.json(&["accounts"]).await;
    assert_eq!(accounts["accounts"][0]["username"], "alice@contoso.test");
    let export = scene.tokenkeep.json(&["export"]).await;
    assert!(!export["RefreshToken"].as_object().unwrap().is_empty());
    let report = scene.tokenkeep.json(&["doctor"]).await;
    let text = report.to_string();
    for word in ["Loop", "alice@contoso.test", "not encrypted", HOME_TENANT] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
