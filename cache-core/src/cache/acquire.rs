//! Silent acquisition for a user: from the cache, else by spending the refresh token, once for everybody.

use std::sync::Arc;

use tracing::Instrument;

use super::acquired::{AcquireOptions, Acquired, Freshness, RefreshReason, TokenSource};
use super::find::Sighted;
use super::observe::loggable;
use super::{AuthorityCall, CacheError, Inner};
use crate::schema::index::{is_fresh, is_unexpired, is_within_extended_lifetime};
use crate::schema::{AccessTokenRef, RequestHash, TokenRequest};
use crate::strategy::flights::Landing;
use crate::strategy::{Coalescing, RefreshPolicy};
use crate::time::{UnixSeconds, with_deadline};

/// What distinguishes flights: requests that may share one answer have equal keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) request: RequestHash,
    pub(crate) freshness: Freshness,
    pub(crate) ahead: bool,
    /// Whether the token is asked for anew, and no refresh token is spent.
    pub(crate) obtains: bool,
}

impl Inner {
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        request: Arc<TokenRequest>,
        options: AcquireOptions,
        call: Arc<dyn AuthorityCall>,
    ) -> Result<Acquired, CacheError> {
        let sighted = self.sight(request.partition()).await?;
        let now = self.clock.now().to_seconds();
        if options.freshness == Freshness::Cached
            && let Some(sighted) = &sighted
            && let Some(acquired) = found(sighted, &request, |token| is_fresh(token, now))
        {
            if sighted.source == TokenSource::Store {
                self.note_use(&request);
            }
            // Without the store nobody may refresh.
            if !options.cache_only && !acquired.during_outage && self.is_due(acquired.token(), now) {
                self.refresh_ahead(&request, options, call);
            }
            return Ok(self.remember(&request, sighted, acquired));
        }
        if options.cache_only {
            return self
                .unexpired(&request, options, sighted.as_ref())
                .ok_or_else(nothing_cached);
        }
        let _ticket = self.tasks.admit().ok_or(CacheError::ShuttingDown)?;
        let reason = match (&options.freshness, &sighted) {
            (Freshness::Forced { .. }, _) => RefreshReason::Forced,
            (Freshness::Claims, _) => RefreshReason::Claims,
            (Freshness::Cached, Some(sighted)) if sighted.partition.find(&request, |_| true).is_some() => {
                RefreshReason::Expired
            }
            (Freshness::Cached, _) => RefreshReason::NoCachedToken,
        };
        match self.fly(&request, options, reason, call).await {
            Ok(acquired) => Ok(acquired),
            // A failed refresh never discards a token that is still valid.
            Err(error) => {
                let rows = self.sight(request.partition()).await.ok().flatten();
                match self.unexpired_after(&error, &request, options, rows.as_ref()) {
                    Some(acquired) => {
                        tracing::warn!(
                            error = loggable(&error),
                            "refresh failed; serving a token that is still valid"
                        );
                        Ok(acquired)
                    }
                    None => Err(error),
                }
            }
        }
    }

    async fn fly(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        reason: RefreshReason,
        call: Arc<dyn AuthorityCall>,
    ) -> Result<Acquired, CacheError> {
        let work = || {
            let (inner, request, ticket) = (Arc::clone(self), Arc::clone(request), self.tasks.ticket());
            async move {
                let _ticket = ticket;
                inner.refresh(&request, options, reason, &call).await
            }
            // The work is a task of its own, and what it logs belongs to who began it.
            .in_current_span()
        };
        // A store that never answers must not hold its callers for ever.
        let limits = self.strategy.limits;
        let limit = limits.acquire.saturating_add(limits.spend());
        if self.strategy.coalescing == Coalescing::None {
            // Still a task of its own: a caller that goes away after the token was sent must not lose the reply.
            let landing = with_deadline(&*self.clock, limit, tokio::spawn(work())).await;
            return landing
                .ok_or(CacheError::TimedOut)?
                .map_err(|_| CacheError::LeaderLost)?;
        }
        let key = FlightKey {
            request: *request.hash(),
            freshness: options.freshness,
            ahead: false,
            obtains: false,
        };
        match with_deadline(&*self.clock, limit, self.flights.join(key, work)).await {
            Some(Landing::Done(result)) => result,
            Some(Landing::Lost) => Err(CacheError::LeaderLost),
            None => Err(CacheError::TimedOut),
        }
    }

    /// Starts a refresh whose result nobody waits for.
    fn refresh_ahead(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        call: Arc<dyn AuthorityCall>,
    ) {
        if !self.ahead.allows(request.hash(), self.clock.monotonic()) {
            return;
        }
        let Some(_ticket) = self.tasks.admit() else { return };
        let key = FlightKey {
            request: *request.hash(),
            freshness: options.freshness,
            ahead: true,
            obtains: false,
        };
        self.flights.start(key, || {
            let (inner, request, ticket) = (Arc::clone(self), Arc::clone(request), self.tasks.ticket());
            async move {
                let _ticket = ticket;
                let result = inner
                    .refresh(&request, options, RefreshReason::RefreshAhead, &call)
                    .await;
                inner
                    .ahead
                    .note(request.hash(), result.is_ok(), inner.clock.monotonic());
                if let Err(error) = &result {
                    tracing::warn!(
                        error = loggable(error),
                        "refresh ahead failed; the cached token goes on serving"
                    );
                }
                result
            }
        });
    }

    /// Whether the policy wants `token`, which still serves, replaced in the background.
    pub(crate) fn is_due(&self, token: AccessTokenRef<'_>, now: UnixSeconds) -> bool {
        self.due(token).is_some_and(|due| now >= due)
    }

    /// From when on the policy wants `token` replaced in the background.
    pub(crate) fn due(&self, token: AccessTokenRef<'_>) -> Option<UnixSeconds> {
        let RefreshPolicy::Ahead { jitter } = self.strategy.refresh else {
            return None;
        };
        let refresh_on = token.refresh_on?;
        let left = token.expires_on.duration_since(refresh_on);
        Some(refresh_on.saturating_add(left.mul_f64(jitter.clamp(0.0, 1.0) * spread(token))))
    }

    /// A token that is past its margin but not past its expiry.
    fn unexpired(
        &self,
        request: &TokenRequest,
        options: AcquireOptions,
        rows: Option<&Sighted>,
    ) -> Option<Acquired> {
        if options.freshness != Freshness::Cached {
            return None;
        }
        let now = self.clock.now().to_seconds();
        found(rows?, request, |token| is_unexpired(token, now))
    }

    fn unexpired_after(
        &self,
        error: &CacheError,
        request: &TokenRequest,
        options: AcquireOptions,
        rows: Option<&Sighted>,
    ) -> Option<Acquired> {
        let outage = matches!(error, CacheError::Unreachable(_) | CacheError::OutcomeUnknown(_));
        let now = self.clock.now().to_seconds();
        self.unexpired(request, options, rows).or_else(|| {
            let may = options.extended_lifetime && outage && options.freshness == Freshness::Cached;
            let rows = rows.filter(|_| may)?;
            found(rows, request, |token| is_within_extended_lifetime(token, now))
        })
    }
}

/// The token that serves `request` among the rows, as a result.
pub(crate) fn found(
    sighted: &Sighted,
    request: &TokenRequest,
    usable: impl Fn(AccessTokenRef<'_>) -> bool,
) -> Option<Acquired> {
    let index = sighted.partition.find(request, usable)?;
    Some(Acquired {
        time_in_store: sighted.time_in_store,
        during_outage: sighted.during_outage,
        ..Acquired::new(Arc::clone(&sighted.partition), index, sighted.source)
    })
}

/// A fraction in `0.0..1.0` that every process computes alike for one token and differently for others.
fn spread(token: AccessTokenRef<'_>) -> f64 {
    let tail = token.secret.expose().as_bytes().iter().rev().take(32);
    let hash = tail.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    #[expect(
        clippy::cast_precision_loss,
        reason = "a fraction needs no more than the upper bits"
    )]
    let fraction = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}

fn nothing_cached() -> CacheError {
    use super::{InteractionReason, InteractionRequired};
    InteractionRequired::new(InteractionReason::NoAccount).into()
}
