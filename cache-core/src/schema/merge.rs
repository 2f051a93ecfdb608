//! How a partition changes: pure functions of the latest rows and one event.
//!
//! Each is applied inside a load–merge–compare-and-swap loop and may run several times for one event, so each gives
//! the same result when it meets its own earlier effect.

use super::{
    AccessToken, Account, AppMetadata, ClientEpoch, Foreign, IdToken, Partition, RefreshToken, Refusal,
    TokenResponse, environment,
};
use crate::codec::msal as fields;
use crate::time::UnixSeconds;

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
    if let Some(row) = refresh_token_row(response, now) {
        replace_lineage(partition, row);
    }
    write_tokens(partition, response);
    write_app_metadata(partition, response, response.family_id.clone());
    sweep_expired(partition, now);
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
}

/// Writes the reply to a refresh over the one row whose token was spent by `attempt`.
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
        let stored =
            |new: &crate::secret::Secret| partition.refresh_tokens.iter().any(|row| row.secret == *new);
        let own_earlier_effect = response.refresh_token.as_ref().is_some_and(stored);
        return if own_earlier_effect {
            Refreshed::Applied
        } else {
            Refreshed::Superseded
        };
    };
    let mut row = partition.refresh_tokens[index].clone();
    row.spending = None;
    row.refusals.clear();
    match (&response.refresh_token, &row.family_id, &response.family_id) {
        // Redeemed for a client outside the family: the reply is that client's own lineage.
        (Some(_), Some(_), None) => {
            partition.refresh_tokens[index] = row;
            if let Some(own) = refresh_token_row(response, now) {
                replace_lineage(partition, own);
            }
        }
        (Some(secret), _, _) => {
            row.secret = secret.clone();
            row.client_id.clone_from(&response.client_id);
            row.family_id = response.family_id.clone();
            row.expires_on = response.refresh_token_expires_on;
            row.last_modification_time = Some(now);
            row.foreign = carried(row.foreign.as_deref(), fields::REFRESH_TOKEN_FIELDS);
            partition.refresh_tokens[index] = row.clone();
            // Equivalent older rows must go: Node and Go would send the first that they meet.
            let mut position = 0;
            partition.refresh_tokens.retain(|other| {
                let keep = position == index || !other.same_lineage(&row);
                position += 1;
                keep
            });
        }
        // The issuer does not rotate: the same token goes on.
        (None, _, _) => partition.refresh_tokens[index] = row,
    }
    write_tokens(partition, response);
    let family = response
        .family_id
        .clone()
        .or_else(|| known_family(partition, response));
    write_app_metadata(partition, response, family);
    sweep_expired(partition, now);
    Refreshed::Applied
}

/// Takes the marker of `attempt` off the row that it spends. `false` when the row is no longer its own.
pub fn release(partition: &mut Partition, spent: &[u8; 32], attempt: &[u8; 16]) -> bool {
    let Some(index) = spent_row(partition, spent, Some(attempt)) else {
        return false;
    };
    partition.refresh_tokens[index].spending = None;
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

/// Which rows a sign-out takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOutScope {
    /// This client's rows. A family's token stays for its other members, but this client no longer uses it.
    Client,
    /// This client's rows and the tokens of its family, which signs out all of its members.
    Family,
}

