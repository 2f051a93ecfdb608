//! What goes over the wire for each grant, and what each kind of answer becomes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CallOutcome, RefusedBecause};
use cache_core::random::OsRandom;
use cache_core::schema::{Account, ScopeSet, TokenResponse};
use cache_core::secret::Secret;
use flows::authority::{Authority, Discovery, Metadata};
use flows::error::{DeviceCodeError, Error};
use flows::http::{HttpError, HttpErrorKind};
use flows::request::{ClientIdentity, client_credentials, device_code, refresh_token};
use flows::{AuthenticationResult, CorrelationId, ResultMetadata, TokenEndpoint, TokenSource, Transport};
use support::{ScriptedClient, StepClock};

const LIMIT: Duration = Duration::from_secs(1);
const NOW: u64 = 1_700_000_000;
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// Header `{"alg":"RS256"}`, claims of the subject `s`, issued at `NOW`.
fn id_token(subject: &str) -> String {
    let claims = format!(
        r#"{{"iss":"https://id.example","aud":"client","sub":"{subject}","exp":{},"iat":{NOW}}}"#,
        NOW + 600
    );
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", base64_url(claims.as_bytes()))
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |group: u32, place: u32| char::from(ALPHABET[(group >> (6 * place) & 63) as usize]);
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let group = (0..3).fold(0, |group, index| {
                group << 8 | u32::from(*chunk.get(index).unwrap_or(&0))
            });
            (0..=chunk.len()).map(move |index| digit(group, 3 - index as u32))
        })
        .collect()
}

async fn oidc(
    http: ScriptedClient,
    client: ClientIdentity,
) -> (Arc<ScriptedClient>, Arc<StepClock>, TokenEndpoint) {
    let document = r#"{"issuer":"https://id.example","token_endpoint":"https://id.example/token",
        "device_authorization_endpoint":"https://id.example/device"}"#;
    let clock = Arc::new(StepClock::at(NOW));
    let authority = Authority::detect("https://id.example").unwrap();
    let discovery = Discovery::new(
        Arc::new(ScriptedClient::default().reply(200, document)),
        clock.clone(),
    );
    let metadata = discovery.metadata(&authority, LIMIT).await.unwrap();
    let http = Arc::new(http);
    let transport = Arc::new(Transport::new(http.clone(), clock.clone(), Arc::new(OsRandom)));
    let endpoint = TokenEndpoint::new(transport, authority, metadata, client);
    (http, clock, endpoint)
}

fn public() -> ClientIdentity {
    ClientIdentity::public("client").unwrap()
}

fn id() -> CorrelationId {
    CorrelationId::random(&OsRandom).unwrap()
}

async fn signed_in() -> Account {
    let body = format!(r#"{{"access_token":"a","id_token":"{}"}}"#, id_token("s"));
    device(ScriptedClient::default().reply(200, DEVICE).reply(200, &body))
        .await
        .0
        .unwrap()
        .account
        .unwrap()
}

async fn redeem(http: ScriptedClient) -> (CallOutcome, Arc<ScriptedClient>) {
    let account = signed_in().await;
    let (http, _, endpoint) = oidc(http, public()).await;
    let authority = Authority::detect("https://id.example").unwrap();
    let scopes = ScopeSet::parse("a");
    let request = refresh_token::request(&authority, &Secret::new("canary-old"), scopes, account, None);
    (endpoint.redeem(request, id(), LIMIT).await, http)
}

const DEVICE: &str = r#"{"device_code":"dc","user_code":"U","verification_uri":"https://id.example/d",
    "expires_in":60,"interval":5}"#;

async fn device(http: ScriptedClient) -> (Result<TokenResponse, Error>, Arc<ScriptedClient>, u64) {
    let (http, clock, endpoint) = oidc(http, public()).await;
    let request = device_code::request(ScopeSet::parse("a"));
    let authorization = endpoint.authorize_device(request, id(), LIMIT).await.unwrap();
    let tokens = endpoint.await_device(&authorization, id(), LIMIT).await;
    let waited = cache_core::time::Clock::monotonic(&*clock).as_secs() - NOW;
    (tokens, http, waited)
}

