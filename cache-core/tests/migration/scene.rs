//! Two stores under other keys and other names, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::cache::{
    AcquireOptions, Acquired, AuthorityCall, CacheError, CallError, CallOutcome, ProofKey, ProofKeyOwner,
    Redemption, TokenCache,
};
use cache_core::codec::msal::RowOrigin;
use cache_core::codec::{BincodeCodec, Codec};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, Partition, PartitionKey, ScopeSet, SessionKey, TokenRequest,
    TokenResponse,
};
use cache_core::seal::{FixedKeySource, Namespace, RecordKind, SecretKey};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use cache_core::strategy::{DirectoryPolicy, MemoryTier, Strategy};
use cache_testkit::clock::ManualClock;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use crate::support::*;

pub const HOUR: Duration = Duration::from_secs(3600);

/// A source with something of every kind, and an empty target.
pub struct Scene {
    pub clock: ManualClock,
    pub issuer: Arc<Issuer>,
    pub from: Arc<dyn Store>,
    pub to: Arc<dyn Store>,
}

impl Scene {
    pub fn new() -> Self {
        let (clock, from) = parts();
        Self {
            issuer: Issuer::new(&clock),
            to: empty(&clock),
            from,
            clock,
        }
    }

    pub async fn source(&self) -> TokenCache {
        source_over(&self.from, &self.clock).await
    }

    pub async fn target(&self) -> TokenCache {
        target_over(&self.to, &self.clock).await
    }

    pub async fn sign_in(&self, cache: &TokenCache, number: usize) {
        cache
            .sign_in(&account(number), self.granted(number))
            .await
            .unwrap();
    }

    pub fn granted(&self, number: usize) -> TokenResponse {
        as_account(self.issuer.sign_in("a"), number)
    }

    /// Two accounts, one of them with a session and proof keys, the application's token and its key, and rows that nobody understands.
    pub async fn fill(&self) {
        let cache = self.source().await;
        self.fill_with(&cache).await;
    }

    pub async fn fill_with(&self, cache: &TokenCache) {
        let response = self.granted(1);
        let token = response.refresh_token.clone();
        cache
            .add_proof_key(&owner(Some(1)), &proof_key("one"), token.as_ref())
            .await
            .unwrap();
        cache.sign_in(&account(1), response).await.unwrap();
        self.sign_in(cache, 2).await;
        let response = self.granted(1);
        cache
            .begin_session(&account(1), &session("s"), response, 24 * HOUR)
            .await
            .unwrap();
        let app = Arc::new(TokenRequest::new(
            app(),
            AuthorityKind::Oidc,
            CLIENT,
            "issuer.example",
            "",
            ScopeSet::parse("app"),
        ));
        cache
            .acquire_app(app, AcquireOptions::default(), self.issuer.call("app"))
            .await
            .unwrap();
        cache
            .proof_key_or(&owner(None), proof_key("client"))
            .await
            .unwrap();
        let file = serde_json::json!({ "Future": { "row": { "secret": "canary-residue" } } });
        cache
            .import(file.to_string().as_bytes(), &|origin: &RowOrigin<'_>| {
                origin.default_identity()
            })
            .await
            .unwrap();
    }

    /// A token by a refresh at an issuer that takes no refresh token twice.
    pub async fn refresh(&self, cache: &TokenCache, number: usize) -> Result<Acquired, CacheError> {
        let options = AcquireOptions {
            freshness: cache_core::cache::Freshness::Forced { rejected: None },
            ..AcquireOptions::default()
        };
        let call = Arc::new(AccountCall(self.issuer.call("a"), number));
        cache.acquire(request_for(number), options, call).await
    }

    pub fn assert_no_token_was_spent_twice(&self) {
        assert!(
            !self.issuer.sent_twice(),
            "a refresh token was sent twice: {:?}",
            self.issuer.sent()
        );
        assert_eq!(self.issuer.revoked_families(), 0);
    }
}

/// The issuer's answers, for the account of a number.
pub struct AccountCall(pub Arc<Call>, pub usize);

#[async_trait]
impl AuthorityCall for AccountCall {
    async fn prepare(&self, limit: Duration) -> Result<(), CallError> {
        self.0.prepare(limit).await
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        match self.0.redeem(redemption).await {
            CallOutcome::Granted(response) => CallOutcome::Granted(Box::new(as_account(*response, self.1))),
            other => other,
        }
    }

    async fn discard(&self, token: Secret, limit: Duration) {
        self.0.discard(token, limit).await;
    }
}

fn as_account(mut response: TokenResponse, number: usize) -> TokenResponse {
    let account = response.account.as_mut().unwrap();
    account.home_account_id = format!("sub-{number}");
    account.local_account_id = format!("sub-{number}");
    account.username = format!("user-{number}@example.test");
    response
}

pub fn empty(clock: &ManualClock) -> Arc<dyn Store> {
    let random = Arc::new(cache_core::random::OsRandom);
    Arc::new(cache_core::store::MemoryStore::with(
        Arc::new(clock.clone()),
        random,
    ))
}

pub fn strategy() -> Strategy {
    Strategy::web_front_end()
        .memory_tier(MemoryTier::off())
        .idle_lifetime(None)
        .directory(DirectoryPolicy::Off)
}

pub async fn source_over(store: &Arc<dyn Store>, clock: &ManualClock) -> TokenCache {
    sealed(store, clock, "tokenkeep", 7).await
}

pub async fn target_over(store: &Arc<dyn Store>, clock: &ManualClock) -> TokenCache {
    sealed(store, clock, "elsewhere", 9).await
}

