//! Hosts of a cloud that is not built in become one by Microsoft's word alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::secret::SecretBytes;
use cache_core::time::Clock;
use cache_testkit::authority::{ALICE, AliasGroup, Config, Endpoint, HOME_TENANT, PUBLIC_CLIENT, Script};
use flows::authority::{Authority, Discovery};
use flows::client::PublicClient;
use flows::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::scene::{HOUR, Scene, Ticking, only_account};

const A: &str = "login.a.example";
const B: &str = "login.b.example";
const LIMIT: Duration = Duration::from_secs(20);

/// The trusted host leads to the fake authority; every other host is the private cloud, which signs Alice in.
#[derive(Debug)]
struct PrivateCloud {
    inner: Arc<dyn HttpClient>,
    fake: String,
    asked: Mutex<Vec<String>>,
    now: u64,
}

impl PrivateCloud {
    fn of(scene: &Scene) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(&scene.http),
            fake: scene.fake.base_url().to_owned(),
            asked: Mutex::default(),
            now: u64::try_from(scene.clock.now().0 / 1000).unwrap(),
        })
    }

    fn asked(&self, host: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| *asked == host)
            .count()
    }

    fn answer(&self, host: &str, path: &str) -> Value {
        let base = format!("https://{host}/{HOME_TENANT}");
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        match path.rsplit('/').next().unwrap() {
            "openid-configuration" => json!({
                "issuer": format!("{base}/v2.0"),
                "token_endpoint": format!("{base}/oauth2/v2.0/token"),
                "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            }),
            "devicecode" => json!({
                "device_code": "d", "user_code": "u", "verification_uri": format!("https://{host}/d"),
                "expires_in": 900, "interval": 1,
            }),
            _ => {
                let claims = json!({
                    "iss": format!("{base}/v2.0"), "sub": "s", "aud": PUBLIC_CLIENT, "tid": HOME_TENANT, "oid": "o",
                    "preferred_username": ALICE, "iat": self.now, "exp": self.now + 3600,
                });
                let header = encode(json!({ "alg": "RS256" }));
                json!({
                    "token_type": "Bearer", "access_token": "a", "refresh_token": "r", "expires_in": 3600,
                    "scope": "User.Read", "id_token": format!("{header}.{}.c2ln", encode(claims)),
                    "client_info": encode(json!({ "uid": "o", "utid": HOME_TENANT })),
                })
            }
        }
    }
}

#[async_trait]
impl HttpClient for PrivateCloud {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.url.host_str().unwrap().to_owned();
        self.asked.lock().unwrap().push(host.clone());
        if host == "login.microsoftonline.com" {
            let url = request
                .url
                .as_str()
                .replace("https://login.microsoftonline.com", &self.fake);
            request.url = url.parse().unwrap();
            return self.inner.send(request).await;
        }
        Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: SecretBytes::new(self.answer(&host, request.url.path()).to_string().into_bytes()),
        })
    }
}

async fn scene(aliases: &[&str]) -> Scene {
    Scene::with(Config::default().alias_group(AliasGroup::new(B, A, aliases))).await
}

fn authority(host: &str) -> Authority {
    Authority::entra(&format!("https://{host}/{HOME_TENANT}")).unwrap()
}

async fn client(scene: &Scene, cloud: &Arc<PrivateCloud>, host: &str, discover: bool) -> PublicClient {
    let builder =
        PublicClient::builder(PUBLIC_CLIENT, authority(host), scene.cache().await).http(cloud.clone());
    let builder = if discover {
        builder.instance_discovery().await.unwrap()
    } else {
        builder
    };
    builder.build().unwrap()
}

async fn sign_in(scene: &Scene, client: &PublicClient) {
    let _ticking = Ticking::start(&scene.clock);
    let sign_in = client.acquire_token_by_device_code(["User.Read"]);
    sign_in.on_prompt(|_| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_names_of_a_discovered_cloud_share_their_accounts_and_tokens() {
    let scene = scene(&[A, B]).await;
    let cloud = PrivateCloud::of(&scene);
    let first = client(&scene, &cloud, A, true).await;
    sign_in(&scene, &first).await;
    assert_eq!(
        (cloud.asked(A), cloud.asked(B) > 0),
        (0, true),
        "requests go to the preferred network host"
    );
    let second = client(&scene, &cloud, B, true).await;
    let account = only_account(&second).await;
    assert_eq!(
        account.account.environment, A,
        "rows belong to the preferred cache host"
    );
    let asked = cloud.asked(B);
    second
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(cloud.asked(B), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_discovery_or_with_a_forged_group_a_host_stands_for_itself() {
    for (aliases, discover) in [
        (&[A, B][..], false),
        (&[A, B, "login.windows.net"], true),
        (&[B], true),
    ] {
        let scene = scene(aliases).await;
        let cloud = PrivateCloud::of(&scene);
        let first = client(&scene, &cloud, A, discover).await;
        sign_in(&scene, &first).await;
        assert_eq!(only_account(&first).await.account.environment, A);
        let second = client(&scene, &cloud, B, false).await;
        assert!(second.accounts().await.unwrap().accounts.is_empty());
        let public = client(&scene, &cloud, "login.microsoftonline.com", false).await;
        assert!(public.accounts().await.unwrap().accounts.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_remembered_for_a_day_and_failures_are_not() {
    let scene = scene(&[A, B]).await;
    let cloud = PrivateCloud::of(&scene);
    let discovery = Discovery::new(cloud.clone(), Arc::new(scene.clock.clone()));
    let trusted = "login.microsoftonline.com";
    scene
        .fake
        .script(Script::status(500).on(Endpoint::InstanceDiscovery));
    assert_eq!(discovery.canonical(&authority(A), LIMIT).await, authority(A));
    let found = discovery.canonical(&authority(A), LIMIT).await;
    assert_eq!(
        (found.environment(), found.url()),
        (A, format!("https://{B}/{HOME_TENANT}").as_str())
    );
    assert_eq!(cloud.asked(trusted), 2);
    scene.clock.advance(23 * HOUR);
    discovery.canonical(&authority(A), LIMIT).await;
    assert_eq!(cloud.asked(trusted), 2);
    scene.clock.advance(2 * HOUR);
    discovery.canonical(&authority(A), LIMIT).await;
    assert_eq!(cloud.asked(trusted), 3);
    // A host that Microsoft does not know.
    let unknown = authority("login.unknown.example");
    assert_eq!(discovery.canonical(&unknown, LIMIT).await, unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_of_hosts_that_are_known_or_on_this_machine() {
    #[derive(Debug)]
    struct Nobody;
    #[async_trait]
    impl HttpClient for Nobody {
        async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            Err(HttpError::new(
                HttpErrorKind::OutcomeUnknown,
                &request.url,
                "nobody may be asked",
            ))
        }
    }
    let scene = Scene::new().await;
    let discovery = Discovery::new(Arc::new(Nobody), Arc::new(scene.clock.clone()));
    for url in [
        scene.fake.authority_url("common"),
        "https://login.microsoftonline.us/common".to_owned(),
        "https://contoso.ciamlogin.com".to_owned(),
        scene.fake.adfs_url(),
    ] {
        let authority = Authority::detect(&url).unwrap();
        assert_eq!(discovery.canonical(&authority, LIMIT).await, authority);
    }
    // An unreachable answer is not fatal either.
    assert_eq!(discovery.canonical(&authority(A), LIMIT).await, authority(A));
}
