//! Between the cache's words and the clients'.

use std::time::Duration;

use cache_core::cache::{Acquired, CacheError, CallError, InteractionReason};

use crate::error::AuthorityError;
use crate::result::{AuthenticationResult, RefreshReason, TokenSource};
use crate::{CorrelationId, Error, InteractionRequired};

/// The result for what the cache acquired in `elapsed`.
pub(super) fn result(
    acquired: Acquired,
    correlation_id: Option<CorrelationId>,
    elapsed: Duration,
) -> AuthenticationResult {
    report(&acquired, elapsed);
    let asked = acquired.source() == cache_core::cache::TokenSource::Authority;
    let (in_cache, in_authority) = (time_in_cache(&acquired, elapsed), acquired.time_in_authority());
    AuthenticationResult::from_cache(acquired).of_request(
        correlation_id.filter(|_| asked),
        in_cache,
        in_authority,
    )
}

/// The result for the tokens of a sign-in that took the authority `in_authority`, and were then stored within `elapsed`.
pub(super) fn signed_in(
    acquired: Acquired,
    correlation_id: CorrelationId,
    elapsed: Duration,
    in_authority: Duration,
) -> AuthenticationResult {
    report(&acquired, elapsed);
    let in_cache = time_in_cache(&acquired, elapsed);
    AuthenticationResult::from_cache(acquired).of_request(Some(correlation_id), in_cache, in_authority)
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
            CacheError::Unreachable(call) => {
                cause_of(&call).unwrap_or_else(|| Self::Cache(CacheError::Unreachable(call)))
            }
            other => Self::Cache(other),
        }
    }
}

/// Why nothing was sent, where it was not for the authority: the call was held back, or the store failed while it was prepared.
fn cause_of(call: &CallError) -> Option<Error> {
    let mut cause = std::error::Error::source(call);
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(Error::Throttled(throttled)) => return Some(throttled.clone().into()),
            Some(Error::Cache(error)) => return Some(error.clone().into()),
            _ => {}
        }
        if let Some(error) = error.downcast_ref::<CacheError>() {
            return Some(error.clone().into());
        }
        cause = error.source();
    }
    None
}
