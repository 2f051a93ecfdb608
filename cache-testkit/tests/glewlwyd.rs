//! The second real provider: what its options and statistics say is so.
#![cfg(feature = "glewlwyd")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use cache_testkit::glewlwyd::{
    Glewlwyd, Options, PASSWORD, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET, Statistics, numbered_user,
};
use serde_json::Value;

async fn token(provider: &Glewlwyd, fields: &[(&str, &str)]) -> (u16, Value) {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("&{name}={value}"))
        .collect();
    let body = format!("client_id={SERVICE_CLIENT_ID}&client_secret={SERVICE_CLIENT_SECRET}{fields}");
    let reply = reqwest::Client::new()
        .post(format!("{}/token", provider.issuer()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let status = reply.status().as_u16();
    let body = reply.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn sign_in(provider: &Glewlwyd, number: usize) -> String {
    let user = numbered_user(number);
    let (status, granted) = token(
        provider,
        &[
            ("grant_type", "password"),
            ("username", &user),
            ("password", PASSWORD),
            ("scope", "openid+api:read"),
        ],
    )
    .await;
    assert_eq!(status, 200, "{granted}");
    assert_eq!(granted["expires_in"], 2);
    granted["refresh_token"].as_str().unwrap().to_owned()
}

async fn refresh(provider: &Glewlwyd, refresh_token: &str) -> (u16, Value) {
    token(
        provider,
        &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)],
    )
    .await
}

#[tokio::test]
async fn a_token_that_is_sent_again_ends_its_family_and_is_counted() {
    let options = Options {
        access_token_ttl_seconds: 2,
        numbered_users: 3,
    };
    let provider = Glewlwyd::start_with(&options).await.unwrap();
    let mut tokens = Vec::new();
    for number in 0..3 {
        tokens.push(sign_in(&provider, number).await);
    }
    let (status, rotated) = refresh(&provider, &tokens[0]).await;
    assert_eq!(status, 200, "{rotated}");
    let (status, _) = refresh(&provider, &tokens[1]).await;
    assert_eq!(status, 200);
    let mut expected = Statistics {
        families: 3,
        families_revoked: 0,
        refresh_tokens_consumed: 2,
    };
    assert_eq!(provider.statistics().await.unwrap(), expected);

    let (status, _) = refresh(&provider, &tokens[0]).await;
    assert_eq!(status, 400, "it was spent");
    expected.families_revoked = 1;
    assert_eq!(provider.statistics().await.unwrap(), expected);
    let (status, _) = refresh(&provider, rotated["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, 400, "its successor went with it");
    let (status, _) = refresh(&provider, &tokens[2]).await;
    assert_eq!(status, 200, "the others did not");
}
