//! How a partition changes: pure functions of the latest rows and one event.
//!
//! Each is applied inside a load–merge–compare-and-swap loop and may run several times for one event, so each leaves
//! the same rows when it meets its own earlier effect.

mod doubt;
mod rows;
mod sign_out;

pub(crate) use doubt::{Meanwhile, Met, join_family};
pub use sign_out::{SignOutScope, sign_out};

use rows::{carried, known_family, put_app_metadata, write_app_metadata, write_tokens, write_tokens_of};

use super::{
    AppMetadata, ClientEpoch, Partition, PartitionKey, RefreshToken, Refusal, SpendMarker, TokenResponse,
    environment,
};
use crate::codec::msal as fields;
use crate::time::{UnixMillis, UnixSeconds};

/// Writes the tokens of a new sign-in. Only this adds a refresh token of a new lineage.
///
/// `epoch` becomes the client's sign-in, unless it has one already.
pub fn sign_in(partition: &mut Partition, response: &TokenResponse, epoch: [u8; 16], now: UnixSeconds) {
    if partition
        .epochs
        .iter()
        .all(|known| known.client_id != response.client_id)
    {
        partition.epochs.push(ClientEpoch {
            client_id: response.client_id.clone(),
            epoch,
        });
    }
    let response = &in_known_environment(partition, response);
    if let Some(row) = refresh_token_row(response) {
        // The client may have become a member of a family: what it had outside would be spent beside the new token, and a refresh
        // of it that is under way must find itself superseded.
        partition
            .refresh_tokens
            .retain(|old| old.family_id.is_some() || !is_of_its_client(old, &row));
        replace_lineage(partition, row, now);
    }
    write_tokens(partition, response);
    write_app_metadata(partition, response, response.family_id.clone());
    sweep_expired(partition, now);
}

/// Writes what was granted, and nothing else, into a partition that has nothing yet.
pub(crate) fn write_granted(partition: &mut Partition, response: &TokenResponse) {
    write_tokens(partition, response);
}

/// Gives each client that has tokens of a user and no sign-in yet one of its own: rows that came from another program's
/// cache. `epoch` is asked once for each such client.
pub(crate) fn add_epochs(partition: &mut Partition, epoch: impl Fn(&str) -> [u8; 16]) {
    if !matches!(partition.key, PartitionKey::User { .. }) {
        return;
    }
    let tokens = &partition.access_tokens;
    let mut clients: Vec<_> = tokens.iter().map(|row| row.client_id.clone()).collect();
    clients.extend(partition.id_tokens.iter().map(|row| row.client_id.clone()));
    clients.extend(partition.refresh_tokens.iter().map(|row| row.client_id.clone()));
    clients.sort_unstable();
    clients.dedup();
    for client_id in clients {
        if partition.epochs.iter().all(|known| known.client_id != client_id) {
            let epoch = epoch(&client_id);
            partition.epochs.push(ClientEpoch { client_id, epoch });
        }
    }
}

/// Writes the tokens of an application itself, which come without account and without refresh token.
pub fn app_token(partition: &mut Partition, response: &TokenResponse, now: UnixSeconds) {
    let response = &in_known_environment(partition, response);
    write_tokens(partition, response);
    write_app_metadata(partition, response, None);
    sweep_expired(partition, now);
}

/// Whether the reply to a refresh could be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It was stored, now or by an earlier run of the same merge.
    Applied,
    /// The row that was spent is gone (signed out, signed in anew), or another caller has taken it over since.
    /// Nothing was written, and the tokens must be discarded.
    Superseded,
    /// The client was signed out, and the row that was spent is one that a family's other members keep. Its new refresh token was
    /// written for them; nothing else was, and must be.
    LeftFamily,
    /// The row says that the time of this attempt is over, and somebody was told so: the user may be signing in at this moment. Nothing
    /// was written, and the tokens must be discarded.
    Late,
}

