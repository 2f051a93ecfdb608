use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_testkit::authority::{
    ALICE, Alteration, BOB, Config, Endpoint, FakeAuthority, Grant, HOME_TENANT, PASSWORD, PUBLIC_CLIENT,
    RetryAfter, Rotation, Script, ScriptedError,
};
use serde_json::{Value, json};

use crate::client::{Answer, TestClient, send, text};
use crate::verify::verified;

const SIGN_IN: [(&str, &str); 6] = [
    ("client_id", PUBLIC_CLIENT),
    ("grant_type", "password"),
    ("username", ALICE),
    ("password", PASSWORD),
    ("scope", "User.Read openid offline_access"),
    ("client_info", "1"),
];

async fn start(config: Config) -> (FakeAuthority, TestClient) {
    let authority = FakeAuthority::start(config).await.unwrap();
    let client = TestClient::new(&authority);
    (authority, client)
}

fn refresh(token: &str) -> [(&str, &str); 3] {
    [
        ("client_id", PUBLIC_CLIENT),
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
    ]
}

/// Queues a script and signs in.
async fn scripted(authority: &FakeAuthority, client: &TestClient, script: Script) -> Answer {
    authority.script(script);
    client.token(HOME_TENANT, &SIGN_IN).await
}

#[tokio::test]
async fn a_lost_reply_has_spent_the_token_and_a_dropped_request_has_not() {
    let (authority, client) = start(Config::default().rotation(Rotation::Strict)).await;
    let token = client.token(HOME_TENANT, &SIGN_IN).await.field("refresh_token");

    authority.script(Script::drop_before_processing().grant(Grant::RefreshToken));
    assert!(
        client
            .try_post(HOME_TENANT, "token", &refresh(&token))
            .await
            .is_err()
    );
    assert_eq!(authority.families()[0].refreshes, 0);

    authority.script(Script::lost_reply().grant(Grant::RefreshToken));
    assert!(
        client
            .try_post(HOME_TENANT, "token", &refresh(&token))
            .await
            .is_err()
    );
    assert_eq!(authority.families()[0].refreshes, 1);
    assert_eq!(authority.families_revoked(), 0);

    assert_eq!(
        client.token(HOME_TENANT, &refresh(&token)).await.refused().0,
        "invalid_grant"
    );
    assert_eq!(authority.families_revoked(), 1);
    assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 3);
    assert_eq!(authority.grant_count(Grant::RefreshToken).issued, 1);
    assert_eq!(authority.scripts_left(), 0);
}

#[tokio::test]
async fn half_a_reply_breaks_off_in_the_body() {
    for config in [Config::default(), Config::plain_http()] {
        let (authority, client) = start(config).await;
        let token = client.token(HOME_TENANT, &SIGN_IN).await.field("refresh_token");
        authority.script(Script::half_reply());
        let mut response = client
            .request(HOME_TENANT, "token", &refresh(&token))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let announced = response.content_length().unwrap();
        let mut received = Vec::new();
        let broke_off = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => received.extend_from_slice(&chunk),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broke_off);
        assert_eq!(received.len() as u64, announced / 2);
        assert!(serde_json::from_slice::<Value>(&received).is_err());
        assert_eq!(authority.families()[0].refreshes, 1);
    }
}

