//! A middle tier's way through the program: on behalf of a user, by assertion and in a session.

use cache_testkit::authority::{BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, FakeAuthority, Grant};

use crate::program::{Program, strict_authority};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);
const LOGIN: [&str; 4] = ["login", "on-behalf-of", "--scope", "Mail.Read"];
const TOKEN: [&str; 3] = ["token", "--scope", "Mail.Read"];
const SESSION: &str = "0123456789abcdefghijklmn";

fn with(command: &[&'static str], more: &[&'static str]) -> Vec<&'static str> {
    [command, more].concat()
}

/// The middle tier's program, and a token that alice presents to it in `ASSERTION`.
pub(crate) async fn middle_tier(authority: &FakeAuthority) -> (Program, String) {
    let user = Program::of_fake(authority);
    let scope = format!("api://{CONFIDENTIAL_CLIENT}/access");
    user.run(&["login", "device-code", "--scope", &scope])
        .await
        .succeeded();
    let assertion = user.run(&["token", "--scope", &scope]).await.succeeded().stdout;
    let assertion = assertion.trim().to_owned();
    let mut program = Program::of_fake(authority);
    program.options(&[
        "--client-id",
        CONFIDENTIAL_CLIENT,
        "--client-secret-env",
        "APP_SECRET",
    ]);
    program.set("APP_SECRET", CONFIDENTIAL_SECRET);
    program.set("ASSERTION", &assertion);
    (program, assertion)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_in_a_variable_or_a_file_brings_a_token_that_is_served_again() {
    let authority = strict_authority().await;
    let (program, assertion) = middle_tier(&authority).await;
    let ran = program
        .run(&with(&LOGIN, &["--assertion-env", "ASSERTION"]))
        .await
        .succeeded();
    assert_eq!(ran.stdout, "", "a sign-in prints no token");
    assert!(
        ran.stderr.contains("Signed in on behalf of alice@contoso.test"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains(&assertion));

    // A file ends with a new line, which is no part of the assertion.
    std::fs::write(program.path("assertion"), format!("{assertion}\n")).unwrap();
    let file = program.path("assertion");
    let mut words = TOKEN.to_vec();
    words.extend(["--assertion-file", file.to_str().unwrap()]);
    let served = program.json(&words).await;
    assert_eq!(served["metadata"]["source"], "store");
    assert_eq!(served["account"]["username"], "alice@contoso.test");
    assert_eq!(authority.grant_count(Grant::OnBehalfOf).requests, 1);

    let xml = authority.saml_assertion(BOB, CONFIDENTIAL_CLIENT, HOUR).unwrap();
    std::fs::write(&file, xml).unwrap();
    words.push("--saml");
    let saml = program.json(&words).await;
    assert_eq!(saml["account"]["username"], BOB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_without_the_assertion_until_its_user_signs_out() {
    let authority = strict_authority().await;
    let (program, _) = middle_tier(&authority).await;
    let begin = with(&LOGIN, &["--assertion-env", "ASSERTION", "--session", SESSION]);
    let begun = program.json(&begin).await;
    let home_account_id = begun["account"]["home_account_id"].as_str().unwrap();

    let going_on = with(&TOKEN, &["--session", SESSION]);
    let cached = program.json(&going_on).await;
    assert_ne!(cached["metadata"]["source"], "authority");
    let forced = program.json(&with(&going_on, &["--force-refresh"])).await;
    assert_ne!(forced["access_token"], cached["access_token"]);
    assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 1);
    let other = program
        .failing(&with(&going_on, &["--account", "another.account"]), 2)
        .await;
    assert_eq!(other["kind"], "session");

    let signed_out = program.json(&["logout", "--account", home_account_id]).await;
    assert_eq!(signed_out["removed"], true);
    assert_eq!(
        program.failing(&going_on, 3).await["kind"],
        "interaction_required"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_be_named_by_a_variable() {
    let authority = strict_authority().await;
    let (mut program, _) = middle_tier(&authority).await;
    program.set("SESSION", SESSION);
    let begin = with(
        &LOGIN,
        &["--assertion-env", "ASSERTION", "--session-env", "SESSION"],
    );
    program.json(&begin).await;
    let by_variable = program.json(&with(&TOKEN, &["--session-env", "SESSION"])).await;
    let by_argument = program.json(&with(&TOKEN, &["--session", SESSION])).await;
    assert_eq!(by_variable["access_token"], by_argument["access_token"]);
    assert_eq!(authority.grant_count(Grant::OnBehalfOf).requests, 1);
    for wrong in [
        &["--session-env", SESSION][..],
        &["--session-env", "UNSET_BY_TEST"],
        &["--session", SESSION, "--session-env", "SESSION"],
    ] {
        let ran = program.run(&with(&TOKEN, wrong)).await;
        assert_eq!(ran.exit, Some(2), "{ran:?}");
        assert!(!ran.stderr.contains(SESSION), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn demanded_claims_reach_the_authority_on_behalf_of_a_user_too() {
    let authority = strict_authority().await;
    let (program, _) = middle_tier(&authority).await;
    let token = with(&TOKEN, &["--assertion-env", "ASSERTION"]);
    let first = program.json(&token).await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}"#;
    let demanded = program.json(&with(&token, &["--claims", claims])).await;
    assert_ne!(demanded["access_token"], first["access_token"]);
    let last = authority.requests().len() - 1;
    let sent: Vec<_> = authority
        .request_form(last)
        .unwrap()
        .into_iter()
        .filter(|(name, _)| name == "claims")
        .collect();
    assert!(sent.len() == 1 && sent[0].1.contains("1700000000"), "{sent:?}");

    let refused = r#"Bearer error="invalid_token""#;
    let another = program.json(&with(&token, &["--challenge", refused])).await;
    assert_ne!(another["access_token"], demanded["access_token"]);
    assert_eq!(authority.grant_count(Grant::OnBehalfOf).requests, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_said_without_the_secrets() {
    let authority = strict_authority().await;
    let (program, assertion) = middle_tier(&authority).await;
    let guessable = with(&LOGIN, &["--assertion-env", "ASSERTION", "--session", "job-7"]);
    assert_eq!(program.failing(&guessable, 2).await["kind"], "session");
    for bad in [
        &[][..],
        &["--assertion-env", "UNSET"],
        &["--assertion-file", "/nonexistent"],
    ] {
        program.failing(&with(&LOGIN, bad), 2).await;
    }
    let mut misplaced = LOGIN.to_vec();
    misplaced.extend(["--assertion-env", &assertion]);
    let ran = program.run(&misplaced).await;
    assert_eq!(ran.exit, Some(2));
    assert!(!ran.stderr.contains(&assertion), "{}", ran.stderr);
    assert_eq!(authority.grant_count(Grant::OnBehalfOf).requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_sign_in_again_is_sent_to_the_application_that_calls() {
    let authority = strict_authority().await;
    let (mut program, _) = middle_tier(&authority).await;
    program.set("FORGED", "a.b.c");
    let error = program
        .failing(&with(&LOGIN, &["--assertion-env", "FORGED"]), 3)
        .await;
    let next = error["next"].as_str().unwrap();
    assert!(
        next.contains("login on-behalf-of") && !next.contains("device-code"),
        "{next}"
    );
}
