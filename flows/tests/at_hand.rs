//! Tokens that are at hand in memory: served at once, without an allocation, and never longer than the cache would.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::future::IntoFuture;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cache_core::cache::{CachedAccount, SignOutScope, TokenCache};
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{Partitioning, Strategy};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, GUEST_TENANT, HOME_TENANT,
    PUBLIC_CLIENT,
};
use cache_testkit::clock::ManualClock;
use flows::authority::Authority;
use flows::client::{Acquisition, ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, ReqwestClient};
use flows::{AuthenticationResult, Error, TokenSource};

const HOUR: Duration = Duration::from_secs(3600);
const DEFAULT: [&str; 1] = ["https://graph.microsoft.com/.default"];

struct Scene {
    authority: FakeAuthority,
    store: Arc<dyn Store>,
    clock: ManualClock,
    http: Arc<dyn HttpClient>,
}

impl Scene {
    async fn new() -> Self {
        let config = Config::default().auto_approve_devices(0, ALICE);
        let authority = FakeAuthority::start(config).await.unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        // The authority's clock is the real one, and what it says must fit.
        let clock = ManualClock::at(SystemClock.now());
        Self {
            authority,
            store: Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom))),
            clock,
            http: Arc::new(http),
        }
    }

    async fn cache(&self) -> TokenCache {
        self.cache_with(Strategy::desktop_tool()).await
    }

    async fn cache_with(&self, strategy: Strategy) -> TokenCache {
        let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
        TokenCache::builder(Arc::clone(&self.store))
            .strategy(strategy)
            .clock(Arc::new(self.clock.clone()))
            .open_sealed(Namespace::default(), key)
            .await
            .unwrap()
    }

    async fn public(&self, tenant: &str) -> PublicClient {
        let authority = Authority::detect(&self.authority.authority_url(tenant)).unwrap();
        PublicClient::builder(PUBLIC_CLIENT, authority, self.cache().await)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    async fn confidential(&self, tenant: &str) -> ConfidentialClient {
        self.confidential_over(tenant, self.cache().await)
    }

    fn confidential_over(&self, tenant: &str, cache: TokenCache) -> ConfidentialClient {
        let authority = Authority::detect(&self.authority.authority_url(tenant)).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, cache)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    /// Alice at `client`, with her token in memory.
    async fn alice(&self, client: &PublicClient) -> CachedAccount {
        let ticking = {
            let clock = self.clock.clone();
            tokio::spawn(async move {
                loop {
                    clock.wait_for_sleepers(1).await;
                    clock.advance(Duration::from_millis(10));
                    SystemClock.sleep(Duration::from_millis(1)).await;
                }
            })
        };
        let sign_in = client.acquire_token_by_device_code(["User.Read"]);
        sign_in.on_prompt(|_| {}).await.unwrap();
        ticking.abort();
        let account = client.accounts().await.unwrap().accounts.remove(0);
        for _ in 0..2 {
            let silent = client.acquire_token_silent(["User.Read"]).account(&account);
            silent.await.unwrap();
        }
        account
    }

    /// Moves both clocks: what the authority grants must not look as if it came from the past.
    fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        self.authority.advance(duration);
    }
}

