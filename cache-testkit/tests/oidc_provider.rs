//! The real provider behaves as the tests that stand on it assume, above all under reuse.

#![allow(
    clippy::unwrap_used,
    reason = "a test; the lint's own exception does not reach helper functions"
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_testkit::oidc_provider::{
    CLI_CLIENT_ID, Error, OidcProvider, Options, Reply, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const SCOPE: &str = "openid profile offline_access api:read api:write";

#[tokio::test]
async fn device_flow_waits_for_the_user_and_then_grants() {
    let provider = start().await;
    let device = begin_device(&provider).await;

    let pending = redeem_device(&provider, &device).await;
    assert_eq!(pending.status, 400);
    assert_eq!(pending.body["error"], "authorization_pending");

    provider
        .approve_device(&text(&device.body, "user_code"))
        .await
        .unwrap();
    let granted = redeem_device(&provider, &device).await;
    assert_eq!(granted.status, 200);
    assert_eq!(granted.body["scope"], SCOPE);
    assert_eq!(granted.body["expires_in"], 60);
    let claims = id_token_claims(&granted.body);
    assert_eq!(claims["iss"], provider.issuer());
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["preferred_username"], "alice@example.test");

    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.token_requests[DEVICE_CODE], 2);
    assert_eq!(statistics.tokens_granted[DEVICE_CODE], 1);
    assert_eq!(statistics.refresh_requests(), 0);
}

#[tokio::test]
async fn an_unknown_user_code_is_refused() {
    let provider = start().await;
    let error = provider.approve_device("ABCD-EFGH").await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn refresh_rotates_and_may_narrow_the_scopes() {
    let provider = start().await;
    let first = sign_in(&provider).await;

    provider.set_access_token_ttl(7).await.unwrap();
    let second = refresh(&provider, &text(&first, "refresh_token"), "openid api:read").await;
    assert_eq!(second.status, 200);
    assert_eq!(second.body["expires_in"], 7);
    assert_eq!(second.body["scope"], "openid api:read");
    assert!(
        second.body["refresh_token"] != first["refresh_token"],
        "the refresh token was not rotated"
    );

    // The new refresh token keeps the scopes of the grant.
    let third = refresh(
        &provider,
        &text(&second.body, "refresh_token"),
        "openid api:write",
    )
    .await;
    assert_eq!(third.status, 200);
    assert_eq!(third.body["scope"], "openid api:write");

    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 2);
    assert_eq!(statistics.refresh_tokens_consumed, 2);
    assert_eq!(
        (statistics.refresh_tokens_reused, statistics.grants_revoked),
        (0, 0)
    );
}

#[tokio::test]
async fn reuse_of_a_spent_refresh_token_revokes_the_family() {
    let provider = start().await;
    let first = sign_in(&provider).await;
    let spent = text(&first, "refresh_token");
    let second = refresh(&provider, &spent, SCOPE).await;
    assert_eq!(second.status, 200);

    let reused = refresh(&provider, &spent, SCOPE).await;
    assert_eq!(
        (reused.status, &reused.body["error"]),
        (400, &Value::from("invalid_grant"))
    );
    let innocent = refresh(&provider, &text(&second.body, "refresh_token"), SCOPE).await;
    assert_eq!(
        (innocent.status, &innocent.body["error"]),
        (400, &Value::from("invalid_grant"))
    );

    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 3);
    assert_eq!(statistics.tokens_granted["refresh_token"], 1);
    assert_eq!(
        (statistics.refresh_tokens_reused, statistics.grants_revoked),
        (1, 1)
    );
}

#[tokio::test]
async fn of_refreshes_that_overlap_one_succeeds_and_the_family_is_revoked() {
    let provider = start().await;
    let first = sign_in(&provider).await;
    let token = text(&first, "refresh_token");

    let (a, b) = tokio::join!(
        refresh(&provider, &token, SCOPE),
        refresh(&provider, &token, SCOPE)
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let winner = if a.status == 200 { a } else { b };
    let next = refresh(&provider, &text(&winner.body, "refresh_token"), SCOPE).await;
    assert_eq!(next.body["error"], "invalid_grant");

    let statistics = provider.statistics().await.unwrap();
    assert_eq!(
        (
            statistics.refresh_tokens_consumed,
            statistics.refresh_tokens_reused
        ),
        (1, 1)
    );
    assert_eq!(statistics.grants_revoked, 1);
}

#[tokio::test]
async fn a_delayed_reply_was_acted_on_before_the_client_knows() {
    let provider = start().await;
    let token = text(&sign_in(&provider).await, "refresh_token");
    provider.set_token_delay(60_000).await.unwrap();

    let abandoned = refresh(&provider, &token, SCOPE);
    let consumed = async {
        while provider.statistics().await.unwrap().refresh_tokens_consumed == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = abandoned => panic!("the reply was not held back"),
        () = consumed => {}
    }

    provider.set_token_delay(0).await.unwrap();
    assert_eq!(
        refresh(&provider, &token, SCOPE).await.body["error"],
        "invalid_grant"
    );
    assert_eq!(provider.statistics().await.unwrap().refresh_tokens_reused, 1);
}

#[tokio::test]
async fn client_credentials_with_and_without_a_resource() {
    let provider = start().await;
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", SERVICE_CLIENT_ID),
        ("client_secret", SERVICE_CLIENT_SECRET),
        ("scope", "api:read"),
    ];
    let plain = provider.post_form("/token", &fields).await.unwrap();
    assert_eq!(
        (plain.status, &plain.body["scope"]),
        (200, &Value::from("api:read"))
    );
    assert!(plain.body["refresh_token"].is_null());

    fields.push(("resource", "urn:tokenkeep:api"));
    let bound = provider.post_form("/token", &fields).await.unwrap();
    assert_eq!(
        (bound.status, &bound.body["scope"]),
        (200, &Value::from("api:read"))
    );

    fields[2].1 = "wrong";
    let refused = provider.post_form("/token", &fields).await.unwrap();
    assert_eq!(
        (refused.status, &refused.body["error"]),
        (401, &Value::from("invalid_client"))
    );

    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.token_requests["client_credentials"], 3);
    assert_eq!(statistics.tokens_granted["client_credentials"], 2);
}

