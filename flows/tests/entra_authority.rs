//! The flows of Entra against the fake authority, and what becomes of replies that lie.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CallOutcome, RefusedBecause};
use cache_core::random::OsRandom;
use cache_core::schema::{AuthorityKind, ScopeSet, TokenResponse};
use cache_core::secret::Secret;
use cache_core::time::SystemClock;
use cache_testkit::authority::{
    ALICE, Alteration, BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, GUEST_TENANT,
    Grant, HOME_TENANT, PUBLIC_CLIENT, RetryAfter, Script, ScriptedError,
};
use flows::authority::{Authority, Discovery, Metadata};
use flows::error::{DeviceCodeError, Error, IdTokenError, ReplyError};
use flows::http::{HttpClient, HttpRequest, ReqwestClient};
use flows::request::authorization_code::AuthorizationRequest;
use flows::request::{ClientIdentity, client_credentials, device_code, refresh_token};
use flows::{
    CorrelationId, IdTokenClaims, InteractionClassification, InteractionRequired, TokenEndpoint, Transport,
};

const LIMIT: Duration = Duration::from_secs(20);
const REDIRECT: &str = "http://localhost:4711/callback";

struct Parties {
    fake: FakeAuthority,
    http: Arc<ReqwestClient>,
    authority: Authority,
    metadata: Arc<Metadata>,
}

impl Parties {
    async fn meet(tenant: &str) -> Self {
        let config = Config::default().auto_approve_devices(0, ALICE);
        let fake = FakeAuthority::start(config).await.unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(fake.ca_pem().unwrap())
            .build()
            .unwrap();
        let http = Arc::new(http);
        let (authority, metadata) = discover(&fake, &http, tenant).await;
        Self {
            fake,
            http,
            authority,
            metadata,
        }
    }

    fn endpoint(&self, client: ClientIdentity) -> TokenEndpoint {
        let (authority, metadata) = (self.authority.clone(), self.metadata.clone());
        let transport = Arc::new(Transport::new(
            self.http.clone(),
            Arc::new(SystemClock),
            Arc::new(OsRandom),
        ));
        TokenEndpoint::new(transport, authority, metadata, client)
    }

    async fn sign_in(&self) -> Result<TokenResponse, Error> {
        let endpoint = self.endpoint(public());
        let request = device_code::request(ScopeSet::parse("User.Read"));
        let authorization = endpoint.authorize_device(request, id(), LIMIT).await?;
        let request = authorization.token_request(&self.authority);
        endpoint.send(request, id(), LIMIT).await
    }

    async fn refresh(&self, signed_in: &TokenResponse) -> CallOutcome {
        let token = signed_in.refresh_token.clone().unwrap();
        let claims = signed_in
            .id_token
            .as_ref()
            .map(|token| IdTokenClaims::decode(token).unwrap());
        let account = signed_in.account.clone().unwrap();
        let scopes = ScopeSet::parse("User.Read");
        let request = refresh_token::request(&self.authority, &token, scopes, account, claims);
        self.endpoint(public()).redeem(request, id(), LIMIT).await
    }

    /// The refusal of a refresh whose reply is altered, and that it was sent once.
    async fn refresh_altered(&self, signed_in: &TokenResponse, alteration: Alteration) -> String {
        let before = self.fake.grant_count(Grant::RefreshToken).requests;
        self.fake
            .script(Script::alter([alteration]).grant(Grant::RefreshToken));
        let outcome = self.refresh(signed_in).await;
        let CallOutcome::OutcomeUnknown(error) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(self.fake.grant_count(Grant::RefreshToken).requests, before + 1);
        std::error::Error::source(&error).unwrap().to_string()
    }
}

async fn discover(
    fake: &FakeAuthority,
    http: &Arc<ReqwestClient>,
    tenant: &str,
) -> (Authority, Arc<Metadata>) {
    let authority = Authority::detect(&fake.authority_url(tenant)).unwrap();
    assert_eq!(authority.kind(), AuthorityKind::Entra);
    let discovery = Discovery::new(http.clone(), Arc::new(SystemClock));
    let metadata = discovery.metadata(&authority, LIMIT).await.unwrap();
    (authority, metadata)
}

fn public() -> ClientIdentity {
    ClientIdentity::public(PUBLIC_CLIENT).unwrap()
}

fn id() -> CorrelationId {
    CorrelationId::random(&OsRandom).unwrap()
}

