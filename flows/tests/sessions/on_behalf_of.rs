//! On-behalf-of, assertion by assertion.

use std::sync::Arc;

use cache_core::cache::CacheError;
use cache_core::secret::Secret;
use cache_testkit::authority::{
    ALICE, Alteration, BOB, CONFIDENTIAL_CLIENT, Endpoint, GUEST_TENANT, Grant, HOME_TENANT, Script,
    ScriptedError,
};
use flows::request::on_behalf_of::UserAssertion;
use flows::{Error, RefreshReason, TokenSource};

use crate::scene::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_exchanged_once_and_again_when_the_token_has_expired() {
    let scene = Scene::new().await;
    let services = [scene.service().await, scene.service().await];
    let alice = scene.alice().await;
    let first = services[0]
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .await
        .unwrap();
    assert_eq!(first.account().unwrap().username, ALICE);
    assert_eq!(
        first.metadata().refresh_reason,
        Some(RefreshReason::NoCachedToken)
    );
    let again = services[0]
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .await
        .unwrap();
    assert_eq!(again.metadata().source, TokenSource::Memory);
    let elsewhere = services[1]
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .await
        .unwrap();
    assert_eq!(elsewhere.metadata().source, TokenSource::Store);
    assert_eq!(elsewhere.access_token(), first.access_token());
    assert_eq!(elsewhere.account(), first.account());
    assert_eq!(scene.asked_on_behalf_of(), 1);

    // Its own assertion has expired too by then, and the authority says so: ask the user.
    scene.advance(2 * HOUR);
    let error = services[0]
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
    let fresh = scene.alice().await;
    let renewed = services[0]
        .acquire_token_on_behalf_of(&fresh, SCOPES)
        .await
        .unwrap();
    assert_ne!(renewed.access_token(), first.access_token());
    assert_eq!((scene.asked_on_behalf_of(), scene.refreshes()), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_before_its_assertion_is_replaced_by_the_assertion_and_by_no_refresh_token() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let alice = scene.alice().await;
    let short = [Alteration::Set("expires_in".into(), 600.into())];
    scene
        .authority
        .script(Script::alter(short).grant(Grant::OnBehalfOf));
    let first = service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    scene.advance(HOUR / 2);
    let second = service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    assert_eq!(second.metadata().refresh_reason, Some(RefreshReason::Expired));
    assert_ne!(first.access_token(), second.access_token());
    assert_eq!((scene.asked_on_behalf_of(), scene.refreshes()), (2, 0));
    let asked: Vec<_> = scene
        .authority
        .requests()
        .into_iter()
        .filter(|request| request.grant == Some(Grant::OnBehalfOf))
        .collect();
    assert!(
        asked
            .iter()
            .all(|request| !request.scopes.iter().any(|scope| scope == "offline_access"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_and_two_assertions_of_one_user_never_cross() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let assertions = [
        scene.alice().await,
        scene.alice().await,
        scene.assertion(BOB).await,
    ];
    let mut tokens = Vec::new();
    for assertion in &assertions {
        tokens.push(
            service
                .acquire_token_on_behalf_of(assertion, SCOPES)
                .await
                .unwrap(),
        );
    }
    let names: Vec<_> = tokens
        .iter()
        .map(|result| result.account().unwrap().username.as_str())
        .collect();
    assert_eq!(names, [ALICE, ALICE, BOB]);
    for (index, assertion) in assertions.iter().enumerate() {
        let again = service
            .acquire_token_on_behalf_of(assertion, SCOPES)
            .await
            .unwrap();
        assert_eq!(again.access_token(), tokens[index].access_token());
        let others = tokens
            .iter()
            .filter(|token| token.access_token() == again.access_token());
        assert_eq!(others.count(), 1);
    }
    assert_eq!(scene.asked_on_behalf_of(), 3);
    // What assertions brought is no account of this client that could be had without one.
    assert!(service.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_concurrent_calls_make_one_request() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let alice = Arc::new(scene.alice().await);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (service, alice) = (service.clone(), Arc::clone(&alice));
            tokio::spawn(async move { service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap() })
        })
        .collect();
    let mut tokens = Vec::new();
    for call in calls {
        tokens.push(call.await.unwrap().access_token().to_secret());
    }
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(scene.asked_on_behalf_of(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saml_assertion_brings_a_token_too() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let xml = scene
        .authority
        .saml_assertion(BOB, CONFIDENTIAL_CLIENT, HOUR)
        .unwrap();
    let assertion = UserAssertion::saml2(Secret::new(xml.clone()));
    let result = service
        .acquire_token_on_behalf_of(&assertion, SCOPES)
        .await
        .unwrap();
    assert_eq!(result.account().unwrap().username, BOB);
    let again = service
        .acquire_token_on_behalf_of(&assertion, SCOPES)
        .await
        .unwrap();
    assert_eq!(again.metadata().source, TokenSource::Memory);
    let as_jwt = UserAssertion::jwt(Secret::new(format!("{xml} ")));
    let error = service
        .acquire_token_on_behalf_of(&as_jwt, SCOPES)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claims_challenge_reaches_the_caller_and_the_answer_to_it_the_authority() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let mut alice = scene.assertion(BOB).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    for error in [
        ScriptedError::claims_challenge(claims),
        // Conditional access also words it so.
        {
            let mut error = ScriptedError::invalid_grant();
            error.claims = Some(claims.to_owned());
            error
        },
    ] {
        // A refusal is remembered with the assertion that it was for.
        alice = scene.alice().await;
        scene
            .authority
            .script(Script::error(error).grant(Grant::OnBehalfOf));
        let error = service
            .acquire_token_on_behalf_of(&alice, SCOPES)
            .await
            .unwrap_err();
        let Error::InteractionRequired(required) = error else {
            panic!("{error:?}")
        };
        assert_eq!(required.claims(), Some(claims));
        let refusal = required
            .refusal()
            .expect("the caller sees the authority's own words");
        assert!(refusal.trace_id().is_some());
    }
    let answered = service
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .claims(claims)
        .await
        .unwrap();
    assert_eq!(answered.metadata().source, TokenSource::Authority);
    let last = scene.authority.requests().pop().unwrap();
    assert!(last.has_claims && last.endpoint == Endpoint::Token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_or_rejected_token_is_replaced_and_an_outage_leaves_the_valid_one() {
    let scene = Scene::new().await;
    let service = scene.service().await;
    let alice = scene.alice().await;
    let first = service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    let second = service
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .instead_of(first.access_token())
        .await
        .unwrap();
    assert_ne!(first.access_token(), second.access_token());
    scene.advance(HOUR - std::time::Duration::from_secs(120));
    scene.authority.script(Script::status(503).times(9));
    let still = service.acquire_token_on_behalf_of(&alice, SCOPES).await.unwrap();
    assert_eq!(still.access_token(), second.access_token());
    // After that answer nothing is sent for some seconds.
    scene.advance(std::time::Duration::from_secs(60));
    let error = service
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .force_refresh(true)
        .await;
    assert!(
        matches!(error, Err(Error::Cache(CacheError::OutcomeUnknown(_)))),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_authority_needs_the_tenant_of_the_assertion() {
    let scene = Scene::new().await;
    let service = scene.service_at("common").await;
    let alice = scene.alice().await;
    let error = service
        .acquire_token_on_behalf_of(&alice, SCOPES)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");
    for tenant in [HOME_TENANT, GUEST_TENANT] {
        for source in [TokenSource::Authority, TokenSource::Memory] {
            let result = service
                .acquire_token_on_behalf_of(&alice, SCOPES)
                .tenant(tenant)
                .await
                .unwrap();
            assert_eq!((result.tenant(), result.metadata().source), (tenant, source));
        }
    }
    assert_eq!(scene.asked_on_behalf_of(), 2);
}
