//! What is stored after a refresh token was sent: the tokens, the refusal, or that nobody knows.

use std::sync::Arc;
use std::time::Duration;

use super::acquired::{Acquired, RefreshReason, TokenSource};
use super::authority_call::{AuthorityCall, AuthorityRefusal, RefusedBecause};
use super::commit::Verdict;
use super::refresh::{Round, Spending, refused};
use super::sessions::{keeps_grants, lists_grants};
use super::{CacheError, Inner};
use crate::schema::merge::{self, Refreshed};
use crate::schema::{Partition, PartitionKey, Refusal, SpendMarker, TokenRequest, TokenResponse};
use crate::secret::Secret;
use crate::store::Durability;
use crate::strategy::UnknownOutcomePolicy;
use crate::strategy::spend::Candidate;
use crate::time::with_deadline;

/// Between attempts to store what must not be lost.
const PAUSE: Duration = Duration::from_millis(200);

/// A change to the row whose token has this hash, by this attempt; `false` when the row is no longer its own.
type Change = Arc<dyn Fn(&mut Partition, &[u8; 32], Option<&[u8; 16]>) -> bool + Send + Sync>;

/// What became of a reply.
#[derive(Clone, Copy)]
enum Stored {
    /// It is in the store.
    Applied,
    /// The lineage went on without it. Its refresh token is left alone: where another attempt took over it belongs to the very grant
    /// that lives on, and after a new sign-in it may (providers make one grant of all sign-ins of a browser's session).
    Superseded,
    /// The row is as this attempt left it, and its time is over. `is_dead` says that nobody can go on with the grant, and nobody is
    /// served by it any more.
    Late { is_dead: bool },
    /// The client has no lineage any more: the refresh token is nobody's.
    SignedOut,
}

impl Inner {
    /// Stores the granted tokens before anybody sees them: a token that only the caller has is lost with it.
    pub(super) async fn store_reply(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        response: TokenResponse,
        reason: RefreshReason,
        time_in_authority: Duration,
        call: &Arc<dyn AuthorityCall>,
    ) -> Result<Round, CacheError> {
        let began = self.clock.monotonic();
        let secret = response.access_token.clone().ok_or(CacheError::NoAccessToken);
        // The layer above has checked this; but a wrong user's token is the one thing that a cache must never hand out.
        if let Some(account) = &response.account
            && account.home_account_id != spending.home_account_id
        {
            self.note_unknown(request, spending).await?;
            return Err(CacheError::WrongAccount);
        }
        let (expires_on, requested_at) = (response.expires_on, response.requested_at);
        let response = Arc::new(response);
        let (hash, attempt) = (spending.candidate.token_hash, spending.attempt);
        let (held_until, policy) = (spending.held_until, spending.unknown_outcome);
        let mut failed = None;
        let stored = loop {
            let (response, clock) = (Arc::clone(&response), Arc::clone(&self.clock));
            let result = self
                .commit(request.partition(), Durability::Durable, move |partition| {
                    let Some(mut partition) = partition else {
                        return (Verdict::Keep(None), Stored::SignedOut);
                    };
                    let now = clock.now().to_seconds();
                    // Refused although nobody may have acted on the deadline yet, and storing it would save the session: others are
                    // promised that after it the lineage is theirs to judge, and a promise that holds only for those who looked is
                    // none. Asked in each round, so a store that is merely slow ends the same way as a process that was stopped.
                    let is_late = clock.monotonic() >= held_until
                        && merge::is_marked(&partition, &hash, attempt.as_ref());
                    let refreshed = if is_late {
                        Refreshed::Late
                    } else {
                        merge::refreshed(&mut partition, &hash, attempt.as_ref(), &response, now)
                    };
                    match refreshed {
                        Refreshed::Applied => (Verdict::Store(partition), Stored::Applied),
                        Refreshed::LeftFamily => (Verdict::Store(partition), Stored::Superseded),
                        Refreshed::Late => {
                            let is_dead = policy == UnknownOutcomePolicy::AskUser
                                && !merge::has_live_token(&partition, &response.client_id, now)
                                && !lists_grants(&partition, &response.client_id, None, clock.now());
                            (Verdict::Keep(Some(partition)), Stored::Late { is_dead })
                        }
                        Refreshed::Superseded if merge::has_lineage(&partition, &response.client_id) => {
                            (Verdict::Keep(Some(partition)), Stored::Superseded)
                        }
                        Refreshed::Superseded => (Verdict::Keep(Some(partition)), Stored::SignedOut),
                    }
                })
                .await;
            match result {
                Ok(stored) => break stored,
                // The new refresh token exists nowhere else. Until the deadline nobody may take over, so go on trying.
                Err(error) if self.clock.monotonic() < held_until => {
                    tracing::warn!(error = %error, "storing a refreshed token failed; trying again");
                    failed = Some(error);
                    self.clock.sleep(PAUSE).await;
                }
                Err(error) => return Err(CacheError::NotPersisted(Arc::new(error))),
            }
        };
        if let Stored::Late { is_dead } = stored.0 {
            tracing::warn!(
                "a refreshed token was discarded: it came to be stored after the time for it was over"
            );
            // It is the store that was late. What it once failed to write may still be on its way there, so nothing is revoked.
            if let Some(error) = failed {
                return Err(CacheError::NotPersisted(Arc::new(error)));
            }
            // To revoke it ends its whole grant with many providers: not while others may send the old token again, nor while an access
            // token of it still serves, or a session.
            if let (true, Some(token)) = (is_dead, &response.refresh_token) {
                self.discard(request, spending, Arc::clone(call), token.clone());
            }
            return Ok(Round::Anew);
        }
        let (Stored::Applied, Some(slot)) = stored else {
            // Signed out, signed in anew, or taken over: the tokens are discarded, and the latest rows decide.
            tracing::info!("a refreshed token was discarded: its account was changed meanwhile");
            if let (Stored::SignedOut, Some(token)) = (stored.0, &response.refresh_token) {
                self.discard(request, spending, Arc::clone(call), token.clone());
            }
            return Ok(Round::Anew);
        };
        let secret = secret?;
        let index = slot.partition.position(&secret);
        if expires_on <= self.clock.now().to_seconds() {
            // Of an issuer that gives its tokens no time at all there is nothing better to be had.
            return if expires_on > requested_at {
                Ok(Round::Anew)
            } else {
                Err(CacheError::NoAccessToken)
            };
        }
        let Some(index) = index else {
            // A sign-out or a sign-in that was stored in the same write took it away: the latest rows decide.
            return Ok(Round::Again);
        };
        Ok(Round::Done(Acquired {
            refresh_reason: Some(reason),
            time_in_store: self.clock.monotonic().saturating_sub(began),
            time_in_authority,
            ..Acquired::new(slot.partition, index, TokenSource::Authority)
        }))
    }

