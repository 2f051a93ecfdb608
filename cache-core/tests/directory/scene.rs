//! A store, its clock, and accounts by number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{
    AcquireOptions, Acquired, CacheError, DirectoryCursor, DirectoryEntry, DirectoryQuery, SignOutScope,
    TokenCache,
};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenRequest, TokenResponse,
};
use cache_core::seal::{Namespace, RecordKind};
use cache_core::store::{PutOptions, Record, Store, StoreKey};
use cache_core::strategy::{DirectoryPolicy, Strategy};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::FaultStore;
use futures_util::StreamExt;

use crate::support::*;

pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Scene {
    pub clock: ManualClock,
    pub issuer: Arc<Issuer>,
    pub store: Arc<dyn Store>,
    pub faults: FaultStore,
    /// Over the store whose operations are counted and fail when told to.
    pub cache: TokenCache,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(Strategy::desktop_tool().directory(DirectoryPolicy::on())).await
    }

    pub async fn with(strategy: Strategy) -> Self {
        let (clock, store) = parts();
        Self::over(clock, store, strategy).await
    }

    /// With the records that [`records`](Self::records) gave, as if the process had been restarted.
    pub async fn restored(records: &[(StoreKey, Record)]) -> Self {
        let (clock, store) = parts();
        for (key, record) in records {
            let options = PutOptions::create().expires_at(record.expires_at);
            store.put(key, record.payload.clone(), options).await.unwrap();
        }
        Self::over(
            clock,
            store,
            Strategy::desktop_tool().directory(DirectoryPolicy::on()),
        )
        .await
    }

    async fn over(clock: ManualClock, store: Arc<dyn Store>, strategy: Strategy) -> Self {
        let faults = FaultStore::new(Arc::clone(&store), Arc::new(clock.clone()));
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        let cache = open_with(&faulty, &clock, strategy).await;
        Self {
            issuer: Issuer::new(&clock),
            clock,
            store,
            faults,
            cache,
        }
    }

    /// Another process over the same store.
    pub async fn another(&self) -> TokenCache {
        let strategy = Strategy::desktop_tool().directory(DirectoryPolicy::on());
        open_with(&self.store, &self.clock, strategy).await
    }

    pub async fn without_directory(&self) -> TokenCache {
        open_with(&self.store, &self.clock, Strategy::desktop_tool()).await
    }

    pub async fn sign_in(&self, cache: &TokenCache, number: usize) {
        cache
            .sign_in(&account(number), self.granted(CLIENT, number))
            .await
            .unwrap();
    }

    pub fn granted(&self, client: &str, number: usize) -> TokenResponse {
        let mut response = self.issuer.sign_in_as(client, "a");
        let account = response.account.as_mut().unwrap();
        account.home_account_id = format!("sub-{number}");
        account.username = format!("user-{number}@example.test");
        response
    }

    pub async fn acquire(&self, cache: &TokenCache, number: usize) -> Result<Acquired, CacheError> {
        let call = self.issuer.call("a");
        cache
            .acquire(request_for(number), AcquireOptions::default(), call)
            .await
    }

    pub async fn records(&self) -> Vec<(StoreKey, Record)> {
        let keys: Vec<_> = self.store.scan("").map(|found| found.unwrap().0).collect().await;
        let mut records = Vec::new();
        for key in keys {
            let record = self.store.get(&key).await.unwrap().unwrap();
            records.push((key, record));
        }
        records
    }

    /// The records of the directory, and how often each was written.
    pub async fn pages(&self) -> Vec<(StoreKey, u64)> {
        let mut pages = Vec::new();
        let inspecting = self.without_directory().await;
        for record in inspecting.inspect().await.unwrap() {
            if record.kind == Some(RecordKind::Directory) {
                pages.push((record.key, record.header.unwrap().generation));
            }
        }
        pages
    }

    pub async fn writes(&self) -> u64 {
        self.pages().await.iter().map(|page| page.1).sum()
    }
}

pub fn account(number: usize) -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: format!("sub-{number}"),
    }
}

pub fn number_of(entry: &DirectoryEntry) -> usize {
    let number = entry.account.home_account_id.strip_prefix("sub-").unwrap();
    assert_eq!(entry.partition, account(number.parse().unwrap()));
    number.parse().unwrap()
}

pub fn request_for(number: usize) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse("a");
    let (kind, host) = (AuthorityKind::Oidc, "issuer.example");
    Arc::new(TokenRequest::new(account(number), kind, CLIENT, host, "", scopes))
}

pub fn is_page(key: &StoreKey) -> bool {
    RecordKind::of(&Namespace::default(), key) == Some(RecordKind::Directory)
}

pub async fn sign_out(cache: &TokenCache, number: usize) -> bool {
    let scope = SignOutScope::Client;
    cache.sign_out(&account(number), CLIENT, scope).await.unwrap()
}

/// The accounts that match, page by page. Each must come once.
pub async fn list(cache: &TokenCache, query: &DirectoryQuery) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut after: Option<DirectoryCursor> = None;
    loop {
        let query = match after {
            Some(cursor) => query.clone().after(cursor),
            None => query.clone(),
        };
        let page = cache.directory().page(query).await.unwrap();
        assert!(page.unreadable.is_empty(), "{:?}", page.unreadable);
        for entry in &page.entries {
            assert!(found.insert(number_of(entry)), "listed twice");
        }
        let Some(next) = page.next else { return found };
        assert_ne!(after, Some(next), "the listing does not get on");
        after = Some(next);
    }
}

pub async fn listed(cache: &TokenCache) -> BTreeSet<usize> {
    list(cache, &DirectoryQuery::new()).await
}

pub async fn entry(cache: &TokenCache, number: usize) -> Option<DirectoryEntry> {
    cache.directory().entry(&account(number)).await.unwrap()
}
