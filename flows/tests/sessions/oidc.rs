//! Sessions at a real, certified provider: on-behalf-of, token exchange, web sessions, the import of a refresh token.

use std::sync::Arc;

use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::clock::ManualClock;
use cache_testkit::oidc_provider::{
    CLI_CLIENT_ID, OidcProvider, Options, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
};
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient, SessionId};
use flows::request::authorization_code::AuthorizationRequest;
use flows::request::on_behalf_of::{JWT_BEARER, UserAssertion};
use flows::request::token_exchange::{RequestedTokenType, SubjectTokenType, TOKEN_EXCHANGE};
use flows::{AuthenticationResult, Error, RefreshReason, TokenSource};

use crate::scene::{HOUR, cache_over};

const REDIRECT: &str = "http://127.0.0.1/callback";

struct Provider {
    provider: Arc<OidcProvider>,
    store: Arc<dyn Store>,
    clock: ManualClock,
}

impl Provider {
    async fn start() -> Self {
        let clock = ManualClock::at(SystemClock.now());
        Self {
            provider: Arc::new(OidcProvider::start(Options::default()).await.unwrap()),
            store: Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom))),
            clock,
        }
    }

    async fn service(&self) -> ConfidentialClient {
        let authority = Authority::detect(self.provider.issuer()).unwrap();
        let secret = ClientCredential::secret(Secret::new(SERVICE_CLIENT_SECRET));
        let cache = cache_over(&self.store, &self.clock).await;
        ConfidentialClient::builder(SERVICE_CLIENT_ID, authority, secret, cache)
            .build()
            .unwrap()
    }

    /// Alice, signed in to the command-line tool, whose token she presents to the service.
    async fn alice(&self) -> AuthenticationResult {
        let authority = Authority::detect(self.provider.issuer()).unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let cache = cache_over(&store, &self.clock).await;
        let client = PublicClient::builder(CLI_CLIENT_ID, authority, cache)
            .build()
            .unwrap();
        let ticking = crate::scene::Ticking::start(&self.clock);
        let (code, shown) = tokio::sync::oneshot::channel();
        let approve = {
            let provider = Arc::clone(&self.provider);
            tokio::spawn(async move {
                let code: String = shown.await.unwrap();
                provider.approve_device(&code).await.unwrap();
            })
        };
        let result = client
            .acquire_token_by_device_code(["api:read"])
            .on_prompt(move |prompt| code.send(prompt.user_code().to_owned()).unwrap())
            .await
            .unwrap();
        approve.await.unwrap();
        drop(ticking);
        result
    }

    async fn granted(&self, grant: &str) -> u64 {
        let statistics = self.provider.statistics().await.unwrap();
        statistics.tokens_granted.get(grant).copied().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_and_a_long_running_session_at_a_real_provider() {
    let provider = Provider::start().await;
    let service = provider.service().await;
    let alice = UserAssertion::jwt(provider.alice().await.access_token().to_secret());
    let first = service
        .acquire_token_on_behalf_of(&alice, ["api:read"])
        .await
        .unwrap();
    assert_eq!(first.account().unwrap().home_account_id, "alice");
    let again = service
        .acquire_token_on_behalf_of(&alice, ["api:read"])
        .await
        .unwrap();
    assert_eq!(again.metadata().source, TokenSource::Memory);
    assert_eq!(provider.granted(JWT_BEARER).await, 1);

    let id = SessionId::random(&OsRandom).unwrap();
    service
        .begin_long_running_session(&id, &alice, ["api:read"])
        .await
        .unwrap();
    for _ in 0..2 {
        provider.clock.advance(2 * HOUR);
        let refreshed = service
            .acquire_token_in_long_running_session(&id, ["api:read"])
            .await
            .unwrap();
        assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
    }
    let statistics = provider.provider.statistics().await.unwrap();
    assert_eq!(
        (
            statistics.refresh_tokens_consumed,
            statistics.refresh_tokens_reused
        ),
        (2, 0)
    );
    assert!(service.remove_account_by_home_id("alice").await.unwrap().found);
    let gone = provider
        .service()
        .await
        .acquire_token_in_long_running_session(&id, ["api:read"])
        .await;
    assert!(matches!(gone, Err(Error::InteractionRequired(_))), "{gone:?}");

    let forged = UserAssertion::jwt(Secret::new("forged"));
    let error = service
        .acquire_token_on_behalf_of(&forged, ["api:read"])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_exchanged_with_and_without_an_actor_at_a_real_provider() {
    let provider = Provider::start().await;
    let service = provider.service().await;
    let subject = provider.alice().await.access_token().to_secret();
    let actor = service.acquire_token_for_client(["api:read"]).await.unwrap();
    let exchange = || {
        service
            .acquire_token_by_token_exchange(&subject, SubjectTokenType::AccessToken)
            .scopes(["api:read"])
    };
    let alone = exchange().await.unwrap();
    assert!(
        alone.account().is_none(),
        "the reply has no ID token, so nobody knows whose it is"
    );
    let acting = exchange()
        .actor(&actor.access_token().to_secret(), SubjectTokenType::AccessToken)
        .await
        .unwrap();
    let elsewhere = exchange()
        .resource("urn:tokenkeep:api")
        .requested_token_type(RequestedTokenType::AccessToken)
        .await
        .unwrap();
    let named = exchange().audience("billing").await.unwrap();
    let tokens = [&alone, &acting, &elsewhere, &named].map(|result| result.access_token().to_secret());
    for (index, token) in tokens.iter().enumerate() {
        assert!(!tokens[..index].contains(token), "{index} is another's");
    }
    assert_eq!(provider.granted(TOKEN_EXCHANGE).await, 4);

    let replica = provider.service().await;
    let cached = replica
        .acquire_token_by_token_exchange(&subject, SubjectTokenType::AccessToken)
        .scopes(["api:read"])
        .actor(&actor.access_token().to_secret(), SubjectTokenType::AccessToken)
        .await
        .unwrap();
    assert_eq!(
        (cached.metadata().source, cached.access_token()),
        (TokenSource::Store, acting.access_token())
    );
    assert_eq!(provider.granted(TOKEN_EXCHANGE).await, 4);
    let error = exchange()
        .actor(&Secret::new("unknown"), SubjectTokenType::AccessToken)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
    let error = exchange().resource("urn:unknown").await.unwrap_err();
    assert!(
        matches!(&error, Error::Authority(refused) if refused.code() == "invalid_target"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_session_at_a_real_provider() {
    let provider = Provider::start().await;
    let service = provider.service().await;
    let request = AuthorizationRequest::new(
        SERVICE_CLIENT_ID,
        REDIRECT,
        ScopeSet::parse("api:read offline_access"),
    );
    let pending = service
        .begin_authorization(request.parameter("prompt", "consent"))
        .await
        .unwrap();
    let back = provider.provider.authorize(pending.url().as_str()).await.unwrap();
    let id = SessionId::random(&OsRandom).unwrap();
    service
        .acquire_token_by_authorization_code(&pending.into_parts(), &back)
        .in_session(&id)
        .await
        .unwrap();
    provider.clock.advance(2 * HOUR);
    let replica = provider.service().await;
    let refreshed = replica
        .acquire_token_silent(["api:read"])
        .in_session(&id)
        .await
        .unwrap();
    assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
    assert_eq!(refreshed.account().unwrap().home_account_id, "alice");

    let exported = service.cache().export().await.unwrap();
    let exported: serde_json::Value = serde_json::from_slice(exported.json.expose()).unwrap();
    assert!(
        exported["RefreshToken"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty),
        "a session's tokens are not the user's"
    );
    assert!(replica.end_session(&id).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_s_refresh_token_is_taken_over_at_a_real_provider() {
    let provider = Provider::start().await;
    let service = provider.service().await;
    let request = AuthorizationRequest::new(
        SERVICE_CLIENT_ID,
        REDIRECT,
        ScopeSet::parse("api:read offline_access"),
    );
    let pending = service
        .begin_authorization(request.parameter("prompt", "consent"))
        .await
        .unwrap();
    let back = provider.provider.authorize(pending.url().as_str()).await.unwrap();
    let old = Provider {
        store: Arc::new(MemoryStore::new()),
        provider: Arc::clone(&provider.provider),
        clock: provider.clock.clone(),
    };
    let old = old.service().await;
    old.acquire_token_by_authorization_code(&pending.into_parts(), &back)
        .await
        .unwrap();
    let exported = old.cache().export().await.unwrap();
    let exported: serde_json::Value = serde_json::from_slice(exported.json.expose()).unwrap();
    let rows = exported["RefreshToken"].as_object().unwrap();
    let secret = Secret::new(rows.values().next().unwrap()["secret"].as_str().unwrap());
    let imported = service
        .acquire_token_by_refresh_token(&secret, ["api:read"])
        .await
        .unwrap();
    assert_eq!(imported.account().unwrap().home_account_id, "alice");
    let account = service.accounts().await.unwrap().accounts.remove(0);
    let silent = service
        .acquire_token_silent(["api:read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.metadata().source, TokenSource::Memory);
}
