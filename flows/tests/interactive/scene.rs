//! The parties of a sign-in, and a browser that does what a test says.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::MemoryStore;
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, Endpoint, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT,
};
use cache_testkit::oidc_provider::{OidcProvider, Options};
use flows::authority::Authority;
use flows::client::{Acquisition, ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, ReqwestClient};
use flows::{AuthenticationResult, Error};
use reqwest::redirect::Policy;
use tokio::sync::oneshot;
use url::Url;

/// What shows a URL, as `on_url` takes it.
pub(crate) type Show = Box<dyn FnOnce(&Url) + Send>;

/// The fake Entra authority, a public client of it, and a browser.
pub(crate) struct Entra {
    pub(crate) authority: FakeAuthority,
    pub(crate) client: PublicClient,
    pub(crate) agent: Agent,
    http: Arc<dyn HttpClient>,
    cache: TokenCache,
}

impl Entra {
    pub(crate) async fn new(config: Config) -> Self {
        Self::with_clock(config, Arc::new(SystemClock)).await
    }

    pub(crate) async fn with_clock(config: Config, clock: Arc<dyn Clock>) -> Self {
        let authority = FakeAuthority::start(config).await.unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        let (http, cache): (Arc<dyn HttpClient>, _) = (Arc::new(http), cache(clock).await);
        let url = Authority::detect(&authority.authority_url(HOME_TENANT)).unwrap();
        let client = PublicClient::builder(PUBLIC_CLIENT, url, cache.clone())
            .http(Arc::clone(&http))
            .build()
            .unwrap();
        Self {
            agent: Agent::trusting(authority.ca_pem()),
            authority,
            client,
            http,
            cache,
        }
    }

    pub(crate) fn confidential(&self) -> ConfidentialClient {
        let url = Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, url, secret, self.cache.clone())
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    /// Signs the user of `hint` in with a browser that behaves.
    pub(crate) async fn sign_in(&self, hint: &str) -> CachedAccount {
        let (result, page) = sign_in(
            |show| {
                self.client
                    .acquire_token_interactive(["User.Read"])
                    .login_hint(hint)
                    .on_url(show)
                    .into_future()
            },
            async |url: Url| self.agent.follow_url(url).await,
        )
        .await;
        assert!(page.body.contains("You are signed in"), "{page:?}");
        let username = result.unwrap().account().unwrap().username.clone();
        let accounts = self.client.accounts().await.unwrap().accounts;
        accounts
            .into_iter()
            .find(|account| account.account.username == username)
            .unwrap()
    }

    /// The names of those who are signed in.
    pub(crate) async fn usernames(&self) -> Vec<String> {
        let accounts = self.client.accounts().await.unwrap().accounts;
        accounts
            .into_iter()
            .map(|account| account.account.username)
            .collect()
    }

    /// The value of a parameter in each request to an endpoint; empty where it was missing.
    pub(crate) fn sent(&self, endpoint: Endpoint, name: &str) -> Vec<String> {
        let requests = self.authority.requests();
        let here = (0..requests.len()).filter(|index| requests[*index].endpoint == endpoint);
        here.map(|index| {
            let form = self.authority.request_form(index).unwrap();
            form.into_iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
                .unwrap_or_default()
        })
        .collect()
    }
}

/// A real provider, and a public client of it.
pub(crate) struct Oidc {
    pub(crate) provider: OidcProvider,
    pub(crate) client: PublicClient,
    pub(crate) agent: Agent,
    cache: TokenCache,
}

impl Oidc {
    pub(crate) async fn new(client_id: &str) -> Self {
        let provider = OidcProvider::start(Options::default()).await.unwrap();
        let authority = Authority::detect(provider.issuer()).unwrap();
        let cache = cache(Arc::new(SystemClock)).await;
        let client = PublicClient::builder(client_id, authority, cache.clone())
            .build()
            .unwrap();
        Self {
            provider,
            client,
            agent: Agent::trusting(None),
            cache,
        }
    }

