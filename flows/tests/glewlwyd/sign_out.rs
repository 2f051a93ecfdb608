//! Revocation on sign-out (RFC 7009), which the provider does for clients that prove who they are.

use flows::Error;
use flows::client::Revocation;

use crate::scene::{SCOPES, Scene, only_account};

#[tokio::test]
async fn a_sign_out_revokes_the_refresh_token() {
    let scene = Scene::new().await;
    let client = scene.confidential().await;
    let (pending, back) = scene.browsed(&client).await;
    client
        .acquire_token_by_authorization_code(&pending, &back)
        .await
        .unwrap();
    let stolen = scene.refresh_token().await;
    let account = client.accounts().await.unwrap().accounts.remove(0);
    let signed_out = client.remove_account(&account).await.unwrap();
    assert!(
        signed_out.found && matches!(signed_out.revocation, Revocation::Revoked),
        "{signed_out:?}"
    );
    assert!(client.accounts().await.unwrap().accounts.is_empty());
    let late = client.acquire_token_by_refresh_token(&stolen, SCOPES).await;
    assert!(matches!(late, Err(Error::InteractionRequired(_))), "{late:?}");
}

#[tokio::test]
async fn a_public_client_is_signed_out_here_although_the_provider_revokes_nothing() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    let signed_out = client.remove_account(&account).await.unwrap();
    assert!(
        matches!(&signed_out.revocation, Revocation::Failed(Error::Authority(_))),
        "{signed_out:?}"
    );
    assert!(signed_out.found && client.accounts().await.unwrap().accounts.is_empty());
    let silent = client.acquire_token_silent(SCOPES).account(&account).await;
    assert!(matches!(silent, Err(Error::InteractionRequired(_))), "{silent:?}");
}
