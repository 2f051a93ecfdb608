//! Between the cache's words and the clients'.

use std::time::Duration;

use cache_core::cache::{Acquired, CacheError, CallError, InteractionReason};

use crate::error::{AuthorityError, Throttled};
use crate::result::{AuthenticationResult, RefreshReason, ResultMetadata, TokenSource};
use crate::{CorrelationId, Error, IdTokenClaims, InteractionRequired};

/// The result for what the cache acquired in `elapsed`.
pub(super) fn result(
    acquired: &Acquired,
    correlation_id: Option<CorrelationId>,
    elapsed: Duration,
) -> AuthenticationResult {
    let token = acquired.token();
    let id_token = acquired.id_token().map(|row| row.secret.clone());
    let claims = id_token
        .as_ref()
        .and_then(|token| IdTokenClaims::decode(token).ok());
    let account = acquired.account().cloned();
    let tenant = claims
        .as_ref()
        .and_then(IdTokenClaims::tenant_id)
        .unwrap_or(token.realm)
        .to_owned();
    let profile = account.as_ref().and_then(|account| {
        account
            .tenant_profiles
            .iter()
            .find(|profile| profile.tenant_id == tenant)
            .map(|p| p.local_account_id.clone())
    });
    let unique_id = claims
        .as_ref()
        .and_then(|claims| claims.object_id().or_else(|| claims.subject()))
        .map(str::to_owned)
        .or(profile)
        .or_else(|| account.as_ref().map(|account| account.local_account_id.clone()));
    report(acquired, elapsed);
    let asked = acquired.source() == cache_core::cache::TokenSource::Authority;
    AuthenticationResult {
        access_token: token.secret.to_secret(),
        token_type: token.token_type.clone(),
        expires_on: token.expires_on,
        extended_expires_on: token.extended_expires_on,
        scopes: token.target.to_scope_set(),
        declined_scopes: token.declined_scopes(),
        tenant,
        id_token,
        id_token_claims: claims,
        unique_id,
        account,
        correlation_id: correlation_id.filter(|_| asked),
        metadata: ResultMetadata {
            source: acquired.source().into(),
            refresh_reason: acquired.refresh_reason().map(RefreshReason::from),
            served_during_outage: acquired.served_during_outage(),
            time_in_cache: time_in_cache(acquired, elapsed),
            time_in_store: acquired.time_in_store(),
            time_in_http: acquired.time_in_authority(),
            refresh_on: token.refresh_on,
        },
    }
}

/// Where the time went, as histograms. A token out of memory has been nowhere but in the cache.
fn report(acquired: &Acquired, elapsed: Duration) {
    use cache_core::cache::TokenSource as Source;
    match acquired.source() {
        Source::Memory => metrics::histogram!("tokenkeep_time_in_cache_seconds", "source" => "memory"),
        Source::Store => metrics::histogram!("tokenkeep_time_in_cache_seconds", "source" => "store"),
        Source::Authority => metrics::histogram!("tokenkeep_time_in_cache_seconds", "source" => "authority"),
    }
    .record(time_in_cache(acquired, elapsed));
    if acquired.source() != Source::Memory {
        metrics::histogram!("tokenkeep_time_in_store_seconds").record(acquired.time_in_store());
    }
    if acquired.source() == Source::Authority {
        metrics::histogram!("tokenkeep_time_in_authority_seconds").record(acquired.time_in_authority());
    }
}

fn time_in_cache(acquired: &Acquired, elapsed: Duration) -> Duration {
    elapsed.saturating_sub(acquired.time_in_store() + acquired.time_in_authority())
}

impl From<cache_core::cache::TokenSource> for TokenSource {
    fn from(source: cache_core::cache::TokenSource) -> Self {
        match source {
            cache_core::cache::TokenSource::Memory => Self::Memory,
            cache_core::cache::TokenSource::Store => Self::Store,
            cache_core::cache::TokenSource::Authority => Self::Authority,
        }
    }
}

impl From<cache_core::cache::RefreshReason> for RefreshReason {
    fn from(reason: cache_core::cache::RefreshReason) -> Self {
        use cache_core::cache::RefreshReason as Cache;
        match reason {
            Cache::NoCachedToken => Self::NoCachedToken,
            Cache::Expired => Self::Expired,
            Cache::RefreshAhead => Self::RefreshAhead,
            Cache::Forced => Self::ForceRefresh,
            Cache::Claims => Self::Claims,
        }
    }
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::InteractionRequired(required) => {
                Self::InteractionRequired(Box::new(match &required.reason {
                    InteractionReason::Refused(refusal) => InteractionRequired::remembered(refusal),
                    InteractionReason::OutcomeUnknown => InteractionRequired::outcome_unknown(),
                    _ => InteractionRequired::no_refresh_token(),
                }))
            }
            CacheError::Refused(refusal) => AuthorityError::from(*refusal).into(),
            CacheError::Unreachable(call) => match held_back(&call) {
                Some(throttled) => throttled.into(),
                None => Self::Cache(CacheError::Unreachable(call)),
            },
            other => Self::Cache(other),
        }
    }
}

/// That a call was held back, if it was: the cache only knows that nothing was sent.
fn held_back(call: &CallError) -> Option<Throttled> {
    let mut cause = std::error::Error::source(call);
    while let Some(error) = cause {
        if let Some(Error::Throttled(throttled)) = error.downcast_ref() {
            return Some(throttled.clone());
        }
        cause = error.source();
    }
    None
}
