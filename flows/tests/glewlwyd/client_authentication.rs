//! Proving who the application is.

use cache_core::secret::Secret;
use cache_testkit::glewlwyd::{SERVICE_CLIENT_SECRET, SERVICE_PRIVATE_KEY};
use flows::client::ClientCredential;
use flows::request::{ClientCertificate, SecretMethod};
use flows::{Error, TokenSource};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::scene::{SCOPES, Scene};

fn signing(key: Secret) -> ClientCredential {
    let key = ClientCertificate::from_private_key(&key).unwrap();
    // The provider knows no other audience than its token endpoint.
    ClientCredential::certificate(key.for_token_endpoint(true))
}

#[tokio::test]
async fn an_application_proves_itself_by_a_signed_assertion() {
    let scene = Scene::new().await;
    let client = scene
        .confidential_by(signing(Secret::new(SERVICE_PRIVATE_KEY)))
        .await
        .build()
        .unwrap();
    let ask = || client.acquire_token_for_client(SCOPES);
    let first = ask().await.unwrap();
    assert_eq!(first.metadata().source, TokenSource::Authority);
    assert_eq!(ask().await.unwrap().access_token(), first.access_token());
    // Another assertion: the provider refuses the second use of one.
    ask().force_refresh(true).await.unwrap();

    let unknown = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let thief = scene
        .confidential_by(signing(Secret::new(unknown.serialize_pem())))
        .await
        .build()
        .unwrap();
    let refused = thief.acquire_token_for_client(SCOPES).force_refresh(true).await;
    assert!(matches!(&refused, Err(Error::Authority(_))), "{refused:?}");
}

#[tokio::test]
async fn an_application_proves_itself_by_its_secret_either_way() {
    let scene = Scene::new().await;
    for method in [SecretMethod::Basic, SecretMethod::Post] {
        let credential = ClientCredential::Secret {
            secret: Secret::new(SERVICE_CLIENT_SECRET),
            method: Some(method),
        };
        let client = scene.confidential_by(credential).await.build().unwrap();
        let ask = client.acquire_token_for_client(SCOPES).force_refresh(true);
        assert_eq!(ask.await.unwrap().metadata().source, TokenSource::Authority);
    }
}
