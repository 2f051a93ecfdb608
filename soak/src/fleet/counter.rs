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
use serde::{Deserialize, Serialize};

use crate::gate::{Doing, GateError};

const CLIENT: &str = "counting";
const ISSUER: &str = "https://issuer.example";
const ENVIRONMENT: &str = "issuer.example";
const SCOPE: &str = "count";

/// What a member counts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Counting {
    /// How many tasks count at once.
    pub tasks: u64,
    /// How many increments all of them make together.
    pub increments: u64,
    /// How many counters they come by, one after the other.
    pub counters: u64,
    /// The counter that the first task begins with; the others begin with the next ones.
    pub from: u64,
}

/// The partition of one counter.
#[must_use]
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
///
/// # Errors
///
/// When it cannot be stored.
pub async fn begin(cache: &TokenCache, counter: u64) -> Result<(), GateError> {
    let stored = cache.sign_in(&key(counter), grant(counter, 0, "nobody")).await;
    stored.map(drop).doing("could not store a counter")
}

/// Where a counter stands. It is gone afterwards.
///
/// # Errors
///
/// When it cannot be read, or there is not one counter.
pub async fn end(cache: &TokenCache, counter: u64) -> Result<u64, GateError> {
    let scope = cache_core::cache::SignOutScope::Client;
    let removed = cache.sign_out_with_tokens(&key(counter), CLIENT, scope).await;
    let removed = removed.doing("could not remove a counter")?;
    let [token] = &removed.refresh_tokens[..] else {
        return Err(GateError::new(format!("counter {counter} was not found once")));
    };
    number_of(token).ok_or_else(|| GateError::new(format!("counter {counter} is no number")))
}

fn number_of(token: &Secret) -> Option<u64> {
    token.expose().split_once(' ')?.0.parse().ok()
}

/// What came of counting.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    /// How many increments were acknowledged.
    pub acknowledged: u64,
    /// Why increments failed. Whose did, a task, counts no further.
    pub failed: Vec<String>,
}

/// Counts.
pub(super) async fn count(cache: &TokenCache, counting: Counting) -> Result<Counted, GateError> {
    let Counting {
        tasks,
        increments,
        counters,
        from,
    } = counting;
    let counting: Vec<_> = (0..tasks)
        .map(|task| {
            let cache = cache.clone();
            let who = format!("{}-{task}", std::process::id());
            let share = increments / tasks + u64::from(task < increments % tasks);
            tokio::spawn(async move {
                let mut counted = Counted::default();
                for increment in 0..share {
                    if let Err(error) = add_one(&cache, (from + task + increment) % counters, &who).await {
                        counted.failed.push(error);
                        break;
                    }
                    counted.acknowledged += 1;
                }
                counted
            })
        })
        .collect();
    let mut all = Counted::default();
    for task in counting {
        let counted = task.await.doing("a task ended")?;
        all.acknowledged += counted.acknowledged;
        all.failed.extend(counted.failed);
    }
    Ok(all)
}

async fn add_one(cache: &TokenCache, counter: u64, who: &str) -> Result<(), String> {
    let request = TokenRequest::new(
        key(counter),
        AuthorityKind::Oidc,
        CLIENT,
        ENVIRONMENT,
        "",
        ScopeSet::parse(SCOPE),
    )
    // No cached token satisfies claims, so what another has counted never serves this one.
    .claims(Some(serde_json::json!({ "who": who }).to_string()));
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
        .map_err(|error| format!("counter {counter}: {error:?}"))?;
    if acquired.source() == TokenSource::Authority {
        return Ok(());
    }
    Err(format!("counter {counter} was counted by another"))
}

/// An authority for which refresh tokens are numbers.
struct AddOne(u64, String);

#[async_trait]
impl AuthorityCall for AddOne {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        match number_of(&redemption.refresh_token) {
            Some(number) => CallOutcome::Granted(Box::new(grant(self.0, number + 1, &self.1))),
            None => CallOutcome::NotSent(CallError::new("the token is no number")),
        }
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
