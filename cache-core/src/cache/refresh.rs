//! Spending a refresh token: the shell around the decisions of [`strategy::spend`](crate::strategy).
//!
//! Every round reads the latest rows, adopts a token that somebody else obtained meanwhile, and otherwise does what
//! [`decide`] says. The order of durable writes is the whole point: marker, request, reply.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::found;
use super::acquired::{AcquireOptions, Acquired, RefreshReason, TokenSource};
use super::authority_call::{
    AuthorityCall, AuthorityRefusal, CallError, CallOutcome, Redemption, RefusedBecause,
};
use super::changes::Waiter;
use super::commit::Verdict;
use super::find::Sighted;
use super::{CacheError, Inner, InteractionReason, InteractionRequired};
use crate::random::random_bytes;
use crate::schema::merge::{self, Refreshed};
use crate::schema::{Partition, Refusal, SpendMarker, TokenRequest, TokenResponse};
use crate::secret::Secret;
use crate::store::Durability;
use crate::strategy::Coalescing;
use crate::strategy::spend::{Candidate, Decision, decide, mark};
use crate::time::{UnixMillis, with_deadline};

/// How many different tokens one call may send: the family's, its own, and the successor of one that was refused.
const MAX_SPENT: usize = 3;

/// The right to send one token.
struct Spending {
    secret: Secret,
    candidate: Candidate,
    /// `None` where no other process can see the cache and no marker was written.
    attempt: Option<[u8; 16]>,
    deadline: UnixMillis,
}

/// What a round led to.
enum Round {
    Done(Acquired),
    Again,
}

