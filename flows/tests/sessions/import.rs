//! Taking a refresh token over from another program.

use cache_core::cache::CacheError;
use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{ALICE, Alteration, CONFIDENTIAL_CLIENT, Grant, Rotation, Script};
use flows::{Error, TokenSource};

use crate::scene::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_moved_here_and_the_old_one_is_spent() {
    let scene = Scene::new().await;
    scene.authority.set_rotation(Rotation::Strict);
    let old = scene
        .signed_in(ALICE, "User.Read openid profile offline_access")
        .await;
    let old = Secret::new(old["refresh_token"].as_str().unwrap());
    let client = scene.public().await;
    let result = client
        .acquire_token_by_refresh_token(&old, ["User.Read"])
        .await
        .unwrap();
    assert_eq!(result.account().unwrap().username, ALICE);

    let other = scene.public().await;
    let account = other.accounts().await.unwrap().accounts.remove(0);
    let silent = other
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.metadata().source, TokenSource::Store);
    scene.advance(2 * HOUR);
    other
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!((scene.refreshes(), scene.authority.families_revoked()), (2, 0));

    // The program that it came from signs everybody out when it uses its copy.
    let error = client
        .acquire_token_by_refresh_token(&old, ["User.Read"])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
    assert_eq!(scene.authority.families_revoked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_of_somebody_else_is_not_taken_over() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let old = scene
        .signed_in(ALICE, "User.Read openid profile offline_access")
        .await;
    let old = Secret::new(old["refresh_token"].as_str().unwrap());
    let refused = client
        .acquire_token_by_refresh_token(&old, ["User.Read"])
        .home_account_id("00000000-0000-0000-0000-00000000b0b0.00000000-0000-0000-0000-000000000001")
        .await;
    assert!(
        matches!(refused, Err(Error::Cache(CacheError::OutcomeUnknown(_)))),
        "{refused:?}"
    );
    assert!(client.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_knows_the_outcome_the_error_says_so_and_nothing_is_cached() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let old = scene
        .signed_in(ALICE, "User.Read openid profile offline_access")
        .await;
    let old = Secret::new(old["refresh_token"].as_str().unwrap());
    for script in [
        Script::lost_reply(),
        Script::half_reply(),
        Script::status(503),
        Script::alter([Alteration::wrong_issuer()]),
        Script::alter([Alteration::omit("id_token"), Alteration::omit("client_info")]),
    ] {
        scene.authority.script(script.grant(Grant::RefreshToken));
        let error = client
            .acquire_token_by_refresh_token(&old, ["User.Read"])
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Cache(CacheError::OutcomeUnknown(_))),
            "{error:?}"
        );
        // The next one would be held back for a while.
        scene.advance(HOUR);
    }
    assert!(client.accounts().await.unwrap().accounts.is_empty());

    let refused = client
        .acquire_token_by_refresh_token(&Secret::new("unknown"), ["User.Read"])
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::InteractionRequired(_)), "{refused:?}");
    // Some providers say nothing more of a token that they do not know.
    scene
        .authority
        .script(Script::empty_bad_request().grant(Grant::RefreshToken));
    let refused = client
        .acquire_token_by_refresh_token(&old, ["User.Read"])
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::InteractionRequired(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_does_not_lose_the_new_token() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let (parts, back) = scene.browsed(&service, ALICE).await;
    service
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap();
    let exported = service.cache().export().await.unwrap();
    let exported: serde_json::Value = serde_json::from_slice(exported.json.expose()).unwrap();
    let rows = exported["RefreshToken"].as_object().unwrap();
    let old = Secret::new(rows.values().next().unwrap()["secret"].as_str().unwrap());
    let account = service.accounts().await.unwrap().accounts.remove(0);
    service.remove_account(&account).await.unwrap();

    let slow = Script::pass()
        .reply_delayed(std::time::Duration::from_millis(100))
        .grant(Grant::RefreshToken);
    scene.authority.script(slow);
    {
        let mut call = Box::pin(
            service
                .acquire_token_by_refresh_token(&old, ["User.Read"])
                .into_future(),
        );
        assert!(poll_once(&mut call).await.is_none());
    }
    for _ in 0..1000 {
        if !service.accounts().await.unwrap().accounts.is_empty() {
            break;
        }
        SystemClock.sleep(std::time::Duration::from_millis(5)).await;
    }
    let accounts = service.accounts().await.unwrap().accounts;
    assert_eq!(accounts[0].clients, [CONFIDENTIAL_CLIENT]);
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