    pub(crate) fn confidential(&self, client_id: &str, secret: &str) -> ConfidentialClient {
        let authority = Authority::detect(self.provider.issuer()).unwrap();
        let secret = ClientCredential::secret(Secret::new(secret));
        ConfidentialClient::builder(client_id, authority, secret, self.cache.clone())
            .build()
            .unwrap()
    }
}

async fn cache(clock: Arc<dyn Clock>) -> TokenCache {
    let store = MemoryStore::with(Arc::clone(&clock), Arc::new(OsRandom));
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    TokenCache::builder(Arc::new(store))
        .clock(clock)
        .open_sealed(Namespace::default(), key)
        .await
        .unwrap()
}

/// Runs a sign-in beside what the browser does with its URL.
pub(crate) async fn sign_in<'a, T>(
    acquire: impl FnOnce(Show) -> Acquisition<'a>,
    browse: impl AsyncFnOnce(Url) -> T,
) -> (Result<AuthenticationResult, Error>, T) {
    let (sender, url) = oneshot::channel();
    let show: Show = Box::new(move |url| sender.send(url.clone()).unwrap());
    tokio::join!(acquire(show), async {
        browse(url.await.expect("no URL was shown")).await
    })
}

/// Where the browser is to come back to, by the authorization URL.
pub(crate) fn redirect_uri(url: &Url) -> String {
    parameter(url, "redirect_uri")
}

pub(crate) fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// `url` with a parameter replaced, or added.
pub(crate) fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let mut url = Url::parse(url).unwrap();
    let others: Vec<_> = url
        .query_pairs()
        .into_owned()
        .filter(|(key, _)| key != name)
        .collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .append_pair(name, value);
    url.into()
}

/// A browser without a screen, which follows no redirect by itself.
#[derive(Debug)]
pub(crate) struct Agent {
    http: reqwest::Client,
}

/// What a page answered.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

impl Agent {
    pub(crate) fn trusting(ca_pem: Option<&str>) -> Self {
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(Duration::from_secs(20));
        if let Some(pem) = ca_pem {
            http = http.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
        }
        Self {
            http: http.build().unwrap(),
        }
    }

    pub(crate) async fn get(&self, url: &str) -> Page {
        Page::of(self.http.get(url).send().await.unwrap()).await
    }

    pub(crate) async fn get_as(&self, url: &str, host: &str) -> Page {
        Page::of(self.http.get(url).header("host", host).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, url: &str, form: &[(String, String)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        Page::of(request.send().await.unwrap()).await
    }

    /// Where the authority sends the browser back to, without going there.
    pub(crate) async fn authorize(&self, url: &Url) -> String {
        let page = self.get(url.as_str()).await;
        page.location
            .unwrap_or_else(|| panic!("no redirect: {}", page.body))
    }

    /// As [`follow`](Self::follow).
    pub(crate) async fn follow_url(&self, url: Url) -> Page {
        self.follow(url.as_str()).await
    }

    /// Follows redirects to the page at their end.
    pub(crate) async fn follow(&self, url: &str) -> Page {
        let mut page = self.get(url).await;
        for _ in 0..5 {
            match page.location {
                Some(next) => page = self.get(&next).await,
                None => return page,
            }
        }
        panic!("redirects without end")
    }
}

impl Page {
    async fn of(response: reqwest::Response) -> Self {
        let location = response
            .headers()
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());
        Self {
            status: response.status().as_u16(),
            location,
            body: response.text().await.unwrap(),
        }
    }

    /// The hidden fields of a form that a script would post.
    pub(crate) fn hidden_fields(&self) -> Vec<(String, String)> {
        let fields = self.body.split("<input type=\"hidden\" ").skip(1);
        fields
            .map(|field| {
                let value = |name: &str| {
                    let (_, rest) = field.split_once(&format!("{name}=\"")).unwrap();
                    rest.split('"')
                        .next()
                        .unwrap()
                        .replace("&#39;", "'")
                        .replace("&amp;", "&")
                };
                (value("name"), value("value"))
            })
            .collect()
    }
}