impl Inner {
    /// Obtains a token by a refresh, or adopts one that somebody else obtains meanwhile.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        reason: RefreshReason,
        call: &dyn AuthorityCall,
    ) -> Result<Acquired, CacheError> {
        let began = self.clock.now();
        let give_up = began.saturating_add(self.strategy.limits.acquire);
        let _alone = match self.strategy.coalescing {
            Coalescing::Process => Some(
                self.lineage_locks
                    .lock(self.stored_key(request.partition()))
                    .await,
            ),
            Coalescing::None | Coalescing::Fleet => None,
        };
        let mut spent = Vec::new();
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
            let rows = sighted.partition.partition();
            match decide(rows, request, &spent, options.unknown_outcome, now) {
                Decision::Spend(candidate) => {
                    let Some(spending) = self.mark(request, options, rows, candidate).await? else {
                        continue;
                    };
                    if spent.len() >= MAX_SPENT {
                        self.release(request, &spending).await?;
                        return Err(interaction(InteractionReason::NoRefreshToken));
                    }
                    spent.push(spending.candidate.token_hash);
                    match self.spend(request, &spending, reason, call).await? {
                        Round::Done(acquired) => return Ok(acquired),
                        Round::Again => {}
                    }
                }
                Decision::Wait(until) => {
                    if now >= give_up {
                        return Err(CacheError::TimedOut);
                    }
                    waiter.wait(until.min(give_up)).await?;
                }
                Decision::NoRefreshToken => return Err(interaction(InteractionReason::NoRefreshToken)),
                Decision::Refused(refusal) => return Err(refused(refusal)),
                Decision::OutcomeUnknown => return Err(interaction(InteractionReason::OutcomeUnknown)),
            }
        }
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
            options.freshness.adopts(token, began, seconds)
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
        let Some(secret) = row.map(|row| row.secret.clone()) else {
            return Ok(None);
        };
        let limits = self.strategy.limits;
        let deadline = self.clock.now().saturating_add(limits.spend());
        if self.strategy.coalescing != Coalescing::Fleet {
            return Ok(Some(Spending {
                secret,
                candidate,
                attempt: None,
                deadline,
            }));
        }
        let attempt = random_bytes(&*self.random)?;
        let marker = SpendMarker {
            token_hash: candidate.token_hash,
            attempt,
            deadline,
            attempts: candidate.attempts,
            outcome_unknown: false,
        };
        let (request_, candidate_, clock) = (Arc::clone(request), candidate.clone(), Arc::clone(&self.clock));
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
            .await?;
        if !won {
            return Ok(None);
        }
        let spending = Spending {
            secret,
            candidate,
            attempt: Some(attempt),
            deadline,
        };
        // The commit itself may have taken long. Whoever sends now must still be able to store the reply in time.
        if self.clock.now().saturating_add(limits.request) > deadline {
            self.release(request, &spending).await?;
            return Ok(None);
        }
        Ok(Some(spending))
    }

    async fn spend(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        reason: RefreshReason,
        call: &dyn AuthorityCall,
    ) -> Result<Round, CacheError> {
        let limit = self.strategy.limits.request;
        let redemption = Redemption {
            refresh_token: spending.secret.clone(),
            is_family_token: spending.candidate.is_family_token,
            time_limit: limit,
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
                self.store_reply(request, spending, *response, reason, time_in_authority)
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

    /// Stores the granted tokens before anybody sees them: a token that only the caller has is lost with it.
    async fn store_reply(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        response: TokenResponse,
        reason: RefreshReason,
        time_in_authority: Duration,
    ) -> Result<Round, CacheError> {
        let began = self.clock.monotonic();
        let secret = response.access_token.clone().ok_or(CacheError::NoAccessToken);
        let response = Arc::new(response);
        let (hash, attempt) = (spending.candidate.token_hash, spending.attempt);
        let stored = loop {
            let (response, clock) = (Arc::clone(&response), Arc::clone(&self.clock));
            let result = self
                .commit(request.partition(), Durability::Durable, move |partition| {
                    let Some(mut partition) = partition else {
                        return (Verdict::Keep(None), Refreshed::Superseded);
                    };
                    let now = clock.now().to_seconds();
                    match merge::refreshed(&mut partition, &hash, attempt.as_ref(), &response, now) {
                        Refreshed::Applied => (Verdict::Store(partition), Refreshed::Applied),
                        Refreshed::Superseded => (Verdict::Keep(Some(partition)), Refreshed::Superseded),
                    }
                })
                .await;
            match result {
                Ok(stored) => break stored,
                // The new refresh token exists nowhere else. Until the deadline nobody may take over, so go on trying.
                Err(error) if self.clock.now() < spending.deadline => {
                    tracing::warn!(error = %error, "storing a refreshed token failed; trying again");
                    self.clock.sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(CacheError::NotPersisted(Arc::new(error))),
            }
        };
        let (Refreshed::Applied, Some(slot)) = stored else {
            // Signed out, signed in anew, or taken over: the tokens are discarded, and the latest rows decide.
            tracing::info!("a refreshed token was discarded: its account was changed meanwhile");
            return Ok(Round::Again);
        };
        let secret = secret?;
        let tokens = &slot.partition.partition().access_tokens;
        let index = tokens
            .iter()
            .position(|row| row.secret == secret)
            .ok_or(CacheError::NoAccessToken)?;
        Ok(Round::Done(Acquired {
            index,
            partition: slot.partition,
            source: TokenSource::Authority,
            refresh_reason: Some(reason),
            time_in_store: self.clock.monotonic().saturating_sub(began),
            time_in_authority,
        }))
    }

    async fn store_refusal(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        refusal: AuthorityRefusal,
    ) -> Result<Round, CacheError> {
        let remembered = match refusal.about {
            RefusedBecause::Token => None,
            RefusedBecause::Interaction => Some(*request.hash()),
            RefusedBecause::NotInFamily => {
                let request_ = Arc::clone(request);
                self.note(request, spending, move |partition, hash, attempt| {
                    merge::not_in_family(partition, request_.client_id(), request_.environment());
                    attempt.is_none_or(|attempt| merge::release(partition, hash, attempt))
                })
                .await?;
                return Ok(Round::Again);
            }
            RefusedBecause::Throttled(_) | RefusedBecause::Caller => {
                self.release(request, spending).await?;
                return Err(CacheError::Refused(Box::new(refusal)));
            }
        };
        let row = Refusal {
            request: remembered,
            error: refusal.error,
            suberror: refusal.suberror,
            claims: refusal.claims,
            refused_at: self.clock.now().to_seconds(),
        };
        let noted = row.clone();
        let own = self
            .note(request, spending, move |partition, hash, attempt| {
                merge::refused(partition, hash, attempt, noted.clone())
            })
            .await?;
        // Read again before giving up: a successor may have been stored meanwhile, by a new sign-in for example.
        if own && remembered.is_some() {
            Err(refused(row))
        } else {
            Ok(Round::Again)
        }
    }

    async fn release(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
    ) -> Result<(), CacheError> {
        self.note(request, spending, |partition, hash, attempt| {
            attempt.is_some_and(|attempt| merge::release(partition, hash, attempt))
        })
        .await
        .map(drop)
    }

    async fn note_unknown(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
    ) -> Result<(), CacheError> {
        let Candidate {
            token_hash, attempts, ..
        } = spending.candidate;
        let deadline = spending.deadline;
        self.note(request, spending, move |partition, hash, attempt| match attempt {
            Some(attempt) => merge::outcome_unknown(partition, hash, attempt),
            // Without a marker of ours one must be left behind now, or the next caller would send the token again.
            None => partition
                .refresh_tokens
                .iter_mut()
                .find(|row| row.secret.sha256() == *hash)
                .is_some_and(|row| {
                    row.spending = Some(SpendMarker {
                        token_hash,
                        attempt: [0; 16],
                        deadline,
                        attempts,
                        outcome_unknown: true,
                    });
                    true
                }),
        })
        .await
        .map(drop)
    }

    /// Commits a change to the row that is being spent; `false` when it is no longer ours.
    async fn note(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        change: impl Fn(&mut Partition, &[u8; 32], Option<&[u8; 16]>) -> bool + Send + 'static,
    ) -> Result<bool, CacheError> {
        let (hash, attempt) = (spending.candidate.token_hash, spending.attempt);
        let (own, _) = self
            .commit(request.partition(), Durability::Durable, move |partition| {
                let Some(mut partition) = partition else {
                    return (Verdict::Keep(None), false);
                };
                let before = partition.clone();
                let own = change(&mut partition, &hash, attempt.as_ref());
                if partition == before {
                    (Verdict::Keep(Some(partition)), own)
                } else {
                    (Verdict::Store(partition), own)
                }
            })
            .await?;
        Ok(own)
    }
}

fn interaction(reason: InteractionReason) -> CacheError {
    InteractionRequired::new(reason).into()
}

fn refused(refusal: Refusal) -> CacheError {
    InteractionRequired {
        claims: refusal.claims.clone(),
        reason: InteractionReason::Refused(refusal),
    }
    .into()
}
