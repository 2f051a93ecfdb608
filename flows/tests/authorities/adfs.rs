//! AD FS: no tenants, no `client_info`, and an issuer for access tokens that no ID token may have.

use cache_testkit::authority::{ALICE, Alteration, Endpoint, Script};
use flows::authority::Authority;
use flows::error::IdTokenError;
use flows::{Error, RefreshReason};
use serde_json::json;

use crate::scene::{HOUR, Scene, Ticking, only_account};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_its_subject_from_sign_in_to_sign_out() {
    let scene = Scene::new().await;
    let client = scene
        .public(Authority::adfs(&scene.fake.adfs_url()).unwrap())
        .await;
    let signed_in = scene.sign_in(&client, "https://api.test/read").await;
    let subject = signed_in.id_token_claims().unwrap().subject().unwrap().to_owned();
    let account = only_account(&client).await;
    assert_eq!(account.account.home_account_id, subject);
    assert_eq!(account.account.authority_type, "ADFS");
    assert_eq!(account.account.username, ALICE);
    let silent = || {
        client
            .acquire_token_silent(["https://api.test/read"])
            .account(&account)
    };
    assert_eq!(silent().await.unwrap().access_token(), signed_in.access_token());
    scene.advance(2 * HOUR);
    let refreshed = silent().await.unwrap();
    assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
    assert_eq!(refreshed.account().unwrap().home_account_id, subject);
    assert!(client.remove_account(&account).await.unwrap().found);
    assert!(matches!(silent().await, Err(Error::InteractionRequired(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_of_access_tokens_signs_nobody_in() {
    let scene = Scene::new().await;
    let client = scene
        .public(Authority::adfs(&scene.fake.adfs_url()).unwrap())
        .await;
    let trust = scene.fake.base_url().replace("https", "http") + "/adfs/services/trust";
    let alteration = Alteration::IdTokenClaim("iss".to_owned(), json!(trust));
    scene.fake.script(Script::alter([alteration]).on(Endpoint::Token));
    let _ticking = Ticking::start(&scene.clock);
    let sign_in = client.acquire_token_by_device_code(["https://api.test/read"]);
    let error = sign_in.on_prompt(|_| {}).await.unwrap_err();
    assert!(matches!(error, Error::IdToken(IdTokenError::Issuer)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_info_of_ad_fs_names_nobody() {
    let scene = Scene::new().await;
    let client = scene
        .public(Authority::adfs(&scene.fake.adfs_url()).unwrap())
        .await;
    scene
        .fake
        .script(Script::alter([Alteration::ClientInfoOf(ALICE.to_owned())]).on(Endpoint::Token));
    let signed_in = scene.sign_in(&client, "https://api.test/read").await;
    let subject = signed_in.id_token_claims().unwrap().subject().unwrap().to_owned();
    assert_eq!(signed_in.account().unwrap().home_account_id, subject);
}
