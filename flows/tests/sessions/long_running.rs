//! Sessions that go on without the user.

use std::sync::Arc;
use std::time::Duration;

use cache_core::random::OsRandom;
use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::authority::{ALICE, Alteration, BOB, Grant, HOME_TENANT, Rotation, Script};
use cache_testkit::clock::ManualClock;
use flows::client::{SessionError, SessionId};
use flows::{Error, RefreshReason, TokenSource};

use crate::scene::*;

fn id() -> SessionId {
    SessionId::random(&OsRandom).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_starts_goes_on_in_another_process_and_stops() {
    let scene = Scene::new().await;
    let (front, worker) = (scene.service().await, scene.service().await);
    let (id, alice) = (id(), scene.alice().await);
    let begun = front
        .begin_long_running_session(&id, &alice, SCOPES)
        .await
        .unwrap();
    assert_eq!(begun.account().unwrap().username, ALICE);

    // Another process that was told the ID, long after the assertion has expired.
    let told = SessionId::parse(id.expose()).unwrap();
    let cached = worker
        .acquire_token_in_long_running_session(&told, SCOPES)
        .await
        .unwrap();
    assert_eq!(
        cached.metadata().source,
        TokenSource::Store,
        "wherever the session was found first"
    );
    assert_eq!(cached.access_token(), begun.access_token());
    let again = worker.acquire_token_in_long_running_session(&told, SCOPES).await;
    assert_eq!(again.unwrap().metadata().source, TokenSource::Memory);
    scene.advance(5 * HOUR);
    let refreshed = worker
        .acquire_token_in_long_running_session(&told, SCOPES)
        .await
        .unwrap();
    assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
    // More scopes than it began with spend the session's refresh token too.
    let more = worker
        .acquire_token_in_long_running_session(&told, ["Files.Read"])
        .await
        .unwrap();
    assert_eq!(more.account().unwrap().username, ALICE);
    assert_eq!((scene.asked_on_behalf_of(), scene.refreshes()), (1, 2));

    assert!(front.stop_long_running_session(&id).await.unwrap());
    assert!(!front.stop_long_running_session(&id).await.unwrap());
    let gone = scene.service().await;
    let error = gone
        .acquire_token_in_long_running_session(&id, SCOPES)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_caches_over_one_sqlite_file_refresh_a_session_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(SystemClock.now());
    let path = folder.path().join("tokens.db");
    let sqlite = SqliteStore::open(SqliteConfig::new(&path).clock(Arc::new(clock.clone()))).await;
    let store: Arc<dyn Store> = Arc::new(sqlite.unwrap());
    let scene = Scene::over(store, clock).await;
    // A second use of a refresh token would revoke the session.
    scene.authority.set_rotation(Rotation::Strict);
    let _ticking = Ticking::start(&scene.clock);
    let (id, alice) = (id(), scene.alice().await);
    let mut services = Vec::new();
    for _ in 0..4 {
        services.push(scene.service().await);
    }
    services[0]
        .begin_long_running_session(&id, &alice, SCOPES)
        .await
        .unwrap();
    for service in &services {
        service
            .acquire_token_in_long_running_session(&id, SCOPES)
            .await
            .unwrap();
    }
    scene.advance(2 * HOUR);
    let slow = Script::pass()
        .reply_delayed(Duration::from_millis(200))
        .grant(Grant::RefreshToken);
    scene.authority.script(slow);
    let calls: Vec<_> = (0..40)
        .map(|index| {
            let (service, id) = (services[index % 4].clone(), id.clone());
            tokio::spawn(async move { service.acquire_token_in_long_running_session(&id, SCOPES).await })
        })
        .collect();
    let mut tokens = Vec::new();
    for call in calls {
        tokens.push(call.await.unwrap().unwrap().access_token().to_secret());
    }
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!((scene.refreshes(), scene.authority.families_revoked()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_neither_a_web_session_nor_an_assertion_s_nor_another_id_s() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let (mine, other) = (id(), id());
    let alice = scene.alice().await;
    service
        .begin_long_running_session(&mine, &alice, SCOPES)
        .await
        .unwrap();
    let error = service
        .acquire_token_in_long_running_session(&other, SCOPES)
        .await;
    assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");
    let error = service.acquire_token_silent(SCOPES).in_session(&mine).await;
    assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");
    assert!(!service.end_session(&mine).await.unwrap());
    let asked = service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    assert_eq!(asked.metadata().source, TokenSource::Authority);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_can_be_guessed_is_refused_and_one_with_an_account_is_that_account_s() {
    assert_eq!(SessionId::parse("job-7").unwrap_err(), SessionError::Guessable);
    let scene = Scene::new().await;
    let service = scene.service().await;
    let (alice, bob) = (scene.alice().await, scene.assertion(BOB).await);
    let known = service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    let alice_id = known.account().unwrap().home_account_id.clone();
    let named = SessionId::with_expected_account("job-7", &alice_id).unwrap();

    // Another's assertion begins nothing under it.
    let error = service
        .begin_long_running_session(&named, &bob, SCOPES)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Session(SessionError::OtherAccount)),
        "{error:?}"
    );
    let error = service
        .acquire_token_in_long_running_session(&named, SCOPES)
        .await;
    assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");

    // And nobody uses, replaces or ends it in another's name.
    let begun = service
        .begin_long_running_session(&named, &alice, SCOPES)
        .await
        .unwrap();
    let stolen = SessionId::with_expected_account("job-7", "another.account").unwrap();
    let asked = scene.asked_on_behalf_of();
    for error in [
        service
            .acquire_token_in_long_running_session(&stolen, SCOPES)
            .await
            .unwrap_err(),
        service
            .begin_long_running_session(&stolen, &bob, SCOPES)
            .await
            .unwrap_err(),
        service.stop_long_running_session(&stolen).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Session(SessionError::OtherAccount)),
            "{error:?}"
        );
    }
    assert_eq!(scene.asked_on_behalf_of(), asked, "nobody was asked");
    let unchanged = scene
        .service()
        .await
        .acquire_token_in_long_running_session(&named, SCOPES)
        .await
        .unwrap();
    assert_eq!(unchanged.access_token(), begun.access_token());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_answers_for_somebody_else_is_refused_and_the_session_ends_with_its_lifetime() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let (id, alice) = (id(), scene.alice().await);
    service
        .begin_long_running_session(&id, &alice, SCOPES)
        .lifetime(10 * HOUR)
        .await
        .unwrap();
    scene.advance(2 * HOUR);
    let other = Script::alter([Alteration::ClientInfoOf(BOB.into())]).grant(Grant::RefreshToken);
    scene.authority.script(other);
    let error = service
        .acquire_token_in_long_running_session(&id, SCOPES)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Cache(_)), "{error:?}");
    {
        let _ticking = Ticking::start(&scene.clock);
        let refreshed = service
            .acquire_token_in_long_running_session(&id, SCOPES)
            .await
            .unwrap();
        assert_eq!(refreshed.account().unwrap().username, ALICE);
    }

    scene.advance(9 * HOUR);
    let error = service
        .acquire_token_in_long_running_session(&id, SCOPES)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begun_at_a_shared_authority_goes_on_in_its_tenant() {
    let scene = Scene::new().await;
    let service = scene.service_at("organizations").await;
    let (id, alice) = (id(), scene.alice().await);
    service
        .begin_long_running_session(&id, &alice, SCOPES)
        .tenant(HOME_TENANT)
        .await
        .unwrap();
    let cached = service
        .acquire_token_in_long_running_session(&id, SCOPES)
        .await
        .unwrap();
    assert_eq!(
        (cached.tenant(), cached.metadata().source),
        (HOME_TENANT, TokenSource::Memory)
    );
}
