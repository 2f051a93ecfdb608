//! Pushed authorization requests (RFC 9126), of both kinds of client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_core::time::SystemClock;
use cache_testkit::authority::{
    ALICE, BOB, CONFIDENTIAL_CLIENT, Config, Endpoint, PUBLIC_CLIENT, PushedRequests, Script, ScriptedError,
};
use cache_testkit::oidc_provider::{PUSHED_CLIENT_ID, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET, USERNAME};
use flows::authority::Authority;
use flows::error::{DiscoveryErrorKind, ReplyError};
use flows::request::ClientIdentity;
use flows::request::authorization_code::AuthorizationRequest;
use flows::{CorrelationId, Error, TokenEndpoint, Transport};
use url::Url;

use crate::scene::{Entra, Oidc, sign_in};
use crate::support::ScriptedClient;

const REDIRECT: &str = "http://localhost/callback";

fn names(url: &Url) -> Vec<String> {
    url.query_pairs().map(|(name, _)| name.into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_requires_it_gets_the_request_first() {
    let entra = Entra::new(Config::default().pushed_requests(PushedRequests::Required)).await;
    entra.authority.set_signed_in_user(None);
    let (result, page) = sign_in(
        |show| {
            let acquire = entra
                .client
                .acquire_token_interactive(["User.Read"])
                .login_hint(BOB);
            acquire.session_first(true).on_url(show).into_future()
        },
        async |url: Url| {
            assert_eq!(
                names(&url),
                ["client_id", "request_uri"],
                "nothing else goes through the browser"
            );
            entra.agent.follow(url.as_str()).await
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, BOB);
    assert!(page.body.contains("You are signed in"));
    assert_eq!(
        entra.sent(Endpoint::PushedAuthorization, "prompt"),
        ["none", ""],
        "both steps were pushed"
    );
    assert_eq!(
        entra.sent(Endpoint::PushedAuthorization, "login_hint"),
        [BOB, BOB]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_offers_it_is_asked_only_on_request() {
    let entra = Entra::new(Config::default().pushed_requests(PushedRequests::Offered)).await;
    entra.sign_in(ALICE).await;
    assert!(entra.sent(Endpoint::PushedAuthorization, "client_id").is_empty());
    let (result, _) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .pushed(true)
                .on_url(show)
                .into_future()
        },
        async |url: Url| entra.agent.follow_url(url).await,
    )
    .await;
    result.unwrap();
    assert_eq!(
        entra.sent(Endpoint::PushedAuthorization, "client_id"),
        [PUBLIC_CLIENT]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_application_proves_itself_when_it_pushes() {
    let entra = Entra::new(Config::default().pushed_requests(PushedRequests::Required)).await;
    let client = entra.confidential();
    let request = AuthorizationRequest::new(CONFIDENTIAL_CLIENT, REDIRECT, ScopeSet::parse("User.Read"));
    let pending = client.begin_authorization(request.clone()).await.unwrap();
    assert_eq!(names(pending.url()), ["client_id", "request_uri"]);
    assert!(!pending.is_to_be_pushed() && pending.expires_on().is_some());
    assert!(!entra.sent(Endpoint::PushedAuthorization, "client_secret")[0].is_empty());
    let back = entra.agent.authorize(pending.url()).await;
    let result = client
        .acquire_token_by_authorization_code(&pending.into_parts(), &back)
        .await
        .unwrap();
    assert_eq!(result.account().unwrap().username, ALICE);

    let refusal = ScriptedError::new("invalid_scope", 70_011);
    entra
        .authority
        .script(Script::error(refusal).on(Endpoint::PushedAuthorization));
    let refused = client.begin_authorization(request).await;
    assert!(
        matches!(&refused, Err(Error::Authority(error)) if error.code() == "invalid_scope"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_takes_pushed_requests_of_both_kinds_of_client() {
    let oidc = Oidc::new(PUSHED_CLIENT_ID).await;
    let (result, _) = sign_in(
        |show| {
            oidc.client
                .acquire_token_interactive(["api:read"])
                .pushed(true)
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            assert_eq!(names(&url), ["client_id", "request_uri"]);
            let back = oidc.provider.authorize(url.as_str()).await.unwrap();
            oidc.agent.get(&back).await
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, USERNAME);

    let oidc = Oidc::new(PUSHED_CLIENT_ID).await;
    let client = oidc.confidential(SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET);
    let redirect = "http://127.0.0.1/callback";
    let request =
        AuthorizationRequest::new(SERVICE_CLIENT_ID, redirect, ScopeSet::parse("api:read")).pushed(true);
    let pending = client.begin_authorization(request).await.unwrap();
    let back = oidc.provider.authorize(pending.url().as_str()).await.unwrap();
    let parts = pending.into_parts();
    let result = client
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap();
    assert_eq!(result.account().unwrap().username, USERNAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_without_the_endpoint_is_told_apart() {
    let entra = Entra::new(Config::default()).await;
    let acquire = entra.client.acquire_token_interactive(["User.Read"]).pushed(true);
    let refused = acquire.on_url(|_| panic!("nothing to show")).await;
    let missing = DiscoveryErrorKind::NotOffered("pushed_authorization_request_endpoint");
    assert!(
        matches!(&refused, Err(Error::Discovery(error)) if *error.kind() == missing),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_reply_without_a_reference_is_refused_and_the_endpoints_own_query_is_kept() {
    let document = r#"{"issuer":"https://id.example","token_endpoint":"https://id.example/token",
        "authorization_endpoint":"https://id.example/authorize?realm=1",
        "pushed_authorization_request_endpoint":"https://id.example/par","require_pushed_authorization_requests":true}"#;
    let http = Arc::new(
        ScriptedClient::default()
            .reply(200, document)
            .reply(201, r#"{"expires_in":60}"#)
            .reply(201, r#"{"request_uri":"urn:x&y","expires_in":"90"}"#),
    );
    let transport = Arc::new(Transport::new(
        http.clone(),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    ));
    let authority = Authority::detect("https://id.example").unwrap();
    let limit = Duration::from_secs(5);
    let metadata = transport.discovery().metadata(&authority, limit).await.unwrap();
    let identity = ClientIdentity::public("client").unwrap();
    let endpoint = TokenEndpoint::new(transport, authority.clone(), Arc::clone(&metadata), identity);
    let begin = || {
        let request = AuthorizationRequest::new("client", "https://app.example/back", ScopeSet::parse("a"));
        request.begin(&authority, &metadata, &OsRandom).unwrap()
    };
    let id = CorrelationId::random(&OsRandom).unwrap();
    let refused = endpoint.push_authorization(begin(), id, limit).await;
    assert!(
        matches!(refused, Err(Error::Reply(ReplyError::Missing("request_uri")))),
        "{refused:?}"
    );

    let pushed = endpoint.push_authorization(begin(), id, limit).await.unwrap();
    assert_eq!(
        pushed.url().as_str(),
        "https://id.example/authorize?realm=1&client_id=client&request_uri=urn%3Ax%26y"
    );
    let sent = &http.sent()[2];
    assert_eq!(sent.url, "https://id.example/par");
    let form: HashMap<_, _> = url::form_urlencoded::parse(sent.form.as_bytes())
        .into_owned()
        .collect();
    assert!(
        !form.contains_key("realm")
            && form["code_challenge_method"] == "S256"
            && form["client_id"] == "client"
    );
    assert!(sent.headers.iter().all(|(name, _)| name != "authorization"));
}
