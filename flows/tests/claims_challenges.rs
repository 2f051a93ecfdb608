//! Continuous access evaluation: capabilities in every request, challenges answered, and the two kinds of token kept apart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop"
)]

#[path = "refused_replies/scene.rs"]
mod scene;
mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::MemoryStore;
use cache_testkit::authority::{ALICE, Config, Endpoint, HOME_TENANT, PUBLIC_CLIENT, Script, ScriptedError};
use flows::authority::Authority;
use flows::challenge::BearerChallenge;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, HttpRequest, HttpResponse};
use flows::request::authorization_code::AuthorizationRequest;
use flows::{
    AuthenticationResult, Error, IdTokenVerification, InteractionRequired, RefreshReason, TokenSource,
};
use scene::Scene;
use serde_json::{Value, json};
use support::ScriptedClient;

const LIMIT: Duration = Duration::from_secs(10);

async fn capable() -> Scene {
    let scene = Scene::new(IdTokenVerification::WhereNotOverTls).await;
    scene.again(|client| client.client_capabilities(["cp1"])).await
}

async fn visit_resource(scene: &Scene, token: &AuthenticationResult) -> HttpResponse {
    let url = scene.authority.resource_url().parse().unwrap();
    let request = HttpRequest::get(url, LIMIT).header("authorization", token.authorization_header());
    scene.wire.send(request).await.unwrap()
}

fn challenge(response: &HttpResponse) -> BearerChallenge {
    assert_eq!(response.status, 401);
    let headers = response.headers.iter();
    let challenges = headers
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| value);
    BearerChallenge::find(challenges)
        .unwrap()
        .expect("a bearer challenge")
}

fn interaction(error: Error) -> InteractionRequired {
    match error {
        Error::InteractionRequired(required) => *required,
        other => panic!("{other:?}"),
    }
}

