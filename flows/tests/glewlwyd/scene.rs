//! A provider, and clients with caches of their own over one store.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::time::SystemClock;
use cache_testkit::clock::ManualClock;
use cache_testkit::glewlwyd::{
    ALICE, CLI_CLIENT_ID, Glewlwyd, REDIRECT_URI, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
};
use flows::AuthenticationResult;
use flows::authority::Authority;
use flows::client::{ClientBuilder, ClientCredential, ConfidentialClient, PublicClient};
use flows::request::authorization_code::{AuthorizationRequest, PendingParts};
use tokio::sync::oneshot;

pub(crate) const SCOPES: [&str; 1] = ["api:read"];

pub(crate) struct Scene {
    pub(crate) provider: Arc<Glewlwyd>,
    store: Arc<dyn Store>,
    pub(crate) clock: ManualClock,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        // The provider's clock is the real one, and what it says must fit.
        let clock = ManualClock::at(cache_core::time::Clock::now(&SystemClock));
        Self {
            provider: Arc::new(Glewlwyd::start().await.unwrap()),
            store: Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom))),
            clock,
        }
    }

    /// Another store at the same provider, with a copy of what this one holds.
    pub(crate) async fn copied(&self) -> Self {
        let copy = Self {
            provider: Arc::clone(&self.provider),
            store: Arc::new(MemoryStore::with(
                Arc::new(self.clock.clone()),
                Arc::new(OsRandom),
            )),
            clock: self.clock.clone(),
        };
        let exported = self.cache().await.export().await.unwrap();
        let identity = self.authority().identity();
        copy.cache()
            .await
            .import(exported.json.expose(), &|_| identity.clone())
            .await
            .unwrap();
        copy
    }

    async fn cache(&self) -> TokenCache {
        let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
        TokenCache::builder(Arc::clone(&self.store))
            .clock(Arc::new(self.clock.clone()))
            .open_sealed(Namespace::default(), key)
            .await
            .unwrap()
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::oidc(self.provider.issuer()).unwrap()
    }

    pub(crate) async fn public_builder(&self) -> ClientBuilder<PublicClient> {
        PublicClient::builder(CLI_CLIENT_ID, self.authority(), self.cache().await)
    }

    pub(crate) async fn public(&self) -> PublicClient {
        self.public_builder().await.build().unwrap()
    }

    pub(crate) async fn confidential_builder(&self) -> ClientBuilder<ConfidentialClient> {
        let secret = ClientCredential::secret(Secret::new(SERVICE_CLIENT_SECRET));
        self.confidential_by(secret).await
    }

    pub(crate) async fn confidential_by(
        &self,
        credential: ClientCredential,
    ) -> ClientBuilder<ConfidentialClient> {
        ConfidentialClient::builder(
            SERVICE_CLIENT_ID,
            self.authority(),
            credential,
            self.cache().await,
        )
    }

    pub(crate) async fn confidential(&self) -> ConfidentialClient {
        self.confidential_builder().await.build().unwrap()
    }

    /// Alice's browser, on its way through an authorization URL: where it is sent back to.
    pub(crate) async fn browsed(&self, client: &ConfidentialClient) -> (PendingParts, String) {
        let request = AuthorizationRequest::new(SERVICE_CLIENT_ID, REDIRECT_URI, ScopeSet::of(SCOPES));
        let pending = client.begin_authorization(request).await.unwrap();
        let back = self
            .provider
            .authorize(ALICE, pending.url().as_str())
            .await
            .unwrap();
        (pending.into_parts(), back)
    }

    /// The refresh token in the cache, as another program could have got it.
    pub(crate) async fn refresh_token(&self) -> Secret {
        let exported = self.cache().await.export().await.unwrap();
        let exported: serde_json::Value = serde_json::from_slice(exported.json.expose()).unwrap();
        let rows = exported["RefreshToken"].as_object().unwrap();
        Secret::new(rows.values().next().unwrap()["secret"].as_str().unwrap())
    }

    /// Alice signs in with a device code.
    pub(crate) async fn sign_in(&self, client: &PublicClient) -> AuthenticationResult {
        let (shown, user_code) = oneshot::channel();
        let provider = Arc::clone(&self.provider);
        let alice = tokio::spawn(async move {
            let user_code: String = user_code.await.unwrap();
            provider.approve_device(ALICE, &user_code).await.unwrap();
        });
        let clock = self.clock.clone();
        // The clock that polls wait by goes on only here.
        let time = tokio::spawn(async move {
            loop {
                clock.wait_for_sleepers(1).await;
                cache_core::time::Clock::sleep(&SystemClock, Duration::from_millis(20)).await;
                clock.advance(Duration::from_millis(500));
            }
        });
        let result = client
            .acquire_token_by_device_code(SCOPES)
            .on_prompt(|prompt| shown.send(prompt.user_code().to_owned()).unwrap())
            .await;
        time.abort();
        alice.await.unwrap();
        result.unwrap()
    }
}

pub(crate) async fn only_account(client: &PublicClient) -> CachedAccount {
    let mut accounts = client.accounts().await.unwrap().accounts;
    assert_eq!(accounts.len(), 1);
    accounts.remove(0)
}
