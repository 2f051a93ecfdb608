//! Replies that a proxy loses between the client and a real provider, counted by the provider's own records.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{CacheError, TokenCache};
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{Strategy, TimeLimits};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{ALICE, Config, FakeAuthority, Grant, PUBLIC_CLIENT, Rotation};
use cache_testkit::oidc_provider::{CLI_CLIENT_ID, OidcProvider, Options};
use cache_testkit::proxy::{Behaviour, Proxy};
use flows::authority::Authority;
use flows::client::PublicClient;
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse, ReqwestClient};
use flows::{Error, InteractionClassification};

/// How the connection to the provider is lost once the request is through.
const LOSSES: [Behaviour; 4] = [
    Behaviour::DropReply { request_bytes: 1 },
    Behaviour::HalfClose { request_bytes: 1 },
    Behaviour::Reset { request_bytes: 1 },
    Behaviour::CutReply { reply_bytes: 40 },
];

/// The marker's deadline is 3 seconds.
const LIMITS: TimeLimits = TimeLimits {
    request: Duration::from_secs(2),
    commit: Duration::from_secs(1),
    acquire: Duration::from_secs(20),
};

/// Sends refresh tokens through the proxy, and all else directly.
#[derive(Debug)]
struct Detour {
    direct: ReqwestClient,
    proxy: SocketAddr,
}

#[async_trait]
impl HttpClient for Detour {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let form = request
            .form
            .as_ref()
            .map(|form| form.expose())
            .unwrap_or_default();
        if form.starts_with(b"grant_type=refresh_token&") {
            request.url.set_port(Some(self.proxy.port())).unwrap();
        }
        self.direct.send(request).await
    }
}

struct Scene {
    proxy: Proxy,
    http: Arc<dyn HttpClient>,
    authority: Authority,
    client_id: &'static str,
}

impl Scene {
    async fn new(authority: Authority, client_id: &'static str) -> Self {
        let port = authority
            .environment()
            .rsplit(':')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], port)))
            .await
            .unwrap();
        let direct = ReqwestClient::builder().no_proxy().build().unwrap();
        let http = Arc::new(Detour {
            direct,
            proxy: proxy.address(),
        });
        Self {
            proxy,
            http,
            authority,
            client_id,
        }
    }

    async fn process(&self, store: &Arc<dyn Store>) -> PublicClient {
        let cache = TokenCache::builder(Arc::clone(store))
            .strategy(Strategy::desktop_tool().limits(LIMITS))
            .open_sealed(
                Namespace::default(),
                Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
            )
            .await
            .unwrap();
        PublicClient::builder(self.client_id, self.authority.clone(), cache)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    /// One session, of which two processes know: a reply is lost, and nobody sends the token again.
    async fn lose_one(&self, scope: &str, approve: impl AsyncFnOnce(String)) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let first = self.process(&store).await;
        let second = self.process(&store).await;
        let (show, shown) = tokio::sync::oneshot::channel();
        let sign_in = async {
            let prompt = |code: &flows::request::device_code::DeviceAuthorization| {
                show.send(code.user_code().to_owned()).unwrap();
            };
            let signing_in = first.acquire_token_by_device_code([scope]).on_prompt(prompt);
            signing_in.await.unwrap()
        };
        let (signed_in, ()) = tokio::join!(sign_in, async { approve(shown.await.unwrap()).await });
        let account = first.accounts().await.unwrap().accounts.remove(0);

        let forced = |client: &PublicClient| {
            let (client, account) = (client.clone(), account.clone());
            let scope = scope.to_owned();
            async move {
                let silent = client.acquire_token_silent([scope]).account(&account);
                silent.force_refresh(true).await
            }
        };
        let lost = forced(&first).await;
        assert!(
            matches!(lost, Err(Error::Cache(CacheError::OutcomeUnknown(_)))),
            "{lost:?}"
        );
        for round in 0..2 {
            for client in [&first, &second] {
                let refused = forced(client).await;
                assert!(
                    matches!(&refused, Err(Error::InteractionRequired(required))
                        if required.classification() == InteractionClassification::OutcomeUnknown),
                    "{refused:?}"
                );
                let served = client.acquire_token_silent([scope]).account(&account).await;
                assert_eq!(served.unwrap().access_token(), signed_in.access_token());
            }
            if round == 0 {
                SystemClock
                    .sleep(LIMITS.spend() + Duration::from_millis(200))
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider_is_never_sent_a_token_again() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let authority = Authority::oidc(provider.issuer()).unwrap();
    let scene = Scene::new(authority, CLI_CLIENT_ID).await;
    scene.proxy.script(LOSSES.into_iter().cycle().take(8));
    let sessions = (0..8).map(|_| {
        scene.lose_one("api:read", async |user_code| {
            provider.approve_device(&user_code).await.unwrap();
        })
    });
    futures_util::future::join_all(sessions).await;
    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 8);
    assert_eq!(statistics.refresh_tokens_consumed, 8, "each of them was executed");
    assert_eq!(
        (statistics.refresh_tokens_reused, statistics.grants_revoked),
        (0, 0)
    );
    assert_eq!(scene.proxy.statistics().replies_lost, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strictly_rotating_authority_is_never_sent_a_token_again() {
    let config = Config::plain_http()
        .rotation(Rotation::Strict)
        .auto_approve_devices(0, ALICE);
    let fake = FakeAuthority::start(config).await.unwrap();
    let tenant = fake.authority_url(cache_testkit::authority::HOME_TENANT);
    let issuer = format!("{tenant}/v2.0");
    let authority = Authority::oidc(&issuer).unwrap();
    let scene = Scene::new(authority, PUBLIC_CLIENT).await;
    scene.proxy.script(LOSSES.into_iter().cycle().take(20));
    let sessions = (0..20).map(|_| scene.lose_one("User.Read offline_access", async |_| {}));
    futures_util::future::join_all(sessions).await;
    let refreshes = fake.grant_count(Grant::RefreshToken);
    assert_eq!((refreshes.requests, refreshes.issued), (20, 20));
    assert_eq!(fake.families_revoked(), 0);
    assert!(
        fake.families()
            .iter()
            .all(|family| family.reuses == 0 && family.refreshes <= 1)
    );
    assert_eq!(scene.proxy.statistics().replies_lost, 20);
}