#[tokio::test]
async fn a_user_signs_in_at_every_kind_of_tenant_and_refreshes_as_a_guest() {
    let parties = Parties::meet("organizations").await;
    let tokens = parties.sign_in().await.unwrap();
    let account = tokens.account.clone().unwrap();
    assert!(
        account.home_account_id.ends_with(&format!(".{HOME_TENANT}")),
        "{}",
        account.home_account_id
    );
    assert_eq!((&*tokens.realm, &*account.username), (HOME_TENANT, ALICE));
    assert_eq!(account.environment, parties.authority.environment());

    let outcome = parties.refresh(&tokens).await;
    let CallOutcome::Granted(again) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(again.account.unwrap().home_account_id, account.home_account_id);

    let (authority, metadata) = discover(&parties.fake, &parties.http, GUEST_TENANT).await;
    let guest = Parties {
        authority,
        metadata,
        ..parties
    };
    let outcome = guest.refresh(&tokens).await;
    let CallOutcome::Granted(abroad) = outcome else {
        panic!("{outcome:?}")
    };
    let there = abroad.account.unwrap();
    assert_eq!((&*abroad.realm, &*there.realm), (GUEST_TENANT, GUEST_TENANT));
    assert_eq!(there.home_account_id, account.home_account_id);
    assert_ne!(there.local_account_id, account.local_account_id);
}

