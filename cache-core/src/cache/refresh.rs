//! Spending a refresh token: the shell around the decisions of [`strategy::spend`](crate::strategy).
//!
//! Every round reads the latest rows, adopts a token that somebody else obtained meanwhile, and otherwise does what
//! [`decide`] says. The order of durable writes is the whole point: marker, request, reply.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::found;
use super::acquired::{AcquireOptions, Acquired, RefreshReason};
use super::authority_call::{AuthorityCall, CallError, CallOutcome, Redemption};
use super::changes::Waiter;
use super::commit::Verdict;
use super::find::Sighted;
use super::observe::count_reason;
use super::{CacheError, Inner, InteractionReason, InteractionRequired};
use crate::random::random_bytes;
use crate::schema::{Partition, Refusal, SpendMarker, TokenRequest};
use crate::secret::Secret;
use crate::store::Durability;
use crate::strategy::spend::{Candidate, Decision, decide, give_up, mark};
use crate::strategy::{Coalescing, UnknownOutcomePolicy};
use crate::time::{UnixMillis, with_deadline};

/// How many different tokens one call may send: the family's, its own, and the successor of one that was refused.
const MAX_SPENT: usize = 3;

/// The right to send one token.
pub(super) struct Spending {
    secret: Secret,
    /// Whose it is.
    pub(super) home_account_id: String,
    pub(super) candidate: Candidate,
    /// `None` where no other process can see the cache and no marker was written.
    pub(super) attempt: Option<[u8; 16]>,
    pub(super) deadline: UnixMillis,
    /// The same moment on the monotonic clock, which nobody sets back and which goes on while a process is stopped: until when the
    /// reply may be stored.
    pub(super) held_until: Duration,
    /// What others do after the deadline.
    pub(super) unknown_outcome: UnknownOutcomePolicy,
}

/// What a round led to.
pub(super) enum Round {
    Done(Acquired),
    Again,
    /// This call is a newcomer again. Its reply was discarded: if the token is still there, its marker says what may be done. Or what it stored
    /// had expired by then, a short life on a busy machine: no more often than once in such a life is its successor sent.
    Anew,
}

