//! Sessions, and keys that tokens are bound to.

use std::sync::Arc;

use cache_core::cache::{ProofKey, ProofKeyOwner, SignOutScope};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::secret::SecretBytes;

use crate::support::*;
use crate::told::*;

const BEGUN: &str = "session of alice@example.test by client";

fn session() -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::WebSession("canary-session-key".into()),
    }
}

fn request_in_session() -> Arc<TokenRequest> {
    Arc::new(TokenRequest::new(
        session(),
        AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        ScopeSet::parse("a"),
    ))
}

impl World {
    async fn begin(&self) {
        let response = self.issuer.sign_in("a");
        self.acting
            .begin_session(&user(), &session(), response, HOUR * 24)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_session_is_begun_refreshed_and_ended() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    world.begin().await;
    assert_eq!(told(&mut events).await, ["user committed", BEGUN], "listed first");
    world.clock.advance(HOUR);
    let call = world.issuer.call("a");
    world
        .acting
        .acquire(request_in_session(), Default::default(), call)
        .await
        .unwrap();
    assert_eq!(
        told(&mut events).await,
        ["alice@example.test of client has 1 scopes"]
    );
    world.acting.end_session(&session()).await.unwrap();
    let seen = told(&mut events).await;
    assert_eq!(
        seen[0], "session of alice@example.test by client ended",
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_sign_out_ends_its_sessions() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap().with_baseline().await.unwrap();
    world.sign_in().await;
    world.begin().await;
    let mut seen = told(&mut events).await;
    seen.sort();
    assert_eq!(seen, ["alice@example.test signed in to client", BEGUN]);
    world
        .acting
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert_eq!(
        told(&mut events).await,
        [
            "alice@example.test signed out of client",
            "session of alice@example.test by client ended"
        ]
    );
}

#[tokio::test]
async fn a_session_with_its_own_proof_gets_tokens() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    let call = world.issuer.call("a");
    world
        .acting
        .acquire_session(request_in_session(), Default::default(), call, HOUR * 24)
        .await
        .unwrap();
    assert_eq!(told(&mut events).await, ["session of nobody by client"]);
    world.clock.advance(HOUR / 2);
    let wider = Arc::new(TokenRequest::new(
        session(),
        AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        ScopeSet::parse("b c"),
    ));
    let call = world.issuer.call("b c");
    world
        .acting
        .acquire_session(wider, Default::default(), call, HOUR * 24)
        .await
        .unwrap();
    assert_eq!(told(&mut events).await, ["session of nobody has 2 scopes"]);
}

#[tokio::test]
async fn proof_keys_come_and_go_without_being_opened() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    let owner = ProofKeyOwner {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        client_id: CLIENT.into(),
        home_account_id: Some("sub-1".into()),
    };
    let key = ProofKey {
        key_id: "thumbprint".into(),
        material: SecretBytes::new(b"canary".to_vec()),
    };
    let token = cache_core::secret::Secret::new("canary-refresh");
    world
        .acting
        .add_proof_key(&owner, &key, Some(&token))
        .await
        .unwrap();
    assert_eq!(told(&mut events).await, ["ProofKeysStored"]);
    // There is nobody to sign out, but the key goes.
    let scope = SignOutScope::Client;
    world.acting.sign_out(&user(), CLIENT, scope).await.unwrap();
    assert_eq!(told(&mut events).await, ["ProofKeysRemoved"]);
}
