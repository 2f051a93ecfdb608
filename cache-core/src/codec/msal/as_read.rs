//! What a shared document had when it was read: by it, rows of our own are told from those of others, and the young from the old.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::lenient::refresh_tokens_in_order;
use super::row::Row;
use crate::schema::{AccessToken, IdToken, Partition, PartitionKey, RefreshToken, environment};
use crate::secret::Secret;
use crate::time::UnixSeconds;

const HOME_ACCOUNT_ID: &str = "home_account_id";
const MODIFIED: &str = "last_modification_time";

/// What a document had when it was read.
#[derive(Debug, Default)]
pub(super) struct AsRead {
    /// The names of rows, by section.
    names: HashSet<(&'static str, String)>,
    /// Quick hashes of the tokens: a document is read far more often than it is written.
    tokens: HashSet<u64>,
    /// Hashes of those refresh and ID tokens that we wrote.
    written: HashSet<[u8; 32]>,
    environments: Vec<String>,
    /// The names of the refresh tokens, oldest place first.
    pub(super) order: Vec<String>,
    /// Where the next token of a lineage belongs that has several rows.
    places: Vec<RefreshToken>,
    id_token_places: Vec<IdToken>,
    /// The second rows of tokens that applications have.
    twins: Vec<AccessToken>,
}

impl AsRead {
    /// Takes note of what is in `partitions`, which were just read from `bytes`. From now on the rows of refresh tokens are in the order of
    /// the document, and of a token that an application has in two rows there is one.
    pub(super) fn new(bytes: &[u8], partitions: &mut BTreeMap<PartitionKey, Partition>) -> Self {
        let is_ambiguous = |partition: &Partition| partition.refresh_tokens.len() > 1;
        let order = if partitions.values().any(is_ambiguous) {
            refresh_tokens_in_order(bytes)
        } else {
            Vec::new()
        };
        let mut read = Self {
            order: order.clone(),
            ..Self::default()
        };
        let places: HashMap<_, _> = order.into_iter().zip(0_usize..).collect();
        for partition in partitions.values_mut() {
            read.note(&partition.accounts, |row| &row.environment);
            read.note(&partition.refresh_tokens, |row| &row.environment);
            read.note(&partition.access_tokens, |row| &row.environment);
            read.note(&partition.id_tokens, |row| &row.environment);
            read.note(&partition.app_metadata, |row| &row.environment);
            let access_tokens = partition.access_tokens.iter().map(|row| &row.secret);
            let id_tokens = partition.id_tokens.iter().map(|row| &row.secret);
            let refresh_tokens = partition.refresh_tokens.iter().map(|row| &row.secret);
            let secrets = access_tokens.chain(id_tokens).chain(refresh_tokens);
            read.tokens.extend(secrets.map(quick_hash));
            let place = |row: &RefreshToken| places.get(&row.item_key()).copied().unwrap_or(usize::MAX);
            partition.refresh_tokens.sort_by_key(place);
            date(&mut partition.refresh_tokens);
            if matches!(partition.key, PartitionKey::App { .. }) {
                read.join_twins(&mut partition.access_tokens);
            }
        }
        read
    }

    /// Takes note of which tokens we wrote, and so who else is at work on each.
    pub(super) fn note_written<'a>(
        &mut self,
        written: impl Iterator<Item = [u8; 32]>,
        partitions: impl Iterator<Item = &'a Partition>,
    ) {
        self.written.extend(written);
        for partition in partitions {
            let is_own = |secret: &Secret| self.is_own(secret);
            let refresh_tokens = places(&partition.refresh_tokens, RefreshToken::same_lineage, |row| {
                is_own(&row.secret)
            });
            let id_tokens = places(&partition.id_tokens, is_same_id_token, |row| is_own(&row.secret));
            self.places.extend(refresh_tokens);
            self.id_token_places.extend(id_tokens);
        }
    }

    /// Whether a row of this name was there.
    pub(super) fn has<R: Row>(&self, row: &R) -> bool {
        self.names.contains(&(R::SECTION, row.item_key()))
    }

    /// Whether the token was there.
    pub(super) fn has_token(&self, secret: &Secret) -> bool {
        self.tokens.contains(&quick_hash(secret))
    }

    /// Whether the row is as it was read.
    pub(super) fn has_access_token(&self, row: &AccessToken) -> bool {
        let says_whose = row.foreign.as_ref().is_some_and(|foreign| {
            foreign.fields.expose().contains_key(HOME_ACCOUNT_ID)
                || foreign.absent.iter().any(|name| name == HOME_ACCOUNT_ID)
        });
        self.has_token(&row.secret) && (says_whose || !row.home_account_id.is_empty())
    }

