//! Tokens bound to a key (RFC 9449).

use std::sync::Arc;

use cache_core::schema::TokenType;
use flows::client::PublicClient;
use flows::proof::{DpopKey, SoftwareKey};
use flows::{AuthenticationResult, Error, TokenSource};

use crate::browser::{allowed_port, signed_in};
use crate::scene::{SCOPES, Scene, only_account};

fn key_of(result: &AuthenticationResult) -> String {
    assert!(
        matches!(&result.token_type(), TokenType::Bound { scheme, .. } if &**scheme == "DPoP"),
        "{result:?}"
    );
    result.token_type().key_id().unwrap().to_owned()
}

async fn refreshed(client: &PublicClient) -> Result<AuthenticationResult, Error> {
    client
        .acquire_token_silent(SCOPES)
        .account(&only_account(client).await)
        .force_refresh(true)
        .await
}

#[tokio::test]
async fn dpop_binds_tokens_and_their_refresh() {
    let scene = Scene::new().await;
    let bound = async |key| scene.public_builder().await.dpop(key).build().unwrap();
    let client = bound(DpopKey::software()).await;
    // Not by device code: its polls move the clock, and the provider takes no proof from the future.
    let port = allowed_port(&scene).await;
    let first = signed_in(&scene, &client, port).await;
    let second = refreshed(&client).await.unwrap();
    assert_eq!(
        (second.metadata().source, key_of(&second)),
        (TokenSource::Authority, key_of(&first))
    );
    // Another process, which has only what is stored.
    let other = bound(DpopKey::software()).await;
    assert_eq!(key_of(&refreshed(&other).await.unwrap()), key_of(&first));

    let stranger = Arc::new(SoftwareKey::generate().unwrap());
    let thief = bound(DpopKey::signer(stranger)).await;
    let refused = refreshed(&thief).await;
    assert!(
        matches!(&refused, Err(Error::Authority(error)) if error.code() == "invalid_dpop_proof"),
        "{refused:?}"
    );
    assert_eq!(key_of(&refreshed(&client).await.unwrap()), key_of(&first));
}