pub async fn sealed(store: &Arc<dyn Store>, clock: &ManualClock, namespace: &str, key: u8) -> TokenCache {
    try_sealed(store, clock, namespace, key).await.unwrap()
}

pub async fn try_sealed(
    store: &Arc<dyn Store>,
    clock: &ManualClock,
    namespace: &str,
    key: u8,
) -> Result<TokenCache, CacheError> {
    TokenCache::builder(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .strategy(strategy())
        .open_sealed(
            Namespace::new(namespace).unwrap(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[key; 32]))),
        )
        .await
}

pub fn account(number: usize) -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: format!("sub-{number}"),
    }
}

pub fn app() -> PartitionKey {
    PartitionKey::App {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        tenant: String::new(),
        resource: None,
        components: BTreeMap::new(),
    }
}

pub fn session(name: &str) -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::CallerKey(name.into()),
    }
}

pub fn request_for(number: usize) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse("a");
    let (kind, host) = (AuthorityKind::Oidc, "issuer.example");
    Arc::new(TokenRequest::new(account(number), kind, CLIENT, host, "", scopes))
}

pub fn owner(number: Option<usize>) -> ProofKeyOwner {
    ProofKeyOwner {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        client_id: CLIENT.into(),
        home_account_id: number.map(|number| format!("sub-{number}")),
    }
}

pub fn proof_key(id: &str) -> ProofKey {
    ProofKey {
        key_id: id.into(),
        material: SecretBytes::new(format!("canary-{id}").into_bytes()),
    }
}

/// What a store holds, to be put back into another.
pub async fn snapshot(store: &Arc<dyn Store>) -> Vec<(StoreKey, Record)> {
    let keys: Vec<_> = store.scan("").map(|found| found.unwrap().0).collect().await;
    let mut records = Vec::new();
    for key in keys {
        let record = store.get(&key).await.unwrap().unwrap();
        records.push((key, record));
    }
    records
}

pub async fn restored(clock: &ManualClock, records: &[(StoreKey, Record)]) -> Arc<dyn Store> {
    let store = empty(clock);
    for (key, record) in records {
        let options = PutOptions::create().expires_at(record.expires_at);
        store.put(key, record.payload.clone(), options).await.unwrap();
    }
    store
}

/// Everything in a cache, in clear, by what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Holdings {
    pub partitions: BTreeMap<Vec<u8>, Partition>,
    pub expiries: BTreeMap<Vec<u8>, i64>,
    /// The plain content of the records of proof keys.
    pub keys: BTreeSet<Vec<u8>>,
    /// How many records are on their way.
    pub on_their_way: usize,
}

impl Holdings {
    pub async fn of(cache: &TokenCache) -> Self {
        let mut holdings = Self {
            partitions: BTreeMap::new(),
            expiries: BTreeMap::new(),
            keys: BTreeSet::new(),
            on_their_way: 0,
        };
        let namespace = cache.sealer().namespace().clone();
        let prefix = namespace.prefix();
        let keys: Vec<_> = cache
            .store()
            .scan(&prefix)
            .map(|found| found.unwrap().0)
            .collect()
            .await;
        for key in keys {
            let kind = RecordKind::of(&namespace, &key).unwrap();
            let record = cache.store().get(&key).await.unwrap().unwrap();
            match kind {
                RecordKind::Migration => holdings.on_their_way += 1,
                RecordKind::ProofKey => {
                    let opened = cache.sealer().open_record(kind, &key, &record.payload).unwrap();
                    holdings.keys.insert(opened.payload.expose().to_vec());
                }
                RecordKind::User | RecordKind::App | RecordKind::Session | RecordKind::Residue => {
                    let opened = cache.sealer().open_record(kind, &key, &record.payload).unwrap();
                    let partition = BincodeCodec
                        .decode(opened.payload.expose(), opened.meta.schema)
                        .unwrap();
                    let logical = partition.key.to_bytes();
                    if let Some(expiry) = record.expires_at {
                        holdings.expiries.insert(logical.clone(), expiry.0);
                    }
                    assert!(holdings.partitions.insert(logical, partition).is_none());
                }
                _ => {}
            }
        }
        holdings
    }

    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.keys.is_empty() && self.on_their_way == 0
    }

    /// The refresh tokens, each of which must be there once.
    pub fn refresh_tokens(&self) -> BTreeSet<String> {
        let rows = self
            .partitions
            .values()
            .flat_map(|partition| &partition.refresh_tokens);
        let mut found = BTreeSet::new();
        for row in rows {
            assert!(
                found.insert(row.secret.expose().to_owned()),
                "a refresh token is there twice"
            );
        }
        found
    }
}

impl std::fmt::Debug for Holdings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let partitions: Vec<_> = self.partitions.values().collect();
        f.debug_struct("Holdings")
            .field("partitions", &partitions)
            .field("expiries", &self.expiries)
            .field("keys", &self.keys.len())
            .field("on_their_way", &self.on_their_way)
            .finish()
    }
}

pub fn authority() -> AuthorityIdentity {
    AuthorityIdentity::of_issuer(ISSUER)
}

/// A store with room for one record, as a file of an MSAL program has.
#[derive(Debug)]
pub struct OneRecord(pub Arc<dyn Store>);

impl OneRecord {
    pub fn key() -> StoreKey {
        StoreKey::new("msal_token_cache.json").unwrap()
    }
}

#[async_trait]
impl Store for OneRecord {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.0.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        if *key != Self::key() {
            return Err(StoreError::new(
                ErrorKind::Unsupported,
                Operation::Put,
                "this place has one record",
            ));
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
        None
    }
}
