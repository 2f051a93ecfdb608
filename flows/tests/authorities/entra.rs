//! Entra: guests, tenants by GUID and by domain, shared tenants, families.

use cache_testkit::authority::{ALICE, BOB, FAMILY_CLIENTS, GUEST_TENANT, HOME_DOMAIN, HOME_TENANT};
use flows::{Error, TokenSource};

use crate::scene::{Scene, Ticking, only_account};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_one_account_with_two_profiles_and_no_token_serves_the_other_tenant() {
    for authority in ["organizations", HOME_TENANT] {
        let scene = Scene::new().await;
        let client = scene.public(scene.entra(authority)).await;
        let home = scene.sign_in(&client, "User.Read").await;
        let account = only_account(&client).await;
        let silent = || client.acquire_token_silent(["User.Read"]).account(&account);
        let guest = silent().tenant(GUEST_TENANT).await.unwrap();
        assert_eq!((home.tenant(), guest.tenant()), (HOME_TENANT, GUEST_TENANT));
        assert_eq!(guest.metadata().source, TokenSource::Authority);
        assert_ne!(guest.unique_id(), home.unique_id());
        // Each tenant's token is found again, and only for its tenant.
        assert_eq!(silent().await.unwrap().access_token(), home.access_token());
        let again = silent().tenant(GUEST_TENANT.to_uppercase()).await.unwrap();
        assert_eq!(again.access_token(), guest.access_token());
        assert_eq!(scene.refreshes(), 1);
        let merged = only_account(&client).await;
        assert_eq!(merged.account.realm, HOME_TENANT);
        let mut profiles: Vec<_> = merged
            .account
            .tenant_profiles
            .iter()
            .map(|profile| (profile.tenant_id.as_str(), profile.is_home_tenant))
            .collect();
        profiles.sort_unstable();
        assert_eq!(profiles, [(HOME_TENANT, true), (GUEST_TENANT, false)]);
        // Signing out takes both tenants' tokens.
        assert!(client.remove_account(&account).await.unwrap().found);
        let gone = silent().tenant(GUEST_TENANT).await;
        assert!(matches!(gone, Err(Error::InteractionRequired(_))), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_sign_in_at_the_guest_tenant_first() {
    let scene = Scene::new().await;
    let client = scene.public(scene.entra("organizations")).await;
    let guest = {
        let _ticking = Ticking::start(&scene.clock);
        let sign_in = client.acquire_token_by_device_code(["User.Read"]);
        sign_in.tenant(GUEST_TENANT).on_prompt(|_| {}).await.unwrap()
    };
    assert_eq!(guest.tenant(), GUEST_TENANT);
    let account = only_account(&client).await;
    let silent = || client.acquire_token_silent(["User.Read"]).account(&account);
    assert_eq!(
        silent().tenant(GUEST_TENANT).await.unwrap().access_token(),
        guest.access_token()
    );
    // At a shared authority the home tenant answers, as in MSAL.
    let home = silent().await.unwrap();
    assert_eq!(home.tenant(), HOME_TENANT);
    assert_ne!(home.access_token(), guest.access_token());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_where_the_user_is_no_guest_costs_nothing_but_the_answer() {
    let scene = Scene::with(cache_testkit::authority::Config::default().auto_approve_devices(0, BOB)).await;
    let client = scene.public(scene.entra("organizations")).await;
    scene.sign_in(&client, "User.Read").await;
    let account = only_account(&client).await;
    let silent = || client.acquire_token_silent(["Mail.Read"]).account(&account);
    assert!(silent().tenant(GUEST_TENANT).await.is_err());
    assert!(matches!(
        silent().tenant("a/b").await,
        Err(Error::Configuration(_))
    ));
    let served = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(
        (served.tenant(), served.metadata().source),
        (HOME_TENANT, TokenSource::Memory)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_may_be_named_by_its_domain() {
    let scene = Scene::new().await;
    let client = scene.public(scene.entra("organizations")).await;
    scene.sign_in(&client, "User.Read").await;
    let silent = || client.acquire_token_silent(["User.Read"]).login_hint(ALICE);
    let by_domain = silent().tenant(HOME_DOMAIN).await.unwrap();
    assert_eq!(by_domain.tenant(), HOME_TENANT);
    let again = silent().tenant(HOME_DOMAIN).await.unwrap();
    assert_eq!(again.access_token(), by_domain.access_token());
    assert_eq!(only_account(&client).await.account.tenant_profiles.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_member_without_tokens_of_its_own_is_served_by_hint_and_by_account() {
    let scene = Scene::new().await;
    let first = scene.public_as(scene.entra(HOME_TENANT), FAMILY_CLIENTS[0]).await;
    scene.sign_in(&first, "User.Read").await;
    let second = scene.public_as(scene.entra(HOME_TENANT), FAMILY_CLIENTS[1]).await;
    let by_hint = second
        .acquire_token_silent(["User.Read"])
        .login_hint(ALICE)
        .await
        .unwrap();
    assert_eq!(by_hint.metadata().source, TokenSource::Authority);
    let account = only_account(&second).await;
    let by_account = second
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(by_account.access_token(), by_hint.access_token());
    assert_eq!(scene.refreshes(), 1);
}
