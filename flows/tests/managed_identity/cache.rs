//! Tokens of managed identities in the cache: shared by all who may, and by nobody else.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::{CompareAndSwap, Store};
use cache_core::strategy::{RefreshPolicy, Strategy};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::declared::DeclaredStore;
use cache_testkit::managed_identity::{CLIENT_ID, OBJECT_ID, Platform};
use flows::client::ManagedIdentityClient;
use flows::managed_identity::ManagedIdentityId;
use flows::{Error, RefreshReason, TokenSource};

use crate::scene::{SYSTEM, Scene, VAULT};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_make_one_request() {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.acquire_token_for_managed_identity(VAULT).await })
        })
        .collect();
    for caller in callers {
        let result = caller.await.unwrap().unwrap();
        assert_eq!(result.access_token().expose(), "canary-token-1-system");
    }
    assert_eq!(scene.endpoint.requests().len(), 1);
}

#[tokio::test]
async fn a_token_outlives_the_process_that_asked_for_it() {
    let scene = Scene::new(Platform::AppService).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    for source in [TokenSource::Authority, TokenSource::Store] {
        let sqlite = Arc::new(SqliteStore::open(SqliteConfig::new(&path)).await.unwrap());
        let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
        let cache = TokenCache::builder(Arc::clone(&sqlite) as Arc<dyn Store>)
            .clock(Arc::new(scene.clock.clone()))
            .open_sealed(Namespace::default(), key)
            .await
            .unwrap();
        let builder = ManagedIdentityClient::builder(SYSTEM, cache).environment(scene.environment());
        let client = builder.build().unwrap();
        let result = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
        assert_eq!(result.metadata().source, source);
        assert_eq!(result.access_token().expose(), "canary-token-1-system");
        sqlite.close().await;
    }
    assert_eq!(scene.endpoint.tokens(), 1);
}

#[tokio::test]
async fn no_identity_is_given_anothers_token() {
    let scene = Scene::new(Platform::Imds).await;
    let mut tokens = std::collections::BTreeSet::new();
    for identity in [
        SYSTEM,
        ManagedIdentityId::UserAssignedClientId(CLIENT_ID.into()),
        ManagedIdentityId::UserAssignedObjectId(OBJECT_ID.into()),
    ] {
        let client = scene.client(identity).await;
        let result = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
        tokens.insert(result.access_token().expose().to_owned());
    }
    for owner in ["machine-a", "machine-b"] {
        let client = scene.builder(SYSTEM).await.owner(owner).build().unwrap();
        let result = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
        tokens.insert(result.access_token().expose().to_owned());
    }
    // One GUID may be the client ID of one identity and the object ID of another.
    let client = scene
        .client(ManagedIdentityId::UserAssignedObjectId(CLIENT_ID.into()))
        .await;
    client
        .acquire_token_for_managed_identity(VAULT)
        .await
        .unwrap_err();
    // Nor is a token for one resource given for another.
    let client = scene.client(SYSTEM).await;
    let other = client
        .acquire_token_for_managed_identity("https://other.test")
        .await
        .unwrap();
    tokens.insert(other.access_token().expose().to_owned());
    assert_eq!(tokens.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_half_of_whose_life_is_over_is_replaced_in_the_background() {
    let scene = Scene::new(Platform::Imds).await;
    scene.endpoint.set_lifetime(Duration::from_secs(24 * 3600));
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let cache = TokenCache::builder(Arc::clone(&scene.store))
        .clock(Arc::new(scene.clock.clone()))
        .strategy(Strategy::desktop_tool().refresh(RefreshPolicy::Ahead { jitter: 0.0 }))
        .open_sealed(Namespace::default(), key)
        .await
        .unwrap();
    let builder = ManagedIdentityClient::builder(SYSTEM, cache.clone()).environment(scene.environment());
    let client = builder.build().unwrap();
    client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    for (hours, requests) in [(11, 1), (1, 2)] {
        scene.clock.advance(Duration::from_secs(hours * 3600));
        let result = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
        assert_eq!(
            result.access_token().expose(),
            "canary-token-1-system",
            "nobody waits"
        );
        while scene.endpoint.requests().len() < requests {
            tokio::task::yield_now().await;
        }
    }
    while cache.shutdown(Duration::ZERO).await > 0 {
        tokio::task::yield_now().await;
    }
    let result = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    assert_eq!(result.access_token().expose(), "canary-token-2-system");
    assert_eq!(scene.endpoint.requests().len(), 2);
}

#[tokio::test]
async fn machines_that_share_a_store_must_say_whose_identity_it_is() {
    let scene = Scene::new(Platform::Imds).await;
    let store = DeclaredStore::new(Arc::clone(&scene.store), |capabilities| {
        capabilities.compare_and_swap = CompareAndSwap::Cluster;
    });
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let cache = TokenCache::builder(Arc::new(store))
        .clock(Arc::new(scene.clock.clone()))
        .open_sealed(Namespace::default(), key)
        .await
        .unwrap();
    let builder =
        |identity| ManagedIdentityClient::builder(identity, cache.clone()).environment(scene.environment());
    let error = builder(SYSTEM).build().unwrap_err();
    assert!(
        matches!(&error, Error::Configuration(_)) && error.to_string().contains("`owner`"),
        "{error}"
    );
    let client = builder(SYSTEM).owner("machine-a").build().unwrap();
    client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    // A user-assigned identity is the same everywhere.
    let client = builder(ManagedIdentityId::UserAssignedClientId(CLIENT_ID.into()))
        .build()
        .unwrap();
    client.acquire_token_for_managed_identity(VAULT).await.unwrap();
}

#[tokio::test]
async fn an_expired_token_is_replaced_and_a_forced_or_rejected_one_too() {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    let first = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    assert_eq!(
        first.metadata().refresh_reason,
        Some(RefreshReason::NoCachedToken)
    );
    scene.clock.advance(Duration::from_secs(3600));
    let second = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    assert_eq!(second.metadata().refresh_reason, Some(RefreshReason::Expired));
    let forced = client
        .acquire_token_for_managed_identity(VAULT)
        .force_refresh(true)
        .await
        .unwrap();
    assert_eq!(
        forced.metadata().refresh_reason,
        Some(RefreshReason::ForceRefresh)
    );
    let rejected = forced.access_token();
    let other = client
        .acquire_token_for_managed_identity(VAULT)
        .instead_of(rejected)
        .await
        .unwrap();
    assert_ne!(other.access_token(), rejected);
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    let challenged = client
        .acquire_token_for_managed_identity(VAULT)
        .claims(claims)
        .await
        .unwrap();
    assert_eq!(challenged.metadata().source, TokenSource::Authority);
    assert_eq!(scene.endpoint.tokens(), 5);
}
