//! The real OpenID provider.

use std::sync::Arc;

use cache_core::secret::Secret;
use cache_core::store::MemoryStore;
use cache_testkit::oidc_provider::{
    OidcProvider, Options, SERVICE_BASIC_CLIENT_ID, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
    SERVICE_JWT_CLIENT_ID, SERVICE_KEYS,
};
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient};
use flows::http::{HttpClient, ReqwestClient};
use flows::request::{ClientCertificate, SecretMethod};
use flows::{Error, TokenSource};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::scene::cache;

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider_accepts_every_method() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let secret = || Secret::new(SERVICE_CLIENT_SECRET);
    let mut clients = vec![
        (SERVICE_CLIENT_ID, ClientCredential::secret(secret())),
        (
            SERVICE_BASIC_CLIENT_ID,
            ClientCredential::Secret {
                secret: secret(),
                method: Some(SecretMethod::Basic),
            },
        ),
    ];
    for (key_id, key) in SERVICE_KEYS {
        let certificate = ClientCertificate::from_private_key(&Secret::new(key))
            .unwrap()
            .key_id(key_id);
        clients.push((SERVICE_JWT_CLIENT_ID, ClientCredential::certificate(certificate)));
    }
    for (id, credential) in clients {
        let shown = format!("{id} {credential:?}");
        let client = of_provider(&provider, id, credential).await;
        let ask = || client.acquire_token_for_client(["api:read"]);
        let first = ask().await.unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        assert_eq!(first.metadata().source, TokenSource::Authority);
        assert_eq!(ask().await.unwrap().metadata().source, TokenSource::Memory);
        // The provider remembers each `jti` and refuses its second use.
        ask()
            .force_refresh(true)
            .await
            .unwrap_or_else(|error| panic!("{shown}: {error:?}"));
    }
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let unknown = ClientCertificate::from_private_key(&Secret::new(key.serialize_pem())).unwrap();
    let client = of_provider(
        &provider,
        SERVICE_JWT_CLIENT_ID,
        ClientCredential::certificate(unknown),
    )
    .await;
    let refused = client.acquire_token_for_client(["api:read"]).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Authority(error) if error.code() == "invalid_client"),
        "{refused:?}"
    );
}

async fn of_provider(provider: &OidcProvider, id: &str, credential: ClientCredential) -> ConfidentialClient {
    let authority = Authority::detect(provider.issuer()).unwrap();
    let cache = cache(Arc::new(MemoryStore::new()));
    let http: Arc<dyn HttpClient> = Arc::new(ReqwestClient::new().unwrap());
    ConfidentialClient::builder(id, authority, credential, cache)
        .http(http)
        .build()
        .unwrap()
}
