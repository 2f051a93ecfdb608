//! A sign-out ends what was begun on the user's behalf, in every process.

use std::sync::Arc;

use cache_core::random::OsRandom;
use cache_core::store::MemoryStore;
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{ALICE, BOB, Config, Endpoint};
use cache_testkit::clock::ManualClock;
use flows::client::SessionId;
use flows::{Error, TokenSource};

use crate::scene::*;

#[tokio::test(flavor = "multi_thread")]
async fn signing_an_account_out_by_its_id_ends_all_its_sessions_in_another_process() {
    let scene = Scene::new().await;
    let (first, second) = (scene.service().await, scene.service().await);
    let (alice, bob) = (scene.alice().await, scene.assertion(BOB).await);
    let job = SessionId::random(&OsRandom).unwrap();
    let result = first.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    first.acquire_token_on_behalf_of(&bob, SCOPES).await.unwrap();
    first
        .begin_long_running_session(&job, &alice, SCOPES)
        .await
        .unwrap();
    second
        .acquire_token_in_long_running_session(&job, SCOPES)
        .await
        .unwrap();
    assert!(
        second.accounts().await.unwrap().accounts.is_empty(),
        "a pure middle tier knows no accounts"
    );

    let home_account_id = result.account().unwrap().home_account_id.clone();
    assert!(
        second
            .remove_account_by_home_id(&home_account_id)
            .await
            .unwrap()
            .found
    );
    assert!(
        !second
            .remove_account_by_home_id(&home_account_id)
            .await
            .unwrap()
            .found
    );
    let late = scene.service().await;
    for service in [&second, &late] {
        let error = service.acquire_token_in_long_running_session(&job, SCOPES).await;
        assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");
    }
    // Who still holds the assertion can begin anew: to end that is up to who issued it.
    let asked = scene.asked_on_behalf_of();
    let anew = late.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    assert_eq!(anew.metadata().source, TokenSource::Authority);
    assert_eq!(scene.asked_on_behalf_of(), asked + 1);
    let untouched = late.acquire_token_on_behalf_of(&bob, SCOPES).await.unwrap();
    assert_eq!(untouched.metadata().source, TokenSource::Store);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_a_user_with_an_account_out_ends_web_sessions_too() {
    let scene = Scene::new().await;
    let (service, other) = (scene.service().await, scene.service().await);
    let (parts, back) = scene.browsed(&service, ALICE).await;
    service
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap();
    let web = SessionId::random(&OsRandom).unwrap();
    let (parts, back) = scene.browsed(&service, ALICE).await;
    service
        .acquire_token_by_authorization_code(&parts, &back)
        .in_session(&web)
        .await
        .unwrap();
    let account = other.accounts().await.unwrap().accounts.remove(0);
    assert!(other.remove_account(&account).await.unwrap().found);
    let late = scene.service().await;
    let error = late.acquire_token_silent(["User.Read"]).in_session(&web).await;
    assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_the_last_session_of_a_user_revokes_its_refresh_token_and_no_other_s() {
    let clock = ManualClock::at(SystemClock.now());
    let config = Config::default().revocation();
    let scene = Scene::with(config, Arc::new(MemoryStore::new()), clock).await;
    let service = scene.service().await;
    let revocations = || {
        let requests = scene.authority.requests();
        let revocations = requests.iter().filter(|it| it.endpoint == Endpoint::Revocation);
        revocations.count()
    };
    let (web, job) = (
        SessionId::random(&OsRandom).unwrap(),
        SessionId::random(&OsRandom).unwrap(),
    );
    let (parts, back) = scene.browsed(&service, ALICE).await;
    service
        .acquire_token_by_authorization_code(&parts, &back)
        .in_session(&web)
        .await
        .unwrap();
    let alice = scene.alice().await;
    service
        .begin_long_running_session(&job, &alice, SCOPES)
        .await
        .unwrap();
    // Tokens that live by an assertion have no refresh token, so they are not in the way.
    service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    assert!(service.end_session(&web).await.unwrap());
    assert_eq!(revocations(), 0, "they may be one grant's");
    assert!(service.stop_long_running_session(&job).await.unwrap());
    assert_eq!(revocations(), 1);
    assert!(!service.stop_long_running_session(&job).await.unwrap());
    assert_eq!(revocations(), 1);
}