/// What the first poll gives.
fn at_once<'a>(
    acquisition: impl IntoFuture<IntoFuture = Acquisition<'a>>,
) -> Option<Result<AuthenticationResult, Error>> {
    let mut future = acquisition.into_future();
    let polled = std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_in_memory_is_ready_at_once_and_allocates_nothing() {
    let scene = Scene::new().await;
    for tenant in [HOME_TENANT, "organizations"] {
        let client = scene.public(tenant).await;
        let account = scene.alice(&client).await;
        let known = client.acquire_token_silent(["User.Read"]).account(&account);
        let known = known.await.unwrap();
        let mut found = None;
        let allocated = allocation_counter::measure(|| {
            let silent = client.acquire_token_silent(["User.Read"]).account(&account);
            found = at_once(silent);
        });
        let found = found.unwrap().unwrap();
        assert_eq!(found.access_token(), known.access_token(), "{tenant}");
        assert_eq!(found.metadata().source, TokenSource::Memory);
        assert_eq!((found.tenant(), found.correlation_id()), (HOME_TENANT, None));
        assert_eq!(found.account().unwrap().username, ALICE);
        assert_eq!(found.unique_id(), known.unique_id());
        assert_eq!(allocated.count_total, 0, "{tenant}: {allocated:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_own_token_is_ready_at_once_and_allocates_nothing() {
    let scene = Scene::new().await;
    let client = scene.confidential(HOME_TENANT).await;
    for _ in 0..3 {
        client.acquire_token_for_client(DEFAULT).await.unwrap();
    }
    let mut found = None;
    let allocated = allocation_counter::measure(|| {
        found = at_once(client.acquire_token_for_client(DEFAULT));
    });
    assert_eq!(found.unwrap().unwrap().metadata().source, TokenSource::Memory);
    assert_eq!(allocated.count_total, 0, "{allocated:?}");

    // A mistake does not hide behind what is at hand.
    let nowhere = scene.confidential("common").await;
    let refused = nowhere.acquire_token_for_client(DEFAULT).await;
    assert!(matches!(refused, Err(Error::Configuration(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_own_tokens_are_at_hand_where_each_resource_has_a_partition() {
    const OTHER: [&str; 1] = ["https://vault.azure.net/.default"];
    let scene = Scene::new().await;
    let strategy = Strategy::desktop_tool().partitioning(Partitioning::AppByResource);
    let client = scene.confidential_over(HOME_TENANT, scene.cache_with(strategy).await);
    let mut tokens = Vec::new();
    for scopes in [DEFAULT, OTHER] {
        // The authority may have answered by the end of the first poll.
        let unknown = at_once(client.acquire_token_for_client(scopes))
            .transpose()
            .unwrap();
        assert!(unknown.is_none_or(|result| result.metadata().source == TokenSource::Authority));
        for _ in 0..3 {
            client.acquire_token_for_client(scopes).await.unwrap();
        }
        let mut found = None;
        let allocated = allocation_counter::measure(|| {
            found = at_once(client.acquire_token_for_client(scopes));
        });
        let found = found.unwrap().unwrap();
        assert_eq!(found.scopes().as_str(), scopes[0]);
        assert_eq!(allocated.count_total, 0, "{allocated:?}");
        tokens.push(found.access_token().to_secret());
    }
    assert_ne!(tokens[0], tokens[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_another_token_or_tenant_is_not_served_what_is_at_hand() {
    let scene = Scene::new().await;
    let client = scene.public(HOME_TENANT).await;
    let account = scene.alice(&client).await;
    let silent = || client.acquire_token_silent(["User.Read"]).account(&account);
    let known = at_once(silent()).unwrap().unwrap();
    assert!(at_once(silent().force_refresh(true)).is_none());
    assert!(at_once(silent().instead_of(known.access_token())).is_none());
    assert!(at_once(silent().claims(r#"{"access_token":{"nbf":{"essential":true}}}"#)).is_none());
    assert!(at_once(silent().tenant(GUEST_TENANT)).is_none());
    assert!(at_once(client.acquire_token_silent(["Mail.Send"]).account(&account)).is_none());
    // Nor is anybody without an account, who is told so.
    let unsaid = client.acquire_token_silent(["User.Read"]).await;
    assert!(matches!(unsaid, Err(Error::Configuration(_))), "{unsaid:?}");
    let guest = silent().tenant(GUEST_TENANT).await.unwrap();
    assert_eq!(guest.tenant(), GUEST_TENANT);
    assert_eq!(at_once(silent()).unwrap().unwrap().tenant(), HOME_TENANT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_request_follows_refreshes_and_ends_with_the_sign_out() {
    let scene = Scene::new().await;
    let client = scene.public("organizations").await;
    let account = scene.alice(&client).await;
    let prepared = client.prepare_silent(["User.Read"], &account);
    let first = prepared.acquire().await.unwrap();
    let peeked = prepared.peek().unwrap();
    assert_eq!(peeked.access_token(), first.access_token());
    assert_eq!(peeked.expires_on(), first.expires_on());
    let header = peeked.authorization_header();
    assert_eq!(header, first.authorization_header());
    assert_eq!(peeked.to_result().account(), first.account());
    drop(peeked);
    let allocated = allocation_counter::measure(|| assert!(prepared.peek().is_some()));
    assert_eq!(allocated.count_total, 0, "{allocated:?}");

    scene.advance(2 * HOUR);
    assert!(prepared.peek().is_none());
    let second = prepared.acquire().await.unwrap();
    assert_ne!(second.access_token(), first.access_token());
    // The first hit after a change is the cache's.
    prepared.acquire().await.unwrap();
    assert_eq!(
        prepared.clone().peek().unwrap().access_token(),
        second.access_token()
    );

    let forced = prepared.acquire().force_refresh(true).await.unwrap();
    prepared.acquire().await.unwrap();
    assert_eq!(prepared.peek().unwrap().access_token(), forced.access_token());

    let signed_out = client
        .cache()
        .sign_out(&account.partition, PUBLIC_CLIENT, SignOutScope::Client)
        .await;
    assert!(signed_out.unwrap());
    assert!(prepared.peek().is_none());
    let gone = prepared.acquire().await;
    assert!(matches!(gone, Err(Error::InteractionRequired(_))), "{gone:?}");
    assert!(prepared.peek().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_request_hears_of_another_processs_sign_out() {
    let scene = Scene::new().await;
    let client = scene.public(HOME_TENANT).await;
    let account = scene.alice(&client).await;
    let prepared = client.prepare_silent(["User.Read"], &account);
    prepared.acquire().await.unwrap();
    assert!(prepared.peek().is_some());
    let other = scene.public(HOME_TENANT).await;
    assert!(other.remove_account(&account).await.unwrap().found);
    // The store's watch tells it, in a moment.
    for _ in 0..1000 {
        if prepared.peek().is_none() {
            break;
        }
        SystemClock.sleep(Duration::from_millis(1)).await;
    }
    assert!(prepared.peek().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_prepares_its_own_requests() {
    let scene = Scene::new().await;
    let client = scene.confidential(HOME_TENANT).await;
    let prepared = client.prepare_for_client(DEFAULT);
    assert!(prepared.peek().is_none());
    for _ in 0..3 {
        prepared.acquire().await.unwrap();
    }
    let known = prepared.acquire().await.unwrap();
    assert_eq!(prepared.peek().unwrap().access_token(), known.access_token());
    scene.advance(2 * HOUR);
    assert!(prepared.peek().is_none());
    assert_ne!(
        prepared.acquire().await.unwrap().access_token(),
        known.access_token()
    );
}
