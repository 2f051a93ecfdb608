//! What a sign-out removes.

use super::not_in_family;
use crate::schema::{Partition, PartitionKey, RefreshToken};

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
    // What stays of the family is no longer this client's.
    let members = &partition.app_metadata;
    for row in &mut partition.refresh_tokens {
        let heir = members
            .iter()
            .find(|member| member.client_id != client_id && member.family_id == row.family_id);
        if let (true, Some(heir)) = (row.client_id == client_id, heir) {
            row.client_id.clone_from(&heir.client_id);
        }
    }
    partition.access_tokens.retain(|row| row.client_id != client_id);
    partition.id_tokens.retain(|row| row.client_id != client_id);
    partition.app_metadata.retain(|row| row.client_id != client_id);
    partition.epochs.retain(|row| row.client_id != client_id);
    // A session belongs to one client; links carry it in their key.
    partition.sessions.retain(|link| {
        !matches!(
            PartitionKey::from_bytes(&link.key),
            Some(PartitionKey::Session { client_id: owner, .. }) if owner == client_id
        )
    });
    let others_remain = !partition.refresh_tokens.is_empty()
        || !partition.access_tokens.is_empty()
        || !partition.id_tokens.is_empty();
    if !others_remain {
        partition.accounts.clear();
        return;
    }
    let family = partition
        .refresh_tokens
        .iter()
        .find(|row| row.family_id.is_some());
    if let Some(environment) = family.map(|row| row.environment.clone()) {
        // Or the next silent request would be served by the family's token, and undo the sign-out.
        not_in_family(partition, client_id, &environment);
    }
}