#[tokio::test]
async fn a_browser_signs_a_user_in_with_nonce_and_verifier() {
    let parties = Parties::meet("common").await;
    let begin = || {
        AuthorizationRequest::new(PUBLIC_CLIENT, REDIRECT, ScopeSet::parse("User.Read"))
            .begin(&parties.authority, &parties.metadata, &OsRandom)
            .unwrap()
    };
    let browse = async |url: url::Url| {
        let response = parties.http.send(HttpRequest::get(url, LIMIT)).await.unwrap();
        response.header("location").unwrap().to_owned()
    };
    let pending = begin();
    let back = browse(pending.url().clone()).await;
    let code = pending
        .accept(&parties.authority, &parties.metadata, &back)
        .unwrap();
    let endpoint = parties.endpoint(public());
    let tokens = endpoint
        .send(pending.token_request(&parties.authority, &code), id(), LIMIT)
        .await
        .unwrap();
    assert_eq!(tokens.account.unwrap().username, ALICE);

    let stale = begin();
    let back = browse(stale.url().clone()).await;
    let code = stale
        .accept(&parties.authority, &parties.metadata, &back)
        .unwrap();
    let nonce = Alteration::IdTokenClaim("nonce".into(), "of another sign-in".into());
    parties
        .fake
        .script(Script::alter([nonce]).grant(Grant::AuthorizationCode));
    let refused = endpoint
        .send(stale.token_request(&parties.authority, &code), id(), LIMIT)
        .await;
    assert!(
        matches!(refused, Err(Error::IdToken(IdTokenError::Nonce))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_application_gets_a_token_of_its_tenant() {
    let parties = Parties::meet(HOME_TENANT).await;
    let secret = Secret::new(CONFIDENTIAL_SECRET);
    let client = ClientIdentity::with_secret(CONFIDENTIAL_CLIENT, secret).unwrap();
    let scopes = ScopeSet::parse("https://graph.microsoft.com/.default");
    let request = client_credentials::request(&parties.authority, &client, scopes).unwrap();
    let tokens = parties.endpoint(client).send(request, id(), LIMIT).await.unwrap();
    assert_eq!(tokens.realm, HOME_TENANT);
    assert!(tokens.account.is_none() && tokens.access_token.is_some());
}

#[tokio::test]
async fn a_declined_device_code_says_so() {
    let fake = FakeAuthority::start(Config::default()).await.unwrap();
    let http = ReqwestClient::builder()
        .ca_certificates(fake.ca_pem().unwrap())
        .build()
        .unwrap();
    let http = Arc::new(http);
    let (authority, metadata) = discover(&fake, &http, "common").await;
    let parties = Parties {
        fake,
        http,
        authority,
        metadata,
    };
    let endpoint = parties.endpoint(public());
    let request = device_code::request(ScopeSet::parse("User.Read"));
    let authorization = endpoint.authorize_device(request, id(), LIMIT).await.unwrap();
    parties.fake.deny_device(authorization.user_code()).unwrap();
    let declined = endpoint.await_device(&authorization, id(), LIMIT).await;
    assert!(
        matches!(declined, Err(Error::DeviceCode(DeviceCodeError::Declined))),
        "{declined:?}"
    );
}

#[tokio::test]
async fn a_sign_in_that_lies_is_refused() {
    let parties = Parties::meet("organizations").await;
    for (alteration, expected) in [
        (Alteration::wrong_issuer(), IdTokenError::Issuer),
        (
            Alteration::IdTokenClaim("aud".into(), "another-client".into()),
            IdTokenError::Audience,
        ),
        (
            Alteration::IdTokenClaim("exp".into(), 1_000_000_000.into()),
            IdTokenError::Expired,
        ),
        (
            Alteration::IdTokenClaim("tid".into(), "evil".into()),
            IdTokenError::Tenant,
        ),
        (
            Alteration::IdTokenClaim("sub".into(), serde_json::Value::Null),
            IdTokenError::Missing("sub"),
        ),
    ] {
        parties
            .fake
            .script(Script::alter([alteration.clone()]).grant(Grant::DeviceCode));
        let refused = parties.sign_in().await;
        assert!(
            matches!(&refused, Err(Error::IdToken(error)) if *error == expected),
            "{alteration:?} {refused:?}"
        );
    }
    let info = Alteration::Set("client_info".into(), "%%".into());
    parties
        .fake
        .script(Script::alter([info]).grant(Grant::DeviceCode));
    assert!(matches!(
        parties.sign_in().await,
        Err(Error::Reply(ReplyError::ClientInfo))
    ));
}

#[tokio::test]
async fn a_refresh_for_somebody_else_is_refused_and_never_repeated() {
    let parties = Parties::meet("organizations").await;
    let tokens = parties.sign_in().await.unwrap();
    for (alteration, expected) in [
        (
            Alteration::ClientInfoOf(BOB.into()),
            ReplyError::AnotherAccount.to_string(),
        ),
        (
            Alteration::IdTokenClaim("sub".into(), "bob".into()),
            IdTokenError::AnotherUser.to_string(),
        ),
        (
            Alteration::IdTokenClaim("oid".into(), "bob".into()),
            IdTokenError::AnotherUser.to_string(),
        ),
        (Alteration::wrong_issuer(), IdTokenError::Issuer.to_string()),
        (
            Alteration::Set("token_type".into(), "pop".into()),
            ReplyError::TokenType("pop".into()).to_string(),
        ),
    ] {
        assert_eq!(parties.refresh_altered(&tokens, alteration).await, expected);
    }
}

#[tokio::test]
async fn refusals_and_unknown_outcomes_are_told_apart() {
    let parties = Parties::meet("organizations").await;
    let tokens = parties.sign_in().await.unwrap();
    let refresh = async |script: Script| {
        parties.fake.script(script.grant(Grant::RefreshToken));
        parties.refresh(&tokens).await
    };
    let claims = r#"{"access_token":{"capolids":{"essential":true}}}"#;
    for (script, about) in [
        (
            Script::error(ScriptedError::invalid_grant()),
            RefusedBecause::Token,
        ),
        (
            Script::error(ScriptedError::invalid_grant().suberror("client_mismatch")),
            RefusedBecause::NotInFamily,
        ),
        (
            Script::error(ScriptedError::claims_challenge(claims)),
            RefusedBecause::Interaction,
        ),
        (Script::empty_bad_request(), RefusedBecause::Interaction),
        (
            Script::too_many_requests(Some(RetryAfter::Seconds(9))),
            RefusedBecause::Throttled(Some(Duration::from_secs(9))),
        ),
    ] {
        let outcome = refresh(script).await;
        let CallOutcome::Refused(refusal) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(refusal.about, about, "{refusal:?}");
    }
    for script in [
        Script::status(503),
        Script::redirect("https://127.0.0.1:1/token"),
        Script::endless_body(),
        Script::lost_reply(),
        Script::half_reply(),
        Script::drop_before_processing(),
    ] {
        let outcome = refresh(script.clone()).await;
        assert!(
            matches!(outcome, CallOutcome::OutcomeUnknown(_)),
            "{script:?} {outcome:?}"
        );
    }
    assert_eq!(parties.fake.scripts_left(), 0);
    assert_eq!(
        parties.fake.grant_count(Grant::RefreshToken).requests,
        11,
        "something was sent again"
    );
}

#[tokio::test]
async fn a_claims_challenge_reaches_the_caller_unchanged() {
    let parties = Parties::meet("organizations").await;
    let claims = r#"{"access_token":{"capolids":{"essential":true,"values":["c1"]}}}"#;
    let error = ScriptedError::claims_challenge(claims).suberror("basic_action");
    parties.fake.script(Script::error(error).grant(Grant::DeviceCode));
    let Err(Error::InteractionRequired(required)) = parties.sign_in().await else {
        panic!()
    };
    let required: InteractionRequired = *required;
    assert_eq!(required.classification(), InteractionClassification::BasicAction);
    assert_eq!(required.claims(), Some(claims));
    assert!(required.refusal().unwrap().trace_id().is_some());
}