/// Writes the reply to a refresh over the one row whose token was spent by `attempt`. A reply that names no account is for the
/// account of that row.
///
/// `attempt` is `None` where no marker was written because only this process uses the cache.
pub fn refreshed(
    partition: &mut Partition,
    spent: &[u8; 32],
    attempt: Option<&[u8; 16]>,
    response: &TokenResponse,
    now: UnixSeconds,
) -> Refreshed {
    let response = &in_known_environment(partition, response);
    let Some(index) = spent_row(partition, spent, attempt) else {
        let refresh_token = response.refresh_token.as_ref();
        let access_token = response.access_token.as_ref();
        // A reply without a refresh token, from an issuer that does not rotate, is known by its access token.
        let own_earlier_effect = match refresh_token {
            Some(new) => partition.refresh_tokens.iter().any(|row| row.secret == *new),
            None => partition
                .access_tokens
                .iter()
                .any(|row| access_token == Some(&row.secret)),
        };
        return if own_earlier_effect {
            Refreshed::Applied
        } else {
            Refreshed::Superseded
        };
    };
    let old = partition.refresh_tokens[index].clone();
    // Its owner never calls here after it has reported that itself: others did, whose decision stands.
    if attempt.is_some() && old.spending.as_ref().is_some_and(|marker| marker.outcome_unknown) {
        return Refreshed::Late;
    }
    let mut row = old.clone();
    row.spending = None;
    row.refusals.clear();
    // A sign-out leaves a family its token, so the row alone does not tell that this client was signed out while it was sent.
    let has_left = old.family_id.is_some() && known_family(partition, response).as_deref() == Some("");
    match (&response.refresh_token, &row.family_id, &response.family_id) {
        (Some(_), Some(_), None) if has_left => partition.refresh_tokens[index] = row,
        // Redeemed for a client outside the family: the reply is that client's own lineage.
        (Some(_), Some(_), None) => {
            partition.refresh_tokens[index] = row;
            if let Some(mut own) = refresh_token_row(response) {
                own.home_account_id.clone_from(&old.home_account_id);
                replace_lineage(partition, own, now);
            }
        }
        (Some(secret), _, _) => {
            row.secret = secret.clone();
            if !has_left {
                row.client_id.clone_from(&response.client_id);
            }
            row.family_id = response.family_id.clone();
            row.expires_on = response.refresh_token_expires_on;
            row.last_modification_time = Some(now);
            row.foreign = carried(row.foreign.as_deref(), fields::REFRESH_TOKEN_FIELDS);
            partition.refresh_tokens[index] = row.clone();
            // Equivalent older rows must go: Node and Go would send the first that they meet. So must copies of the spent token
            // in whatever row, and those beside the row before it became its family's.
            let mut position = 0;
            partition.refresh_tokens.retain(|other| {
                let is_spent = || other.secret.sha256() == *spent;
                let keep = position == index
                    || !(other.same_lineage(&row) || other.same_lineage(&old) || is_spent());
                position += 1;
                keep
            });
        }
        // The issuer does not rotate: the same token goes on.
        (None, _, _) => partition.refresh_tokens[index] = row,
    }
    if has_left {
        return Refreshed::LeftFamily;
    }
    write_tokens_of(partition, response, &old.home_account_id);
    let family = response
        .family_id
        .clone()
        .or_else(|| known_family(partition, response));
    write_app_metadata(partition, response, family);
    sweep_expired(partition, now);
    Refreshed::Applied
}

/// Whether the row whose token was spent still bears the marker of `attempt`.
pub(crate) fn is_marked(partition: &Partition, spent: &[u8; 32], attempt: Option<&[u8; 16]>) -> bool {
    attempt.is_some() && spent_row(partition, spent, attempt).is_some()
}

/// Whether an access token of `client_id` here can still serve somebody.
pub(crate) fn has_live_token(partition: &Partition, client_id: &str, now: UnixSeconds) -> bool {
    let mut tokens = partition.access_tokens.iter();
    tokens.any(|row| row.client_id == client_id && row.expires_on > now)
}

/// Whether `client_id` still has a refresh token here, be it its own or one of a family's.
pub(crate) fn has_lineage(partition: &Partition, client_id: &str) -> bool {
    let mut rows = partition.refresh_tokens.iter();
    rows.any(|row| row.client_id == client_id || row.family_id.is_some())
}

/// Takes the marker of `attempt`, which did not send the token, off the row that it spends. `false` when the row is no longer its
/// own. Of an earlier attempt whose outcome is not known the marker stays, or the token would be sent once too often.
pub fn release(partition: &mut Partition, spent: &[u8; 32], attempt: &[u8; 16]) -> bool {
    let Some(index) = spent_row(partition, spent, Some(attempt)) else {
        return false;
    };
    let row = &mut partition.refresh_tokens[index];
    row.spending = row.spending.take().and_then(|marker| {
        let earlier = marker.attempts.checked_sub(1).filter(|earlier| *earlier > 0)?;
        Some(SpendMarker {
            attempt: [0; 16],
            attempts: earlier,
            deadline: UnixMillis(0),
            outcome_unknown: true,
            ..marker
        })
    });
    true
}

/// Notes that `attempt` does not know what became of the token. `false` when the row is no longer its own.
pub fn outcome_unknown(partition: &mut Partition, spent: &[u8; 32], attempt: &[u8; 16]) -> bool {
    let Some(index) = spent_row(partition, spent, Some(attempt)) else {
        return false;
    };
    if let Some(marker) = &mut partition.refresh_tokens[index].spending {
        marker.outcome_unknown = true;
    }
    true
}

