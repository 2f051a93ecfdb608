//! Who may send a refresh token: the decision, as pure functions of the latest rows.
//!
//! With rotation a refresh token that is sent twice revokes the session of everybody who shares it, and
//! compare-and-swap protects only our store, not the authority. So the right to send it is itself a row state: a caller
//! that finds no live [`SpendMarker`] on any row of the lineage may write one, and whoever wrote it is the only one to send.

use std::time::Duration;

use crate::schema::{
    AuthorityKind, Partition, RefreshToken, Refusal, SpendMarker, TokenRequest, environment,
};
use crate::time::UnixMillis;

/// The longest time for which a marker may hold. Waiters rely on it when they meet another's.
pub(crate) const LONGEST_SPEND: Duration = Duration::from_secs(600);
/// How far ahead the deadline of a marker is believed.
const FARTHEST_DEADLINE: Duration = Duration::from_secs(3600);

/// What to do with a refresh token that was sent and whose outcome nobody knows.
///
/// It is a property of the issuer: whether a token that it has seen once may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOutcomePolicy {
    /// Send it once more after the first attempt's deadline (Entra, whose old tokens survive their use, and issuers that are
    /// known to accept reuse).
    RetryOnce,
    /// Never send it again; ask the user (issuers that rotate, and those that nobody vouches for).
    AskUser,
}

/// What a caller that needs a refresh should do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Mark this token (by hash) and send it.
    Spend(Candidate),
    /// Somebody is sending a token of this lineage: look again when the row changes, or at this moment.
    Wait(UnixMillis),
    /// There is no refresh token for this client.
    NoRefreshToken,
    /// The authority refused and would refuse again.
    Refused(Refusal),
    /// As [`OutcomeUnknown`](Self::OutcomeUnknown), and the rows do not say so yet: whoever holds the marker may still believe in
    /// it. Nobody may be told before [`give_up`] is stored.
    Overdue,
    /// The token was sent, nobody knows the outcome, and this issuer's token must not be sent again.
    OutcomeUnknown,
}

/// The token to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// SHA-256 of the token.
    pub(crate) token_hash: [u8; 32],
    /// How often it will have been sent without a known outcome if this attempt has none either.
    pub(crate) attempts: u8,
    /// Whether another client of the family obtained it.
    pub(crate) is_family_token: bool,
}

/// Decides for `request` on the latest rows. `spent` lists tokens that this caller sent already and must not send again.
pub(crate) fn decide(
    partition: &Partition,
    request: &TokenRequest,
    spent: &[[u8; 32]],
    policy: UnknownOutcomePolicy,
    now: UnixMillis,
) -> Decision {
    let mut refusal = None;
    let mut outcome_unknown = false;
    let mut overdue = false;
    for row in candidates(partition, request) {
        if let Some(known) = row.refusal(request.hash()) {
            refusal.get_or_insert_with(|| known.clone());
            continue;
        }
        let token_hash = row.secret.sha256();
        if spent.contains(&token_hash) {
            continue;
        }
        if row.expires_on.is_some_and(|expiry| expiry.to_millis() <= now) {
            continue;
        }
        let Some(marker) = latest_marker(partition, row) else {
            return Decision::Spend(Candidate {
                token_hash,
                attempts: 1,
                is_family_token: is_family(row, request),
            });
        };
        if marker.outcome_unknown && is_last_attempt(marker, policy) {
            outcome_unknown = true;
            continue;
        }
        if !is_over(marker, now) {
            return Decision::Wait(marker.deadline);
        }
        if is_last_attempt(marker, policy) {
            overdue = true;
            continue;
        }
        let attempts = marker.attempts.saturating_add(1);
        return Decision::Spend(Candidate {
            token_hash,
            attempts,
            is_family_token: is_family(row, request),
        });
    }
    match refusal {
        _ if overdue => Decision::Overdue,
        _ if outcome_unknown => Decision::OutcomeUnknown,
        Some(refusal) => Decision::Refused(refusal),
        None => Decision::NoRefreshToken,
    }
}

/// Writes the marker if, on these latest rows, the candidate is still the one to send. `false` when it is not.
pub(crate) fn mark(
    partition: &mut Partition,
    request: &TokenRequest,
    candidate: &Candidate,
    marker: &SpendMarker,
    policy: UnknownOutcomePolicy,
    now: UnixMillis,
) -> bool {
    let row = |partition: &mut Partition| {
        partition
            .refresh_tokens
            .iter()
            .position(|row| row.secret.sha256() == candidate.token_hash)
    };
    let Some(index) = row(partition) else { return false };
    // The write may have been applied although its acknowledgement was lost. Not where others have given it up since.
    if partition.refresh_tokens[index]
        .spending
        .as_ref()
        .is_some_and(|known| known.attempt == marker.attempt && !known.outcome_unknown)
    {
        return true;
    }
    match decide(partition, request, &[], policy, now) {
        Decision::Spend(latest) if latest.token_hash == candidate.token_hash => {
            let row = partition.refresh_tokens[index].clone();
            for other in &mut partition.refresh_tokens {
                if are_spent_together(other, &row) {
                    other.spending = None;
                }
            }
            partition.refresh_tokens[index].spending = Some(SpendMarker {
                attempts: latest.attempts,
                ..marker.clone()
            });
            true
        }
        _ => false,
    }
}

