//! Several processes over one store: each has its own cache, its own transport and its own memory of the authority.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{TokenCache, UnknownOutcomePolicy};
use cache_core::random::OsRandom;
use cache_core::schema::{Account, PartitionKey, ScopeSet, TokenContext, TokenResponse, TokenType};
use cache_core::seal::Namespace;
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{SealPolicy, Strategy};
use cache_core::time::{Clock, UnixMillis};
use flows::authority::Authority;
use flows::client::PublicClient;
use flows::http::HttpClient;

use crate::issuer::ISSUER;

pub const CLIENT: &str = "client";

/// How long the cache lets a spent token's fate be open: 30 seconds for the request and 10 for its commit.
pub const DEADLINE: Duration = Duration::from_secs(40);

pub fn memory_store(clock: &(impl Clock + Clone)) -> Arc<dyn Store> {
    Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)))
}

pub fn cache(store: &Arc<dyn Store>, clock: &(impl Clock + Clone)) -> TokenCache {
    // In clear: sealing has tests of its own, and a thousand sessions are polled here.
    TokenCache::builder(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext(Namespace::default())
        .unwrap()
}

pub fn process(
    store: &Arc<dyn Store>,
    clock: &(impl Clock + Clone),
    http: &Arc<impl HttpClient>,
    policy: Option<UnknownOutcomePolicy>,
) -> (PublicClient, TokenCache) {
    let cache = cache(store, clock);
    let http: Arc<dyn HttpClient> = http.clone();
    let authority = Authority::detect(ISSUER).unwrap();
    let mut builder = PublicClient::builder(CLIENT, authority, cache.clone()).http(http);
    if let Some(policy) = policy {
        builder = builder.unknown_outcome(policy);
    }
    (builder.build().unwrap(), cache)
}

fn account(user: &str) -> Account {
    Account {
        home_account_id: user.to_owned(),
        environment: "id.example".to_owned(),
        realm: String::new(),
        local_account_id: user.to_owned(),
        username: format!("{user}@canary.example"),
        authority_type: "Generic".to_owned(),
        name: None,
        issuer: Some(ISSUER.to_owned()),
        tenant_profiles: Vec::new(),
        foreign: None,
    }
}

/// Stores what a sign-in of `user` brings: an access token for the scope `a` that lives an hour, and a refresh token.
pub async fn sign_in(cache: &TokenCache, user: &str) {
    let now = UnixMillis::to_seconds(cache.clock().now());
    let response = TokenResponse {
        client_id: CLIENT.to_owned(),
        environment: "id.example".to_owned(),
        realm: String::new(),
        scopes: ScopeSet::parse("a"),
        requested_scopes: ScopeSet::parse("a"),
        token_type: TokenType::Bearer,
        access_token: Some(Secret::new(format!("at-of-{user}"))),
        requested_at: now,
        expires_on: now.saturating_add(Duration::from_secs(3_600)),
        extended_expires_on: None,
        refresh_on: None,
        refresh_token: Some(Secret::new(format!("rt-of-{user}"))),
        refresh_token_expires_on: None,
        family_id: None,
        id_token: None,
        account: Some(account(user)),
        context: TokenContext::default(),
    };
    let key = PartitionKey::User {
        authority: Authority::detect(ISSUER).unwrap().identity(),
        home_account_id: user.to_owned(),
    };
    cache.sign_in(&key, response).await.unwrap();
}