/// Notes a refusal on the row that was spent and takes the marker off. `false` when the row is no longer its own.
pub fn refused(
    partition: &mut Partition,
    spent: &[u8; 32],
    attempt: Option<&[u8; 16]>,
    refusal: Refusal,
) -> bool {
    let Some(index) = spent_row(partition, spent, attempt) else {
        return false;
    };
    let row = &mut partition.refresh_tokens[index];
    row.spending = None;
    row.refusals.retain(|known| known.request != refusal.request);
    row.refusals.push(refusal);
    let surplus = row.refusals.len().saturating_sub(RefreshToken::MAX_REFUSALS);
    row.refusals.drain(..surplus);
    true
}

/// Notes that `client_id` does not belong to a family, so that it never again sends a family token.
pub fn not_in_family(partition: &mut Partition, client_id: &str, environment: &str) {
    let metadata = AppMetadata {
        client_id: client_id.to_owned(),
        environment: environment.to_owned(),
        family_id: Some(String::new()),
        foreign: None,
    };
    put_app_metadata(partition, metadata);
}

/// Notes that a family's token was refused to `client_id` because it is no member, and takes the marker of `attempt` off. `false`, and
/// nothing is noted, when the row is no longer its own: a sign-in that took its place knows better.
pub(crate) fn refused_by_family(
    partition: &mut Partition,
    spent: &[u8; 32],
    attempt: Option<&[u8; 16]>,
    client_id: &str,
    environment: &str,
) -> bool {
    if spent_row(partition, spent, attempt).is_none() {
        return false;
    }
    not_in_family(partition, client_id, environment);
    attempt.is_none_or(|attempt| release(partition, spent, attempt))
}

/// Removes access tokens that can serve nobody any more, not even in an outage.
pub fn sweep_expired(partition: &mut Partition, now: UnixSeconds) {
    partition
        .access_tokens
        .retain(|row| row.expires_on.max(row.extended_expires_on.unwrap_or_default()) > now);
}

fn spent_row(partition: &Partition, spent: &[u8; 32], attempt: Option<&[u8; 16]>) -> Option<usize> {
    partition.refresh_tokens.iter().position(|row| {
        row.secret.sha256() == *spent
            && attempt.is_none_or(|attempt| {
                row.spending
                    .as_ref()
                    .is_some_and(|marker| marker.attempt == *attempt)
            })
    })
}

/// The reply with the environment under which the partition's rows are already known, so that MSAL programs
/// that look up by their own name for the cloud still find the new rows.
fn in_known_environment(partition: &Partition, response: &TokenResponse) -> TokenResponse {
    let mut known = partition
        .accounts
        .iter()
        .map(|row| &row.environment)
        .chain(partition.refresh_tokens.iter().map(|row| &row.environment))
        .chain(partition.access_tokens.iter().map(|row| &row.environment));
    let mut response = response.clone();
    if let Some(environment) = known.find(|known| environment::same(known, &response.environment)) {
        response.environment.clone_from(environment);
        if let Some(account) = &mut response.account {
            account.environment.clone_from(environment);
        }
    }
    response
}

fn refresh_token_row(response: &TokenResponse) -> Option<RefreshToken> {
    Some(RefreshToken {
        home_account_id: response.home_account_id().to_owned(),
        environment: response.environment.clone(),
        client_id: response.client_id.clone(),
        family_id: response.family_id.clone(),
        target: None,
        secret: response.refresh_token.clone()?,
        last_modification_time: None,
        expires_on: response.refresh_token_expires_on,
        spending: None,
        refusals: Vec::new(),
        foreign: None,
    })
}

/// Whether both are one client's, for one account, be it in a family or outside.
fn is_of_its_client(other: &RefreshToken, row: &RefreshToken) -> bool {
    other.client_id == row.client_id
        && other.home_account_id == row.home_account_id
        && environment::same(&other.environment, &row.environment)
}

fn replace_lineage(partition: &mut Partition, mut row: RefreshToken, now: UnixSeconds) {
    row.last_modification_time = Some(now);
    let old = partition
        .refresh_tokens
        .iter()
        .find(|other| other.same_lineage(&row));
    row.foreign = old.and_then(|old| carried(old.foreign.as_deref(), fields::REFRESH_TOKEN_FIELDS));
    partition.refresh_tokens.retain(|other| !other.same_lineage(&row));
    partition.refresh_tokens.push(row);
}

#[cfg(test)]
mod tests;
