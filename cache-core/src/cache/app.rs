//! Tokens that are asked for without a refresh token, the application's own and those of sessions that bring their own proof: from the
//! cache, else by one request for all who ask.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::acquire::{FlightKey, found};
use super::acquired::{AcquireOptions, Acquired, Freshness, RefreshReason, TokenSource};
use super::authority_call::{AppTokenCall, CallError, CallOutcome};
use super::observe::count_reason;
use super::outage::is_outage;
use super::sessions::Asked;
use super::{CacheError, Inner, InteractionReason, InteractionRequired, TokenCache};
use crate::schema::index::{IndexedPartition, is_fresh, is_unexpired, is_within_extended_lifetime};
use crate::schema::{AuthorityIdentity, Partition, PartitionKey, ScopeSet, SessionAnchor, TokenRequest};
use crate::strategy::flights::Landing;
use crate::strategy::{Coalescing, Partitioning};
use crate::time::with_deadline;

/// What becomes of a reply.
#[derive(Clone, Copy)]
pub(crate) enum Keeping {
    /// It is the application's own token.
    App,
    /// It begins, or adds to, the session of the request's partition, which lasts for so long at the most.
    Session(Duration),
}

impl TokenCache {
    /// The partition of an application's own tokens, as the strategy divides them.
    #[must_use]
    pub fn app_partition(
        &self,
        client_id: &str,
        authority: &AuthorityIdentity,
        tenant: &str,
        scopes: &ScopeSet,
    ) -> PartitionKey {
        PartitionKey::App {
            client_id: client_id.to_owned(),
            authority: authority.clone(),
            tenant: tenant.to_owned(),
            resource: match self.inner.strategy.partitioning {
                Partitioning::ByTenant => None,
                Partitioning::AppByResource => Some(scopes.normalised()),
            },
            components: std::collections::BTreeMap::new(),
        }
    }
}