#[tokio::test]
async fn a_device_code_is_polled_until_the_user_is_done() {
    let pending = r#"{"error":"authorization_pending"}"#;
    let body = format!(r#"{{"access_token":"a","id_token":"{}"}}"#, id_token("s"));
    let http = ScriptedClient::default()
        .reply(200, DEVICE)
        .reply(400, pending)
        .reply(400, r#"{"error":"slow_down"}"#)
        .reply(400, pending)
        .reply(200, &body);
    let (tokens, http, waited) = device(http).await;
    assert_eq!(tokens.unwrap().account.unwrap().home_account_id, "s");
    assert_eq!(waited, 5 + 5 + 10 + 10);
    let sent = http.sent();
    assert_eq!(
        (&*sent[0].url, &*sent[1].url),
        ("https://id.example/device", "https://id.example/token")
    );
    assert_eq!(
        sent[0].form,
        "scope=a+openid+profile+offline_access&client_id=client"
    );
    let poll =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=dc&client_id=client";
    assert!(sent[1..].iter().all(|sent| sent.form == poll));
    assert!(
        sent.iter()
            .all(|sent| sent.headers.iter().all(|(name, _)| name == "accept"))
    );
}

#[tokio::test]
async fn a_device_code_ends_when_it_expires_or_is_declined() {
    let mut http = ScriptedClient::default().reply(200, DEVICE);
    for _ in 0..12 {
        http = http.reply(400, r#"{"error":"authorization_pending"}"#);
    }
    let (expired, _, waited) = device(http).await;
    assert!(matches!(
        expired,
        Err(Error::DeviceCode(DeviceCodeError::Expired))
    ));
    assert!(waited < 60, "{waited}");
    let declined = r#"{"error":"access_denied"}"#;
    let (declined, _, _) = device(ScriptedClient::default().reply(200, DEVICE).reply(400, declined)).await;
    assert!(matches!(
        declined,
        Err(Error::DeviceCode(DeviceCodeError::Declined))
    ));
}

#[tokio::test]
async fn client_credentials_authenticate_as_the_issuer_wants() {
    let client = ClientIdentity::with_secret("client", Secret::new("s")).unwrap();
    let reply = ScriptedClient::default().reply(200, r#"{"access_token":"a","expires_in":60}"#);
    let (http, _, endpoint) = oidc(reply, client.clone()).await;
    let authority = Authority::detect("https://id.example").unwrap();
    let request = client_credentials::request(&authority, &client, ScopeSet::parse("api")).unwrap();
    let response = endpoint.send(request, id(), LIMIT).await.unwrap();
    assert!(response.account.is_none());
    let sent = &http.sent()[0];
    assert_eq!(sent.form, "grant_type=client_credentials&scope=api");
    assert!(
        sent.headers
            .contains(&("authorization".into(), "Basic Y2xpZW50OnM=".into()))
    );

    let authority = Authority::detect(&format!("https://login.microsoftonline.com/{TENANT}")).unwrap();
    let metadata = Arc::new(Metadata::by_convention(&authority).unwrap());
    let http = Arc::new(ScriptedClient::default().reply(200, r#"{"access_token":"a","expires_in":60}"#));
    let clock = Arc::new(StepClock::at(NOW));
    let transport = Arc::new(Transport::new(http.clone(), clock, Arc::new(OsRandom)));
    let endpoint = TokenEndpoint::new(transport, authority.clone(), metadata, client.clone());
    let scopes = ScopeSet::parse("api://x/.default");
    let request = client_credentials::request(&authority, &client, scopes).unwrap();
    let correlation = id();
    let response = endpoint.send(request, correlation, LIMIT).await.unwrap();
    assert_eq!(
        (&*response.realm, &*response.environment),
        (TENANT, "login.microsoftonline.com")
    );
    let sent = &http.sent()[0];
    assert_eq!(
        sent.url,
        format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token")
    );
    assert_eq!(
        sent.form,
        "grant_type=client_credentials&scope=api%3A%2F%2Fx%2F.default&client_info=1&client_id=client&client_secret=s"
    );
    assert!(
        sent.headers
            .contains(&("client-request-id".into(), correlation.to_string()))
    );
    let result = AuthenticationResult::from_response(
        &response,
        correlation,
        ResultMetadata::new(TokenSource::Authority),
    );
    assert_eq!((result.access_token().expose(), result.tenant()), ("a", TENANT));
    assert!(result.account().is_none() && result.unique_id().is_none());
    assert_eq!(result.authorization_header().expose(), "Bearer a");
}

#[tokio::test]
async fn a_redeemed_token_is_granted_refused_or_told_apart() {
    let granted = format!(
        r#"{{"access_token":"b","refresh_token":"new","id_token":"{}"}}"#,
        id_token("s")
    );
    let (outcome, http) = redeem(ScriptedClient::default().reply(200, &granted)).await;
    let CallOutcome::Granted(response) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(response.refresh_token.unwrap().expose(), "new");
    assert_eq!(
        http.sent()[0].form,
        "grant_type=refresh_token&refresh_token=canary-old&scope=a&client_id=client"
    );

    for (status, body, about) in [
        (400, r#"{"error":"invalid_grant"}"#, RefusedBecause::Token),
        (400, "", RefusedBecause::Interaction),
        (401, r#"{"error":"invalid_client"}"#, RefusedBecause::Caller),
        (429, "", RefusedBecause::Throttled(None)),
    ] {
        let (outcome, http) = redeem(ScriptedClient::default().reply(status, body)).await;
        let CallOutcome::Refused(refusal) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(refusal.about, about, "{status} {body}");
        assert_eq!(http.sent().len(), 1);
    }

    let mallory = format!(r#"{{"access_token":"b","id_token":"{}"}}"#, id_token("mallory"));
    for (status, body) in [
        (200, "<html>canary</html>"),
        (200, "{}"),
        (200, &*mallory),
        (307, ""),
        (408, r#"{"error":"invalid_grant"}"#),
        (503, r#"{"error":"temporarily_unavailable"}"#),
    ] {
        let (outcome, http) = redeem(ScriptedClient::default().reply(status, body)).await;
        assert!(
            matches!(outcome, CallOutcome::OutcomeUnknown(_)),
            "{status} {body}: {outcome:?}"
        );
        assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
        assert_eq!(http.sent().len(), 1, "it was sent again");
    }

    let url = "https://id.example".parse().unwrap();
    let (outcome, _) =
        redeem(ScriptedClient::default().fail(HttpError::new(HttpErrorKind::NotSent, &url, "x"))).await;
    assert!(matches!(outcome, CallOutcome::NotSent(_)));
    let lost = HttpError::new(HttpErrorKind::OutcomeUnknown, &url, "x");
    let (outcome, http) = redeem(ScriptedClient::default().fail(lost)).await;
    assert!(matches!(outcome, CallOutcome::OutcomeUnknown(_)));
    assert_eq!(http.sent().len(), 1, "it was sent again");
}
