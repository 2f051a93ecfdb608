use std::time::Duration;

use cache_testkit::authority::{
    ALICE, BOB, Config, FakeAuthority, GUEST_TENANT, Grant, HOME_TENANT, PUBLIC_CLIENT,
};
use serde_json::{Value, json};

use crate::client::{Answer, TestClient, text};
use crate::verify::verified;

const SCOPE: &str = "User.Read openid profile offline_access";

async fn begin(client: &TestClient, tenant: &str) -> (String, String) {
    let form = [
        ("client_id", PUBLIC_CLIENT),
        ("scope", SCOPE),
        ("client_info", "1"),
    ];
    let body = client.post(tenant, "devicecode", &form).await.granted();
    assert!(text(&body, "message").contains(&text(&body, "user_code")));
    (text(&body, "device_code"), text(&body, "user_code"))
}

async fn poll(client: &TestClient, tenant: &str, grant_type: &str, device_code: &str) -> Answer {
    let form = [
        ("client_id", PUBLIC_CLIENT),
        ("grant_type", grant_type),
        ("device_code", device_code),
        ("scope", SCOPE),
        ("client_info", "1"),
    ];
    client.token(tenant, &form).await
}

const RFC_8628: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What MSAL Node sends.
const LITERAL: &str = "device_code";

#[tokio::test]
async fn an_approved_code_brings_every_token_once() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    for grant_type in [RFC_8628, LITERAL] {
        let (device_code, user_code) = begin(&client, HOME_TENANT).await;
        let pending = poll(&client, HOME_TENANT, grant_type, &device_code).await;
        assert_eq!(pending.refused(), ("authorization_pending".to_owned(), 70_016));
        authority
            .approve_device(&user_code.to_lowercase(), ALICE)
            .unwrap();
        let body = poll(&client, HOME_TENANT, grant_type, &device_code)
            .await
            .granted();
        assert_eq!(body["scope"], "User.Read email openid profile");
        assert_eq!(
            (&body["expires_in"], &body["ext_expires_in"]),
            (&json!(3_599), &json!(3_599))
        );
        assert_eq!(body.get("refresh_in"), None);
        assert_eq!(body.get("foci"), None);
        assert!(authority.is_access_token_active(&text(&body, "access_token")));
        let again = poll(&client, HOME_TENANT, grant_type, &device_code).await;
        assert_eq!(again.refused().0, "bad_verification_code");
    }
    assert_eq!(authority.grant_count(Grant::DeviceCode).requests, 6);
    assert_eq!(authority.grant_count(Grant::DeviceCode).issued, 2);
}

#[tokio::test]
async fn a_guest_keeps_the_home_account_and_has_another_object() {
    let authority = FakeAuthority::start(Config::default().auto_approve_devices(1, ALICE))
        .await
        .unwrap();
    let client = TestClient::new(&authority);
    let mut seen: Vec<(Value, Value, Value)> = Vec::new();
    for tenant in [HOME_TENANT, GUEST_TENANT, "common"] {
        let (device_code, _) = begin(&client, tenant).await;
        assert_eq!(
            poll(&client, tenant, RFC_8628, &device_code).await.refused().0,
            "authorization_pending"
        );
        let body = poll(&client, tenant, RFC_8628, &device_code).await.granted();
        let claims = verified(&client, &text(&body, "id_token"), PUBLIC_CLIENT).await;
        let tid = claims["tid"].as_str().unwrap();
        assert_eq!(claims["iss"], format!("{}/{tid}/v2.0", authority.base_url()));
        assert_eq!(claims["preferred_username"], ALICE);
        seen.push((
            claims["tid"].clone(),
            claims["oid"].clone(),
            body["client_info"].clone(),
        ));
    }
    assert_eq!(seen[0].0, HOME_TENANT);
    assert_eq!(seen[1].0, GUEST_TENANT);
    assert_ne!(seen[0].1, seen[1].1);
    assert_eq!(seen[0].2, seen[1].2);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn declined_expired_and_foreign_codes_are_told_apart() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let (device_code, user_code) = begin(&client, HOME_TENANT).await;
    authority.deny_device(&user_code).unwrap();
    assert!(authority.approve_device(&user_code, ALICE).is_err());
    assert_eq!(
        poll(&client, HOME_TENANT, LITERAL, &device_code)
            .await
            .refused()
            .0,
        "authorization_declined"
    );

    let (device_code, user_code) = begin(&client, HOME_TENANT).await;
    authority.advance(Duration::from_secs(901));
    assert!(authority.approve_device(&user_code, ALICE).is_err());
    assert_eq!(
        poll(&client, HOME_TENANT, LITERAL, &device_code)
            .await
            .refused()
            .0,
        "expired_token"
    );

    let (device_code, user_code) = begin(&client, GUEST_TENANT).await;
    authority.approve_device(&user_code, BOB).unwrap();
    let stranger = poll(&client, GUEST_TENANT, LITERAL, &device_code).await;
    assert_eq!(stranger.refused(), ("invalid_grant".to_owned(), 50_020));
}

#[tokio::test]
async fn a_person_approves_on_the_page() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let (device_code, user_code) = begin(&client, HOME_TENANT).await;
    let page = client.get("/devicelogin?user_code=%22%3E%3Cscript%3E").await;
    assert!(!page.body.contains("<script>"), "{}", page.body);
    let form = format!("user_code={user_code}&username={BOB}&action=approve");
    let approved = client.post_page("/devicelogin", form).await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    let body = poll(&client, HOME_TENANT, RFC_8628, &device_code).await.granted();
    assert_eq!(
        verified(&client, &text(&body, "id_token"), PUBLIC_CLIENT).await["name"],
        "Bob B"
    );
}
