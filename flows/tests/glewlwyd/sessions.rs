//! Tokens of one browser's session with a web application.

use std::time::Duration;

use cache_core::random::OsRandom;
use flows::client::SessionId;
use flows::{Error, TokenSource};

use crate::scene::{SCOPES, Scene};

#[tokio::test]
async fn a_web_session_holds_its_own_tokens() {
    let scene = Scene::new().await;
    let (service, replica) = (scene.confidential().await, scene.confidential().await);
    let ids = [
        SessionId::random(&OsRandom).unwrap(),
        SessionId::random(&OsRandom).unwrap(),
    ];
    let mut begun = Vec::new();
    for id in &ids {
        let (pending, back) = scene.browsed(&service).await;
        let result = service
            .acquire_token_by_authorization_code(&pending, &back)
            .in_session(id)
            .await
            .unwrap();
        begun.push(result.access_token().to_secret());
    }
    assert_ne!(begun[0], begun[1]);
    for (id, access_token) in ids.iter().zip(&begun) {
        let found = replica.acquire_token_silent(SCOPES).in_session(id).await.unwrap();
        assert_eq!(&found.access_token().to_secret(), access_token);
    }
    assert!(
        replica.accounts().await.unwrap().accounts.is_empty(),
        "they are not the user's everywhere"
    );

    scene.clock.advance(Duration::from_secs(2 * 3600));
    let refreshed = replica
        .acquire_token_silent(SCOPES)
        .in_session(&ids[0])
        .await
        .unwrap();
    assert_eq!(refreshed.metadata().source, TokenSource::Authority);
    assert!(service.end_session(&ids[0]).await.unwrap());
    let ended = scene.confidential().await;
    let ended = ended.acquire_token_silent(SCOPES).in_session(&ids[0]).await;
    assert!(matches!(ended, Err(Error::InteractionRequired(_))), "{ended:?}");
}