/// Records on these latest rows that the time of whoever sent the token is over, if [`decide`] still finds that. `false` when it does not.
///
/// It is a fence. Its holder may have been stopped all the while and wake up with a reply; the user may have been asked by then. With this on
/// its marker it stores nothing any more ([`merge::refreshed`](crate::schema::merge::refreshed)), so what one was told stays true for all.
pub(crate) fn give_up(
    partition: &mut Partition,
    request: &TokenRequest,
    spent: &[[u8; 32]],
    policy: UnknownOutcomePolicy,
    now: UnixMillis,
) -> bool {
    if decide(partition, request, spent, policy, now) != Decision::Overdue {
        return false;
    }
    let rows = candidates(partition, request).into_iter();
    let overdue: Vec<[u8; 16]> = rows
        .filter_map(|row| latest_marker(partition, row))
        .filter(|marker| is_last_attempt(marker, policy) && is_over(marker, now))
        .map(|marker| marker.attempt)
        .collect();
    let markers = partition.refresh_tokens.iter_mut();
    for marker in markers.filter_map(|row| row.spending.as_mut()) {
        marker.outcome_unknown |= overdue.contains(&marker.attempt);
    }
    true
}

/// Until when somebody may be sending a token of the partition; `None` where nobody does.
pub(crate) fn being_spent_until(partition: &Partition, now: UnixMillis) -> Option<UnixMillis> {
    let rows = partition.refresh_tokens.iter();
    rows.filter_map(|row| Some((row, row.spending.as_ref()?)))
        .filter(|(row, marker)| marker.token_hash == row.secret.sha256())
        .filter(|(_, marker)| !marker.outcome_unknown && !is_over(marker, now))
        .map(|(_, marker)| marker.deadline)
        .max()
}

/// The marker that binds whoever wants to send `row`'s token. One that names another token than its row's is of a token that has been
/// replaced since, by a program that does not know markers.
fn latest_marker<'a>(partition: &'a Partition, row: &RefreshToken) -> Option<&'a SpendMarker> {
    let rows = partition.refresh_tokens.iter();
    rows.filter(|other| are_spent_together(other, row))
        .filter_map(|other| Some((other, other.spending.as_ref()?)))
        .filter(|(other, marker)| marker.token_hash == other.secret.sha256())
        .map(|(_, marker)| marker)
        .max_by_key(|marker| marker.deadline)
}

/// Whether sending the token of one row may spend the other's. An imported cache can hold one token in rows of two lineages.
fn are_spent_together(row: &RefreshToken, other: &RefreshToken) -> bool {
    row.same_lineage(other) || row.secret == other.secret
}

/// The rows that the request's client may redeem, in the order in which to try them: its family's, then its own; of
/// equivalent rows only the newest, because an older token of a lineage is never sent.
fn candidates<'a>(partition: &'a Partition, request: &TokenRequest) -> Vec<&'a RefreshToken> {
    let here = |row: &&RefreshToken| environment::same(&row.environment, request.environment());
    let newest = |rows: &mut dyn Iterator<Item = &'a RefreshToken>| {
        rows.filter(here)
            .enumerate()
            .max_by_key(|(position, row)| (row.last_modification_time, *position))
            .map(|r| r.1)
    };
    let metadata = partition.app_metadata.iter().find(|row| {
        row.client_id == request.client_id() && environment::same(&row.environment, request.environment())
    });
    let excluded = metadata.is_some_and(|row| row.family_id.as_deref() == Some(""));
    let family = if excluded {
        None
    } else {
        let known = metadata.and_then(|row| row.family_id.as_deref());
        // Of a client that nothing is known of, only the authority can tell; it is asked once (`client_mismatch`).
        let unknown = metadata.is_none() && request.authority_kind() == AuthorityKind::Entra;
        let mut rows = partition
            .refresh_tokens
            .iter()
            .filter(|row| match (&row.family_id, known) {
                (Some(family), Some(known)) => family == known,
                (Some(_), None) => unknown || row.client_id == request.client_id(),
                (None, _) => false,
            });
        newest(&mut rows)
    };
    let own = newest(
        &mut partition
            .refresh_tokens
            .iter()
            .filter(|row| row.family_id.is_none() && row.client_id == request.client_id()),
    );
    family.into_iter().chain(own).collect()
}

fn is_family(row: &RefreshToken, request: &TokenRequest) -> bool {
    row.family_id.is_some() && row.client_id != request.client_id()
}

fn is_last_attempt(marker: &SpendMarker, policy: UnknownOutcomePolicy) -> bool {
    marker.attempts >= 2 || policy == UnknownOutcomePolicy::AskUser
}

fn is_over(marker: &SpendMarker, now: UnixMillis) -> bool {
    now >= marker.deadline || is_forged(marker, now)
}

/// A deadline far beyond any that limits can give (a clock that was set back, or a forged row) would block a session for long. Not barely
/// beyond: a machine whose clock is behind must not take what another sends at this moment for over.
fn is_forged(marker: &SpendMarker, now: UnixMillis) -> bool {
    marker.deadline > now.saturating_add(FARTHEST_DEADLINE)
}

#[cfg(test)]
mod tests;
