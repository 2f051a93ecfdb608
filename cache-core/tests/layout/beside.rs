//! A store with one record: what has no place in it is refused, before anything is asked for or written.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, ProofKey, ProofKeyOwner, TokenCache};
use cache_core::layout::MsalLayout;
use cache_core::schema::{AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest};
use cache_core::seal::Namespace;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch, WatchEvent,
};
use cache_core::strategy::{MemoryTier, SealPolicy, Strategy};
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use futures_core::stream::BoxStream;

use crate::scene::*;
use crate::support::*;

const FILE: &str = "file";

/// A store that has room for one record, like a file.
#[derive(Debug)]
struct OneRecord(Arc<dyn Store>);

#[async_trait::async_trait]
impl Store for OneRecord {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.0.head(key).await
    }

    async fn put(
        &self,
        key: &StoreKey,
        payload: bytes::Bytes,
        options: PutOptions,
    ) -> Result<Version, StoreError> {
        if key.as_str() != FILE {
            let context = format!("there is no room for {key}");
            return Err(StoreError::new(ErrorKind::Unsupported, Operation::Put, context));
        }
        self.0.put(key, payload, options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.0.delete(key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        self.0.scan(prefix)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.0.watch()
    }
}

async fn scene() -> (ManualClock, Arc<dyn Store>, Arc<Issuer>, TokenCache) {
    let (clock, store) = parts();
    let store: Arc<dyn Store> = Arc::new(OneRecord(store));
    let issuer = Issuer::new(&clock);
    let cache = shared(&store, &clock, MsalLayout::single_record(record(FILE)));
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    (clock, store, issuer, cache)
}

fn session(key: SessionKey) -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: entra(),
        key,
    }
}

fn assert_refused<T>(outcome: Result<T, CacheError>, what: &str) {
    match outcome {
        Err(CacheError::Unsupported(text)) => assert!(text.contains(what), "{text}"),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("{what}: it was stored"),
    }
}

#[tokio::test]
async fn sessions_are_refused_before_anything_is_asked_for_or_written() {
    let (_, store, issuer, cache) = scene().await;
    let before = document(&store, FILE).await;
    let web = session(SessionKey::WebSession("key".into()));
    let granted = as_entra(issuer.sign_in("User.Read"));
    let lifetime = Duration::from_secs(600);
    let begun = cache.begin_session(&alice(), &web, granted, lifetime).await;
    assert_refused(begun, "sessions");
    assert!(cache.session_account(&web).await.unwrap().is_none());
    assert!(!cache.end_session(&web).await.unwrap());

    let obo = session(SessionKey::AssertionHash([7; 32]));
    let scopes = ScopeSet::parse("api");
    let request = Arc::new(TokenRequest::new(
        obo,
        AuthorityKind::Entra,
        CLIENT,
        HOST,
        TENANT,
        scopes,
    ));
    let call = Arc::new(AppCall(issuer.call("api")));
    let acquired = cache
        .acquire_session(request, AcquireOptions::default(), call, lifetime)
        .await;
    assert_refused(acquired, "sessions");
    assert_eq!(issuer.obtained(), 0);
    assert_eq!(document(&store, FILE).await, before);
}

#[tokio::test]
async fn tokens_with_components_are_refused_before_anything_is_asked_for() {
    let (_, store, issuer, cache) = scene().await;
    let before = document(&store, FILE).await;
    let scopes = ScopeSet::parse("api/.default");
    let mut key = cache.app_partition(CLIENT, &entra(), TENANT, &scopes);
    let PartitionKey::App { components, .. } = &mut key else {
        panic!("an application's")
    };
    components.insert("fmi_path".into(), "a/b".into());
    let request = Arc::new(TokenRequest::new(
        key,
        AuthorityKind::Entra,
        CLIENT,
        HOST,
        TENANT,
        scopes,
    ));
    let call = Arc::new(AppCall(issuer.call("api/.default")));
    let acquired = cache.acquire_app(request, AcquireOptions::default(), call).await;
    assert_refused(acquired, "components");
    assert_eq!(issuer.obtained(), 0);
    assert_eq!(document(&store, FILE).await, before);
}

#[tokio::test]
async fn proof_keys_are_refused() {
    let (_, store, issuer, cache) = scene().await;
    let before = document(&store, FILE).await;
    let owner = ProofKeyOwner {
        authority: entra(),
        client_id: CLIENT.into(),
        home_account_id: Some(HOME.into()),
    };
    let key = ProofKey {
        key_id: "thumbprint".into(),
        material: cache_core::secret::SecretBytes::new(vec![7; 32]),
    };
    assert_refused(cache.proof_key_or(&owner, key.clone()).await, "proof keys");
    assert_refused(cache.add_proof_key(&owner, &key, None).await, "proof keys");
    assert!(cache.proof_key(&owner).await.unwrap().is_none());
    let token = issuer.sign_in("a").refresh_token.unwrap();
    assert!(
        cache
            .spend_with_proof_key(&owner, &token)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(document(&store, FILE).await, before);
}

#[tokio::test]
async fn the_directory_of_accounts_is_refused_at_the_opening() {
    let (_, store) = parts();
    let opened = TokenCache::builder(store)
        .strategy(Strategy::web_front_end().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext_shared(Namespace::default(), MsalLayout::single_record(record(FILE)));
    assert!(matches!(opened, Err(CacheError::Strategy(text)) if text.contains("directory")));
}

#[tokio::test]
async fn everything_else_works_with_one_record() {
    let (clock, store, issuer, cache) = scene().await;
    clock.advance(Duration::from_secs(3600));
    silent(&cache, &issuer, "User.Read").await.unwrap();
    assert_eq!(cache.accounts().await.unwrap().accounts.len(), 1);
    assert!(cache.forget_account(&alice()).await.unwrap());
    assert!(cache.accounts().await.unwrap().accounts.is_empty());
    assert!(store.get(&record(FILE)).await.unwrap().is_none());
}

/// Whoever changes the document changes everything in it, as far as anybody can tell.
#[tokio::test]
async fn a_watched_document_is_read_again_as_soon_as_another_program_has_written_it() {
    let (clock, store) = parts();
    assert!(store.capabilities().watch);
    let issuer = Issuer::new(&clock);
    let cache = TokenCache::builder(Arc::clone(&store))
        .clock(Arc::new(clock.clone()))
        .strategy(
            Strategy::desktop_tool()
                .seal(SealPolicy::PlaintextAllowed)
                .memory_tier(MemoryTier::bounded(1 << 20).max_staleness(Duration::from_secs(3600))),
        )
        .open_plaintext_shared(Namespace::default(), MsalLayout::single_record(record(FILE)))
        .unwrap();
    let now = clock.now().to_seconds().0;
    write(&store, FILE, &node_document(now, "canary-refresh")).await;
    assert_eq!(
        silent(&cache, &issuer, "User.Read").await.unwrap().0,
        "canary-node-access"
    );
    let mut events = cache.store().watch().unwrap().subscribe();
    let changed = node_document(now, "canary-refresh")
        .to_string()
        .replace("canary-node-access", "canary-newer");
    write(&store, FILE, &serde_json::from_str(&changed).unwrap()).await;
    let event = futures_util::StreamExt::next(&mut events).await;
    assert_eq!(event, Some(WatchEvent::Lost));
    settle().await;
    assert_eq!(
        silent(&cache, &issuer, "User.Read").await.unwrap().0,
        "canary-newer"
    );
}
