//! Which partition a row of a cache file belongs to, and back.

use std::collections::{BTreeMap, HashMap};

use super::MsalCache;
use super::row::{self, ISSUER, Row};
use crate::schema::{
    AccessToken, AppMetadata, AuthorityIdentity, AuthorityKind, Partition, PartitionKey, environment,
};
use crate::secret::SecretJson;

/// What a row tells of the authority that it comes from. None of it is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOrigin<'a> {
    /// The host, with or without a port.
    pub environment: &'a str,
    /// MSAL's `authority_type` of the account that the row belongs to.
    pub authority_type: Option<&'a str>,
    /// The exact issuer, from the row itself or its account.
    pub issuer: Option<&'a str>,
}

impl RowOrigin<'_> {
    /// The authority as far as the row alone can tell: ADFS by its type, a generic issuer where one is named,
    /// else Entra. B2C and External ID look like Entra, so a configuration that names such an authority decides
    /// first.
    #[must_use]
    pub fn default_identity(&self) -> AuthorityIdentity {
        let is = |kind: AuthorityKind| {
            self.authority_type
                .is_some_and(|found| found.eq_ignore_ascii_case(kind.msal_authority_type()))
        };
        if is(AuthorityKind::Adfs) {
            return AuthorityIdentity::of_host(AuthorityKind::Adfs, self.environment);
        }
        match self.issuer {
            Some(issuer) if !is(AuthorityKind::Entra) => AuthorityIdentity::of_issuer(issuer),
            _ => AuthorityIdentity::of_host(AuthorityKind::Entra, self.environment),
        }
    }
}

/// Sorts the rows of a cache file into partitions; `identify` decides whose a row is.
///
/// A row with a home account ID goes to that user, on-behalf-of tokens (which keep the hash of their assertion)
/// among them. An access token without one goes to its application and tenant. Application metadata is copied into every
/// partition that has rows of its client and environment. Everything else is in one [`PartitionKey::Residue`].
/// No row is dropped, joined with another or judged by its age.
pub fn into_partitions(
    cache: MsalCache,
    identify: &dyn Fn(&RowOrigin<'_>) -> AuthorityIdentity,
) -> Vec<Partition> {
    let mut sorter = Sorter::new(&cache, identify);
    for mut row in cache.accounts {
        let authority = sorter.identity(&mut row, |row| (&row.home_account_id, &row.environment));
        sorter.user(authority, &row.home_account_id).accounts.push(row);
    }
    for mut row in cache.id_tokens {
        let authority = sorter.identity(&mut row, |row| (&row.home_account_id, &row.environment));
        sorter.user(authority, &row.home_account_id).id_tokens.push(row);
    }
    for mut row in cache.refresh_tokens {
        let authority = sorter.identity(&mut row, |row| (&row.home_account_id, &row.environment));
        sorter
            .user(authority, &row.home_account_id)
            .refresh_tokens
            .push(row);
    }
    for mut row in cache.access_tokens {
        let authority = sorter.identity(&mut row, |row| (&row.home_account_id, &row.environment));
        let partition = if row.home_account_id.is_empty() {
            sorter.partition(app_key(authority, &row))
        } else {
            sorter.user(authority, &row.home_account_id)
        };
        partition.access_tokens.push(row);
    }
    for row in cache.app_metadata {
        sorter.spread(row);
    }
    if !cache.residue.is_empty() {
        sorter.partition(PartitionKey::Residue).residue = cache.residue;
    }
    sorter.partitions.into_values().collect()
}

/// Puts the rows of partitions into one cache file: the inverse of [`into_partitions`].
///
/// Copies of the same application metadata become one row again. Rows of generic issuers say which one. Sign-ins,
/// session links and anchors have no place in a cache file, and neither have the keys of sessions: leave session
/// partitions out unless their tokens shall become ordinary ones of the user.
#[must_use]
pub fn from_partitions(partitions: &[Partition]) -> MsalCache {
    let mut cache = MsalCache::default();
    for partition in partitions {
        let issuer = match &partition.key {
            PartitionKey::User { authority, .. }
            | PartitionKey::App { authority, .. }
            | PartitionKey::Session { authority, .. } => {
                (authority.kind() == AuthorityKind::Oidc).then(|| authority.id())
            }
            PartitionKey::Residue => None,
        };
        cache.accounts.extend(with_issuer(&partition.accounts, issuer));
        cache.id_tokens.extend(with_issuer(&partition.id_tokens, issuer));
        cache
            .access_tokens
            .extend(with_issuer(&partition.access_tokens, issuer));
        cache
            .refresh_tokens
            .extend(with_issuer(&partition.refresh_tokens, issuer));
        for row in with_issuer(&partition.app_metadata, issuer) {
            join_app_metadata(&mut cache.app_metadata, row);
        }
        for (section, rows) in &partition.residue {
            join_residue(cache.residue.entry(section.clone()).or_default(), rows);
        }
    }
    cache
}

struct Sorter<'a> {
    identify: &'a dyn Fn(&RowOrigin<'_>) -> AuthorityIdentity,
    /// Environment, authority type and issuer of the accounts, by home account ID.
    accounts: HashMap<String, Vec<(String, String, Option<String>)>>,
    partitions: BTreeMap<PartitionKey, Partition>,
}

