//! Every grant against a real, certified provider: discovery, device code, authorization code with PKCE, refresh with
//! rotation, client credentials.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CallOutcome, RefusedBecause};
use cache_core::random::OsRandom;
use cache_core::schema::{ScopeSet, TokenResponse};
use cache_core::secret::Secret;
use cache_core::time::SystemClock;
use cache_testkit::oidc_provider::{
    CLI_CLIENT_ID, OidcProvider, Options, SERVICE_BASIC_CLIENT_ID, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
};
use flows::authority::{Authority, Discovery, Metadata};
use flows::error::{AuthorizationResponseError, Error};
use flows::http::ReqwestClient;
use flows::request::authorization_code::AuthorizationRequest;
use flows::request::{ClientIdentity, SecretMethod, client_credentials, device_code, refresh_token};
use flows::{CorrelationId, IdTokenClaims, TokenEndpoint, Transport};

const LIMIT: Duration = Duration::from_secs(20);
const REDIRECT: &str = "http://127.0.0.1/callback";

struct Parties {
    provider: OidcProvider,
    authority: Authority,
    metadata: Arc<Metadata>,
}

impl Parties {
    async fn meet() -> Self {
        let provider = OidcProvider::start(Options::default()).await.unwrap();
        let authority = Authority::detect(provider.issuer()).unwrap();
        let http = Arc::new(ReqwestClient::new().unwrap());
        let discovery = Discovery::new(http, Arc::new(SystemClock));
        let metadata = discovery.metadata(&authority, LIMIT).await.unwrap();
        Self {
            provider,
            authority,
            metadata,
        }
    }

    fn endpoint(&self, client: ClientIdentity) -> TokenEndpoint {
        let http = Arc::new(ReqwestClient::new().unwrap());
        let (authority, metadata) = (self.authority.clone(), self.metadata.clone());
        let transport = Arc::new(Transport::new(http, Arc::new(SystemClock), Arc::new(OsRandom)));
        TokenEndpoint::new(transport, authority, metadata, client)
    }

    async fn sign_in_by_device(&self) -> TokenResponse {
        let endpoint = self.endpoint(public());
        let request = device_code::request(ScopeSet::parse("api:read"));
        let authorization = endpoint.authorize_device(request, id(), LIMIT).await.unwrap();
        self.provider
            .approve_device(authorization.user_code())
            .await
            .unwrap();
        endpoint.await_device(&authorization, id(), LIMIT).await.unwrap()
    }

    async fn redeem(&self, token: &Secret, signed_in: &TokenResponse) -> CallOutcome {
        let claims = signed_in
            .id_token
            .as_ref()
            .map(|token| IdTokenClaims::decode(token).unwrap());
        let account = signed_in.account.clone().unwrap();
        let scopes = ScopeSet::parse("openid api:read");
        let request = refresh_token::request(&self.authority, token, scopes, account, claims);
        self.endpoint(public()).redeem(request, id(), LIMIT).await
    }
}

fn public() -> ClientIdentity {
    ClientIdentity::public(CLI_CLIENT_ID).unwrap()
}

fn service(id: &str, secret: &str) -> ClientIdentity {
    ClientIdentity::with_secret(id, Secret::new(secret)).unwrap()
}

fn id() -> CorrelationId {
    CorrelationId::random(&OsRandom).unwrap()
}

#[tokio::test]
async fn a_device_signs_a_user_in_and_the_refresh_token_rotates() {
    let parties = Parties::meet().await;
    let first = parties.sign_in_by_device().await;
    let account = first.account.as_ref().unwrap();
    assert_eq!(
        (&*account.home_account_id, &*account.username),
        ("alice", "alice@example.test")
    );
    assert_eq!(account.issuer.as_deref(), Some(parties.provider.issuer()));
    assert!(first.scopes.contains("api:read"));
    assert_eq!(first.expires_on.0 - first.requested_at.0, 3_600);

    let spent = first.refresh_token.clone().unwrap();
    let outcome = parties.redeem(&spent, &first).await;
    let CallOutcome::Granted(second) = outcome else {
        panic!("{outcome:?}")
    };
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(second.account.as_ref().unwrap().home_account_id, "alice");

    // Reuse is told apart from every other refusal: the token is dead, and so is its successor.
    for token in [&spent, second.refresh_token.as_ref().unwrap()] {
        let outcome = parties.redeem(token, &first).await;
        let CallOutcome::Refused(refusal) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (&*refusal.error, refusal.about),
            ("invalid_grant", RefusedBecause::Token)
        );
    }
}

#[tokio::test]
async fn a_browser_signs_a_user_in_once() {
    let parties = Parties::meet().await;
    let client = service(SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET);
    let pending = AuthorizationRequest::new(client.id(), REDIRECT, ScopeSet::parse("api:read"))
        .begin(&parties.authority, &parties.metadata, &OsRandom)
        .unwrap();
    let back = parties.provider.authorize(pending.url().as_str()).await.unwrap();
    assert!(
        parties.metadata.authorization_response_iss && back.contains("iss="),
        "the provider sends iss"
    );

    let other = AuthorizationRequest::new(client.id(), REDIRECT, ScopeSet::default())
        .begin(&parties.authority, &parties.metadata, &OsRandom)
        .unwrap();
    let refused = other.accept(&parties.authority, &parties.metadata, &back);
    assert!(matches!(
        refused,
        Err(Error::AuthorizationResponse(AuthorizationResponseError::State))
    ));

    let code = pending
        .accept(&parties.authority, &parties.metadata, &back)
        .unwrap();
    let endpoint = parties.endpoint(client);
    let request = || pending.token_request(&parties.authority, &code);
    let tokens = endpoint.send(request(), id(), LIMIT).await.unwrap();
    assert_eq!(tokens.account.unwrap().home_account_id, "alice");
    let again = endpoint.send(request(), id(), LIMIT).await;
    assert!(matches!(again, Err(Error::InteractionRequired(_))), "{again:?}");
}

#[tokio::test]
async fn an_application_gets_a_token_by_form_and_by_header() {
    let parties = Parties::meet().await;
    let posted = service(SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET);
    let basic = service(SERVICE_BASIC_CLIENT_ID, SERVICE_CLIENT_SECRET).secret_method(SecretMethod::Basic);
    for client in [posted, basic] {
        let request =
            client_credentials::request(&parties.authority, &client, ScopeSet::parse("api:read")).unwrap();
        let tokens = parties.endpoint(client).send(request, id(), LIMIT).await.unwrap();
        assert!(tokens.access_token.is_some() && tokens.account.is_none() && tokens.refresh_token.is_none());
    }
    let wrong = service(SERVICE_CLIENT_ID, "wrong");
    let request =
        client_credentials::request(&parties.authority, &wrong, ScopeSet::parse("api:read")).unwrap();
    let refused = parties
        .endpoint(wrong)
        .send(request, id(), LIMIT)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Authority(error) if error.code() == "invalid_client"),
        "{refused}"
    );
}
