//! Bringing imported rows into a partition that is already there.

use super::grouping::{has_row, join_residue};
use super::row::Row;
use super::{
    ACCESS_TOKEN_FIELDS, ACCOUNT_FIELDS, APP_METADATA_FIELDS, ID_TOKEN_FIELDS, REFRESH_TOKEN_FIELDS,
};
use crate::schema::{AccessToken, Account, AppMetadata, IdToken, Partition, RefreshToken};
use crate::secret::SecretJson;

/// Adds the rows of `imported` to `existing`, a partition of the same key.
///
/// An imported row takes the place of the row of the same name, or of the one with the same identity and token,
/// unless that one is newer: by its time of modification or caching, where a row without one is older than any with.
/// Fields of unknown meaning of the replaced row stay. If the refresh token is the same, so do its spend marker and
/// refusals: they are the fleet's, and a file cannot know them. Nothing else is removed or joined; importing
/// twice is importing once. Sign-ins, sessions and the anchor of `existing` stay as they are.
pub fn merge_import(existing: &mut Partition, imported: Partition) {
    merge(&mut existing.accounts, imported.accounts);
    merge(&mut existing.id_tokens, imported.id_tokens);
    merge(&mut existing.access_tokens, imported.access_tokens);
    merge(&mut existing.refresh_tokens, imported.refresh_tokens);
    merge(&mut existing.app_metadata, imported.app_metadata);
    for (section, mut rows) in imported.residue {
        let into = existing.residue.entry(section).or_default().expose_mut();
        into.extend(std::mem::take(rows.expose_mut()));
    }
}

/// Adds what nobody understands in `other` to `existing`, of which nothing is replaced or lost.
pub(crate) fn merge_residue(existing: &mut Partition, other: &Partition) {
    for (section, rows) in &other.residue {
        join_residue(existing.residue.entry(section.clone()).or_default(), rows);
    }
    for row in &other.app_metadata {
        if !existing.app_metadata.contains(row) {
            existing.app_metadata.push(row.clone());
        }
    }
}

/// Whether `held` has all that [`merge_residue`] would add.
pub(crate) fn has_residue(held: &Partition, other: &Partition) -> bool {
    let has_section = |(section, rows): (&String, &SecretJson)| {
        let held = held.residue.get(section);
        let mut rows = rows.expose().iter();
        rows.all(|(name, value)| held.is_some_and(|held| has_row(held, name, value)))
    };
    other.residue.iter().all(has_section)
        && other
            .app_metadata
            .iter()
            .all(|row| held.app_metadata.contains(row))
}

/// What decides whether one row may take the place of another.
trait Replace: Row {
    const KNOWN: &'static [&'static str];

    /// Whether the two rows are the same credential, whatever they are called.
    fn is_same(&self, other: &Self) -> bool;

    /// Whether two rows of one name are for the same requests.
    fn is_alike(&self, _other: &Self) -> bool {
        true
    }

    fn is_older_than(&self, _other: &Self) -> bool {
        false
    }

    /// Takes over what only `replaced` knows.
    fn inherit(&mut self, _replaced: &mut Self) {}
}

impl Replace for Account {
    const KNOWN: &'static [&'static str] = ACCOUNT_FIELDS;

    fn is_same(&self, other: &Self) -> bool {
        self.home_account_id == other.home_account_id
            && self.environment == other.environment
            && self.realm == other.realm
    }
}

impl Replace for IdToken {
    const KNOWN: &'static [&'static str] = ID_TOKEN_FIELDS;

    fn is_same(&self, other: &Self) -> bool {
        self.home_account_id == other.home_account_id
            && self.environment == other.environment
            && self.realm == other.realm
            && self.client_id == other.client_id
            && self.secret == other.secret
    }
}

impl Replace for AccessToken {
    const KNOWN: &'static [&'static str] = ACCESS_TOKEN_FIELDS;

    fn is_same(&self, other: &Self) -> bool {
        self.home_account_id == other.home_account_id
            && self.environment == other.environment
            && self.realm == other.realm
            && self.client_id == other.client_id
            && self.target.is_same_set(&other.target, false)
            && self.is_alike(other)
            && self.secret == other.secret
    }

    fn is_alike(&self, other: &Self) -> bool {
        self.token_type == other.token_type && self.context == other.context
    }

    fn is_older_than(&self, other: &Self) -> bool {
        (self.cached_at, self.expires_on) < (other.cached_at, other.expires_on)
    }
}

impl Replace for RefreshToken {
    const KNOWN: &'static [&'static str] = REFRESH_TOKEN_FIELDS;

    fn is_same(&self, other: &Self) -> bool {
        self.home_account_id == other.home_account_id
            && self.environment == other.environment
            && self.client_id == other.client_id
            && self.family_id == other.family_id
            && self.secret == other.secret
    }

    fn is_older_than(&self, other: &Self) -> bool {
        self.last_modification_time < other.last_modification_time
    }

    fn inherit(&mut self, replaced: &mut Self) {
        if self.secret == replaced.secret {
            self.spending = replaced.spending.take();
            self.refusals = std::mem::take(&mut replaced.refusals);
        }
    }
}

impl Replace for AppMetadata {
    const KNOWN: &'static [&'static str] = APP_METADATA_FIELDS;

    fn is_same(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.environment == other.environment
    }

    fn inherit(&mut self, replaced: &mut Self) {
        // A row without a family says less than what the authority told us.
        if self.family_id.is_none() {
            self.family_id = replaced.family_id.take();
        }
    }
}

fn merge<R: Replace>(existing: &mut Vec<R>, imported: Vec<R>) {
    let names: Vec<_> = existing.iter().map(Row::item_key).collect();
    let mut taken = vec![false; existing.len()];
    let mut find = |matches: &dyn Fn(usize) -> bool| {
        let found = (0..taken.len()).find(|index| !taken[*index] && matches(*index))?;
        taken[found] = true;
        Some(found)
    };
    // Names first: two imported rows with one token between them stay two rows however often they are imported.
    let places: Vec<_> = imported
        .iter()
        .map(|row| {
            let name = row.item_key();
            find(&|index| names[index] == name && existing[index].is_alike(row))
        })
        .collect();
    let places: Vec<_> = places
        .into_iter()
        .zip(&imported)
        .map(|(place, row)| place.or_else(|| find(&|index| existing[index].is_same(row))))
        .collect();
    for (place, mut row) in places.into_iter().zip(imported) {
        let Some(index) = place else {
            existing.push(row);
            continue;
        };
        let replaced = &mut existing[index];
        if row.is_older_than(replaced) {
            continue;
        }
        row.inherit(replaced);
        keep_unknown_fields(&mut row, replaced);
        *replaced = row;
    }
}

fn keep_unknown_fields<R: Replace>(row: &mut R, replaced: &R) {
    let Some(kept) = replaced
        .foreign()
        .and_then(|foreign| foreign.carried_over(R::KNOWN))
    else {
        return;
    };
    if kept.fields.is_empty() {
        return;
    }
    let foreign = row.foreign_mut().get_or_insert_default();
    for (name, value) in kept.fields.expose() {
        foreign
            .fields
            .expose_mut()
            .entry(name)
            .or_insert_with(|| value.clone());
    }
}