    fn discard(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        call: Arc<dyn AuthorityCall>,
        token: Secret,
    ) {
        let (inner, limit) = (Arc::clone(self), self.strategy.limits.request);
        let (request, home_account_id) = (Arc::clone(request), spending.home_account_id.clone());
        self.tasks.spawn(async move {
            if inner.shares_its_grant(request.partition(), home_account_id).await {
                return;
            }
            let discarded = with_deadline(&*inner.clock, limit, call.discard(token, limit));
            if discarded.await.is_none() {
                tracing::warn!("a discarded refresh token was not revoked in time");
            }
        });
    }

    /// Whether the user of a session has other sessions or tokens that live on, which providers may hold for one grant with it.
    async fn shares_its_grant(self: &Arc<Self>, session: &PartitionKey, home_account_id: String) -> bool {
        let PartitionKey::Session {
            client_id, authority, ..
        } = session
        else {
            return false;
        };
        let authority = authority.clone();
        let user = PartitionKey::User {
            authority,
            home_account_id,
        };
        match self.sight_rows_latest(&user).await {
            Ok(Some(rows)) => {
                let (rows, key) = (rows.partition.rows_without_tokens(), session.to_bytes());
                keeps_grants(&rows, client_id, Some(&key), self.clock.now())
            }
            Ok(None) => false,
            // To leave one alone does less harm than to end what lives on.
            Err(_) => true,
        }
    }

    pub(super) async fn store_refusal(
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
                    let (client_id, environment) = (request_.client_id(), request_.environment());
                    merge::refused_by_family(partition, hash, attempt, client_id, environment)
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

    pub(super) async fn release(
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

    pub(super) async fn note_unknown(
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

    /// Takes the marker off in the background, although nobody knows whether it was ever written: the token was certainly not sent.
    pub(super) fn release_later(self: &Arc<Self>, request: &Arc<TokenRequest>, spending: &Spending) {
        self.note_later(
            request,
            spending,
            Arc::new(|partition, hash, attempt| {
                attempt.is_some_and(|attempt| merge::release(partition, hash, attempt))
            }),
        );
    }

    /// Commits a change to the row that is being spent; `false` when it is no longer ours.
    ///
    /// When the store fails it goes on in the background until the marker's deadline: a marker that is left behind costs the user a sign-in.
    async fn note(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        spending: &Spending,
        change: impl Fn(&mut Partition, &[u8; 32], Option<&[u8; 16]>) -> bool + Send + Sync + 'static,
    ) -> Result<bool, CacheError> {
        let change: Change = Arc::new(change);
        let (hash, attempt) = (spending.candidate.token_hash, spending.attempt);
        let noted = self.try_note(request, hash, attempt, Arc::clone(&change)).await;
        noted.inspect_err(|_| self.note_later(request, spending, change))
    }

    fn note_later(self: &Arc<Self>, request: &Arc<TokenRequest>, spending: &Spending, change: Change) {
        let (inner, request, until) = (Arc::clone(self), Arc::clone(request), spending.held_until);
        let (hash, attempt) = (spending.candidate.token_hash, spending.attempt);
        self.tasks.spawn(async move {
            while inner.clock.monotonic() < until {
                let change = Arc::clone(&change);
                match inner.try_note(&request, hash, attempt, change).await {
                    Ok(_) => return,
                    Err(error) => {
                        tracing::warn!(error = %error, "a marker could not be updated; trying again")
                    }
                }
                inner.clock.sleep(PAUSE).await;
            }
        });
    }

    async fn try_note(
        self: &Arc<Self>,
        request: &TokenRequest,
        hash: [u8; 32],
        attempt: Option<[u8; 16]>,
        change: Change,
    ) -> Result<bool, CacheError> {
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
