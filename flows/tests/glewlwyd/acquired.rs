//! Each way to get a token that the provider offers.

use std::time::Duration;

use flows::{Error, RefreshReason, TokenSource};

use crate::scene::{SCOPES, Scene};

#[tokio::test]
async fn a_device_code_signs_alice_in_and_silence_follows() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let first = scene.sign_in(&client).await;
    assert!(!first.access_token().is_empty() && first.scopes().contains("api:read"));
    let claims = first.id_token_claims().unwrap();
    assert_eq!(claims.issuer(), Some(scene.provider.issuer()));
    assert_eq!(claims.name(), Some("Alice"));

    let account = client.accounts().await.unwrap().accounts.remove(0);
    let silent = client
        .acquire_token_silent(SCOPES)
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.metadata().source, TokenSource::Memory);
    assert_eq!(silent.access_token(), first.access_token());
}

#[tokio::test]
async fn a_token_for_fewer_scopes_says_which_were_declined() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    assert!(scene.sign_in(&client).await.declined_scopes().is_empty());
    let account = client.accounts().await.unwrap().accounts.remove(0);
    // The provider answers a refresh for what was never consented to with what was.
    for source in [TokenSource::Authority, TokenSource::Memory] {
        let narrower = client
            .acquire_token_silent(["api:write"])
            .account(&account)
            .await
            .unwrap();
        assert_eq!(narrower.metadata().source, source);
        assert_eq!(narrower.declined_scopes().as_str(), "api:write");
        assert!(!narrower.scopes().contains("api:write"));
    }
}

#[tokio::test]
async fn a_refresh_rotates_and_a_spent_refresh_token_asks_for_the_user() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let first = scene.sign_in(&client).await;
    let account = client.accounts().await.unwrap().accounts.remove(0);
    let fresh = client
        .acquire_token_silent(SCOPES)
        .account(&account)
        .force_refresh(true)
        .await
        .unwrap();
    assert_ne!(fresh.access_token(), first.access_token());
    assert_eq!(fresh.metadata().refresh_reason, Some(RefreshReason::ForceRefresh));
    assert_eq!(
        fresh.account().unwrap().home_account_id,
        account.account.home_account_id
    );

    // Another program that shares nothing with this one, but once had the same token, kills the family.
    let copy = scene.copied().await;
    copy.public()
        .await
        .acquire_token_silent(SCOPES)
        .account(&account)
        .force_refresh(true)
        .await
        .unwrap();
    scene.clock.advance(Duration::from_secs(2 * 3600));
    let refused = client.acquire_token_silent(SCOPES).account(&account).await;
    assert!(
        matches!(refused, Err(Error::InteractionRequired(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_application_gets_a_token_of_its_own() {
    let scene = Scene::new().await;
    let client = scene.confidential().await;
    let first = client.acquire_token_for_client(SCOPES).await.unwrap();
    assert!(first.account().is_none());
    let again = client.acquire_token_for_client(SCOPES).await.unwrap();
    assert_eq!(again.metadata().source, TokenSource::Memory);
    assert_eq!(again.access_token(), first.access_token());
}

#[tokio::test]
async fn a_browser_signs_alice_in_to_a_web_application() {
    let scene = Scene::new().await;
    let client = scene.confidential().await;
    let (parts, back) = scene.browsed(&client).await;
    assert!(back.contains("iss="), "the provider names itself (RFC 9207)");
    let result = client
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap();
    assert_eq!(result.id_token_claims().unwrap().name(), Some("Alice"));
    let again = client.acquire_token_by_authorization_code(&parts, &back).await;
    assert!(again.is_err(), "a code is redeemed once");
}