#[tokio::test]
async fn authorization_code_needs_its_verifier() {
    let provider = start().await;
    let verifier = "a-verifier-of-more-than-forty-three-characters-1";
    let code = authorize(&provider, verifier).await;

    let refused = redeem_code(
        &provider,
        &code,
        "another-verifier-of-more-than-forty-three-chars",
    )
    .await;
    assert_eq!(refused.body["error"], "invalid_grant");

    let code = authorize(&provider, verifier).await;
    let granted = redeem_code(&provider, &code, verifier).await;
    assert_eq!(granted.status, 200);
    assert_eq!(id_token_claims(&granted.body)["nonce"], "n1");
    assert!(granted.body["refresh_token"].is_string());
}

#[tokio::test]
async fn reset_forgets_tokens_and_counts() {
    let provider = start().await;
    let tokens = sign_in(&provider).await;
    provider.reset().await.unwrap();
    assert_eq!(provider.statistics().await.unwrap(), Default::default());
    let after = refresh(&provider, &text(&tokens, "refresh_token"), SCOPE).await;
    assert_eq!(after.body["error"], "invalid_grant");
}

#[tokio::test]
async fn a_dropped_provider_ends() {
    let provider = start().await;
    let address = provider.issuer().strip_prefix("http://").unwrap().to_owned();
    tokio::net::TcpStream::connect(&address).await.unwrap();
    drop(provider);
    // The signal is sent by the drop; the system closes the socket a moment later.
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

async fn start() -> OidcProvider {
    OidcProvider::start(Options {
        access_token_ttl_seconds: 60,
    })
    .await
    .unwrap()
}

async fn sign_in(provider: &OidcProvider) -> Value {
    let device = begin_device(provider).await;
    provider
        .approve_device(&text(&device.body, "user_code"))
        .await
        .unwrap();
    let granted = redeem_device(provider, &device).await;
    assert_eq!(granted.status, 200);
    granted.body
}

async fn begin_device(provider: &OidcProvider) -> Reply {
    let fields = [("client_id", CLI_CLIENT_ID), ("scope", SCOPE)];
    let reply = provider.post_form("/device/auth", &fields).await.unwrap();
    assert_eq!(reply.status, 200);
    reply
}

async fn redeem_device(provider: &OidcProvider, device: &Reply) -> Reply {
    let device_code = text(&device.body, "device_code");
    let fields = [
        ("grant_type", DEVICE_CODE),
        ("client_id", CLI_CLIENT_ID),
        ("device_code", &device_code),
    ];
    provider.post_form("/token", &fields).await.unwrap()
}

async fn refresh(provider: &OidcProvider, refresh_token: &str, scope: &str) -> Reply {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLI_CLIENT_ID),
        ("refresh_token", refresh_token),
        ("scope", scope),
    ];
    provider.post_form("/token", &fields).await.unwrap()
}

async fn authorize(provider: &OidcProvider, verifier: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let url = format!(
        "{}/auth?client_id={CLI_CLIENT_ID}&response_type=code&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcallback\
         &scope=openid%20offline_access%20api%3Aread&prompt=consent&state=s1&nonce=n1\
         &code_challenge={challenge}&code_challenge_method=S256",
        provider.issuer()
    );
    let redirect = provider.authorize(&url).await.unwrap();
    let query = redirect.strip_prefix("http://127.0.0.1:9/callback?").unwrap();
    assert!(query.split('&').any(|pair| pair == "state=s1"));
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("code="))
        .unwrap()
        .to_owned()
}

async fn redeem_code(provider: &OidcProvider, code: &str, verifier: &str) -> Reply {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", CLI_CLIENT_ID),
        ("redirect_uri", "http://127.0.0.1:9/callback"),
        ("code", code),
        ("code_verifier", verifier),
    ];
    provider.post_form("/token", &fields).await.unwrap()
}

fn id_token_claims(body: &Value) -> Value {
    let id_token = text(body, "id_token");
    let payload = id_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn text(body: &Value, field: &str) -> String {
    body[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in the reply"))
        .to_owned()
}
