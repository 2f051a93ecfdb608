use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, Endpoint, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT,
    PushedRequests,
};
use sha2::{Digest as _, Sha256};

use crate::client::{Answer, TestClient, parameter, text};

const REDIRECT: &str = "http://localhost:4711/callback";

async fn push(client: &TestClient, form: &[(&str, &str)]) -> Answer {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest("verifier"));
    let mut all = vec![
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", "User.Read"),
        ("state", "state-1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    all.extend(form);
    client.post(HOME_TENANT, "par", &all).await
}

async fn browse(client: &TestClient, parameters: &[(&str, &str)]) -> Answer {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    client
        .get(&format!("/{HOME_TENANT}/oauth2/v2.0/authorize?{query}"))
        .await
}

#[tokio::test]
async fn a_pushed_request_is_used_once_by_its_client_and_in_time() {
    let config = Config::default()
        .pushed_requests(PushedRequests::Required)
        .response_iss(true);
    let authority = FakeAuthority::start(config).await.unwrap();
    let client = TestClient::new(&authority);
    let pushed = push(&client, &[("client_id", PUBLIC_CLIENT)]).await;
    assert_eq!(pushed.status, 201);
    let body = pushed.json();
    assert_eq!(body["expires_in"], 60);
    let request_uri = text(&body, "request_uri");
    let reference = [
        ("client_id", PUBLIC_CLIENT),
        ("request_uri", &*request_uri),
        ("state", "mine"),
    ];
    let (_, parameters) = browse(&client, &reference).await.redirected();
    assert!(!parameter(&parameters, "code").is_empty());
    assert_eq!(
        parameter(&parameters, "state"),
        "state-1",
        "what stands beside the reference does not count"
    );
    assert_eq!(
        parameter(&parameters, "iss"),
        format!("{}/v2.0", authority.authority_url(HOME_TENANT))
    );
    assert_eq!(browse(&client, &reference).await.status, 400, "used");

    for (client_id, late) in [(CONFIDENTIAL_CLIENT, 0), (PUBLIC_CLIENT, 61)] {
        let body = push(&client, &[("client_id", PUBLIC_CLIENT)]).await.json();
        authority.advance(Duration::from_secs(late));
        let stolen = [
            ("client_id", client_id),
            ("request_uri", &*text(&body, "request_uri")),
        ];
        assert_eq!(browse(&client, &stolen).await.status, 400, "{client_id} {late}");
    }
    let plain = [
        ("client_id", PUBLIC_CLIENT),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
    ];
    assert_eq!(
        browse(&client, &plain).await.status,
        400,
        "required means required"
    );
    let count = authority
        .requests()
        .iter()
        .filter(|request| request.endpoint == Endpoint::PushedAuthorization)
        .count();
    assert_eq!(count, 3);
}

#[tokio::test]
async fn a_push_authenticates_its_client() {
    let config = Config::default().pushed_requests(PushedRequests::Offered);
    let authority = FakeAuthority::start(config).await.unwrap();
    let client = TestClient::new(&authority);
    let unproven = push(&client, &[("client_id", CONFIDENTIAL_CLIENT)]).await;
    assert_eq!(unproven.refused().0, "invalid_client");
    let proven = [
        ("client_id", CONFIDENTIAL_CLIENT),
        ("client_secret", CONFIDENTIAL_SECRET),
    ];
    assert_eq!(push(&client, &proven).await.status, 201);
    let nested = [("client_id", PUBLIC_CLIENT), ("request_uri", "urn:x")];
    assert_eq!(push(&client, &nested).await.refused().0, "invalid_request");
    let document = client
        .get(&format!("/{HOME_TENANT}/v2.0/.well-known/openid-configuration"))
        .await
        .json();
    assert_eq!(document["require_pushed_authorization_requests"], false);

    let without = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&without);
    assert_eq!(push(&client, &[("client_id", PUBLIC_CLIENT)]).await.status, 404);
    let document = client
        .get(&format!("/{HOME_TENANT}/v2.0/.well-known/openid-configuration"))
        .await
        .json();
    assert!(document.get("pushed_authorization_request_endpoint").is_none());
}
