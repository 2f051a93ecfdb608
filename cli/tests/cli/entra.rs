//! A user's way through the program, at an authority like Entra's.

use cache_testkit::authority::{
    BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, Grant, HOME_TENANT, Lifetimes,
    Rotation,
};
use std::time::Duration;

use crate::program::{Program, strict_authority, wait_until_expired};

const SIGN_IN: [&str; 4] = ["login", "device-code", "--scope", "User.Read"];
const TOKEN: [&str; 3] = ["token", "--scope", "User.Read"];

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_then_tokens_silently_then_sign_out() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);

    let ran = program.run(&SIGN_IN).await.succeeded();
    assert_eq!(ran.stdout, "", "a sign-in prints no token");
    assert!(
        ran.stderr.contains("/devicelogin and enter the code "),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("Signed in as alice@contoso.test"),
        "{}",
        ran.stderr
    );

    let plain = program.run(&TOKEN).await.succeeded();
    assert_eq!(plain.stderr, "");
    let token = plain.stdout.strip_suffix('\n').unwrap();
    assert!(authority.is_access_token_active(token));

    let object = program.json(&TOKEN).await;
    assert_eq!(object["access_token"], token);
    assert_eq!(object["metadata"]["source"], "store");
    assert_eq!(object["tenant"], HOME_TENANT);
    assert_eq!(object["account"]["username"], "alice@contoso.test");

    let accounts = program.json(&["accounts"]).await;
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 1);
    assert_eq!(
        accounts["accounts"][0]["home_account_id"],
        object["account"]["home_account_id"]
    );
    assert!(accounts["accounts"][0].get("access_token").is_none());

    let signed_out = program.json(&["logout", "--account", "ALICE@contoso.test"]).await;
    assert_eq!(signed_out["removed"], true);
    assert_eq!(program.failing(&TOKEN, 3).await["kind"], "interaction_required");
    assert_eq!(
        program.failing(&["logout"], 3).await["kind"],
        "interaction_required"
    );
    assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refreshed_and_a_forced_one_too() {
    let authority = strict_authority().await;
    authority.set_lifetimes(
        Lifetimes::default()
            .access_token(Duration::from_secs(1))
            .extended(None),
    );
    let program = Program::of_fake(&authority);
    let signed_in = program.json(&SIGN_IN).await;
    authority.set_lifetimes(Lifetimes::default());
    wait_until_expired(&signed_in["expires_on"]).await;

    let refreshed = program.json(&TOKEN).await;
    assert_eq!(refreshed["metadata"]["source"], "authority");
    assert_eq!(refreshed["metadata"]["refresh_reason"], "expired");
    let mut forced = TOKEN.to_vec();
    forced.push("--force-refresh");
    let forced = program.json(&forced).await;
    assert_ne!(forced["access_token"], refreshed["access_token"]);
    assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 2);
    assert_eq!(authority.families_revoked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_one_must_be_named() {
    let authority = FakeAuthority::start(Config::default().rotation(Rotation::Strict))
        .await
        .unwrap();
    let program = Program::of_fake(&authority);
    for user in ["alice@contoso.test", BOB] {
        let mut child = program.start(&SIGN_IN);
        let code = crate::program::shown_code(&mut child).await;
        authority.approve_device(&code, user).unwrap();
        assert!(child.wait_with_output().await.unwrap().status.success());
    }
    let error = program.failing(&TOKEN, 2).await;
    assert_eq!(error["kind"], "usage");
    assert!(
        error["next"].as_str().unwrap().contains("11111111-0000"),
        "{error}"
    );

    let mut named = TOKEN.to_vec();
    named.extend(["--account", BOB]);
    assert_eq!(program.json(&named).await["account"]["username"], BOB);
    named[4] = "nobody@contoso.test";
    assert_eq!(program.failing(&named, 3).await["kind"], "interaction_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_gets_its_own_token() {
    let authority = strict_authority().await;
    let mut program = Program::of_fake(&authority);
    program.options(&[
        "--client-id",
        CONFIDENTIAL_CLIENT,
        "--client-secret-env",
        "THE_SECRET",
    ]);
    let scope = ["--scope", "https://graph.microsoft.com/.default"];

    let mut token = vec!["token"];
    token.extend(scope);
    assert_eq!(
        program.failing(&token, 2).await["kind"],
        "usage",
        "the variable is not set"
    );

    program.set("THE_SECRET", CONFIDENTIAL_SECRET);
    let mut login = vec!["login", "client-credentials"];
    login.extend(scope);
    assert_eq!(program.json(&login).await["metadata"]["source"], "authority");
    let object = program.json(&token).await;
    assert_eq!(object["metadata"]["source"], "store");
    assert!(object["account"].is_null());
    assert!(authority.is_access_token_active(object["access_token"].as_str().unwrap()));
    assert_eq!(authority.grant_count(Grant::ClientCredentials).requests, 1);

    // A sign-in always asks, so that a wrong secret shows.
    assert_eq!(program.json(&login).await["metadata"]["source"], "authority");
    program.set("THE_SECRET", "not the secret");
    assert_eq!(program.failing(&login, 5).await["kind"], "refused");

    let mut wrong = Program::of_fake(&authority);
    wrong.options(&[
        "--client-id",
        CONFIDENTIAL_CLIENT,
        "--client-secret-env",
        "THE_SECRET",
    ]);
    wrong.set("THE_SECRET", "not the secret");
    assert_eq!(wrong.failing(&token, 5).await["kind"], "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_there_is_exit_code_5() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    authority.shutdown().await;
    let error = program.failing(&SIGN_IN, 5).await;
    assert_eq!(error["kind"], "unreachable");
    assert!(error["next"].as_str().unwrap().contains("--ca-cert"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_nobody_is_refused() {
    let authority = strict_authority().await;
    let other = strict_authority().await;
    let mut program = Program::of_fake(&authority);
    let certificate = program.path("other.pem");
    std::fs::write(&certificate, other.ca_pem().unwrap()).unwrap();
    program.options(&["--ca-cert", certificate.to_str().unwrap()]);
    assert_eq!(program.failing(&SIGN_IN, 5).await["kind"], "unreachable");
    assert!(authority.requests().is_empty());
}
