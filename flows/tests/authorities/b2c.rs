//! Azure AD B2C: the issuer names the tenant's GUID and no policy, the account names the policy.

use cache_core::schema::ScopeSet;
use cache_testkit::authority::{
    ALICE, Alteration, B2C_POLICY, BOB, CONFIDENTIAL_CLIENT, Endpoint, HOME_TENANT, Script,
};
use flows::authority::Authority;
use flows::error::IdTokenError;
use flows::request::authorization_code::AuthorizationRequest;
use flows::{Error, InteractionClassification, RefreshReason, TokenSource};
use serde_json::json;

use crate::scene::{HOUR, Scene};

const SCOPE: &str = "https://contoso.onmicrosoft.test/api/read";

#[tokio::test(flavor = "multi_thread")]
async fn an_account_carries_its_policy_from_sign_in_to_sign_out() {
    for tfp in [false, true] {
        let scene = Scene::new().await;
        let url = scene.fake.b2c_url("B2C_1_susi");
        let url = if tfp {
            url.replace("/contoso", "/tfp/contoso")
        } else {
            url
        };
        let client = scene.confidential(Authority::b2c(&url).unwrap()).await;
        let signed_in = scene.browse(&client, ALICE, SCOPE).await.unwrap();
        let account = signed_in.account().unwrap();
        let (uid, utid) = account.home_account_id.split_once('.').unwrap();
        assert!(uid.ends_with("-b2c_1_susi"), "{uid}");
        assert_eq!(utid, HOME_TENANT);
        assert_eq!(account.username, ALICE);

        let cached = client.accounts().await.unwrap().accounts.remove(0);
        let silent = || client.acquire_token_silent([SCOPE]).account(&cached);
        let from_memory = silent().await.unwrap();
        assert_eq!(from_memory.metadata().source, TokenSource::Memory);
        assert_eq!(from_memory.access_token(), signed_in.access_token());
        scene.advance(2 * HOUR);
        let refreshed = silent().await.unwrap();
        assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
        assert!(client.remove_account(&cached).await.unwrap().found);
        assert!(matches!(silent().await, Err(Error::InteractionRequired(_))));
        assert!(client.accounts().await.unwrap().accounts.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policys_id_token_is_refused_although_the_issuer_is_the_same() {
    for claims in [
        vec![("tfp", json!("b2c_1_weaker"))],
        vec![("tfp", json!(null)), ("acr", json!("B2C_1A_weaker"))],
    ] {
        let scene = Scene::new().await;
        let authority = Authority::b2c(&scene.fake.b2c_url(B2C_POLICY)).unwrap();
        let client = scene.confidential(authority).await;
        let claims = claims
            .into_iter()
            .map(|(name, value)| Alteration::IdTokenClaim(name.to_owned(), value));
        scene.fake.script(Script::alter(claims).on(Endpoint::Token));
        let error = scene.browse(&client, ALICE, SCOPE).await.unwrap_err();
        assert!(matches!(error, Error::IdToken(IdTokenError::Policy)), "{error:?}");
        assert!(client.accounts().await.unwrap().accounts.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_under_two_policies_is_two_accounts_and_two_persons_too() {
    let scene = Scene::new().await;
    let at = |policy: &str| Authority::b2c(&scene.fake.b2c_url(policy)).unwrap();
    let first = scene.confidential(at("b2c_1_a")).await;
    let second = scene.confidential(at("b2c_1_b")).await;
    scene.browse(&first, ALICE, SCOPE).await.unwrap();
    scene.browse(&second, ALICE, SCOPE).await.unwrap();
    scene.browse(&first, BOB, SCOPE).await.unwrap();
    let mut ids: Vec<_> = first
        .accounts()
        .await
        .unwrap()
        .accounts
        .into_iter()
        .map(|account| account.account.home_account_id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_b2c_authority_has_no_guest_tenants() {
    let scene = Scene::new().await;
    let authority = Authority::b2c(&scene.fake.b2c_url(B2C_POLICY)).unwrap();
    let client = scene.confidential(authority).await;
    let silent = client.acquire_token_silent([SCOPE]).login_hint(ALICE);
    let error = silent.tenant(HOME_TENANT).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_forgot_the_password_is_sent_to_the_user_flow_for_that() {
    let scene = Scene::new().await;
    let client = scene
        .confidential(Authority::b2c(&scene.fake.b2c_url(B2C_POLICY)).unwrap())
        .await;
    let back = "http://localhost/callback";
    let request = AuthorizationRequest::new(CONFIDENTIAL_CLIENT, back, ScopeSet::parse(SCOPE));
    let pending = client.begin_authorization(request).await.unwrap().into_parts();
    let forgotten = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("error", "access_denied")
        .append_pair(
            "error_description",
            "AADB2C90118: The user has forgotten their password.",
        )
        .append_pair("state", pending.state.expose())
        .finish();
    let refused = client
        .acquire_token_by_authorization_code(&pending, &forgotten)
        .await;
    let Err(Error::InteractionRequired(required)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        required.classification(),
        InteractionClassification::PasswordReset
    );
}
