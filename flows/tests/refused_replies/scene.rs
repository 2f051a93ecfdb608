//! A signed-in client, an authority that can be made to lie, and the store as it is.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::schema::ScopeSet;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::{MemoryStore, Store};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, HOME_TENANT,
};
use flows::authority::Authority;
use flows::client::{ClientBuilder, ClientCredential, ConfidentialClient};
use flows::http::{HttpClient, HttpError, HttpMethod, HttpRequest, HttpResponse, ReqwestClient};
use flows::request::authorization_code::{AuthorizationRequest, PendingParts};
use flows::{AuthenticationResult, Error, IdTokenVerification};
use futures_util::StreamExt;
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);
const REDIRECT: &str = "http://localhost/callback";

type Builder = ClientBuilder<ConfidentialClient>;

pub(crate) struct Scene {
    pub(crate) authority: Arc<FakeAuthority>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) client: ConfidentialClient,
    store: Arc<dyn Store>,
}

impl Scene {
    pub(crate) async fn new(when: IdTokenVerification) -> Self {
        Self::with(Config::default(), when).await
    }

    pub(crate) async fn with(config: Config, when: IdTokenVerification) -> Self {
        let authority = FakeAuthority::start(config).await.unwrap();
        let store = Arc::new(MemoryStore::new());
        Self::over(Arc::new(authority), store, |client| client.verify_id_tokens(when)).await
    }

    /// Another process at the same store.
    pub(crate) async fn again(&self, choose: impl FnOnce(Builder) -> Builder) -> Self {
        Self::over(Arc::clone(&self.authority), Arc::clone(&self.store), choose).await
    }

    async fn over(
        authority: Arc<FakeAuthority>,
        store: Arc<dyn Store>,
        choose: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let mut http = ReqwestClient::builder().no_proxy();
        if let Some(pem) = authority.ca_pem() {
            http = http.ca_certificates(pem);
        }
        let wire = Arc::new(Wire {
            http: http.build().unwrap(),
            replace: Mutex::default(),
            repeated: Mutex::default(),
        });
        let cache = TokenCache::builder(Arc::clone(&store))
            .open_sealed(
                Namespace::default(),
                Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
            )
            .await
            .unwrap();
        let entra = Authority::entra(&authority.authority_url(HOME_TENANT)).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        let client =
            ConfidentialClient::builder(CONFIDENTIAL_CLIENT, entra, secret, cache).http(wire.clone());
        let client = choose(client).build().unwrap();
        Self {
            authority,
            wire,
            client,
            store,
        }
    }

    /// Goes to the browser and back.
    pub(crate) async fn visit(&self) -> (PendingParts, String) {
        self.visit_for(None).await
    }

    /// As [`visit`](Self::visit), with claims that the sign-in has to satisfy.
    pub(crate) async fn visit_for(&self, claims: Option<&str>) -> (PendingParts, String) {
        let request = AuthorizationRequest::new(CONFIDENTIAL_CLIENT, REDIRECT, ScopeSet::parse("User.Read"))
            .login_hint(ALICE);
        let request = request.claims(claims.unwrap_or_default());
        let pending = self.client.begin_authorization(request).await.unwrap();
        let page = HttpRequest::get(pending.url().clone(), MINUTE);
        let back = self.wire.http.send(page).await.unwrap();
        (pending.into_parts(), back.header("location").unwrap().to_owned())
    }

    pub(crate) async fn sign_in(&self) -> Result<AuthenticationResult, Error> {
        let (parts, back) = self.visit().await;
        self.client
            .acquire_token_by_authorization_code(&parts, &back)
            .await
    }

    pub(crate) async fn account(&self) -> CachedAccount {
        self.client.accounts().await.unwrap().accounts.remove(0)
    }

    pub(crate) async fn silent(
        &self,
        account: &CachedAccount,
        scope: &str,
    ) -> Result<AuthenticationResult, Error> {
        self.client.acquire_token_silent([scope]).account(account).await
    }

    /// Every record as it lies in the store.
    pub(crate) async fn records(&self) -> BTreeMap<String, (String, Vec<u8>)> {
        let listed: Vec<_> = self.store.scan("").collect().await;
        let mut records = BTreeMap::new();
        for entry in listed {
            let (key, _) = entry.unwrap();
            let record = self.store.get(&key).await.unwrap().unwrap();
            records.insert(
                format!("{key:?}"),
                (format!("{:?}", record.version), record.payload.to_vec()),
            );
        }
        records
    }

    /// Every row that serves anybody, as a file. The notes about refresh tokens under way are not in it.
    pub(crate) async fn rows(&self) -> Vec<u8> {
        let export = self.client.cache().export().await.unwrap();
        assert!(export.unreadable.is_empty());
        export.json.expose().to_vec()
    }
}

/// The way to the authority, on which one reply of the token endpoint can be replaced.
#[derive(Debug)]
pub(crate) struct Wire {
    http: ReqwestClient,
    replace: Mutex<Option<Replacement>>,
    repeated: Mutex<Vec<(String, String)>>,
}

#[derive(Debug)]
enum Replacement {
    Reply(u16, String),
    /// A refusal that repeats what was posted.
    Repetition,
}

impl Wire {
    pub(crate) fn replace_reply(&self, status: u16, body: &str) {
        *self.replace.lock().unwrap() = Some(Replacement::Reply(status, body.to_owned()));
    }

    /// Has the next request refused in words that repeat all that was posted.
    pub(crate) fn repeat_request(&self) {
        *self.replace.lock().unwrap() = Some(Replacement::Repetition);
    }

    /// The parameters that were repeated.
    pub(crate) fn repeated(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.repeated.lock().unwrap())
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_post = request.method == HttpMethod::Post;
        let form = request.form.as_ref().map(|form| form.expose().to_vec());
        let mut response = self.http.send(request).await?;
        let replacement = self.replace.lock().unwrap().take_if(|_| is_post);
        let (status, body) = match replacement {
            None => return Ok(response),
            Some(Replacement::Reply(status, body)) => (status, body),
            Some(Replacement::Repetition) => {
                let form = form.unwrap();
                let posted = url::form_urlencoded::parse(&form)
                    .into_owned()
                    .collect::<Vec<_>>();
                let words: Vec<_> = posted
                    .iter()
                    .map(|(name, value)| format!("Invalid {name}: {value}"))
                    .collect();
                let words = words.join(", ");
                response
                    .headers
                    .push(("client-request-id".to_owned(), words.clone()));
                *self.repeated.lock().unwrap() = posted;
                let claims = json!({ "access_token": { "said": { "value": words } } }).to_string();
                let refusal = json!({
                    "error": "invalid_grant", "error_description": words, "suberror": words, "claims": claims,
                    "trace_id": words, "timestamp": words, "error_uri": words,
                });
                (400, refusal.to_string())
            }
        };
        response.status = status;
        response.body = SecretBytes::new(body.into_bytes());
        Ok(response)
    }
}
