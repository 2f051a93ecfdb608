//! Rows that take the place of others: what counts as the same row, and what of the old one goes on.

use crate::codec::msal as fields;
use crate::schema::{
    AccessToken, Account, AppMetadata, Foreign, IdToken, Partition, ScopeSet, TokenResponse, environment,
};

pub(super) fn write_tokens(partition: &mut Partition, response: &TokenResponse) {
    write_tokens_of(partition, response, "");
}

/// As [`write_tokens`]; where the reply names no account, the access token is that of `owner`.
pub(super) fn write_tokens_of(partition: &mut Partition, response: &TokenResponse, owner: &str) {
    if let Some(mut row) = response.access_token_row() {
        if response.account.is_none() {
            owner.clone_into(&mut row.home_account_id);
        }
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
    let requested = row.requested_scopes().map(ScopeSet::parse);
    partition.access_tokens.retain(|other| !replaced(other));
    row.foreign = foreign;
    if let Some(requested) = requested {
        row.note_requested(&requested);
    }
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

pub(super) fn known_family(partition: &Partition, response: &TokenResponse) -> Option<String> {
    let row = partition.app_metadata.iter().find(|row| {
        row.client_id == response.client_id && environment::same(&row.environment, &response.environment)
    })?;
    row.family_id.clone()
}

pub(super) fn write_app_metadata(
    partition: &mut Partition,
    response: &TokenResponse,
    family_id: Option<String>,
) {
    let metadata = AppMetadata {
        client_id: response.client_id.clone(),
        environment: response.environment.clone(),
        family_id,
        foreign: None,
    };
    put_app_metadata(partition, metadata);
}

pub(super) fn put_app_metadata(partition: &mut Partition, mut row: AppMetadata) {
    let same = |other: &AppMetadata| {
        other.client_id == row.client_id && environment::same(&other.environment, &row.environment)
    };
    let old = partition.app_metadata.iter().find(|other| same(other));
    let foreign = old.and_then(|old| carried(old.foreign.as_deref(), fields::APP_METADATA_FIELDS));
    partition.app_metadata.retain(|other| !same(other));
    row.foreign = foreign;
    partition.app_metadata.push(row);
}

pub(super) fn carried(foreign: Option<&Foreign>, known: &[&str]) -> Option<Box<Foreign>> {
    foreign.and_then(|foreign| foreign.carried_over(known))
}
