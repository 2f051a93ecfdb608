//! Tokens bound to a key (RFC 9449), at a real OpenID provider.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use cache_core::schema::{ScopeSet, TokenType};
use flows::client::PublicClient;
use flows::http::{HttpClient, HttpRequest, ReqwestClient};
use flows::proof::{DpopKey, SoftwareKey};
use flows::request::authorization_code::AuthorizationRequest;
use flows::{AuthenticationResult, Error, TokenSource};

use crate::scene::{Oidc, only_account};

fn key_of(result: &AuthenticationResult) -> String {
    assert!(
        matches!(&result.token_type(), TokenType::Bound { scheme, .. } if &**scheme == "DPoP"),
        "{result:?}"
    );
    result.token_type().key_id().unwrap().to_owned()
}

async fn refreshed(client: &PublicClient) -> Result<AuthenticationResult, Error> {
    let account = only_account(client).await;
    client
        .acquire_token_silent(["openid", "api:read"])
        .account(&account)
        .force_refresh(true)
        .await
}

#[tokio::test]
async fn a_device_signs_in_and_refreshes_with_its_key_with_and_without_the_provider_s_nonce() {
    let scene = Oidc::start().await;
    let client = scene.public().await.dpop(DpopKey::software()).build().unwrap();
    scene.provider.set_dpop_nonce_required(true).await.unwrap();
    let first = scene.sign_in(&client).await;
    let second = refreshed(&client).await.unwrap();
    assert_eq!(
        (second.metadata().source, key_of(&second)),
        (TokenSource::Authority, key_of(&first))
    );
    scene.provider.set_dpop_nonce_required(false).await.unwrap();
    // Another process, which has no nonce and only what is stored.
    let other = scene.public().await.dpop(DpopKey::software()).build().unwrap();
    assert_eq!(key_of(&refreshed(&other).await.unwrap()), key_of(&first));
    let statistics = scene.provider.statistics().await.unwrap();
    assert_eq!(
        (
            statistics.refresh_tokens_consumed,
            statistics.refresh_tokens_reused
        ),
        (2, 0)
    );
}

#[tokio::test]
async fn the_refresh_token_is_refused_with_another_key() {
    let scene = Oidc::start().await;
    let client = scene.public().await.dpop(DpopKey::software()).build().unwrap();
    scene.sign_in(&client).await;
    let stranger = Arc::new(SoftwareKey::generate().unwrap());
    let thief = scene
        .public()
        .await
        .dpop(DpopKey::signer(stranger))
        .build()
        .unwrap();
    let refused = refreshed(&thief).await.unwrap_err();
    assert!(matches!(refused, Error::InteractionRequired(_)), "{refused:?}");
    assert_eq!(
        scene.provider.statistics().await.unwrap().refresh_tokens_consumed,
        0
    );
}

#[tokio::test]
async fn an_application_gets_a_bound_token() {
    let scene = Oidc::start().await;
    scene.provider.set_dpop_nonce_required(true).await.unwrap();
    let client = scene
        .confidential()
        .await
        .dpop(DpopKey::software())
        .build()
        .unwrap();
    let first = client.acquire_token_for_client(["api:read"]).await.unwrap();
    let again = client.acquire_token_for_client(["api:read"]).await.unwrap();
    assert_eq!(
        (key_of(&again), again.access_token()),
        (key_of(&first), first.access_token())
    );
}

#[tokio::test]
async fn a_code_is_bound_to_the_key_from_the_first() {
    let scene = Oidc::start().await;
    let client = scene
        .confidential()
        .await
        .dpop(DpopKey::software())
        .build()
        .unwrap();
    let begin = || async {
        let request = AuthorizationRequest::new(
            cache_testkit::oidc_provider::SERVICE_CLIENT_ID,
            "http://127.0.0.1/callback",
            ScopeSet::parse("api:read"),
        );
        let pending = client.begin_authorization(request).await.unwrap();
        assert!(pending.url().query().unwrap().contains("dpop_jkt="));
        let back = scene.provider.authorize(pending.url().as_str()).await.unwrap();
        (pending.into_parts(), back)
    };
    let (pending, back) = begin().await;
    let stranger = Arc::new(SoftwareKey::generate().unwrap());
    let thief = scene
        .confidential()
        .await
        .dpop(DpopKey::signer(stranger))
        .build()
        .unwrap();
    let stolen = thief.acquire_token_by_authorization_code(&pending, &back).await;
    assert!(stolen.is_err(), "{stolen:?}");
    let (pending, back) = begin().await;
    let signed_in = client
        .acquire_token_by_authorization_code(&pending, &back)
        .await
        .unwrap();
    assert!(!key_of(&signed_in).is_empty() && signed_in.account().is_some());
}

#[tokio::test]
async fn the_code_of_a_public_client_is_bound_to_the_key_of_its_sign_in() {
    let scene = Oidc::start().await;
    let client = scene.public().await.dpop(DpopKey::software()).build().unwrap();
    let (show, shown) = tokio::sync::oneshot::channel();
    let signing_in = client
        .acquire_token_interactive(["api:read"])
        .on_url(move |url| drop(show.send(url.clone())))
        .into_future();
    let browser = async {
        let url = shown.await.unwrap();
        let bound_to = url
            .query_pairs()
            .find(|(name, _)| name == "dpop_jkt")
            .map(|(_, key)| key.into_owned());
        let back = scene.provider.authorize(url.as_str()).await.unwrap();
        let request = HttpRequest::get(back.parse().unwrap(), Duration::from_secs(20));
        ReqwestClient::new().unwrap().send(request).await.unwrap();
        bound_to
    };
    let (signed_in, bound_to) = tokio::join!(signing_in, browser);
    assert_eq!(bound_to, Some(key_of(&signed_in.unwrap())));
}
