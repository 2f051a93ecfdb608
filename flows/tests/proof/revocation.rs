//! Revocation on sign-out (RFC 7009).

use std::time::Duration;

use cache_testkit::authority::{Config, Endpoint, FAMILY_CLIENTS, Grant, PUBLIC_CLIENT, Rotation, Script};
use flows::Error;
use flows::client::Revocation;
use flows::error::ReplyError;

use crate::scene::{Entra, HOUR, Oidc, Ticking, only_account};

fn strict() -> Config {
    Config::default().rotation(Rotation::Strict).revocation()
}

fn revocations(scene: &Entra) -> usize {
    let requests = scene.authority.requests();
    requests
        .iter()
        .filter(|request| request.endpoint == Endpoint::Revocation)
        .count()
}

#[tokio::test]
async fn a_sign_out_revokes_the_grant_at_a_real_provider() {
    let scene = Oidc::start().await;
    let client = scene.public().await.build().unwrap();
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    let signed_out = client.remove_account(&account).await.unwrap();
    assert!(signed_out.found);
    assert!(
        matches!(signed_out.revocation, Revocation::Revoked),
        "{signed_out:?}"
    );
    assert_eq!(scene.provider.statistics().await.unwrap().grants_revoked, 1);
    let again = client.remove_account(&account).await.unwrap();
    assert!(
        !again.found && matches!(again.revocation, Revocation::Nothing),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_sign_out_revokes_its_own_token_and_no_other() {
    let scene = Entra::start(strict()).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    let other = scene.public(FAMILY_CLIENTS[0]).await.build().unwrap();
    scene.sign_in(&client).await;
    scene.sign_in(&other).await;
    let account = only_account(&client).await;
    let signed_out = client.remove_account(&account).await.unwrap();
    assert!(
        matches!(signed_out.revocation, Revocation::Revoked),
        "{signed_out:?}"
    );
    let revoked: Vec<_> = scene
        .authority
        .families()
        .iter()
        .map(|family| family.revoked)
        .collect();
    assert_eq!(revoked, [true, false]);
    assert_eq!(revocations(&scene), 1);
}

#[tokio::test]
async fn a_family_token_that_stays_is_not_revoked_until_the_family_is_signed_out() {
    let scene = Entra::start(strict()).await;
    let [first, second] = FAMILY_CLIENTS;
    let first = scene.public(first).await.build().unwrap();
    let second = scene.public(second).await.build().unwrap();
    scene.sign_in(&first).await;
    let account = only_account(&first).await;
    second
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();

    let signed_out = first.remove_account(&account).await.unwrap();
    assert!(
        signed_out.found && matches!(signed_out.revocation, Revocation::Nothing),
        "{signed_out:?}"
    );
    assert_eq!(scene.authority.families_revoked(), 0);
    let signed_out = second.remove_account(&account).family().await.unwrap();
    assert!(
        matches!(signed_out.revocation, Revocation::Revoked),
        "{signed_out:?}"
    );
    assert_eq!(scene.authority.families_revoked(), 1);
}

#[tokio::test]
async fn the_account_is_signed_out_here_although_the_authority_does_not_revoke() {
    let scene = Entra::start(strict()).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    scene
        .authority
        .script(Script::status(503).on(Endpoint::Revocation));
    let signed_out = client.remove_account(&account).await.unwrap();
    assert!(
        matches!(
            &signed_out.revocation,
            Revocation::Failed(Error::Reply(ReplyError::Unavailable { status: 503, .. }))
        ),
        "{signed_out:?}"
    );
    assert!(signed_out.found && client.accounts().await.unwrap().accounts.is_empty());
    let silent = client.acquire_token_silent(["User.Read"]).account(&account).await;
    assert!(matches!(silent, Err(Error::InteractionRequired(_))), "{silent:?}");
    assert_eq!(scene.authority.families_revoked(), 0);
}

#[tokio::test]
async fn a_revocation_that_is_not_answered_ends_with_the_time_limit() {
    let scene = Entra::start(strict()).await;
    let client = scene
        .public(PUBLIC_CLIENT)
        .await
        .time_limit(Duration::from_secs(2))
        .build()
        .unwrap();
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    let slow = Script::pass()
        .on(Endpoint::Revocation)
        .delayed(Duration::from_secs(60));
    scene.authority.script(slow);
    let _ticking = Ticking::start(&scene.clock);
    let signed_out = client.remove_account(&account).await.unwrap();
    assert!(signed_out.found);
    assert!(
        matches!(&signed_out.revocation, Revocation::Failed(Error::Http(_))),
        "{signed_out:?}"
    );
}

#[tokio::test]
async fn nobody_is_asked_where_it_is_not_wanted_or_not_offered() {
    let scene = Entra::start(strict()).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    let signed_out = client.remove_account(&account).revoke(false).await.unwrap();
    assert!(
        matches!(signed_out.revocation, Revocation::NotAsked),
        "{signed_out:?}"
    );
    assert_eq!(revocations(&scene), 0);

    let scene = Entra::start(Config::default()).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    let signed_out = client.remove_account(&account).await.unwrap();
    assert!(
        matches!(signed_out.revocation, Revocation::NotOffered),
        "{signed_out:?}"
    );
}

#[tokio::test]
async fn a_refresh_that_comes_back_after_the_sign_out_has_its_token_revoked() {
    let scene = Entra::start(strict()).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    let elsewhere = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    scene.advance(HOUR);
    // Executed at once, answered later.
    let late = Script::pass()
        .grant(Grant::RefreshToken)
        .reply_delayed(Duration::from_millis(500));
    scene.authority.script(late);
    let refreshing = client.clone();
    let held = account.clone();
    let refresh = tokio::spawn(async move {
        refreshing
            .acquire_token_silent(["User.Read"])
            .account(&held)
            .await
    });
    while scene.refreshes() == 0 {
        tokio::task::yield_now().await;
    }
    let signed_out = elsewhere.remove_account(&account).revoke(false).await.unwrap();
    assert!(signed_out.found);
    assert!(matches!(
        refresh.await.unwrap(),
        Err(Error::InteractionRequired(_))
    ));
    assert_eq!(client.cache().shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!((revocations(&scene), scene.authority.families_revoked()), (1, 1));
}
