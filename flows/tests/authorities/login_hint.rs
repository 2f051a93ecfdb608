//! A login hint selects among cached accounts, and never guesses.

use cache_testkit::authority::{ALICE, BOB, Config, HOME_TENANT, PUBLIC_CLIENT, User};
use flows::Error;
use flows::client::PublicClient;

use crate::scene::{Scene, Ticking};

/// Signs `user` in by approving the code by hand.
async fn sign_in(scene: &Scene, client: &PublicClient, user: &str) -> flows::AuthenticationResult {
    let _ticking = Ticking::start(&scene.clock);
    let sign_in = client.acquire_token_by_device_code(["User.Read"]);
    sign_in
        .on_prompt(|prompt| scene.fake.approve_device(prompt.user_code(), user).unwrap())
        .await
        .unwrap()
}

async fn chosen(client: &PublicClient, hint: &str) -> Result<String, Error> {
    let result = client
        .acquire_token_silent(["User.Read"])
        .login_hint(hint)
        .await?;
    Ok(result.account().unwrap().home_account_id.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_identifiers_select_the_account_for_both_kinds_of_client() {
    let scene = Scene::with(Config::default()).await;
    let client = scene.public(scene.entra("organizations")).await;
    let alice = sign_in(&scene, &client, ALICE).await.account().cloned().unwrap();
    let bob = sign_in(&scene, &client, BOB).await.account().cloned().unwrap();
    assert_ne!(alice.home_account_id, bob.home_account_id);
    for account in [&alice, &bob] {
        for hint in [
            &account.username,
            &account.home_account_id,
            &account.local_account_id,
        ] {
            for hint in [hint.clone(), hint.to_uppercase()] {
                assert_eq!(chosen(&client, &hint).await.unwrap(), account.home_account_id);
            }
        }
    }
    for nobody in ["", "alice", "mallory@contoso.test", PUBLIC_CLIENT] {
        let error = chosen(&client, nobody).await.unwrap_err();
        assert!(
            matches!(error, Error::InteractionRequired(_)),
            "{nobody}: {error:?}"
        );
    }
    let server = scene.confidential(scene.entra(HOME_TENANT)).await;
    scene.browse(&server, BOB, "User.Read").await.unwrap();
    let result = server
        .acquire_token_silent(["User.Read"])
        .login_hint(BOB)
        .await
        .unwrap();
    assert_eq!(result.account().unwrap().home_account_id, bob.home_account_id);
    // Alice is in the same cache, but of another client.
    let error = server
        .acquire_token_silent(["User.Read"])
        .login_hint(ALICE)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_that_fits_two_accounts_is_an_error_that_counts_them() {
    // Somebody whose name is what another's identifier says.
    let namesake = User::new(
        "11111111-0000-4000-8000-000000000001",
        "Not Alice",
        "33333333-0000-4000-8000-000000000003",
    );
    let scene = Scene::with(Config::default().user(namesake)).await;
    let client = scene.public(scene.entra("organizations")).await;
    let alice = sign_in(&scene, &client, ALICE).await.account().cloned().unwrap();
    sign_in(&scene, &client, &alice.local_account_id).await;
    let error = chosen(&client, &alice.local_account_id).await.unwrap_err();
    assert!(
        matches!(error, Error::AmbiguousAccount { matches: 2 }),
        "{error:?}"
    );
    assert!(!error.to_string().contains(&alice.local_account_id));
    assert_eq!(chosen(&client, ALICE).await.unwrap(), alice.home_account_id);
    assert_eq!(scene.refreshes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_account_or_a_hint_nothing_is_asked() {
    let scene = Scene::new().await;
    let client = scene.public(scene.entra("organizations")).await;
    let error = client.acquire_token_silent(["User.Read"]).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");
}
