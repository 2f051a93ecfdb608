//! Two authorities, and clients of them over one store.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, Grant, HOME_TENANT,
};
use cache_testkit::clock::ManualClock;
use cache_testkit::oidc_provider::{
    CLI_CLIENT_ID, OidcProvider, Options, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
};
use flows::AuthenticationResult;
use flows::authority::Authority;
use flows::client::{ClientBuilder, ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, ReqwestClient};

pub const HOUR: Duration = Duration::from_secs(3_600);

pub async fn open(store: &Arc<dyn Store>, clock: Arc<dyn Clock>) -> TokenCache {
    TokenCache::builder(Arc::clone(store))
        .clock(clock)
        .open_sealed(
            Namespace::default(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
        )
        .await
        .unwrap()
}

/// The fake Entra authority, whose clock and the clients' move together.
pub struct Entra {
    pub authority: FakeAuthority,
    pub store: Arc<dyn Store>,
    pub clock: ManualClock,
    pub http: Arc<dyn HttpClient>,
}

impl Entra {
    pub async fn start(config: Config) -> Self {
        let authority = FakeAuthority::start(config.auto_approve_devices(0, ALICE))
            .await
            .unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        let clock = ManualClock::at(SystemClock.now());
        Self {
            authority,
            store: Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom))),
            clock,
            http: Arc::new(http),
        }
    }

    pub async fn cache(&self) -> TokenCache {
        open(&self.store, Arc::new(self.clock.clone())).await
    }

    pub async fn public(&self, client: &str) -> ClientBuilder<PublicClient> {
        let authority = Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap();
        PublicClient::builder(client, authority, self.cache().await).http(Arc::clone(&self.http))
    }

    pub async fn confidential(&self) -> ClientBuilder<ConfidentialClient> {
        let authority = Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, self.cache().await)
            .http(Arc::clone(&self.http))
    }

    pub async fn sign_in(&self, client: &PublicClient) -> AuthenticationResult {
        let _ticking = Ticking::start(&self.clock);
        let sign_in = client
            .acquire_token_by_device_code(["User.Read"])
            .on_prompt(|_| {});
        sign_in.await.unwrap()
    }

    pub fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        self.authority.advance(duration);
    }

    pub fn refreshes(&self) -> u64 {
        self.authority.grant_count(Grant::RefreshToken).requests
    }
}

/// The real provider, in real time.
pub struct Oidc {
    pub provider: Arc<OidcProvider>,
    pub store: Arc<dyn Store>,
}

impl Oidc {
    pub async fn start() -> Self {
        Self {
            provider: Arc::new(OidcProvider::start(Options::default()).await.unwrap()),
            store: Arc::new(MemoryStore::new()),
        }
    }

    pub async fn public(&self) -> ClientBuilder<PublicClient> {
        let authority = Authority::detect(self.provider.issuer()).unwrap();
        let cache = open(&self.store, Arc::new(SystemClock)).await;
        PublicClient::builder(CLI_CLIENT_ID, authority, cache)
    }

    pub async fn confidential(&self) -> ClientBuilder<ConfidentialClient> {
        let authority = Authority::detect(self.provider.issuer()).unwrap();
        let secret = ClientCredential::secret(Secret::new(SERVICE_CLIENT_SECRET));
        let cache = open(&self.store, Arc::new(SystemClock)).await;
        ConfidentialClient::builder(SERVICE_CLIENT_ID, authority, secret, cache)
    }

    pub async fn sign_in(&self, client: &PublicClient) -> AuthenticationResult {
        let provider = Arc::clone(&self.provider);
        client
            .acquire_token_by_device_code(["api:read"])
            .on_prompt(move |prompt| {
                let code = prompt.user_code().to_owned();
                tokio::spawn(async move { provider.approve_device(&code).await.unwrap() });
            })
            .await
            .unwrap()
    }
}

pub async fn only_account(client: &PublicClient) -> CachedAccount {
    let mut accounts = client.accounts().await.unwrap().accounts;
    assert_eq!(accounts.len(), 1);
    accounts.remove(0)
}

/// Lets the manual clock run while it is held: polls and pauses need it.
pub struct Ticking(tokio::task::JoinHandle<()>);

impl Ticking {
    pub fn start(clock: &ManualClock) -> Self {
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
