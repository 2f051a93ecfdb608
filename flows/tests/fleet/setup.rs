//! What every process of a fleet is told at its start, and the client that it builds from that.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::cache::TokenCache;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use cache_core::strategy::{Coalescing, MemoryTier, Strategy, TimeLimits};
use cache_testkit::authority::{ALICE, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT};
use cache_testkit::oidc_provider::{self, CLI_CLIENT_ID, OidcProvider};
use flows::AuthenticationResult;
use flows::authority::Authority;
use flows::client::PublicClient;
use flows::http::{HttpClient, ReqwestClient};
use futures_core::stream::BoxStream;
use serde_json::{Value, json};

use crate::place::{Ground, Place};

/// The environment variable that makes a process a member.
pub const SETUP: &str = "TOKENKEEP_FLEET_MEMBER";

/// A process that is told nothing else.
#[derive(Clone, Debug)]
pub struct Setup {
    pub place: Place,
    pub authority: String,
    pub client_id: String,
    pub ca_pem: Option<String>,
    pub scope: String,
    pub limits: TimeLimits,
    pub max_staleness: Duration,
    /// Whether the store tells of changes.
    pub watch: bool,
    pub coalescing: Coalescing,
}

impl Setup {
    /// For nobody in particular: the cache alone is used.
    pub fn of_ground(ground: &Ground) -> Self {
        Self {
            place: ground.place(),
            authority: "https://issuer.example".to_owned(),
            client_id: CLI_CLIENT_ID.to_owned(),
            ca_pem: None,
            scope: "api:read".to_owned(),
            limits: TimeLimits::default(),
            max_staleness: Duration::from_secs(30),
            watch: true,
            coalescing: Coalescing::Fleet,
        }
    }

    pub fn of_provider(ground: &Ground, provider: &OidcProvider) -> Self {
        Self {
            authority: provider.issuer().to_owned(),
            ..Self::of_ground(ground)
        }
    }

    pub fn of_entra(ground: &Ground, fake: &FakeAuthority) -> Self {
        Self {
            authority: fake.authority_url(HOME_TENANT),
            client_id: PUBLIC_CLIENT.to_owned(),
            ca_pem: fake.ca_pem().map(str::to_owned),
            scope: "User.Read".to_owned(),
            ..Self::of_ground(ground)
        }
    }

    /// What this process was told; `None` where it is not a member.
    pub fn of_this_process() -> Option<Self> {
        let told: Value = serde_json::from_str(&std::env::var(SETUP).ok()?).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let time = |name: &str| Duration::from_millis(told[name].as_u64().unwrap());
        Some(Self {
            place: Place::parse(&text("place")),
            authority: text("authority"),
            client_id: text("client_id"),
            ca_pem: told["ca_pem"].as_str().map(str::to_owned),
            scope: text("scope"),
            limits: TimeLimits {
                request: time("request"),
                commit: time("commit"),
                acquire: time("acquire"),
            },
            max_staleness: time("max_staleness"),
            watch: told["watch"].as_bool().unwrap(),
            coalescing: match told["coalescing"].as_bool().unwrap() {
                true => Coalescing::Fleet,
                false => Coalescing::None,
            },
        })
    }

    /// In words for a process.
    pub fn told(&self) -> String {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        json!({
            "place": self.place.to_string(),
            "authority": self.authority,
            "client_id": self.client_id,
            "ca_pem": self.ca_pem,
            "scope": self.scope,
            "request": millis(self.limits.request),
            "commit": millis(self.limits.commit),
            "acquire": millis(self.limits.acquire),
            "max_staleness": millis(self.max_staleness),
            "watch": self.watch,
            "coalescing": self.coalescing == Coalescing::Fleet,
        })
        .to_string()
    }

    pub async fn cache(&self) -> TokenCache {
        let store = self.place.open().await;
        let store: Arc<dyn Store> = if self.watch { store } else { Arc::new(Deaf(store)) };
        let memory = MemoryTier::bounded(8 << 20).max_staleness(self.max_staleness);
        let strategy = Strategy::desktop_tool()
            .memory_tier(memory)
            .coalescing(self.coalescing)
            .limits(self.limits);
        TokenCache::builder(store)
            .strategy(strategy)
            .open_sealed(
                Namespace::default(),
                Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
            )
            .await
            .unwrap()
    }

    pub fn http(&self) -> ReqwestClient {
        let mut http = ReqwestClient::builder().no_proxy();
        if let Some(pem) = &self.ca_pem {
            http = http.ca_certificates(pem.as_bytes());
        }
        http.build().unwrap()
    }

    pub fn client(&self, cache: TokenCache, http: Arc<dyn HttpClient>) -> PublicClient {
        let authority = Authority::detect(&self.authority).unwrap();
        PublicClient::builder(&self.client_id, authority, cache)
            .http(http)
            .build()
            .unwrap()
    }

    /// Signs a user in, as a process that is no member and ends afterwards.
    pub async fn sign_in(&self, number: usize) -> AuthenticationResult {
        let cache = self.cache().await;
        let signed_in = self.sign_in_to(&cache, number).await;
        assert_eq!(cache.shutdown(Duration::from_secs(10)).await, 0);
        signed_in
    }

    pub async fn sign_in_to(&self, cache: &TokenCache, number: usize) -> AuthenticationResult {
        let (username, password) = if self.ca_pem.is_some() {
            (ALICE.to_owned(), cache_testkit::authority::PASSWORD)
        } else {
            (oidc_provider::numbered_user(number), oidc_provider::PASSWORD)
        };
        self.client(cache.clone(), Arc::new(self.http()))
            .acquire_token_by_username_password([&self.scope], username, Secret::new(password))
            .await
            .unwrap()
    }
}

/// As little of an access token as tells it from others.
pub fn fingerprint(result: &AuthenticationResult) -> String {
    let hash = result.access_token().sha256();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A store whose channel for changes is cut.
#[derive(Debug)]
struct Deaf(Arc<dyn Store>);

#[async_trait]
impl Store for Deaf {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.0.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.0.put(key, payload, options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.0.delete(key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        self.0.scan(prefix)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            watch: false,
            ..self.0.capabilities()
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        None
    }
}
