//! External ID: Entra's protocol under hosts of its own, without instance discovery.

use cache_core::schema::AuthorityKind;
use cache_testkit::authority::{ALICE, Endpoint, HOME_DOMAIN, HOME_TENANT};
use flows::authority::Authority;
use flows::{Error, RefreshReason};

use crate::scene::{HOUR, Scene, only_account};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_lives_from_sign_in_to_sign_out() {
    let scene = Scene::new().await;
    let authority = Authority::ciam(&scene.fake.authority_url(HOME_DOMAIN)).unwrap();
    assert_eq!(authority.kind(), AuthorityKind::Ciam);
    let client = scene.public(authority).await;
    let signed_in = scene.sign_in(&client, "User.Read").await;
    assert_eq!(
        (signed_in.tenant(), signed_in.account().unwrap().username.as_str()),
        (HOME_TENANT, ALICE)
    );
    let account = only_account(&client).await;
    let silent = || client.acquire_token_silent(["User.Read"]).account(&account);
    assert_eq!(silent().await.unwrap().access_token(), signed_in.access_token());
    scene.advance(2 * HOUR);
    let refreshed = silent().await.unwrap();
    assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
    assert!(client.remove_account(&account).await.unwrap().found);
    assert!(matches!(silent().await, Err(Error::InteractionRequired(_))));
    let asked = |endpoint| {
        scene
            .fake
            .requests()
            .iter()
            .any(|request| request.endpoint == endpoint)
    };
    assert!(asked(Endpoint::OpenIdConfiguration) && !asked(Endpoint::InstanceDiscovery));
}