/// The `claims` of every request to `endpoint`.
fn claims_sent(scene: &Scene, endpoint: Endpoint) -> Vec<Option<Value>> {
    let requests = scene.authority.requests();
    let of_endpoint = requests
        .iter()
        .enumerate()
        .filter(|(_, request)| request.endpoint == endpoint);
    of_endpoint
        .map(|(index, _)| {
            let form = scene.authority.request_form(index).unwrap();
            let claims: Vec<_> = form.iter().filter(|(name, _)| name == "claims").collect();
            assert!(claims.len() <= 1, "one parameter");
            claims
                .first()
                .map(|(_, value)| serde_json::from_str(value).unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_of_a_resource_is_answered_with_a_new_token_that_it_accepts() {
    let scene = capable().await;
    let signed_in = scene.sign_in().await.unwrap();
    assert_eq!(visit_resource(&scene, &signed_in).await.status, 200);
    let account = scene.account().await;

    scene.authority.raise_access_event(ALICE).unwrap();
    let challenge = challenge(&visit_resource(&scene, &signed_in).await);
    assert_eq!(challenge.error.as_deref(), Some("insufficient_claims"));
    assert!(
        challenge
            .authorization_uri
            .as_deref()
            .unwrap()
            .ends_with("/common/oauth2/authorize")
    );
    let answered = scene
        .client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .challenge(&challenge)
        .await
        .unwrap();
    assert_eq!(answered.metadata().source, TokenSource::Authority);
    assert_eq!(answered.metadata().refresh_reason, Some(RefreshReason::Claims));
    assert_ne!(answered.access_token(), signed_in.access_token());
    assert_eq!(visit_resource(&scene, &answered).await.status, 200);

    let later = scene.silent(&account, "User.Read").await.unwrap();
    assert_ne!(later.metadata().source, TokenSource::Authority);
    assert_eq!(
        later.access_token(),
        answered.access_token(),
        "it took the other's place"
    );
    let wanted: Value = serde_json::from_str(challenge.claims().unwrap()).unwrap();
    let sent = claims_sent(&scene, Endpoint::Token).pop().unwrap().unwrap();
    assert_eq!(sent["access_token"]["nbf"], wanted["access_token"]["nbf"]);
    assert_eq!(sent["access_token"]["xms_cc"]["values"], json!(["cp1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_ends_at_the_user_with_the_claims_of_the_authority() {
    let scene = capable().await;
    let signed_in = scene.sign_in().await.unwrap();
    let account = scene.account().await;
    scene.authority.revoke_user(ALICE).unwrap();
    let challenge = challenge(&visit_resource(&scene, &signed_in).await);
    let demanded = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let refusal = ScriptedError::claims_challenge(demanded).suberror("basic_action");
    scene.authority.script(Script::error(refusal));
    let answer = async || {
        let request = scene.client.acquire_token_silent(["User.Read"]);
        interaction(request.account(&account).challenge(&challenge).await.unwrap_err())
    };
    let told = answer().await;
    assert_eq!(told.claims(), Some(demanded));
    let refusal = told.refusal().unwrap();
    assert!(refusal.trace_id().is_some() && refusal.timestamp().is_some());
    assert!(refusal.refusal().correlation_id.is_some() && refusal.refusal().description.is_some());
    assert_eq!(refusal.codes(), [50_079]);
    // Who asks next is told from memory, with the claims all the same.
    let remembered = answer().await;
    assert_eq!(
        (remembered.claims(), remembered.classification()),
        (Some(demanded), told.classification())
    );

    let (parts, back) = scene.visit_for(told.claims()).await;
    let again = scene
        .client
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap();
    assert_eq!(visit_resource(&scene, &again).await.status, 200);
    let asked = claims_sent(&scene, Endpoint::Authorize).pop().unwrap().unwrap();
    assert_eq!(asked["access_token"]["acrs"]["value"], json!("c1"));
    assert_eq!(asked["access_token"]["xms_cc"]["values"], json!(["cp1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_without_claims_asks_for_another_token() {
    let scene = Scene::new(IdTokenVerification::WhereNotOverTls).await;
    let signed_in = scene.sign_in().await.unwrap();
    let account = scene.account().await;
    scene.authority.revoke_user(ALICE).unwrap();
    let challenge = challenge(&visit_resource(&scene, &signed_in).await);
    assert_eq!(
        (challenge.error.as_deref(), challenge.claims()),
        (Some("invalid_token"), None)
    );
    let request = scene.client.acquire_token_silent(["User.Read"]);
    interaction(request.account(&account).challenge(&challenge).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_with_the_capability_and_without_it_are_kept_apart() {
    let plain = Scene::new(IdTokenVerification::WhereNotOverTls).await;
    let capable = plain.again(|client| client.client_capabilities(["cp1"])).await;
    let first = plain.sign_in().await.unwrap();
    let account = plain.account().await;
    let second = capable.silent(&account, "User.Read").await.unwrap();
    assert_eq!(second.metadata().source, TokenSource::Authority);
    assert_eq!(
        second.metadata().refresh_reason,
        Some(RefreshReason::NoCachedToken)
    );
    for (scene, own) in [(&plain, &first), (&capable, &second)] {
        let cached = scene.silent(&account, "User.Read").await.unwrap();
        assert_ne!(cached.metadata().source, TokenSource::Authority);
        assert_eq!(cached.access_token(), own.access_token());
    }
    // Who promised nothing keeps its token: the event does not reach it.
    plain.authority.raise_access_event(ALICE).unwrap();
    assert_eq!(visit_resource(&plain, &first).await.status, 200);
    assert_eq!(visit_resource(&capable, &second).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grant_says_what_the_client_can_handle() {
    let scene = Scene::with(
        Config::default().auto_approve_devices(0, ALICE),
        IdTokenVerification::WhereNotOverTls,
    )
    .await;
    let scene = scene.again(|client| client.client_capabilities(["cp1"])).await;
    scene.sign_in().await.unwrap();
    let account = scene.account().await;
    scene.silent(&account, "Mail.Read").await.unwrap();
    let scope = "https://graph.microsoft.com/.default";
    scene.client.acquire_token_for_client([scope]).await.unwrap();
    let authority = Authority::entra(&scene.authority.authority_url(HOME_TENANT)).unwrap();
    let public = PublicClient::builder(PUBLIC_CLIENT, authority, scene.client.cache().clone())
        .http(scene.wire.clone())
        .client_capabilities(["cp1"])
        .build()
        .unwrap();
    let signed_in = public
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt(|_| {})
        .claims(r#"{"access_token":{"acrs":{"value":"c2"}}}"#)
        .await
        .unwrap();
    let cached = public
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(
        cached.access_token(),
        signed_in.access_token(),
        "stored as what it is"
    );

    let plain = json!({"access_token": {"xms_cc": {"values": ["cp1"]}}});
    let with_claims = json!({"access_token": {"acrs": {"value": "c2"}, "xms_cc": {"values": ["cp1"]}}});
    assert_eq!(claims_sent(&scene, Endpoint::Authorize), [Some(plain.clone())]);
    assert_eq!(
        claims_sent(&scene, Endpoint::DeviceCode),
        [Some(with_claims.clone())]
    );
    assert_eq!(
        claims_sent(&scene, Endpoint::Token),
        [
            Some(plain.clone()),
            Some(plain.clone()),
            Some(plain),
            Some(with_claims)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_are_no_object_are_refused_before_anything_is_sent() {
    let scene = capable().await;
    scene.sign_in().await.unwrap();
    let account = scene.account().await;
    let before = scene.authority.requests().len();
    let client = &scene.client;
    for broken in ["{", "[]", "7", "text"] {
        let results = [
            client
                .acquire_token_silent(["User.Read"])
                .account(&account)
                .claims(broken)
                .await,
            client
                .acquire_token_for_client(["api://x/.default"])
                .claims(broken)
                .await,
        ];
        for result in results {
            assert!(
                matches!(result, Err(Error::Configuration(_))),
                "{broken}: {result:?}"
            );
        }
        let request =
            AuthorizationRequest::new(client_id(), "http://localhost/", ScopeSet::parse("User.Read"));
        let begun = client.begin_authorization(request.claims(broken)).await;
        assert!(matches!(begun, Err(Error::Configuration(_))), "{broken}");
    }
    assert_eq!(scene.authority.requests().len(), before);
}

fn client_id() -> &'static str {
    cache_testkit::authority::CONFIDENTIAL_CLIENT
}

#[tokio::test]
async fn a_generic_issuer_is_told_no_capabilities_but_the_callers_claims() {
    let document = r#"{"issuer":"https://id.example","token_endpoint":"https://id.example/token"}"#;
    let granted = r#"{"access_token":"a","token_type":"Bearer","expires_in":3600}"#;
    let http = Arc::new(
        ScriptedClient::default()
            .reply(200, document)
            .reply(200, granted)
            .reply(200, granted),
    );
    let cache = TokenCache::builder(Arc::new(MemoryStore::new()))
        .random(Arc::new(OsRandom))
        .open_sealed(
            Namespace::default(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
        )
        .await
        .unwrap();
    let authority = Authority::oidc("https://id.example").unwrap();
    let secret = ClientCredential::secret(Secret::new("s"));
    let client = ConfidentialClient::builder("client", authority, secret, cache)
        .http(http.clone())
        .client_capabilities(["cp1"])
        .build()
        .unwrap();
    client.acquire_token_for_client(["api"]).await.unwrap();
    client
        .acquire_token_for_client(["api"])
        .claims(r#"{"x":null}"#)
        .await
        .unwrap();
    let sent = http.sent();
    assert!(!sent[1].form.contains("claims"), "{}", sent[1].form);
    assert!(
        sent[2].form.contains("claims=%7B%22x%22%3Anull%7D"),
        "{}",
        sent[2].form
    );
}
