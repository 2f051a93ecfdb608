//! What is reported of acquisitions, by spans and metrics. None of it says who asked or for what.

use tracing::Instrument;
use tracing::field::Empty;

use super::acquired::{AcquireOptions, Acquired, Freshness, RefreshReason, TokenSource};
use super::{CacheError, Inner, InteractionReason};
use crate::schema::TokenRequest;

/// Runs `work` in a span for a token `of` somebody, and records how it ended. Where nobody listens it costs a comparison.
pub(super) async fn acquisition(
    of: &'static str,
    work: impl Future<Output = Result<Acquired, CacheError>>,
) -> Result<Acquired, CacheError> {
    let span = tracing::debug_span!("acquire", of, tier = Empty, reason = Empty, outcome = Empty);
    if span.is_disabled() {
        return work.await;
    }
    let result = work.instrument(span.clone()).await;
    span.record("outcome", outcome(&result));
    if let Ok(acquired) = &result {
        span.record("tier", tier(acquired.source()));
        if let Some(reason) = acquired.refresh_reason() {
            span.record("reason", reason_name(reason));
        }
    }
    result
}

impl Inner {
    /// What memory answers `request` with at once, in a span of its own for whoever listens.
    #[inline]
    pub(super) fn at_once(
        &self,
        of: &'static str,
        request: &TokenRequest,
        options: AcquireOptions,
    ) -> Option<Acquired> {
        if options.freshness != Freshness::Cached {
            return None;
        }
        let acquired = self.answered(request)?;
        tracing::debug_span!("acquire", of, tier = "memory", outcome = "hit");
        Some(acquired)
    }
}

/// Counts why the authority is about to be asked.
pub(super) fn count_reason(reason: RefreshReason) {
    match reason {
        RefreshReason::NoCachedToken => {
            metrics::counter!("tokenkeep_refresh_reasons_total", "reason" => "no_cached_token")
        }
        RefreshReason::Expired => metrics::counter!("tokenkeep_refresh_reasons_total", "reason" => "expired"),
        RefreshReason::RefreshAhead => {
            metrics::counter!("tokenkeep_refresh_reasons_total", "reason" => "refresh_ahead")
        }
        RefreshReason::Forced => metrics::counter!("tokenkeep_refresh_reasons_total", "reason" => "forced"),
        RefreshReason::Claims => metrics::counter!("tokenkeep_refresh_reasons_total", "reason" => "claims"),
    }
    .increment(1);
}

/// What a log may say of `error`: the authority's description is left out, because it may name the user.
pub(super) fn loggable(error: &CacheError) -> String {
    match error {
        CacheError::Refused(refusal) => format!("the authority refused: {}", refusal.error),
        other => other.to_string(),
    }
}

fn tier(source: TokenSource) -> &'static str {
    match source {
        TokenSource::Memory => "memory",
        TokenSource::Store => "store",
        TokenSource::Authority => "authority",
    }
}

fn reason_name(reason: RefreshReason) -> &'static str {
    match reason {
        RefreshReason::NoCachedToken => "no_cached_token",
        RefreshReason::Expired => "expired",
        RefreshReason::RefreshAhead => "refresh_ahead",
        RefreshReason::Forced => "forced",
        RefreshReason::Claims => "claims",
    }
}

fn outcome(result: &Result<Acquired, CacheError>) -> &'static str {
    match result {
        Ok(acquired) if acquired.source() == TokenSource::Authority => "granted",
        Ok(_) => "hit",
        Err(CacheError::InteractionRequired(required)) => match required.reason {
            InteractionReason::OutcomeUnknown => "unknown",
            _ => "interaction_required",
        },
        Err(CacheError::Refused(_)) => "refused",
        Err(CacheError::Unreachable(_)) => "not_sent",
        Err(CacheError::OutcomeUnknown(_)) => "unknown",
        Err(error) if error.is_storage() => "storage_failed",
        Err(_) => "failed",
    }
}
