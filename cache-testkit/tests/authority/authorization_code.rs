use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_testkit::authority::{
    BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT,
};
use sha2::{Digest as _, Sha256};

use crate::client::{Answer, TestClient, parameter, text};
use crate::verify::verified;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const REDIRECT: &str = "http://localhost:4711/callback";

async fn authorize(client: &TestClient, client_id: &str, more: &[(&str, &str)]) -> Answer {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([
        ("client_id", client_id),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", "User.Read openid offline_access"),
        ("state", "state-1"),
        ("nonce", "nonce-1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    query.extend_pairs(more);
    client
        .get(&format!(
            "/{HOME_TENANT}/oauth2/v2.0/authorize?{}",
            query.finish()
        ))
        .await
}

fn redemption<'a>(client_id: &'a str, code: &'a str, verifier: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", client_id),
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", verifier),
        ("client_info", "1"),
    ]
}

async fn code(client: &TestClient, client_id: &str) -> String {
    let (url, parameters) = authorize(client, client_id, &[]).await.redirected();
    assert_eq!(url.port(), Some(4711));
    assert_eq!(parameter(&parameters, "state"), "state-1");
    parameter(&parameters, "code").to_owned()
}

#[tokio::test]
async fn a_code_is_redeemed_with_its_verifier_and_carries_the_nonce() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let code = code(&client, PUBLIC_CLIENT).await;
    let wrong = client
        .token(HOME_TENANT, &redemption(PUBLIC_CLIENT, &code, "wrong"))
        .await;
    assert_eq!(wrong.refused(), ("invalid_grant".to_owned(), 501_481));
    let body = client
        .token(HOME_TENANT, &redemption(PUBLIC_CLIENT, &code, VERIFIER))
        .await
        .granted();
    let claims = verified(&client, &text(&body, "id_token"), PUBLIC_CLIENT).await;
    assert_eq!(claims["nonce"], "nonce-1");
}

#[tokio::test]
async fn a_code_redeemed_twice_withdraws_what_it_brought() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let code = code(&client, PUBLIC_CLIENT).await;
    let form = redemption(PUBLIC_CLIENT, &code, VERIFIER);
    let access_token = client.token(HOME_TENANT, &form).await.field("access_token");
    assert!(authority.is_access_token_active(&access_token));
    assert_eq!(
        client.token(HOME_TENANT, &form).await.refused(),
        ("invalid_grant".to_owned(), 54_005)
    );
    assert!(!authority.is_access_token_active(&access_token));
}

#[tokio::test]
async fn codes_are_bound_to_client_redirect_and_time() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let first = code(&client, CONFIDENTIAL_CLIENT).await;
    let stolen = client
        .token(HOME_TENANT, &redemption(PUBLIC_CLIENT, &first, VERIFIER))
        .await;
    assert_eq!(stolen.refused(), ("invalid_grant".to_owned(), 700_005));

    let mut form = redemption(CONFIDENTIAL_CLIENT, &first, VERIFIER);
    form.push(("client_secret", CONFIDENTIAL_SECRET));
    let mut elsewhere = form.clone();
    elsewhere[3] = ("redirect_uri", "http://localhost:1/callback");
    assert_eq!(client.token(HOME_TENANT, &elsewhere).await.refused().1, 500_112);
    let redeemed = client.token(HOME_TENANT, &form).await.granted();
    assert!(redeemed["refresh_token"].is_string());

    let late = code(&client, PUBLIC_CLIENT).await;
    authority.advance(Duration::from_secs(601));
    assert_eq!(
        client
            .token(HOME_TENANT, &redemption(PUBLIC_CLIENT, &late, VERIFIER))
            .await
            .refused()
            .1,
        70_008
    );
}

#[tokio::test]
async fn prompt_none_depends_on_who_is_signed_in() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let hinted = authorize(&client, PUBLIC_CLIENT, &[("prompt", "none"), ("login_hint", BOB)]).await;
    let (_, parameters) = hinted.redirected();
    let code = parameter(&parameters, "code");
    let body = client
        .token(HOME_TENANT, &redemption(PUBLIC_CLIENT, code, VERIFIER))
        .await
        .granted();
    assert_eq!(
        verified(&client, &text(&body, "id_token"), PUBLIC_CLIENT).await["preferred_username"],
        BOB
    );

    authority.set_signed_in_user(None);
    let hint = [("prompt", "none"), ("login_hint", BOB)];
    let (_, parameters) = authorize(&client, PUBLIC_CLIENT, &hint).await.redirected();
    assert_eq!(
        parameter(&parameters, "error"),
        "login_required",
        "a hint is no session"
    );
    let (_, parameters) = authorize(&client, PUBLIC_CLIENT, &[("prompt", "none")])
        .await
        .redirected();
    assert_eq!(parameter(&parameters, "error"), "login_required");
    assert_eq!(parameter(&parameters, "state"), "state-1");
    let (_, parameters) = authorize(&client, PUBLIC_CLIENT, &[]).await.redirected();
    assert_eq!(parameter(&parameters, "error"), "access_denied");
}

#[tokio::test]
async fn answers_travel_by_form_too_and_never_to_a_stranger() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let page = authorize(&client, PUBLIC_CLIENT, &[("response_mode", "form_post")]).await;
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("action=\"http://localhost:4711/callback\""),
        "{}",
        page.body
    );
    assert!(page.body.contains("name=\"code\""), "{}", page.body);

    let query =
        format!("client_id={PUBLIC_CLIENT}&response_type=code&scope=x&redirect_uri=https://evil.test/");
    let refused = client
        .get(&format!("/common/oauth2/v2.0/authorize?{query}"))
        .await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("AADSTS50011"), "{}", refused.body);
}