    /// Whether we wrote the token, or are about to.
    pub(super) fn is_own(&self, secret: &Secret) -> bool {
        self.written.contains(&secret.sha256()) || !self.has_token(secret)
    }

    /// Under which of its names the document knows the environment.
    pub(super) fn known_environment(&self, environment: &str) -> Option<&str> {
        let known = self.environments.iter().map(String::as_str);
        known.clone().find(|known| *known == environment).or_else(|| {
            known
                .into_iter()
                .find(|known| environment::same(known, environment))
        })
    }

    /// Where a new refresh token belongs, if the document had several rows of its lineage.
    pub(super) fn place_of(&self, row: &RefreshToken) -> Option<&RefreshToken> {
        self.places.iter().find(|place| place.same_lineage(row))
    }

    /// Where a new ID token belongs, if the document had several rows for it.
    pub(super) fn place_of_id_token(&self, row: &IdToken) -> Option<&IdToken> {
        let mut places = self.id_token_places.iter();
        places.find(|place| is_same_id_token(place, row))
    }

    /// The second rows of those of the application's tokens that are still as they were read.
    pub(super) fn twins_of(&self, partition: &Partition) -> Vec<AccessToken> {
        let is_there = |twin: &&AccessToken| {
            let mut rows = partition.access_tokens.iter();
            rows.any(|row| are_twins(row, twin) && self.has_access_token(row))
        };
        let twins = self.twins.iter().filter(is_there);
        match partition.key {
            PartitionKey::App { .. } => twins.cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn note<R: Row>(&mut self, rows: &[R], environment: impl Fn(&R) -> &String) {
        for row in rows {
            self.names.insert((R::SECTION, row.item_key()));
            let environment = environment(row);
            if !self.environments.contains(environment) {
                self.environments.push(environment.clone());
            }
        }
    }

    fn join_twins(&mut self, rows: &mut Vec<AccessToken>) {
        let mut kept: Vec<AccessToken> = Vec::with_capacity(rows.len());
        for mut row in std::mem::take(rows) {
            if kept.iter().any(|other| are_twins(other, &row)) {
                self.twins.push(row);
                continue;
            }
            let foreign = row.foreign.get_or_insert_default();
            if !foreign.fields.expose().contains_key(HOME_ACCOUNT_ID) {
                foreign.absent.push(HOME_ACCOUNT_ID.to_owned());
            }
            kept.push(row);
        }
        *rows = kept;
    }
}

fn quick_hash(secret: &Secret) -> u64 {
    let mut hasher = DefaultHasher::new();
    secret.expose().hash(&mut hasher);
    hasher.finish()
}

/// Of rows that are `same`, the one whose name and place the next of them gets.
fn places<R: Clone>(rows: &[R], same: impl Fn(&R, &R) -> bool, is_own: impl Fn(&R) -> bool) -> Vec<R> {
    let mut places = Vec::new();
    for (index, first) in rows.iter().enumerate() {
        if rows[..index].iter().any(|row| same(row, first)) {
            continue;
        }
        let Some(last) = rows[index + 1..].iter().rfind(|row| same(row, first)) else {
            continue;
        };
        // One program added a row beside the one that we wrote: it looks there again. If the first row was another's too, two programs
        // have a row each: the one that comes next replaces the first, and the other takes the first that it meets.
        places.push(if is_own(first) { last } else { first }.clone());
    }
    places
}

fn is_same_id_token(row: &IdToken, other: &IdToken) -> bool {
    row.home_account_id == other.home_account_id
        && row.client_id == other.client_id
        && row.realm == other.realm
        && environment::same(&row.environment, &other.environment)
}

/// Whether the two rows are one token, for two programs that look for it in different ways.
fn are_twins(row: &AccessToken, other: &AccessToken) -> bool {
    row.secret == other.secret
        && row.client_id == other.client_id
        && row.realm == other.realm
        && row.token_type == other.token_type
        && row.context == other.context
        && row.target.normalised() == other.target.normalised()
        && environment::same(&row.environment, &other.environment)
}

/// Gives rows without a time that of the rows before them: whoever notes no times added the row behind those that it knew. What is
/// written stays as it was.
fn date(rows: &mut [RefreshToken]) {
    for index in 0..rows.len() {
        let (before, rest) = rows.split_at_mut(index);
        let Some(row) = rest
            .first_mut()
            .filter(|row| row.last_modification_time.is_none())
        else {
            continue;
        };
        let latest: Option<UnixSeconds> = before
            .iter()
            .filter(|other| other.same_lineage(row))
            .filter_map(|other| other.last_modification_time)
            .max();
        if latest.is_some() {
            row.last_modification_time = latest;
            let foreign = row.foreign.get_or_insert_default();
            foreign.absent.push(MODIFIED.to_owned());
        }
    }
}
