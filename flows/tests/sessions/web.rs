//! Authorization codes whose tokens belong to one browser's session.

use cache_core::random::OsRandom;
use cache_testkit::authority::{ALICE, BOB, Grant};
use flows::client::{SessionError, SessionId};
use flows::{Error, RefreshReason, TokenSource};

use crate::scene::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_browsers_of_one_user_have_tokens_of_their_own_and_end_alone() {
    let scene = Scene::new().await;
    let (service, replica) = (scene.service().await, scene.service().await);
    let ids = [
        SessionId::random(&OsRandom).unwrap(),
        SessionId::random(&OsRandom).unwrap(),
    ];
    let mut begun = Vec::new();
    for id in &ids {
        let (parts, back) = scene.browsed(&service, ALICE).await;
        let result = service
            .acquire_token_by_authorization_code(&parts, &back)
            .in_session(id)
            .await
            .unwrap();
        begun.push(result);
    }
    assert_ne!(begun[0].access_token(), begun[1].access_token());
    for (id, begun) in ids.iter().zip(&begun) {
        let found = replica
            .acquire_token_silent(["User.Read"])
            .in_session(id)
            .await
            .unwrap();
        assert_ne!(found.metadata().source, TokenSource::Authority);
        assert_eq!(found.access_token(), begun.access_token());
        assert_eq!(found.account().unwrap().username, ALICE);
    }
    assert!(
        replica.accounts().await.unwrap().accounts.is_empty(),
        "they are not the user's everywhere"
    );

    scene.advance(2 * HOUR);
    let refreshed = replica
        .acquire_token_silent(["User.Read"])
        .in_session(&ids[0])
        .await
        .unwrap();
    assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
    let refreshed = &scene.authority.families()[..2];
    assert_eq!((refreshed[0].refreshes, refreshed[1].refreshes), (1, 0));

    assert!(service.end_session(&ids[0]).await.unwrap());
    assert!(!service.end_session(&ids[0]).await.unwrap());
    let late = scene.service().await;
    let error = late.acquire_token_silent(["User.Read"]).in_session(&ids[0]).await;
    assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");
    late.acquire_token_silent(["User.Read"])
        .in_session(&ids[1])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_for_one_account_is_not_begun_by_another_and_has_a_lifetime() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let named = SessionId::with_expected_account("cookie", "nobody.here").unwrap();
    let (parts, back) = scene.browsed(&service, BOB).await;
    let error = service
        .acquire_token_by_authorization_code(&parts, &back)
        .in_session(&named)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Session(SessionError::OtherAccount)),
        "{error:?}"
    );
    assert_eq!(scene.authority.grant_count(Grant::AuthorizationCode).issued, 1);
    assert!(!service.end_session(&named).await.unwrap(), "nothing was kept");

    let id = SessionId::random(&OsRandom).unwrap();
    let (parts, back) = scene.browsed(&service, BOB).await;
    service
        .acquire_token_by_authorization_code(&parts, &back)
        .in_session(&id)
        .session_lifetime(HOUR / 2)
        .await
        .unwrap();
    scene.advance(HOUR / 2);
    let error = service.acquire_token_silent(["User.Read"]).in_session(&id).await;
    assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_acquisition_is_for_an_account_or_in_a_session() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let (parts, back) = scene.browsed(&service, BOB).await;
    service
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap();
    let account = service.accounts().await.unwrap().accounts.remove(0);
    let id = SessionId::random(&OsRandom).unwrap();
    let error = service
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .in_session(&id)
        .await;
    assert!(matches!(error, Err(Error::Configuration(_))), "{error:?}");
}