#[tokio::test]
async fn an_endless_body_does_not_end_and_does_not_hold_up_a_shutdown() {
    let (authority, client) = start(Config::default()).await;
    authority.script(Script::endless_body());
    let mut response = client
        .request(HOME_TENANT, "token", &SIGN_IN)
        .send()
        .await
        .unwrap();
    let mut received = 0;
    while received < 2 * 1024 * 1024 {
        received += response.chunk().await.unwrap().expect("the body goes on").len();
    }
    let started = Instant::now();
    authority.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn refusals_look_like_entras_and_echo_the_correlation_id() {
    let (authority, client) = start(Config::default()).await;
    let challenge = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    authority.script(Script::error(
        ScriptedError::claims_challenge(challenge).suberror("basic_action"),
    ));
    let request = client
        .request(HOME_TENANT, "token", &SIGN_IN)
        .header("client-request-id", "correlation-1");
    let answer = send(request).await.unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(answer.refused(), ("interaction_required".to_owned(), 50_079));
    let body = answer.json();
    assert_eq!(body["correlation_id"], "correlation-1");
    assert_eq!(answer.header("client-request-id"), "correlation-1");
    assert_eq!(
        (&body["claims"], &body["suberror"]),
        (&json!(challenge), &json!("basic_action"))
    );
    assert_eq!(text(&body, "trace_id").len(), 36);
    assert_eq!(text(&body, "timestamp").len(), "2026-11-21 08:52:00Z".len());
    // The script is used up.
    client.token(HOME_TENANT, &SIGN_IN).await.granted();
}

#[tokio::test]
async fn bare_statuses_carry_what_the_script_says() {
    let (authority, client) = start(Config::default()).await;
    let empty = scripted(&authority, &client, Script::empty_bad_request()).await;
    assert_eq!((empty.status, empty.body.as_str()), (400, ""));

    let seconds = Script::too_many_requests(Some(RetryAfter::Seconds(7)));
    let throttled = scripted(&authority, &client, seconds).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, "7"));

    let date = Script::too_many_requests(Some(RetryAfter::Date(Duration::from_secs(60))));
    let throttled = scripted(&authority, &client, date).await;
    assert!(throttled.header("retry-after").ends_with(" GMT"), "{throttled:?}");

    let bare = scripted(&authority, &client, Script::too_many_requests(None)).await;
    assert!(!bare.headers.contains_key("retry-after"));

    let redirect = scripted(&authority, &client, Script::redirect("https://evil.test/token")).await;
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (307, "https://evil.test/token")
    );

    let unavailable = Script::status(503).times(2);
    assert_eq!(scripted(&authority, &client, unavailable).await.status, 503);
    assert_eq!(client.token(HOME_TENANT, &SIGN_IN).await.status, 503);
    client.token(HOME_TENANT, &SIGN_IN).await.granted();
}

#[tokio::test]
async fn scripts_wait_for_the_request_they_are_for() {
    let (authority, client) = start(Config::default()).await;
    authority.script(Script::status(500).on(Endpoint::OpenIdConfiguration));
    authority.script(Script::status(503).grant(Grant::RefreshToken));
    client.token(HOME_TENANT, &SIGN_IN).await.granted();
    assert_eq!(authority.scripts_left(), 2);
    let configuration = format!("/{HOME_TENANT}/v2.0/.well-known/openid-configuration");
    assert_eq!(client.get(&configuration).await.status, 500);
    client.get(&configuration).await.granted();
    assert_eq!(client.token(HOME_TENANT, &refresh("any")).await.status, 503);
}

#[tokio::test]
async fn a_delayed_request_is_processed_though_the_client_gave_up() {
    for script in [
        Script::pass().delayed(Duration::from_millis(400)),
        Script::pass().reply_delayed(Duration::from_millis(400)),
    ] {
        let (authority, client) = start(Config::default()).await;
        let token = client.token(HOME_TENANT, &SIGN_IN).await.field("refresh_token");
        authority.script(script.grant(Grant::RefreshToken));
        let request = client.request(HOME_TENANT, "token", &refresh(&token));
        let gave_up = request
            .timeout(Duration::from_millis(100))
            .send()
            .await
            .unwrap_err();
        assert!(gave_up.is_timeout(), "{gave_up:?}");
        let deadline = Instant::now() + Duration::from_secs(5);
        while authority.families()[0].refreshes == 0 {
            assert!(Instant::now() < deadline, "the request was never processed");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_successful_answer_can_be_altered() {
    let (authority, client) = start(Config::default()).await;
    let altered = async |alteration| {
        scripted(&authority, &client, Script::alter([alteration]))
            .await
            .granted()
    };

    assert_eq!(
        altered(Alteration::expires_in_as_string()).await["expires_in"],
        "3599"
    );
    assert_eq!(altered(Alteration::omit("scope")).await.get("scope"), None);
    let set = Alteration::Set("token_type".to_owned(), json!("bearer"));
    assert_eq!(altered(set).await["token_type"], "bearer");

    let body = altered(Alteration::wrong_issuer()).await;
    let claims = verified(&client, &text(&body, "id_token"), PUBLIC_CLIENT).await;
    assert_eq!(claims["iss"], "https://issuer.invalid/v2.0");

    let body = altered(Alteration::ClientInfoOf(BOB.to_owned())).await;
    let client_info = URL_SAFE_NO_PAD.decode(text(&body, "client_info")).unwrap();
    let client_info: Value = serde_json::from_slice(&client_info).unwrap();
    assert_eq!(
        client_info,
        json!({ "uid": "22222222-0000-4000-8000-000000000002", "utid": HOME_TENANT })
    );

    let body = altered(Alteration::IdTokenSignature).await;
    let (honest, spoiled) = (
        client.token(HOME_TENANT, &SIGN_IN).await.field("id_token"),
        text(&body, "id_token"),
    );
    assert_eq!(honest.split('.').next(), spoiled.split('.').next());
    assert!(spoiled.ends_with("AAAA"));
}