impl<'a> Sorter<'a> {
    fn new(cache: &MsalCache, identify: &'a dyn Fn(&RowOrigin<'_>) -> AuthorityIdentity) -> Self {
        let mut accounts: HashMap<_, Vec<_>> = HashMap::new();
        for row in &cache.accounts {
            accounts.entry(row.home_account_id.clone()).or_default().push((
                row.environment.clone(),
                row.authority_type.clone(),
                row.issuer.clone(),
            ));
        }
        Self {
            identify,
            accounts,
            partitions: BTreeMap::new(),
        }
    }

    /// Whose the row is. From now on the partition says so, and the row need not.
    fn identity<R: Row>(&self, row: &mut R, place: impl Fn(&R) -> (&str, &str)) -> AuthorityIdentity {
        let (home_account_id, environment) = place(row);
        let own = row.issuer();
        let account = self.accounts.get(home_account_id).and_then(|accounts| {
            let same = |account: &&(String, String, Option<String>)| {
                environment::same(&account.0, environment) && (own.is_none() || account.2.as_deref() == own)
            };
            accounts.iter().find(same)
        });
        let authority = (self.identify)(&RowOrigin {
            environment,
            authority_type: account
                .map(|account| account.1.as_str())
                .filter(|authority_type| !authority_type.is_empty()),
            issuer: own.or_else(|| account.and_then(|account| account.2.as_deref())),
        });
        without_issuer(row, &authority);
        authority
    }

    fn partition(&mut self, key: PartitionKey) -> &mut Partition {
        self.partitions
            .entry(key)
            .or_insert_with_key(|key| Partition::new(key.clone()))
    }

    fn user(&mut self, authority: AuthorityIdentity, home_account_id: &str) -> &mut Partition {
        self.partition(PartitionKey::User {
            authority,
            home_account_id: home_account_id.to_owned(),
        })
    }

    fn spread(&mut self, row: AppMetadata) {
        let mut found = false;
        for partition in self.partitions.values_mut() {
            let (PartitionKey::User { authority, .. } | PartitionKey::App { authority, .. }) = &partition.key
            else {
                continue;
            };
            let is_of_issuer = row
                .issuer()
                .is_none_or(|issuer| authority.kind() != AuthorityKind::Oidc || authority.id() == issuer);
            if is_of_issuer && uses(partition, &row) {
                let mut copy = row.clone();
                without_issuer(&mut copy, authority);
                partition.app_metadata.push(copy);
                found = true;
            }
        }
        if !found {
            self.partition(PartitionKey::Residue).app_metadata.push(row);
        }
    }
}

fn app_key(authority: AuthorityIdentity, row: &AccessToken) -> PartitionKey {
    PartitionKey::App {
        client_id: row.client_id.clone(),
        authority,
        tenant: row.realm.clone(),
        resource: None,
        components: row.context.components.clone(),
    }
}

/// Whether the partition has rows of the client and environment.
fn uses(partition: &Partition, metadata: &AppMetadata) -> bool {
    let of = |client_id: &str, environment: &str| {
        client_id == metadata.client_id && environment::same(environment, &metadata.environment)
    };
    partition
        .access_tokens
        .iter()
        .any(|row| of(&row.client_id, &row.environment))
        || partition
            .refresh_tokens
            .iter()
            .any(|row| of(&row.client_id, &row.environment))
        || partition
            .id_tokens
            .iter()
            .any(|row| of(&row.client_id, &row.environment))
}

/// Takes the issuer off a row of a partition that says the same, and notes if the row did not name it.
fn without_issuer<R: Row>(row: &mut R, authority: &AuthorityIdentity) {
    if authority.kind() != AuthorityKind::Oidc {
        return;
    }
    let named = row.issuer().is_some();
    let foreign = row.foreign_mut();
    if !named {
        foreign.get_or_insert_default().absent.push(ISSUER.to_owned());
        return;
    }
    let Some(content) = foreign else { return };
    let fields = content.fields.expose_mut();
    if fields.get(ISSUER).and_then(|value| value.as_str()) == Some(authority.id()) {
        fields.remove(ISSUER);
    }
    if content.is_empty() {
        *foreign = None;
    }
}

/// The inverse of [`without_issuer`].
fn with_issuer<R: Row>(rows: &[R], issuer: Option<&str>) -> impl Iterator<Item = R> {
    rows.iter().cloned().map(move |mut row| {
        let Some(issuer) = issuer.filter(|_| row.issuer().is_none()) else {
            return row;
        };
        let left_out = |foreign: &crate::schema::Foreign| foreign.absent.iter().any(|name| name == ISSUER);
        if !row.foreign().is_some_and(left_out) {
            let foreign = row.foreign_mut().get_or_insert_default();
            foreign
                .fields
                .expose_mut()
                .insert(ISSUER.to_owned(), issuer.into());
        }
        row
    })
}

/// Adds a row unless it is a copy of one that is there; of copies that differ, one that knows a family wins.
fn join_app_metadata(rows: &mut Vec<AppMetadata>, row: AppMetadata) {
    let is_copy = |other: &&mut AppMetadata| {
        other.client_id == row.client_id
            && other.environment == row.environment
            && other.item_key() == row.item_key()
            && other.issuer() == row.issuer()
    };
    let knows = |row: &AppMetadata| row.family_id.as_ref().is_some_and(|family| !family.is_empty());
    match rows.iter_mut().find(is_copy) {
        None => rows.push(row),
        Some(other) if knows(&row) && !knows(other) => *other = row,
        Some(_) => {}
    }
}

/// Adds the rows of one section to another's. A row whose name is taken by another one gets a suffix.
pub(super) fn join_residue(into: &mut SecretJson, rows: &SecretJson) {
    for (name, value) in rows.expose() {
        if !has_row(into, name, value) {
            let into = into.expose_mut();
            into.insert(row::free_name(into, name.clone()), value.clone());
        }
    }
}

/// Whether the row is there, be it under a name with a suffix.
pub(super) fn has_row(rows: &SecretJson, name: &str, value: &serde_json::Value) -> bool {
    let is_name = |other: &str| {
        other
            .strip_prefix(name)
            .is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('~'))
    };
    let mut rows = rows.expose().iter();
    rows.any(|(other, there)| there == value && is_name(other))
}
