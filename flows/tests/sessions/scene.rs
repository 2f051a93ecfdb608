//! A middle tier at the fake Entra authority, with as many caches over one store as a test wants.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::Strategy;
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, Grant, HOME_TENANT, PASSWORD,
    PUBLIC_CLIENT,
};
use cache_testkit::clock::ManualClock;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{Form, HttpClient, HttpRequest, ReqwestClient};
use flows::request::authorization_code::{AuthorizationRequest, PendingParts};
use flows::request::on_behalf_of::UserAssertion;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// What the middle tier asks for on behalf of its users.
pub(crate) const SCOPES: [&str; 1] = ["Mail.Read"];
pub(crate) const REDIRECT: &str = "https://app.contoso.test/callback";

pub(crate) struct Scene {
    pub(crate) authority: FakeAuthority,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: ManualClock,
    pub(crate) http: Arc<dyn HttpClient>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        // The authority's clock is the real one, and what it says must fit.
        let clock = ManualClock::at(SystemClock.now());
        let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
        Self::over(Arc::new(store), clock).await
    }

    pub(crate) async fn over(store: Arc<dyn Store>, clock: ManualClock) -> Self {
        Self::with(Config::default(), store, clock).await
    }

    pub(crate) async fn with(config: Config, store: Arc<dyn Store>, clock: ManualClock) -> Self {
        let authority = FakeAuthority::start(config).await.unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            authority,
            store,
            clock,
            http: Arc::new(http),
        }
    }

    pub(crate) async fn cache(&self) -> TokenCache {
        cache_over(&self.store, &self.clock).await
    }

    /// A process of the middle tier, with a cache of its own.
    pub(crate) async fn service(&self) -> ConfidentialClient {
        self.service_at(HOME_TENANT).await
    }

    pub(crate) async fn service_at(&self, tenant: &str) -> ConfidentialClient {
        let authority = Authority::detect(&self.authority.authority_url(tenant)).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, self.cache().await)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    pub(crate) async fn public(&self) -> PublicClient {
        let authority = Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap();
        PublicClient::builder(PUBLIC_CLIENT, authority, self.cache().await)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    /// What the authority answers to a sign-in of `username` by password.
    pub(crate) async fn signed_in(&self, username: &str, scope: &str) -> serde_json::Value {
        let mut form = Form::new();
        for (name, value) in [
            ("client_id", PUBLIC_CLIENT),
            ("grant_type", "password"),
            ("username", username),
            ("password", PASSWORD),
            ("scope", scope),
        ] {
            form.push(name, value);
        }
        let url = format!("{}/oauth2/v2.0/token", self.authority.authority_url(HOME_TENANT));
        let request = HttpRequest::post(url.parse().unwrap(), form, HOUR);
        let reply = self.http.send(request).await.unwrap();
        serde_json::from_slice(reply.body.expose()).unwrap()
    }

    /// A token of `username` for the middle tier.
    pub(crate) async fn assertion(&self, username: &str) -> UserAssertion {
        let scope = format!("api://{CONFIDENTIAL_CLIENT}/access openid");
        let reply = self.signed_in(username, &scope).await;
        UserAssertion::jwt(Secret::new(reply["access_token"].as_str().unwrap()))
    }

    pub(crate) async fn alice(&self) -> UserAssertion {
        self.assertion(ALICE).await
    }

    /// A browser that went to the authority and came back, as `username`.
    pub(crate) async fn browsed(
        &self,
        service: &ConfidentialClient,
        username: &str,
    ) -> (PendingParts, String) {
        let scopes = ScopeSet::parse("User.Read");
        let request = AuthorizationRequest::new(CONFIDENTIAL_CLIENT, REDIRECT, scopes).login_hint(username);
        let pending = service.begin_authorization(request).await.unwrap();
        let there = HttpRequest::get(pending.url().clone(), HOUR);
        let reply = self.http.send(there).await.unwrap();
        let back = reply.header("location").unwrap().to_owned();
        (pending.into_parts(), back)
    }

    /// Moves both clocks.
    pub(crate) fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        self.authority.advance(duration);
    }

    pub(crate) fn asked_on_behalf_of(&self) -> u64 {
        self.authority.grant_count(Grant::OnBehalfOf).requests
    }

    pub(crate) fn refreshes(&self) -> u64 {
        self.authority.grant_count(Grant::RefreshToken).requests
    }
}

pub(crate) async fn cache_over(store: &Arc<dyn Store>, clock: &ManualClock) -> TokenCache {
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    TokenCache::builder(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .strategy(Strategy::web_front_end())
        .open_sealed(Namespace::default(), key)
        .await
        .unwrap()
}

/// Lets the manual clock run, ten times as fast as the real one, while it is held: polls and pauses need it.
pub(crate) struct Ticking(tokio::task::JoinHandle<()>);

impl Ticking {
    pub(crate) fn start(clock: &ManualClock) -> Self {
        let clock = clock.clone();
        Self(tokio::spawn(async move {
            loop {
                clock.wait_for_sleepers(1).await;
                clock.advance(Duration::from_millis(10));
                SystemClock.sleep(Duration::from_millis(1)).await;
            }
        }))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}
