//! User name and password (RFC 6749 section 4.3).

use cache_core::cache::RefusedBecause;
use cache_core::secret::Secret;
use cache_testkit::authority::{
    ALICE, Config, Grant, PASSWORD, PUBLIC_CLIENT, Rotation, Script, ScriptedError,
};
use cache_testkit::oidc_provider;
use flows::client::PasswordGrant;
use flows::{Error, TokenSource};

use crate::scene::{Entra, HOUR, Oidc, only_account};

fn secret() -> Secret {
    Secret::new(PASSWORD)
}

#[tokio::test]
async fn a_password_signs_in_and_silence_follows() {
    let scene = Entra::start(Config::default().rotation(Rotation::Strict)).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    let typed = ALICE.to_uppercase();
    let signed_in = client
        .acquire_token_by_username_password(["User.Read"], typed, secret())
        .await
        .unwrap();
    assert_eq!(
        signed_in.account().unwrap().username,
        ALICE,
        "as the authority writes it"
    );
    let account = only_account(&client).await;
    let silent = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(
        (silent.metadata().source, silent.access_token()),
        (TokenSource::Memory, signed_in.access_token())
    );
    scene.advance(HOUR);
    client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(
        scene.authority.grant_count(Grant::Password).requests,
        1,
        "the password is not used again"
    );
}

#[tokio::test]
async fn a_wrong_password_is_no_demand_for_interaction_and_is_not_shown() {
    let scene = Entra::start(Config::default()).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    let wrong = client.acquire_token_by_username_password(["User.Read"], ALICE, Secret::new("canary-wrong"));
    assert!(!format!("{wrong:?}").contains("canary"));
    let refused = wrong.await.unwrap_err();
    let Error::Authority(error) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (error.code(), error.codes(), error.refusal().about),
        ("invalid_grant", &[50_126][..], RefusedBecause::Caller)
    );
    assert!(!format!("{refused} {refused:?}").contains("canary"));
    // And the next one is asked about: nothing was remembered against it.
    client
        .acquire_token_by_username_password(["User.Read"], ALICE, secret())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_second_factor_needs_the_user() {
    let scene = Entra::start(Config::default()).await;
    let client = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    let factor = ScriptedError::new("invalid_grant", 50_076);
    scene
        .authority
        .script(Script::error(factor).grant(Grant::Password));
    let refused = client
        .acquire_token_by_username_password(["User.Read"], ALICE, secret())
        .await;
    assert!(
        matches!(refused, Err(Error::InteractionRequired(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_confidential_client_takes_passwords_only_when_it_was_told_to() {
    let scene = Entra::start(Config::default()).await;
    let client = scene.confidential().await.build().unwrap();
    let refused = client
        .acquire_token_by_username_password(["User.Read"], ALICE, secret())
        .await;
    assert!(matches!(refused, Err(Error::Configuration(_))), "{refused:?}");
    assert_eq!(scene.authority.grant_count(Grant::Password).requests, 0);
    let builder = scene
        .confidential()
        .await
        .allow_password_grant(PasswordGrant::IUnderstandTheRisk);
    let client = builder.build().unwrap();
    let signed_in = client
        .acquire_token_by_username_password(["User.Read"], ALICE, secret())
        .await
        .unwrap();
    assert_eq!(signed_in.account().unwrap().username, ALICE);
}

#[tokio::test]
async fn a_real_provider_takes_the_right_password_and_refuses_another() {
    let scene = Oidc::start().await;
    let client = scene.public().await.build().unwrap();
    let sign_in = |password: &str| {
        let password = Secret::new(password);
        client
            .acquire_token_by_username_password(["api:read"], oidc_provider::USERNAME, password)
            .into_future()
    };
    let refused = sign_in("wrong").await.unwrap_err();
    assert!(
        matches!(&refused, Error::Authority(error) if error.code() == "invalid_grant"),
        "{refused:?}"
    );
    let signed_in = sign_in(oidc_provider::PASSWORD).await.unwrap();
    assert_eq!(signed_in.account().unwrap().username, oidc_provider::USERNAME);
    let account = only_account(&client).await;
    let silent = client
        .acquire_token_silent(["openid", "api:read"])
        .account(&account)
        .force_refresh(true)
        .await;
    assert_eq!(silent.unwrap().metadata().source, TokenSource::Authority);
}
