//! A token of the application itself for who has no secret to ask for another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AcquireOptions, AppTokenCall, CacheError, CallError, CallOutcome, TokenCache};
use cache_core::schema::{PartitionKey, ScopeSet, TokenRequest};

use super::outcome;
use crate::authority::Authority;
use crate::{AuthenticationResult, Error};

/// The application's own token that `cache` holds and that has not expired, such as one that was imported; `None`
/// when there is none. Unlike [`acquire_token_for_client`](super::ConfidentialClient::acquire_token_for_client) it
/// asks nobody, so it needs no credential.
///
/// # Errors
/// [`Error::Cache`].
///
/// # Cancellation safety
/// Cancellation safe.
pub async fn cached_app_token<I>(
    cache: &TokenCache,
    authority: &Authority,
    client_id: &str,
    scopes: I,
) -> Result<Option<AuthenticationResult>, Error>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let request = request(cache, authority, client_id, ScopeSet::of(scopes));
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    let began = cache.clock().monotonic();
    let acquired = match cache
        .acquire_app(Arc::new(request), options, Arc::new(NoCall))
        .await
    {
        Ok(acquired) => acquired,
        Err(CacheError::InteractionRequired(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let elapsed = cache.clock().monotonic().saturating_sub(began);
    Ok(Some(outcome::result(acquired, None, elapsed)))
}

/// What a token of the application itself is found by.
pub(super) fn request(
    cache: &TokenCache,
    authority: &Authority,
    client_id: &str,
    scopes: ScopeSet,
) -> TokenRequest {
    let tenant = authority.tenant().to_ascii_lowercase();
    let partition: PartitionKey = cache.app_partition(client_id, &authority.identity(), &tenant, &scopes);
    TokenRequest::new(
        partition,
        authority.kind(),
        client_id,
        authority.environment(),
        tenant,
        scopes,
    )
}

struct NoCall;

#[async_trait]
impl AppTokenCall for NoCall {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        CallOutcome::NotSent(CallError::new("only the cache was to be asked"))
    }
}
