//! Who is signed in, and tokens that a resource wants with claims.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_testkit::authority::{ALICE, Endpoint, Grant, HOME_TENANT, Script, ScriptedError};

use crate::program::{Program, strict_authority};

const SIGN_IN: [&str; 4] = ["login", "device-code", "--scope", "User.Read"];
const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn whoami_names_the_user_from_the_cache_alone() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    let nobody = program.failing(&["whoami"], 3).await;
    assert_eq!(nobody["kind"], "interaction_required");

    program.run(&SIGN_IN).await.succeeded();
    let asked = authority.requests().len();
    let object = program.json(&["whoami"]).await;
    let account = &object["accounts"][0];
    assert_eq!(account["username"], ALICE);
    assert_eq!(account["tenant_profiles"][0]["tenant_id"], HOME_TENANT);
    assert_eq!(account["tenant_profiles"][0]["is_home_tenant"], true);
    assert_eq!(
        account["subjects"][0]["issuer"],
        format!("{}/v2.0", authority.authority_url(HOME_TENANT))
    );
    let subject = account["subjects"][0]["subject"].as_str().unwrap();

    let ran = program.run(&["whoami", "--account", ALICE]).await.succeeded();
    assert_eq!(ran.stdout, "");
    for shown in [
        ALICE,
        HOME_TENANT,
        subject,
        account["home_account_id"].as_str().unwrap(),
    ] {
        assert!(ran.stderr.contains(shown), "{shown}: {}", ran.stderr);
    }
    assert_eq!(authority.requests().len(), asked, "nobody was asked");
    let error = program
        .failing(&["whoami", "--account", "bob@contoso.test"], 3)
        .await;
    assert_eq!(error["kind"], "interaction_required");
    let other = ["whoami", "--client-id", "99999999-9999-9999-9999-999999999999"];
    assert_eq!(program.failing(&other, 3).await["kind"], "interaction_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_claims_is_asked_for_and_not_cached_ones_shown() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program.run(&SIGN_IN).await.succeeded();
    let file = program.path("claims.json");
    std::fs::write(&file, format!("{CLAIMS}\n")).unwrap();
    let at_file = format!("@{}", file.display());
    let encoded = STANDARD.encode(CLAIMS);
    let challenge = format!(r#"Bearer realm="", error="insufficient_claims", claims="{encoded}""#);
    for given in [
        ["--claims", CLAIMS],
        ["--claims", &at_file],
        ["--challenge", &challenge],
    ] {
        let words = [&["token", "--scope", "User.Read"][..], &given].concat();
        let object = program.json(&words).await;
        assert_eq!(
            object["metadata"]["refresh_reason"], "claims challenge",
            "{given:?}"
        );
        let requests = authority.requests();
        let last = requests
            .iter()
            .rposition(|request| request.endpoint == Endpoint::Token)
            .unwrap();
        let form = authority.request_form(last).unwrap();
        assert!(
            form.contains(&("claims".to_owned(), CLAIMS.to_owned())),
            "{given:?}"
        );
    }
    assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 3);
    let refused = r#"Bearer error="invalid_token""#;
    let object = program
        .json(&["token", "--scope", "User.Read", "--challenge", refused])
        .await;
    assert_eq!(object["metadata"]["refresh_reason"], "force refresh");

    authority.script(Script::error(ScriptedError::claims_challenge(CLAIMS)));
    let words = ["token", "--scope", "User.Read", "--claims", "{\"id_token\":{}}"];
    assert_eq!(program.failing(&words, 3).await["kind"], "interaction_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_make_no_sense_are_a_usage_error_and_nothing_is_sent() {
    let authority = strict_authority().await;
    let program = Program::of_fake(&authority);
    program.run(&SIGN_IN).await.succeeded();
    let asked = authority.requests().len();
    for given in [
        &["--claims", "{"][..],
        &["--claims", "[]"],
        &["--claims", ""],
        &["--claims", "@/no/such/file"],
        &["--challenge", "Basic realm=\"x\""],
        &["--challenge", "Bearer realm=\"x"],
        &["--claims", "{}", "--challenge", "Bearer"],
    ] {
        let words = [&["token", "--scope", "User.Read"][..], given].concat();
        assert_eq!(program.failing(&words, 2).await["kind"], "usage", "{given:?}");
    }
    assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 0);
    assert_eq!(authority.requests().len(), asked);
}
