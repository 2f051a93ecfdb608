//! A fake authority, a store, and clients of both kinds at any of its addresses.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::schema::ScopeSet;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, Grant, PUBLIC_CLIENT,
};
use cache_testkit::clock::ManualClock;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, HttpRequest, ReqwestClient};
use flows::request::authorization_code::AuthorizationRequest;
use flows::{AuthenticationResult, Error};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct Scene {
    pub(crate) fake: FakeAuthority,
    pub(crate) clock: ManualClock,
    pub(crate) http: Arc<dyn HttpClient>,
    store: Arc<dyn Store>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default().auto_approve_devices(0, ALICE)).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let fake = FakeAuthority::start(config).await.unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(fake.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        // The authority's clock is the real one, and what it says must fit.
        let clock = ManualClock::at(SystemClock.now());
        let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(cache_core::random::OsRandom));
        Self {
            fake,
            clock,
            http: Arc::new(http),
            store: Arc::new(store),
        }
    }

    pub(crate) async fn cache(&self) -> TokenCache {
        TokenCache::builder(Arc::clone(&self.store))
            .clock(Arc::new(self.clock.clone()))
            .open_sealed(
                Namespace::default(),
                Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
            )
            .await
            .unwrap()
    }

    pub(crate) async fn public(&self, authority: Authority) -> PublicClient {
        self.public_as(authority, PUBLIC_CLIENT).await
    }

    pub(crate) async fn public_as(&self, authority: Authority, client: &str) -> PublicClient {
        PublicClient::builder(client, authority, self.cache().await)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    pub(crate) async fn confidential(&self, authority: Authority) -> ConfidentialClient {
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, self.cache().await)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    pub(crate) fn entra(&self, tenant: &str) -> Authority {
        Authority::entra(&self.fake.authority_url(tenant)).unwrap()
    }

    pub(crate) async fn sign_in(&self, client: &PublicClient, scopes: &str) -> AuthenticationResult {
        let _ticking = Ticking::start(&self.clock);
        let sign_in = client.acquire_token_by_device_code([scopes]);
        sign_in.on_prompt(|_| {}).await.unwrap()
    }

    /// Signs `user` in through the authorization endpoint.
    pub(crate) async fn browse(
        &self,
        client: &ConfidentialClient,
        user: &str,
        scopes: &str,
    ) -> Result<AuthenticationResult, Error> {
        let redirect_uri = "http://localhost/callback";
        let request = AuthorizationRequest::new(CONFIDENTIAL_CLIENT, redirect_uri, ScopeSet::parse(scopes))
            .login_hint(user);
        let pending = client.begin_authorization(request).await?;
        let reply = self
            .http
            .send(HttpRequest::get(pending.url().clone(), HOUR))
            .await?;
        let back = reply.header("location").unwrap().to_owned();
        let parts = pending.into_parts();
        client.acquire_token_by_authorization_code(&parts, &back).await
    }

    /// Moves both clocks. The manual clock alone would make the authority's tokens look as if they came from the past.
    pub(crate) fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        self.fake.advance(duration);
    }

    pub(crate) fn refreshes(&self) -> u64 {
        self.fake.grant_count(Grant::RefreshToken).requests
    }
}

/// The only account that is there.
pub(crate) async fn only_account(client: &PublicClient) -> CachedAccount {
    let mut accounts = client.accounts().await.unwrap().accounts;
    assert_eq!(accounts.len(), 1);
    accounts.remove(0)
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
