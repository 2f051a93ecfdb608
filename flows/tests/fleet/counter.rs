//! A counter that lives in the cache: a refresh token that is a number, and the name of who counted it. (Without that, two who count to the
//! same number would take each other's token for their own; an authority never grants one token twice.)
//!
//! The typed cache has no counter, and this is what comes closest. To redeem the token `n` gives `n + 1`, and nothing else
//! in the partition changes. Without coalescing no marker is written, so an increment is a plain compare-and-swap through all
//! of the cache: read the record, open it, add one, merge into the latest rows, seal, and put if the version is still the same.
//! Whoever was overtaken is told so by the merge (the row with `n` is gone) and counts on from what is there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, AuthorityCall, CallError, CallOutcome, Freshness, Redemption, TokenCache, TokenSource,
};
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenContext, TokenRequest,
    TokenResponse, TokenType,
};
use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock};
use serde_json::{Value, json};

const CLIENT: &str = "counting";
const ISSUER: &str = "https://issuer.example";
const ENVIRONMENT: &str = "issuer.example";
const SCOPE: &str = "count";

/// The partition of one counter.
pub fn key(counter: u64) -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: name(counter),
    }
}

fn name(counter: u64) -> String {
    format!("counter-{counter}")
}

/// Stores a counter that stands at nought.
pub async fn begin(cache: &TokenCache, counter: u64) {
    cache
        .sign_in(&key(counter), grant(counter, 0, "nobody"))
        .await
        .unwrap();
}

/// Where a counter stands. It is gone afterwards.
pub async fn end(cache: &TokenCache, counter: u64) -> u64 {
    let scope = cache_core::cache::SignOutScope::Client;
    let removed = cache
        .sign_out_with_tokens(&key(counter), CLIENT, scope)
        .await
        .unwrap();
    let [number] = &removed.refresh_tokens[..] else {
        panic!("{removed:?}")
    };
    number_of(number)
}

fn number_of(token: &Secret) -> u64 {
    token.expose().split_once(' ').unwrap().0.parse().unwrap()
}

/// Obeys the order to count: `tasks` tasks add one `each` times, to each of `counters` in turn, the first of them `from` the one of this
/// number. The answer is how many were acknowledged.
pub async fn count(cache: &TokenCache, order: &Value) -> Value {
    let number = |name: &str| order[name].as_u64().unwrap();
    let (tasks, each, counters) = (number("tasks"), number("each"), number("counters"));
    let from = number("from");
    let counting: Vec<_> = (0..tasks)
        .map(|task| {
            let cache = cache.clone();
            let who = format!("{}-{task}", std::process::id());
            tokio::spawn(async move {
                let mut acknowledged = 0_u64;
                for increment in 0..each {
                    acknowledged += add_one(&cache, (from + task + increment) % counters, &who).await;
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = 0;
    for task in counting {
        acknowledged += task.await.unwrap();
    }
    json!({ "acknowledged": acknowledged })
}

async fn add_one(cache: &TokenCache, counter: u64, who: &str) -> u64 {
    let request = TokenRequest::new(
        key(counter),
        AuthorityKind::Oidc,
        CLIENT,
        ENVIRONMENT,
        "",
        ScopeSet::parse(SCOPE),
    )
    // No cached token satisfies claims, so what another has counted never serves this one.
    .claims(Some(json!({ "who": who }).to_string()));
    let options = AcquireOptions {
        freshness: Freshness::Claims,
        ..AcquireOptions::default()
    };
    let acquired = cache
        .acquire(
            Arc::new(request),
            options,
            Arc::new(AddOne(counter, who.to_owned())),
        )
        .await
        .unwrap_or_else(|error| panic!("counter {counter}: {error:?}"));
    assert_eq!(acquired.source(), TokenSource::Authority);
    1
}

/// An authority for which refresh tokens are numbers.
struct AddOne(u64, String);

#[async_trait]
impl AuthorityCall for AddOne {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        let number = number_of(&redemption.refresh_token) + 1;
        CallOutcome::Granted(Box::new(grant(self.0, number, &self.1)))
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}

fn grant(counter: u64, number: u64, who: &str) -> TokenResponse {
    let now = SystemClock.now().to_seconds();
    TokenResponse {
        client_id: CLIENT.into(),
        environment: ENVIRONMENT.into(),
        realm: String::new(),
        scopes: ScopeSet::parse(SCOPE),
        requested_scopes: ScopeSet::parse(SCOPE),
        token_type: TokenType::Bearer,
        access_token: Some(Secret::new(format!("access {number} {who}"))),
        requested_at: now,
        expires_on: now.saturating_add(Duration::from_secs(3600)),
        extended_expires_on: None,
        refresh_on: None,
        refresh_token: Some(Secret::new(format!("{number} {who}"))),
        refresh_token_expires_on: None,
        family_id: None,
        id_token: None,
        account: Some(Account {
            home_account_id: name(counter),
            environment: ENVIRONMENT.into(),
            realm: String::new(),
            local_account_id: name(counter),
            username: name(counter),
            authority_type: "Generic".into(),
            name: None,
            issuer: Some(ISSUER.into()),
            tenant_profiles: Vec::new(),
            foreign: None,
        }),
        context: TokenContext::default(),
    }
}
