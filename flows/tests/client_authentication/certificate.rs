//! Secrets and certificates at Entra.

use std::sync::Arc;

use cache_core::secret::Secret;
use cache_core::store::MemoryStore;
use cache_testkit::authority::CONFIDENTIAL_SECRET;
use flows::authority::{Authority, Region};
use flows::client::{ClientCredential, ConfidentialClient};
use flows::request::{ClientCertificate, SecretMethod};
use flows::{Error, TokenSource};
use rcgen::KeyPair;

use crate::scene::{Scene, cache, part, token};
use crate::support::ScriptedClient;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_signs_each_request_anew_and_a_cached_token_needs_none() {
    let scene = Scene::with_certificate().await;
    let client = scene
        .client(ClientCredential::certificate(scene.own_certificate()))
        .await;
    let first = token(&client, false).await.unwrap();
    assert_eq!(first.metadata().source, TokenSource::Authority);
    let again = token(&client, false).await.unwrap();
    assert_eq!(again.metadata().source, TokenSource::Memory);
    assert_eq!(scene.asked(), 1, "the second needs no request");

    // The authority refuses an assertion that it has seen.
    token(&client, true).await.unwrap();
    token(&client, true).await.unwrap();
    let assertions = scene.sent("client_assertion");
    let mut identifiers: Vec<_> = assertions
        .iter()
        .map(|jwt| part(jwt, 1)["jti"].to_string())
        .collect();
    identifiers.sort();
    identifiers.dedup();
    assert_eq!(identifiers.len(), 3);
    assert!(scene.sent("client_secret").is_empty());
    assert!(part(&assertions[0], 0).get("x5c").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_goes_with_it_when_asked_for() {
    let scene = Scene::with_certificate().await;
    let certificate = scene.own_certificate().send_certificate_chain(true);
    let client = scene.client(ClientCredential::certificate(certificate)).await;
    token(&client, false).await.unwrap();
    let header = part(&scene.sent("client_assertion")[0], 0);
    assert_eq!(header["x5c"].as_array().unwrap().len(), 1);
    assert_eq!(header["alg"], "PS256");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_registered_is_refused_by_the_authority() {
    let (scene, other) = (Scene::with_certificate().await, Scene::with_certificate().await);
    let client = scene
        .client(ClientCredential::certificate(other.own_certificate()))
        .await;
    let refused = token(&client, false).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Authority(error) if error.codes().contains(&700_027) || error.code() == "invalid_client"),
        "{refused:?}"
    );
    assert!(scene.is_cache_empty().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_by_form_and_by_header() {
    let scene = Scene::with_key().await;
    for method in [SecretMethod::Post, SecretMethod::Basic] {
        let secret = Secret::new(CONFIDENTIAL_SECRET);
        let client = scene
            .client(ClientCredential::Secret {
                secret,
                method: Some(method),
            })
            .await;
        token(&client, true).await.unwrap();
    }
    assert_eq!(
        scene.sent("client_secret").len(),
        1,
        "the other went in the header"
    );
    assert_eq!(scene.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_the_authority_cannot_accept_is_refused_when_the_client_is_built() {
    let key = KeyPair::generate().unwrap();
    let bare = ClientCertificate::from_private_key(&Secret::new(key.serialize_pem())).unwrap();
    let cache = cache(Arc::new(MemoryStore::new()));
    let build = |authority: &str, region: Option<Region>| {
        let authority = Authority::detect(authority).unwrap();
        let credential = ClientCredential::certificate(bare.clone());
        let mut builder = ConfidentialClient::builder("c", authority, credential, cache.clone())
            .http(Arc::new(ScriptedClient::default()));
        if let Some(region) = region {
            builder = builder.region(region);
        }
        builder.build()
    };
    let entra = build("https://login.microsoftonline.com/contoso.com", None);
    assert!(matches!(entra, Err(Error::Configuration(_))), "{entra:?}");
    assert!(build("https://id.example", None).is_ok());
    let regional = build("https://id.example", Some(Region::named("westus2").unwrap()));
    assert!(matches!(regional, Err(Error::Configuration(_))), "{regional:?}");
}