impl Inner {
    /// The token of `request`, which must be for a partition of the kind that `keeping` says.
    pub(crate) async fn obtain_once(
        self: &Arc<Self>,
        request: Arc<TokenRequest>,
        options: AcquireOptions,
        keeping: Keeping,
        call: Arc<dyn AppTokenCall>,
    ) -> Result<Acquired, CacheError> {
        self.has_place(request.partition())?;
        let now = self.clock.now().to_seconds();
        let pending = self
            .written_behind
            .find(&request, |token, _| is_fresh(token, now));
        let sighted = match pending {
            Some(_) => None,
            None => match self.sight(request.partition()).await {
                Err(error) if self.does_without_store(keeping, &error) && !options.cache_only => None,
                sighted => sighted?,
            },
        };
        let cached = pending
            .or_else(|| found(sighted.as_ref()?, &request, |token| is_fresh(token, now)))
            .filter(|_| options.freshness == Freshness::Cached);
        if let Some(acquired) = cached {
            // Without the store no session can be begun anew.
            let may_ask = !acquired.during_outage || matches!(keeping, Keeping::App);
            if !options.cache_only
                && may_ask
                && self.is_due(acquired.token(), now)
                && self.ahead.allows(request.hash(), self.clock.monotonic())
                && let Some(_ticket) = self.tasks.admit()
            {
                let key = FlightKey {
                    request: *request.hash(),
                    freshness: options.freshness,
                    ahead: true,
                    obtains: true,
                };
                self.flights.start(key, || {
                    self.obtaining(&request, options, RefreshReason::RefreshAhead, keeping, call)
                });
            }
            return Ok(match &sighted {
                Some(sighted) => self.remember(&request, sighted, acquired),
                None => acquired,
            });
        }
        if options.cache_only {
            return Err(InteractionRequired::new(InteractionReason::NoAccount).into());
        }
        let _ticket = self.tasks.admit().ok_or(CacheError::ShuttingDown)?;
        let reason = match options.freshness {
            Freshness::Forced { .. } => RefreshReason::Forced,
            Freshness::Claims => RefreshReason::Claims,
            Freshness::Cached => match &sighted {
                Some(rows) if rows.partition.find(&request, |_| true).is_some() => RefreshReason::Expired,
                _ => RefreshReason::NoCachedToken,
            },
        };
        let result = if self.strategy.coalescing == Coalescing::None {
            self.obtaining(&request, options, reason, keeping, call).await
        } else {
            let key = FlightKey {
                request: *request.hash(),
                freshness: options.freshness,
                ahead: false,
                obtains: true,
            };
            // A store that never answers must not hold its callers for ever.
            let limits = self.strategy.limits;
            let limit = limits.acquire.saturating_add(limits.spend());
            let flight = self
                .flights
                .join(key, || self.obtaining(&request, options, reason, keeping, call));
            match with_deadline(&*self.clock, limit, flight).await {
                Some(Landing::Done(result)) => result,
                Some(Landing::Lost) => Err(CacheError::LeaderLost),
                None => Err(CacheError::TimedOut),
            }
        };
        let Err(error) = result else { return result };
        // Who was signed out meanwhile is not served.
        let rows = match keeping {
            Keeping::App => sighted,
            Keeping::Session(_) => self.sight(request.partition()).await.ok().flatten(),
        };
        let outage = matches!(error, CacheError::Unreachable(_) | CacheError::OutcomeUnknown(_));
        let now = self.clock.now().to_seconds();
        let usable = |token: crate::schema::AccessTokenRef<'_>| {
            is_unexpired(token, now)
                || (outage && options.extended_lifetime && is_within_extended_lifetime(token, now))
        };
        // A failed request never discards a token that is still valid.
        rows.filter(|_| options.freshness == Freshness::Cached)
            .and_then(|rows| found(&rows, &request, usable))
            .ok_or(error)
    }

    fn obtaining(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        reason: RefreshReason,
        keeping: Keeping,
        call: Arc<dyn AppTokenCall>,
    ) -> impl Future<Output = Result<Acquired, CacheError>> + Send + 'static {
        let (inner, request, ticket) = (Arc::clone(self), Arc::clone(request), self.tasks.ticket());
        async move {
            let _ticket = ticket;
            let result = inner.obtain(&request, options, reason, keeping, &*call).await;
            if reason == RefreshReason::RefreshAhead {
                let now = inner.clock.monotonic();
                inner.ahead.note(request.hash(), result.is_ok(), now);
            }
            result
        }
        // The work is a task of its own, and what it logs belongs to who began it.
        .in_current_span()
    }

    async fn obtain(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        reason: RefreshReason,
        keeping: Keeping,
        call: &dyn AppTokenCall,
    ) -> Result<Acquired, CacheError> {
        count_reason(reason);
        let began = self.clock.now();
        let mut under = None;
        let now = began.to_seconds();
        let waiting = self.written_behind.find(request, |token, rows| {
            options.freshness.adopts(token, rows, began, now)
                && (reason != RefreshReason::RefreshAhead || !self.is_due(token, now))
        });
        if let Some(waiting) = waiting {
            return Ok(waiting);
        }
        let (sighted, in_outage) = match self.sight_latest(request.partition()).await {
            Err(error) if self.does_without_store(keeping, &error) => (None, true),
            sighted => (sighted?, false),
        };
        if let Some(sighted) = sighted {
            under = sighted.partition.anchor().map(|(user, epoch)| SessionAnchor {
                user: user.to_owned(),
                epoch,
            });
            let now = self.clock.now().to_seconds();
            let adopted = found(&sighted, request, |token| {
                options.freshness.adopts(token, &sighted.partition, began, now)
                    && (reason != RefreshReason::RefreshAhead || !self.is_due(token, now))
            });
            if let Some(adopted) = adopted {
                return Ok(adopted);
            }
        }
        let limit = self.strategy.limits.request;
        let sign_outs = Some(self.sign_outs.count());
        let asked = Asked { under, sign_outs };
        let started = self.clock.monotonic();
        let outcome = with_deadline(&*self.clock, limit, call.obtain(limit))
            .await
            .unwrap_or_else(|| {
                CallOutcome::OutcomeUnknown(CallError::new(
                    "no reply from the authority within the time limit",
                ))
            });
        let time_in_authority = self.clock.monotonic().saturating_sub(started);
        let response = match outcome {
            CallOutcome::Granted(response) => *response,
            CallOutcome::Refused(refusal) => return Err(CacheError::Refused(Box::new(refusal))),
            CallOutcome::NotSent(error) => return Err(CacheError::Unreachable(Arc::new(error))),
            CallOutcome::OutcomeUnknown(error) => return Err(CacheError::OutcomeUnknown(Arc::new(error))),
        };
        if let Keeping::Session(longest) = keeping {
            let began = self.begin_obtained_session(request, response, longest, asked);
            return Ok(Acquired {
                refresh_reason: Some(reason),
                time_in_authority,
                ..began.await?
            });
        }
        let row = response.access_token_row().ok_or(CacheError::NoAccessToken)?;
        let mut alone = Partition::new(request.partition().clone());
        alone.access_tokens.push(row);
        let alone = Arc::new(IndexedPartition::new(alone)?);
        let acquired = Acquired {
            refresh_reason: Some(reason),
            time_in_authority,
            during_outage: in_outage,
            ..Acquired::new(alone, 0, TokenSource::Authority)
        };
        let during_outage = self
            .store_app_token(request, response, &acquired, in_outage)
            .await?;
        if during_outage {
            self.outage.serve("authority", self.clock.monotonic());
        }
        Ok(Acquired {
            during_outage,
            ..acquired
        })
    }

    /// Whether a token is obtained although the store cannot be asked for one: the application's own cost a request and no more.
    fn does_without_store(&self, keeping: Keeping, error: &CacheError) -> bool {
        matches!(keeping, Keeping::App) && self.outage_bound().is_some() && is_outage(error)
    }
}
