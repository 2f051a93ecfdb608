//! An application that is registered at the fake Entra authority, and what it sent there.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::cache::TokenCache;
use cache_core::seal::Namespace;
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{SealPolicy, Strategy};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Config, FakeAuthority, Grant, HOME_TENANT,
};
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient};
use flows::http::ReqwestClient;
use flows::request::ClientCertificate;
use flows::{AuthenticationResult, Error};
use futures_util::StreamExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

pub(crate) const GRAPH: [&str; 1] = ["https://graph.microsoft.com/.default"];

/// An application with a key that the fake authority knows, by certificate or bare.
pub(crate) struct Scene {
    pub(crate) authority: FakeAuthority,
    pub(crate) key: KeyPair,
    pub(crate) certificate: String,
    pub(crate) store: Arc<dyn Store>,
}

impl Scene {
    pub(crate) async fn new(register: impl FnOnce(Client, &KeyPair, &str) -> Client) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap()
            .pem();
        let app = register(
            Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET),
            &key,
            &certificate,
        );
        Self {
            authority: FakeAuthority::start(Config::default().client(app)).await.unwrap(),
            key,
            certificate,
            store: Arc::new(MemoryStore::new()),
        }
    }

    pub(crate) async fn with_certificate() -> Self {
        Self::new(|app, key, certificate| app.assertion_certificate(certificate, &key.public_key_pem())).await
    }

    pub(crate) async fn with_key() -> Self {
        Self::new(|app, key, _| app.assertion_key(&key.public_key_pem())).await
    }

    pub(crate) async fn client(&self, credential: ClientCredential) -> ConfidentialClient {
        let http = ReqwestClient::builder()
            .ca_certificates(self.authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        let authority = Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap();
        let cache = cache(Arc::clone(&self.store));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, credential, cache)
            .http(Arc::new(http))
            .build()
            .unwrap()
    }

    pub(crate) fn own_certificate(&self) -> ClientCertificate {
        ClientCertificate::from_pem(&self.certificate, &Secret::new(self.key.serialize_pem())).unwrap()
    }

    /// What a federated issuer would write into its file.
    pub(crate) fn federated_token(&self, jti: &str) -> String {
        let now = SystemClock.now().to_seconds().0;
        let claims = json!({
            "iss": CONFIDENTIAL_CLIENT, "sub": CONFIDENTIAL_CLIENT, "jti": jti, "exp": now + 300,
            "aud": format!("{}/oauth2/v2.0/token", self.authority.authority_url(HOME_TENANT)),
        });
        let key = EncodingKey::from_rsa_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
    }

    /// The values of a parameter in every token request.
    pub(crate) fn sent(&self, name: &str) -> Vec<String> {
        let forms =
            (0..self.authority.requests().len()).filter_map(|index| self.authority.request_form(index));
        forms
            .flat_map(|form| form.into_iter().filter(|(key, _)| key == name))
            .map(|(_, value)| value)
            .collect()
    }

    pub(crate) fn asked(&self) -> u64 {
        self.authority.grant_count(Grant::ClientCredentials).requests
    }

    pub(crate) async fn is_cache_empty(&self) -> bool {
        self.store.scan("").next().await.is_none()
    }
}

pub(crate) fn cache(store: Arc<dyn Store>) -> TokenCache {
    // Unsealed, so that an empty store means that nothing was cached.
    TokenCache::builder(store)
        .strategy(Strategy::background_worker().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext(Namespace::default())
        .unwrap()
}

pub(crate) async fn token(client: &ConfidentialClient, force: bool) -> Result<AuthenticationResult, Error> {
    client.acquire_token_for_client(GRAPH).force_refresh(force).await
}

/// A part of a JWT: 0 is its header, 1 its claims.
pub(crate) fn part(jwt: &str, index: usize) -> Value {
    let encoded = jwt.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}