impl Inner {
    /// Obtains a token by a refresh, or adopts one that somebody else obtains meanwhile.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        reason: RefreshReason,
        call: &Arc<dyn AuthorityCall>,
    ) -> Result<Acquired, CacheError> {
        let result = self.refresh_or_adopt(request, options, reason, call).await;
        self.note_refresh(request, options, &result);
        result
    }

    async fn refresh_or_adopt(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        reason: RefreshReason,
        call: &Arc<dyn AuthorityCall>,
    ) -> Result<Acquired, CacheError> {
        count_reason(reason);
        let began = self.clock.now();
        // On the monotonic clock: a wall clock that is set back must not make anybody wait longer.
        let give_up = self
            .clock
            .monotonic()
            .saturating_add(self.strategy.limits.acquire);
        let _alone = match self.strategy.coalescing {
            Coalescing::Process => {
                let lock = self.lineage_locks.lock(self.stored_key(request.partition()));
                let locked = with_deadline(&*self.clock, self.strategy.limits.acquire, lock).await;
                Some(locked.ok_or(CacheError::TimedOut)?)
            }
            Coalescing::None | Coalescing::Fleet => None,
        };
        let mut spent = Vec::new();
        let mut is_prepared = false;
        let mut waiter = Waiter::new(self, self.stored_key(request.partition()));
        loop {
            let sighted = self.sight_latest(request.partition()).await?;
            let Some(sighted) = sighted else {
                return Err(interaction(InteractionReason::NoAccount));
            };
            let now = self.clock.now();
            if let Some(adopted) = self.adopt(&sighted, request, options, reason, began, now) {
                metrics::counter!("tokenkeep_refreshes_total", "outcome" => "adopted").increment(1);
                return Ok(adopted);
            }
            let left = give_up.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Err(CacheError::TimedOut);
            }
            let rows = &sighted.partition.rows();
            match decide(rows, request, &spent, options.unknown_outcome, now) {
                Decision::Spend(candidate) => {
                    if spent.len() >= MAX_SPENT {
                        return Err(interaction(InteractionReason::NoRefreshToken));
                    }
                    if !std::mem::replace(&mut is_prepared, true) {
                        self.prepare(&**call, left).await?;
                    }
                    let Some(spending) = self.mark(request, options, rows, candidate).await? else {
                        // Somebody was faster, or the store was too slow to begin: either way there is no hurry.
                        waiter.wait(now.saturating_add(left)).await?;
                        continue;
                    };
                    spent.push(spending.candidate.token_hash);
                    match self.spend(request, &spending, reason, call).await? {
                        Round::Done(acquired) => return Ok(acquired),
                        Round::Again => {}
                        Round::Anew => drop(spent.pop()),
                    }
                }
                Decision::Wait(until) => {
                    waiter.wait(until.min(now.saturating_add(left))).await?;
                }
                // Read again: whoever was late may have been just in time.
                Decision::Overdue => self.give_up(request, options, &spent).await?,
                Decision::NoRefreshToken => return Err(interaction(InteractionReason::NoRefreshToken)),
                Decision::Refused(refusal) => return Err(refused(refusal)),
                Decision::OutcomeUnknown => return Err(interaction(InteractionReason::OutcomeUnknown)),
            }
        }
    }

    async fn prepare(&self, call: &dyn AuthorityCall, left: Duration) -> Result<(), CacheError> {
        let limit = self.strategy.limits.request.min(left);
        with_deadline(&*self.clock, limit, call.prepare(limit))
            .await
            .unwrap_or_else(|| Err(CallError::new("the authority's endpoints were not found in time")))
            .map_err(|error| CacheError::Unreachable(Arc::new(error)))
    }

    fn adopt(
        &self,
        sighted: &Sighted,
        request: &TokenRequest,
        options: AcquireOptions,
        reason: RefreshReason,
        began: UnixMillis,
        now: UnixMillis,
    ) -> Option<Acquired> {
        let seconds = now.to_seconds();
        found(sighted, request, |token| {
            options.freshness.adopts(token, &sighted.partition, began, seconds)
                // Refreshing ahead is about a token that serves: only its successor ends the matter.
                && (reason != RefreshReason::RefreshAhead || !self.is_due(token, seconds))
        })
    }

    /// Takes the right to send the candidate's token. `None` when somebody else was faster.
    async fn mark(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        rows: &Partition,
        candidate: Candidate,
    ) -> Result<Option<Spending>, CacheError> {
        let row = rows
            .refresh_tokens
            .iter()
            .find(|row| row.secret.sha256() == candidate.token_hash);
        let Some((secret, home_account_id)) =
            row.map(|row| (row.secret.clone(), row.home_account_id.clone()))
        else {
            return Ok(None);
        };
        let limits = self.strategy.limits;
        let deadline = self.clock.now().saturating_add(limits.spend());
        let held_until = self.clock.monotonic().saturating_add(limits.spend());
        if self.strategy.coalescing != Coalescing::Fleet {
            return Ok(Some(Spending {
                secret,
                home_account_id,
                candidate,
                attempt: None,
                deadline,
                held_until,
                unknown_outcome: options.unknown_outcome,
            }));
        }
        let attempt = random_bytes(&*self.random)?;
        let spending = Spending {
            secret,
            home_account_id,
            candidate: candidate.clone(),
            attempt: Some(attempt),
            deadline,
            held_until,
            unknown_outcome: options.unknown_outcome,
        };
        let marker = SpendMarker {
            token_hash: candidate.token_hash,
            attempt,
            deadline,
            attempts: candidate.attempts,
            outcome_unknown: false,
        };
        let (request_, candidate_, clock) = (Arc::clone(request), candidate, Arc::clone(&self.clock));
        let (won, _) = self
            .commit(request.partition(), Durability::Durable, move |partition| {
                let Some(mut partition) = partition else {
                    return (Verdict::Keep(None), false);
                };
                let now = clock.now();
                if mark(
                    &mut partition,
                    &request_,
                    &candidate_,
                    &marker,
                    options.unknown_outcome,
                    now,
                ) {
                    (Verdict::Store(partition), true)
                } else {
                    (Verdict::Keep(Some(partition)), false)
                }
            })
            .await
            .inspect_err(|_| self.release_later(request, &spending))?;
        if !won {
            return Ok(None);
        }
        // The commit itself may have taken long. Whoever sends now must still be able to store the reply in time.
        if self.clock.now().saturating_add(limits.request) > deadline {
            self.release(request, &spending).await?;
            return Ok(None);
        }
        Ok(Some(spending))
    }

    /// Stores that the time of whoever sent the token is over, before anybody is told so.
    async fn give_up(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        spent: &[[u8; 32]],
    ) -> Result<(), CacheError> {
        let (request_, spent, clock) = (Arc::clone(request), spent.to_vec(), Arc::clone(&self.clock));
        self.commit(request.partition(), Durability::Durable, move |partition| {
            let Some(mut partition) = partition else {
                return (Verdict::Keep(None), ());
            };
            let (policy, now) = (options.unknown_outcome, clock.now());
            if give_up(&mut partition, &request_, &spent, policy, now) {
                (Verdict::Store(partition), ())
            } else {
                (Verdict::Keep(Some(partition)), ())
            }
        })
        .await
        .map(drop)
    }

    async fn spend(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        reason: RefreshReason,
        call: &Arc<dyn AuthorityCall>,
    ) -> Result<Round, CacheError> {
        let limit = self.strategy.limits.request;
        let redemption = Redemption {
            refresh_token: spending.secret.clone(),
            is_family_token: spending.candidate.is_family_token,
            time_limit: limit,
            send_before: spending.held_until.saturating_sub(limit),
        };
        let began = self.clock.monotonic();
        let outcome = with_deadline(&*self.clock, limit, call.redeem(redemption))
            .await
            .unwrap_or_else(|| {
                CallOutcome::OutcomeUnknown(CallError::new(
                    "no reply from the authority within the time limit",
                ))
            });
        let time_in_authority = self.clock.monotonic().saturating_sub(began);
        let label = match &outcome {
            CallOutcome::Granted(_) => "granted",
            CallOutcome::Refused(_) => "refused",
            CallOutcome::NotSent(_) => "not_sent",
            CallOutcome::OutcomeUnknown(_) => "unknown",
        };
        metrics::counter!("tokenkeep_refreshes_total", "outcome" => label).increment(1);
        match outcome {
            CallOutcome::Granted(response) => {
                self.store_reply(request, spending, *response, reason, time_in_authority, call)
                    .await
            }
            CallOutcome::Refused(refusal) => self.store_refusal(request, spending, refusal).await,
            CallOutcome::NotSent(error) => {
                self.release(request, spending).await?;
                Err(CacheError::Unreachable(Arc::new(error)))
            }
            CallOutcome::OutcomeUnknown(error) => {
                self.note_unknown(request, spending).await?;
                Err(CacheError::OutcomeUnknown(Arc::new(error)))
            }
        }
    }
}

fn interaction(reason: InteractionReason) -> CacheError {
    InteractionRequired::new(reason).into()
}

pub(super) fn refused(refusal: Refusal) -> CacheError {
    InteractionRequired {
        claims: refusal.claims.clone(),
        reason: InteractionReason::Refused(refusal),
    }
    .into()
}
