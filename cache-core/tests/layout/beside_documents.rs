//! What is kept beside the documents of every layout: markers of tokens that are being spent, and sessions.

use std::sync::Arc;
use std::time::Duration;

use crate::hashing::Hashing;
use crate::scene::*;
use crate::support::*;
use cache_core::cache::{AcquireOptions, CacheError, InteractionReason, TokenSource};
use cache_core::layout::MsalLayout;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::store::{Store, Versions};
use cache_core::time::Clock;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_spends_a_token_once_although_versions_are_hashes() {
    let (clock, store) = parts();
    let store: Arc<dyn Store> = Hashing::over(store);
    assert_eq!(store.capabilities().versions, Versions::ContentHash);
    let issuer = Issuer::new(&clock);
    let caches = [(); 3].map(|()| shared(&store, &clock, MsalLayout::node()));
    caches[0]
        .sign_in(&alice(), as_entra(issuer.sign_in("a")))
        .await
        .unwrap();
    let _ticking = ticking(&clock);
    for round in 1..=5 {
        clock.advance(Duration::from_secs(3600));
        let callers: Vec<_> = caches
            .iter()
            .cycle()
            .take(12)
            .map(|cache| {
                let (cache, issuer) = (cache.clone(), Arc::clone(&issuer));
                tokio::spawn(async move { silent(&cache, &issuer, "a").await })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        assert_eq!((issuer.redeemed(), issuer.revoked_families()), (round, 0));
    }
    let left = document(&store, HOME).await;
    assert_eq!(left["RefreshToken"].as_object().unwrap().len(), 1);
    assert!(
        !left.to_string().contains("attempt"),
        "the marker is gone: {left}"
    );
}

#[tokio::test]
async fn what_is_known_of_a_token_ends_with_it() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = shared(&store, &clock, MsalLayout::node());
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("a")))
        .await
        .unwrap();
    clock.advance(Duration::from_secs(3600));
    issuer.mishap(Mishap::LostReply);
    assert!(
        silent(&cache, &issuer, "a")
            .await
            .unwrap_err()
            .is_outcome_unknown()
    );
    let unknown = silent(&cache, &issuer, "a").await.unwrap_err();
    assert!(matches!(&unknown, CacheError::InteractionRequired(required)
        if required.reason == InteractionReason::OutcomeUnknown));

    // Another program signs the user in anew: its token is in the same row, and nobody has sent it.
    let mut document = document(&store, HOME).await;
    let token = issuer.sign_in("a").refresh_token.unwrap();
    let rows = document["RefreshToken"].as_object_mut().unwrap();
    rows.values_mut().next().unwrap()["secret"] = token.expose().into();
    write(&store, HOME, &document).await;
    assert_eq!(
        silent(&cache, &issuer, "a").await.unwrap().1,
        TokenSource::Authority
    );
    assert_eq!(issuer.sent().last().map(String::as_str), Some(token.expose()));
}

#[tokio::test]
async fn who_writes_for_one_authority_keeps_the_markers_of_another_that_it_does_not_know() {
    const B2C_HOST: &str = "contoso.b2clogin.com";
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let layout = || MsalLayout::single_record(record("file"));
    let (cache, other) = (shared(&store, &clock, layout()), shared(&store, &clock, layout()));
    let bob = PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::B2c, B2C_HOST),
        home_account_id: "bob-b2c_1_signin.tenant".into(),
    };
    let mut granted = as_entra(issuer.sign_in("a"));
    B2C_HOST.clone_into(&mut granted.environment);
    let account = granted.account.as_mut().unwrap();
    "bob-b2c_1_signin.tenant".clone_into(&mut account.home_account_id);
    B2C_HOST.clone_into(&mut account.environment);
    cache.sign_in(&bob, granted).await.unwrap();
    clock.advance(Duration::from_secs(3600));
    issuer.mishap(Mishap::LostReply);
    let scopes = ScopeSet::parse("a");
    let request = Arc::new(TokenRequest::new(
        bob,
        AuthorityKind::B2c,
        CLIENT,
        B2C_HOST,
        TENANT,
        scopes,
    ));
    let acquire = async || {
        let call = issuer.call("a");
        let acquired = cache.acquire(Arc::clone(&request), AcquireOptions::default(), call);
        acquired.await.unwrap_err()
    };
    assert!(acquire().await.is_outcome_unknown());
    assert_eq!(issuer.redeemed(), 1);

    other
        .sign_in(&alice(), as_entra(issuer.sign_in("a")))
        .await
        .unwrap();
    let unknown = acquire().await;
    assert!(
        matches!(&unknown, CacheError::InteractionRequired(required)
            if required.reason == InteractionReason::OutcomeUnknown),
        "{unknown:?}"
    );
    assert_eq!((issuer.redeemed(), issuer.sent_twice()), (1, false));
}

#[tokio::test]
async fn what_others_have_in_a_document_does_not_expire_with_a_session() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let now = clock.now().to_seconds().0;
    write(&store, "file", &node_document(now, "canary-other")).await;
    let layout = MsalLayout::single_record(record("file")).records_beside();
    let cache = shared(&store, &clock, layout);
    let session = PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::WebSession("key".into()),
    };
    let lifetime = Duration::from_secs(600);
    cache
        .begin_session(&user(), &session, issuer.sign_in("a"), lifetime)
        .await
        .unwrap();
    assert!(cache.session_account(&session).await.unwrap().is_some());
    clock.advance(lifetime);
    assert_eq!(
        only(&document(&store, "file").await, "RefreshToken").1["secret"],
        "canary-other"
    );
}

#[tokio::test]
async fn sessions_lie_beside_and_end_when_another_program_signs_out() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = shared(&store, &clock, MsalLayout::node());
    let session = PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: entra(),
        key: SessionKey::WebSession("canary-session-key".into()),
    };
    let granted = as_entra(issuer.sign_in("a"));
    cache.sign_in(&alice(), granted.clone()).await.unwrap();
    cache
        .begin_session(&alice(), &session, granted, Duration::from_secs(600))
        .await
        .unwrap();
    assert!(cache.session_account(&session).await.unwrap().is_some());
    let own = cache.stored_key(&session);
    assert!(own.as_str().starts_with("tokenkeep.plaintext/session/"));

    let mut document = document(&store, HOME).await;
    for section in ["Account", "IdToken", "AccessToken", "RefreshToken"] {
        document[section] = json!({});
    }
    write(&store, HOME, &document).await;
    assert_eq!(cache.session_account(&session).await.unwrap(), None);
}
