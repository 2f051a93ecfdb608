//! The password grant, which the provider allows to clients that prove who they are.

use cache_core::secret::Secret;
use cache_testkit::glewlwyd::{ALICE, PASSWORD};
use flows::Error;
use flows::client::PasswordGrant;

use crate::scene::{SCOPES, Scene};

#[tokio::test]
async fn a_password_signs_alice_in() {
    let scene = Scene::new().await;
    let client = scene
        .confidential_builder()
        .await
        .allow_password_grant(PasswordGrant::IUnderstandTheRisk)
        .build()
        .unwrap();
    let sign_in =
        |password: &str| client.acquire_token_by_username_password(SCOPES, ALICE, Secret::new(password));
    let refused = sign_in("wrong").await;
    assert!(matches!(&refused, Err(Error::Authority(_))), "{refused:?}");
    assert!(client.accounts().await.unwrap().accounts.is_empty());

    let result = sign_in(PASSWORD).await.unwrap();
    let account = client.accounts().await.unwrap().accounts.remove(0);
    assert_eq!(&account.account, result.account().unwrap());
    let silent = client
        .acquire_token_silent(SCOPES)
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.access_token(), result.access_token());
}

#[tokio::test]
async fn a_password_is_refused_from_a_public_client() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let refused = client
        .acquire_token_by_username_password(SCOPES, ALICE, Secret::new(PASSWORD))
        .await;
    // Status 403, and not a byte to say why.
    let Err(Error::Authority(error)) = refused else {
        panic!("{refused:?}")
    };
    let said = error.to_string();
    assert!(said.contains("403") && !said.contains(PASSWORD), "{said}");
    assert!(client.accounts().await.unwrap().accounts.is_empty());
}
