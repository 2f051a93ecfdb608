//! The program on a platform that gives it an identity.

use std::sync::Arc;
use std::time::Duration;

use cache_core::time::SystemClock;
use cache_testkit::managed_identity::{CLIENT_ID, Failure, ManagedIdentityEndpoint, Platform, SECRET};

use crate::program::{Program, wait_until_expired};

const SCOPE: [&str; 2] = ["--scope", "https://vault.azure.net/.default"];

struct Place {
    endpoint: ManagedIdentityEndpoint,
    program: Program,
}

impl Place {
    async fn new(platform: Platform) -> Self {
        let endpoint = ManagedIdentityEndpoint::start(platform, Arc::new(SystemClock))
            .await
            .unwrap();
        let mut program = Program::new();
        for (name, value) in endpoint.variables() {
            program.set(name, &value);
        }
        Self { endpoint, program }
    }
}

fn with_scope<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().chain(SCOPE).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_in_once_a_managed_identity_has_tokens_silently() {
    for platform in [
        Platform::AppService,
        Platform::Imds,
        Platform::ServiceFabric,
        Platform::CloudShell,
    ] {
        let Place { endpoint, program } = Place::new(platform).await;
        let ran = program
            .run(&with_scope(&["login", "managed-identity"]))
            .await
            .succeeded();
        assert_eq!(ran.stdout, "", "a sign-in prints no token");
        assert!(
            ran.stderr.contains("Signed in as the managed identity"),
            "{}",
            ran.stderr
        );

        let token = with_scope(&["token", "--managed-identity"]);
        let plain = program.run(&token).await.succeeded();
        assert_eq!(plain.stdout, "canary-token-1-system\n");
        let object = program.json(&token).await;
        assert_eq!(object["metadata"]["source"], "store");
        assert!(object["account"].is_null());
        assert_eq!(endpoint.requests().len(), 1);

        let forced = program
            .json(&with_scope(&["token", "--managed-identity", "--force-refresh"]))
            .await;
        assert_eq!(forced["access_token"], "canary-token-2-system");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_of_a_managed_identity_is_replaced() {
    let Place { endpoint, program } = Place::new(Platform::AppService).await;
    endpoint.set_lifetime(Duration::from_secs(2));
    let token = with_scope(&["token", "--managed-identity"]);
    let first = program.json(&token).await;
    assert_eq!(first["metadata"]["refresh_reason"], "no cached token");
    endpoint.set_lifetime(Duration::from_secs(3600));
    wait_until_expired(&first["expires_on"]).await;
    let second = program.json(&token).await;
    assert_eq!(second["access_token"], "canary-token-2-system");
    assert_eq!(second["metadata"]["refresh_reason"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_assigned_identity_is_named() {
    let Place { endpoint, program } = Place::new(Platform::AppService).await;
    let named = with_scope(&["token", "--identity-client-id", CLIENT_ID]);
    assert_eq!(program.json(&named).await["access_token"], "canary-token-1-user");
    assert_eq!(endpoint.requests()[0].parameter("client_id"), Some(CLIENT_ID));

    let two = with_scope(&[
        "login",
        "managed-identity",
        "--identity-client-id",
        "a",
        "--identity-object-id",
        "b",
    ]);
    assert_eq!(program.failing(&two, 2).await["kind"], "usage");
    let and_account = with_scope(&["token", "--managed-identity", "--account", "alice"]);
    assert_eq!(program.failing(&and_account, 2).await["kind"], "usage");
    let and_account = with_scope(&["token", "--identity-client-id", "a", "--account", "alice"]);
    assert_eq!(program.failing(&and_account, 2).await["kind"], "usage");
    let error = program
        .failing(
            &["token", "--managed-identity", "--scope", "https://a https://b"],
            2,
        )
        .await;
    assert!(
        error["message"].as_str().unwrap().contains("one resource"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_exit_code_5_and_shows_no_secret() {
    let Place { endpoint, program } = Place::new(Platform::AppService).await;
    endpoint.fail_next(Failure::Status(403));
    let ran = program
        .run(&with_scope(&["--json", "token", "--managed-identity"]))
        .await;
    assert_eq!(ran.exit, Some(5), "{ran:?}");
    assert_eq!(ran.object()["error"]["kind"], "refused");
    endpoint.fail_next(Failure::Close);
    let error = program
        .failing(&with_scope(&["token", "--managed-identity"]), 5)
        .await;
    assert!(
        error["next"].as_str().unwrap().contains("managed identity"),
        "{error}"
    );
    assert!(
        !ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET),
        "{ran:?}"
    );
}