/// Removes a client's rows; the account goes with the last client's. The caller deletes a partition that is
/// empty afterwards.
pub fn sign_out(partition: &mut Partition, client_id: &str, scope: SignOutScope) {
    let families: Vec<_> = partition
        .app_metadata
        .iter()
        .filter(|row| row.client_id == client_id)
        .filter_map(|row| row.family_id.clone())
        .chain(
            partition
                .refresh_tokens
                .iter()
                .filter(|r| r.client_id == client_id)
                .filter_map(|r| r.family_id.clone()),
        )
        .filter(|family| !family.is_empty())
        .collect();
    let in_family = |row: &RefreshToken| {
        row.family_id
            .as_ref()
            .is_some_and(|family| families.contains(family))
    };
    let environment = partition
        .accounts
        .first()
        .map(|account| account.environment.clone());
    let other_members = partition.epochs.iter().any(|row| row.client_id != client_id)
        || partition
            .access_tokens
            .iter()
            .any(|row| row.client_id != client_id)
        || partition.id_tokens.iter().any(|row| row.client_id != client_id);
    // The last member takes the family's token along: nobody is left who would miss it.
    let scope = if other_members {
        scope
    } else {
        SignOutScope::Family
    };
    partition.refresh_tokens.retain(|row| match scope {
        SignOutScope::Client => row.client_id != client_id || row.family_id.is_some(),
        SignOutScope::Family => row.client_id != client_id && !in_family(row),
    });
    partition.access_tokens.retain(|row| row.client_id != client_id);
    partition.id_tokens.retain(|row| row.client_id != client_id);
    partition.app_metadata.retain(|row| row.client_id != client_id);
    partition.epochs.retain(|row| row.client_id != client_id);
    // A session belongs to one client; links carry it in their key.
    partition.sessions.retain(|link| {
        !matches!(
            super::PartitionKey::from_bytes(&link.key),
            Some(super::PartitionKey::Session { client_id: owner, .. }) if owner == client_id
        )
    });
    let others_remain = !partition.refresh_tokens.is_empty()
        || !partition.access_tokens.is_empty()
        || !partition.id_tokens.is_empty();
    if !others_remain {
        partition.accounts.clear();
    } else if !families.is_empty()
        && let Some(environment) = environment
    {
        not_in_family(partition, client_id, &environment);
    }
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

fn refresh_token_row(response: &TokenResponse, now: UnixSeconds) -> Option<RefreshToken> {
    Some(RefreshToken {
        home_account_id: response.home_account_id().to_owned(),
        environment: response.environment.clone(),
        client_id: response.client_id.clone(),
        family_id: response.family_id.clone(),
        target: None,
        secret: response.refresh_token.clone()?,
        last_modification_time: Some(now),
        expires_on: response.refresh_token_expires_on,
        spending: None,
        refusals: Vec::new(),
        foreign: None,
    })
}

fn replace_lineage(partition: &mut Partition, mut row: RefreshToken) {
    let old = partition
        .refresh_tokens
        .iter()
        .find(|other| other.same_lineage(&row));
    row.foreign = old.and_then(|old| carried(old.foreign.as_deref(), fields::REFRESH_TOKEN_FIELDS));
    partition.refresh_tokens.retain(|other| !other.same_lineage(&row));
    partition.refresh_tokens.push(row);
}

fn write_tokens(partition: &mut Partition, response: &TokenResponse) {
    if let Some(row) = response.access_token_row() {
        write_access_token(partition, row);
    }
    if let Some(account) = &response.account {
        if let Some(secret) = response.id_token.clone() {
            write_id_token(
                partition,
                IdToken {
                    home_account_id: account.home_account_id.clone(),
                    environment: response.environment.clone(),
                    realm: response.realm.clone(),
                    client_id: response.client_id.clone(),
                    secret,
                    foreign: None,
                },
            );
        }
        write_account(partition, account.clone());
    }
}

fn write_access_token(partition: &mut Partition, mut row: AccessToken) {
    let same_scopes = |other: &AccessToken| other.target.normalised() == row.target.normalised();
    let replaced = |other: &AccessToken| {
        other.home_account_id == row.home_account_id
            && environment::same(&other.environment, &row.environment)
            && other.client_id == row.client_id
            && other.realm == row.realm
            && other.token_type == row.token_type
            && other.context == row.context
            && (other.target.overlaps(&row.target) || same_scopes(other))
    };
    let named = partition
        .access_tokens
        .iter()
        .find(|other| replaced(other) && same_scopes(other));
    let foreign = named.and_then(|old| carried(old.foreign.as_deref(), fields::ACCESS_TOKEN_FIELDS));
    partition.access_tokens.retain(|other| !replaced(other));
    row.foreign = foreign;
    partition.access_tokens.push(row);
}

fn write_id_token(partition: &mut Partition, mut row: IdToken) {
    let replaced = |other: &IdToken| {
        other.home_account_id == row.home_account_id
            && environment::same(&other.environment, &row.environment)
            && other.realm == row.realm
            && other.client_id == row.client_id
    };
    let old = partition.id_tokens.iter().find(|other| replaced(other));
    let foreign = old.and_then(|old| carried(old.foreign.as_deref(), fields::ID_TOKEN_FIELDS));
    partition.id_tokens.retain(|other| !replaced(other));
    row.foreign = foreign;
    partition.id_tokens.push(row);
}

fn write_account(partition: &mut Partition, mut row: Account) {
    let same = |other: &Account| {
        other.home_account_id == row.home_account_id
            && environment::same(&other.environment, &row.environment)
    };
    let Some(index) = partition.accounts.iter().position(same) else {
        partition.accounts.push(row);
        return;
    };
    let old = &partition.accounts[index];
    for profile in &old.tenant_profiles {
        if row
            .tenant_profiles
            .iter()
            .all(|new| new.tenant_id != profile.tenant_id)
        {
            row.tenant_profiles.push(profile.clone());
        }
    }
    // A guest's sign-in tells of the guest tenant; the account row stays that of the tenant it was made in.
    if old.realm != row.realm {
        row.realm.clone_from(&old.realm);
        row.local_account_id.clone_from(&old.local_account_id);
        row.username.clone_from(&old.username);
        row.name.clone_from(&old.name);
    }
    row.foreign = carried(old.foreign.as_deref(), fields::ACCOUNT_FIELDS);
    partition.accounts[index] = row;
}

fn known_family(partition: &Partition, response: &TokenResponse) -> Option<String> {
    let row = partition.app_metadata.iter().find(|row| {
        row.client_id == response.client_id && environment::same(&row.environment, &response.environment)
    })?;
    row.family_id.clone()
}

fn write_app_metadata(partition: &mut Partition, response: &TokenResponse, family_id: Option<String>) {
    let metadata = AppMetadata {
        client_id: response.client_id.clone(),
        environment: response.environment.clone(),
        family_id,
        foreign: None,
    };
    put_app_metadata(partition, metadata);
}

fn put_app_metadata(partition: &mut Partition, mut row: AppMetadata) {
    let same = |other: &AppMetadata| {
        other.client_id == row.client_id && environment::same(&other.environment, &row.environment)
    };
    let old = partition.app_metadata.iter().find(|other| same(other));
    let foreign = old.and_then(|old| carried(old.foreign.as_deref(), fields::APP_METADATA_FIELDS));
    partition.app_metadata.retain(|other| !same(other));
    row.foreign = foreign;
    partition.app_metadata.push(row);
}

fn carried(foreign: Option<&Foreign>, known: &[&str]) -> Option<Box<Foreign>> {
    foreign.and_then(|foreign| foreign.carried_over(known))
}
