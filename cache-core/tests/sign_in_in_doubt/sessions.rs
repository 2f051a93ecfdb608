//! Sessions.

use std::sync::Arc;

use crate::support::*;
use crate::world::*;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::store::{PutOptions, Store};
use cache_testkit::fault::Fault;

fn session() -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::AssertionHash([1; 32]),
    }
}

fn session_request(session: &PartitionKey) -> Arc<TokenRequest> {
    let (kind, scopes) = (AuthorityKind::Oidc, ScopeSet::parse("a"));
    Arc::new(TokenRequest::new(
        session.clone(),
        kind,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    ))
}

#[tokio::test]
async fn a_refresh_of_a_session_that_began_is_not_undone() {
    let world = World::signed_in().await;
    let session = session();
    let request = session_request(&session);
    let beginning = world.begin(&session, world.issuer.sign_in("a"));
    let refreshed = async || world.refresh(&world.worker, Arc::clone(&request)).await.unwrap();
    let refreshed = world
        .store(&session, Fault::lost_reply(), beginning, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request).await;
}

/// What the first run stored was signed out, and the second stores it anew. (See `docs/design.md`, "Not undone".)
#[tokio::test]
async fn a_session_under_a_sign_in_that_ended_stays_dead_when_that_is_stored_again() {
    let world = World::new().await;
    let session = session();
    let stored_key = world.worker.stored_key(&session);
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let begun_and_ended = async || {
        let granted = world.issuer.sign_in("a");
        world
            .worker
            .begin_session(&user(), &session, granted, HOUR)
            .await
            .unwrap();
        let left = world.store.get(&stored_key).await.unwrap().unwrap();
        assert!(world.sign_out(CLIENT).await);
        left
    };
    let left = world
        .store(&user(), Fault::lost_reply(), signing_in, begun_and_ended)
        .await;
    // As where its removal failed.
    let again = world
        .store
        .put(&stored_key, left.payload, PutOptions::create())
        .await;
    again.unwrap();
    assert_eq!(world.front_end.accounts().await.unwrap().accounts.len(), 1);
    let looked_up = world.front_end.session_account(&session).await.unwrap();
    assert_eq!(looked_up, None, "it belongs to the sign-in that was ended");
}

#[tokio::test]
async fn a_session_that_began_anew_under_another_sign_in_goes_on() {
    let world = World::signed_in().await;
    let session = session();
    let beginning = world.begin(&session, world.issuer.sign_in("a"));
    let anew = async || {
        assert!(world.sign_out(CLIENT).await);
        let [of_user, of_session] = [world.issuer.sign_in("a"), world.issuer.sign_in("a")];
        world.worker.sign_in(&user(), of_user).await.unwrap();
        world
            .worker
            .begin_session(&user(), &session, of_session, HOUR)
            .await
            .unwrap();
    };
    world.store(&session, Fault::lost_reply(), beginning, anew).await;
    world.go_on(&session_request(&session)).await;
}

#[tokio::test]
async fn a_session_is_not_begun_whose_user_was_signed_out_after_it_was_listed() {
    let world = World::signed_in().await;
    let session = session();
    let beginning = world.begin(&session, world.issuer.sign_in("a"));
    let refused = async move {
        let error = beginning.await.unwrap_err();
        assert!(error.is_interaction_required(), "{error}");
        Ok(())
    };
    let signed_out = async || world.sign_out(CLIENT).await;
    let signed_out = world
        .store(&user(), Fault::lost_reply(), refused, signed_out)
        .await;
    assert!(signed_out);
    assert_eq!(world.worker.session_account(&session).await.unwrap(), None);
}
