//! Taking a refresh token over from another program. The provider answers a refresh without an ID token, so nobody knows whose
//! token it is.

use std::error::Error as _;

use cache_core::cache::CacheError;
use cache_core::secret::Secret;
use flows::Error;
use flows::error::ReplyError;

use crate::scene::{SCOPES, Scene, only_account};

#[tokio::test]
async fn an_import_is_refused_where_a_refresh_brings_no_id_token() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    scene.sign_in(&client).await;
    let old = scene.refresh_token().await;
    let account = only_account(&client).await;
    client.remove_account(&account).revoke(false).await.unwrap();

    let refused = client.acquire_token_by_refresh_token(&old, SCOPES).await;
    let Err(Error::Cache(CacheError::OutcomeUnknown(error))) = refused else {
        panic!("{refused:?}")
    };
    let cause = error.source().and_then(|cause| cause.downcast_ref::<Error>());
    assert!(
        matches!(cause, Some(Error::Reply(ReplyError::NoAccount))),
        "{error:?}"
    );
    assert!(client.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn an_import_needs_no_id_token_where_the_caller_knows_the_user() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    scene.sign_in(&client).await;
    let old = scene.refresh_token().await;
    let account = only_account(&client).await;
    client.remove_account(&account).revoke(false).await.unwrap();

    let imported = client
        .acquire_token_by_refresh_token(&old, SCOPES)
        .home_account_id(&account.account.home_account_id)
        .await
        .unwrap();
    assert!(imported.scopes().contains("api:read"));
    let known = only_account(&client).await;
    assert_eq!(known.partition, account.partition);
    let renewed = client
        .acquire_token_silent(SCOPES)
        .account(&known)
        .force_refresh(true)
        .await;
    assert!(renewed.is_ok(), "{renewed:?}");
}

#[tokio::test]
async fn an_unknown_refresh_token_asks_for_the_user_although_the_refusal_is_empty() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let unknown = Secret::new("unknown");
    let refused = client.acquire_token_by_refresh_token(&unknown, SCOPES).await;
    assert!(
        matches!(refused, Err(Error::InteractionRequired(_))),
        "{refused:?}"
    );
}
