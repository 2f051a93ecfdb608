//! Taking a refresh token over from another program.

use cache_core::secret::Secret;
use flows::{Error, RefreshReason};

use crate::scene::{SCOPES, Scene, only_account};

#[tokio::test]
async fn an_existing_refresh_token_is_imported() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let first = scene.sign_in(&client).await;
    let old = scene.refresh_token().await;
    let account = only_account(&client).await;
    client.remove_account(&account).revoke(false).await.unwrap();

    let result = client.acquire_token_by_refresh_token(&old, SCOPES).await.unwrap();
    assert_ne!(result.access_token, first.access_token);
    let again = only_account(&client).await;
    assert_eq!(again.account.home_account_id, account.account.home_account_id);
    let refreshed = client
        .acquire_token_silent(SCOPES)
        .account(&again)
        .force_refresh(true)
        .await
        .unwrap();
    assert_eq!(
        refreshed.metadata.refresh_reason,
        Some(RefreshReason::ForceRefresh)
    );
    let unknown = client
        .acquire_token_by_refresh_token(&Secret::new("unknown"), SCOPES)
        .await;
    assert!(
        matches!(unknown, Err(Error::InteractionRequired(_))),
        "{unknown:?}"
    );
}
