//! A whole cache over a server that is not there for a while.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::error::ErrorKind;
use cache_core::store::{MemoryStore, Store, StoreExt, WatchEvent};
use cache_core::strategy::{MemoryTier, OutagePolicy, Strategy};
use cache_redis::{Eviction, RedisStore};
use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, HOME_TENANT,
};
use cache_testkit::redis::RedisServer;
use flows::AuthenticationResult;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient};
use flows::http::ReqwestClient;

use crate::support::{config, expect, pause};

const MINUTE: Duration = Duration::from_secs(60);

/// A process: a cache over the server, with copies in `fallback`.
struct Process {
    cache: TokenCache,
    client: ConfidentialClient,
}

impl Process {
    async fn start(store: Arc<RedisStore>, fallback: &Arc<dyn Store>, authority: &FakeAuthority) -> Self {
        let strategy = Strategy::background_worker()
            .memory_tier(MemoryTier::off())
            .outage(OutagePolicy::Fallback {
                store: Arc::clone(fallback),
                at_most: 10 * MINUTE,
            });
        let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
        let cache = TokenCache::builder(store)
            .strategy(strategy)
            .open_sealed(Namespace::default(), key)
            .await
            .unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        let url = Authority::detect(&authority.authority_url(HOME_TENANT)).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        let client = ConfidentialClient::builder(CONFIDENTIAL_CLIENT, url, secret, cache.clone())
            .http(Arc::new(http))
            .build()
            .unwrap();
        Self { cache, client }
    }

    async fn token(&self) -> AuthenticationResult {
        let scopes = ["https://graph.microsoft.com/.default"];
        self.client.acquire_token_for_client(scopes).await.unwrap()
    }
}

#[tokio::test]
async fn a_process_that_starts_while_no_server_is_there_is_served_by_copies_and_recovers() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let mut server = RedisServer::builder().append_only(true).start().await.unwrap();
    let fallback: Arc<dyn Store> = Arc::new(MemoryStore::new());

    let store = Arc::new(RedisStore::open(config(&server.url())).await.unwrap());
    let before = Process::start(Arc::clone(&store), &fallback, &authority).await;
    let token = before.token().await;
    assert!(!token.metadata().served_during_outage);
    before.token().await;
    assert_eq!(before.cache.shutdown(MINUTE).await, 0);
    store.close().await;
    assert!(!fallback.collect_keys("fallback/").await.unwrap().is_empty());
    server.stop().await.unwrap();

    let refused = RedisStore::open(config(&server.url())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let store = RedisStore::open(config(&server.url()).require_server(false)).await;
    let store = Arc::new(store.unwrap());
    assert_eq!(store.eviction(), Eviction::Unknown);
    let mut events = store.watch().unwrap().subscribe();
    let during = Process::start(Arc::clone(&store), &fallback, &authority).await;
    let served = during.token().await;
    assert!(served.metadata().served_during_outage);
    assert_eq!(
        served.access_token().expose(),
        token.access_token().expose(),
        "a copy, and not a new request"
    );

    server.restart().await.unwrap();
    // What was missed before somebody listened is unknown, and said to be.
    expect(&mut events, WatchEvent::Lost).await;
    for _ in 0..100 {
        let recovered = during.token().await;
        assert_eq!(recovered.access_token().expose(), token.access_token().expose());
        if !recovered.metadata().served_during_outage {
            return;
        }
        pause(100).await;
    }
    panic!("it goes on serving as in an outage although the server is back");
}
