//! A user's way through the program, at a real OpenID provider.

use cache_testkit::oidc_provider::{
    OidcProvider, Options, SERVICE_BASIC_CLIENT_ID, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
};

use crate::program::{OIDC_SCOPES, Program, wait_until_expired};

const TOKEN: [&str; 3] = ["token", "--scope", "api:read"];

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_refresh_with_rotation_and_sign_out() {
    let provider = OidcProvider::start(Options {
        access_token_ttl_seconds: 2,
    })
    .await
    .unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;

    provider.set_access_token_ttl(3600).await.unwrap();
    let first = program.json(&["token", "--scope", OIDC_SCOPES]).await;
    if first["metadata"]["source"] == "store" {
        wait_until_expired(&first["expires_on"]).await;
    }
    let second = program.json(&TOKEN).await;
    let again = program.json(&TOKEN).await;
    assert_eq!(again["metadata"]["source"], "store");
    assert_eq!(again["access_token"], second["access_token"]);
    assert_eq!(again["account"]["username"], "alice@example.test");
    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 1);
    assert_eq!(
        (statistics.refresh_tokens_reused, statistics.grants_revoked),
        (0, 0)
    );

    assert_eq!(program.json(&["logout"]).await["revocation"], "revoked");
    assert_eq!(program.failing(&TOKEN, 3).await["kind"], "interaction_required");
    assert_eq!(provider.statistics().await.unwrap().grants_revoked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_long_is_told_what_for() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;
    let quick = program.run(&TOKEN).await.succeeded();
    assert!(!quick.stderr.contains("waiting"), "{}", quick.stderr);
    provider.set_token_delay(4_000).await.unwrap();
    let slow = [&TOKEN[..], &["--force-refresh"]].concat();
    let slow = program.run(&slow).await.succeeded();
    assert!(
        slow.stderr.contains("waiting for the authority"),
        "{}",
        slow.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_stands_although_the_authority_is_gone_and_asks_nobody_when_told_so() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;
    let quiet = program.json(&["logout", "--no-revoke"]).await;
    assert_eq!(
        (&quiet["removed"], &quiet["revocation"]),
        (&true.into(), &"not_asked".into())
    );
    assert_eq!(provider.statistics().await.unwrap().grants_revoked, 0);

    program.sign_in(&provider).await;
    drop(provider);
    let ran = program.run(&["logout"]).await.succeeded();
    assert!(
        ran.stderr
            .contains("warning: signed out here, but the authority did not revoke"),
        "{}",
        ran.stderr
    );
    assert_eq!(program.failing(&TOKEN, 3).await["kind"], "interaction_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_asks_for_the_user_and_is_not_asked_again() {
    let provider = OidcProvider::start(Options {
        access_token_ttl_seconds: 1,
    })
    .await
    .unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;
    provider.reset().await.unwrap();
    crate::program::pause(2100).await;
    assert_eq!(program.failing(&TOKEN, 3).await["kind"], "interaction_required");
    assert_eq!(program.failing(&TOKEN, 3).await["kind"], "interaction_required");
    let asked = provider.statistics().await.unwrap().refresh_requests();
    assert_eq!(asked, 1, "the refusal is remembered by the next process");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_by_either_method() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    for client in [SERVICE_CLIENT_ID, SERVICE_BASIC_CLIENT_ID] {
        let mut program = Program::new();
        program.options(&["--authority", provider.issuer(), "--client-id", client]);
        program.options(&["--client-secret-env", "THE_SECRET", "--scope", "api:read"]);
        program.set("THE_SECRET", SERVICE_CLIENT_SECRET);
        assert_eq!(
            program.json(&["token"]).await["metadata"]["source"],
            "authority",
            "{client}"
        );
        assert_eq!(
            program.json(&["token"]).await["metadata"]["source"],
            "store",
            "{client}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_the_user_did_not_grant_asks_for_the_user_and_spends_nothing() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;
    let more = ["token", "--scope", "api:write"];
    assert_eq!(program.failing(&more, 3).await["kind"], "interaction_required");
    program
        .json(&["token", "--scope", "api:read", "--force-refresh"])
        .await;
    assert_eq!(provider.statistics().await.unwrap().grants_revoked, 0);
}
