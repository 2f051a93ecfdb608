//! A whole MSAL cache file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::field::{Form, Problem};
use super::row::{self, Row};
use super::{lenient, malformed};
use crate::codec::CodecError;
use crate::codec::buffer::SecretBuffer;
use crate::schema::{AccessToken, Account, AppMetadata, IdToken, RefreshToken};
use crate::secret::{SecretBytes, SecretJson};
use crate::time::UnixSeconds;

/// The rows of an MSAL cache file, of any number of users, clients and clouds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MsalCache {
    /// Accounts.
    pub accounts: Vec<Account>,
    /// ID tokens.
    pub id_tokens: Vec<IdToken>,
    /// Access tokens.
    pub access_tokens: Vec<AccessToken>,
    /// Refresh tokens.
    pub refresh_tokens: Vec<RefreshToken>,
    /// Application metadata.
    pub app_metadata: Vec<AppMetadata>,
    /// Rows that are not understood, by section and name, sections of unknown meaning among them. A section that
    /// is empty in the file is here without rows. Members of the file that are not objects are under the
    /// empty section name.
    pub residue: BTreeMap<String, SecretJson>,
    /// Which rows of known sections are in the residue because they cannot be used, and why. They are kept,
    /// so this is for people to read.
    pub unread: Vec<UnreadRow>,
}

impl MsalCache {
    /// Moves the times of modification and caching that lie after `now` back to it, so that a forged or badly
    /// timed row is not taken for the newest for ever.
    ///
    /// It changes what this crate makes of the rows and not how they are exported: the time as the file had it
    /// goes with the row until the row is replaced.
    pub fn clamp_future(&mut self, now: UnixSeconds) {
        for row in &mut self.refresh_tokens {
            if let Some(time) = row.last_modification_time.filter(|time| *time > now) {
                row.last_modification_time = Some(now);
                keep_as_written(row, "last_modification_time", time);
            }
        }
        for row in &mut self.access_tokens {
            if row.cached_at > now {
                let time = std::mem::replace(&mut row.cached_at, now);
                keep_as_written(row, "cached_at", time);
            }
        }
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
            && self.id_tokens.is_empty()
            && self.access_tokens.is_empty()
            && self.refresh_tokens.is_empty()
            && self.app_metadata.is_empty()
            && self.residue.is_empty()
    }
}

impl fmt::Debug for MsalCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsalCache")
            .field("accounts", &self.accounts.len())
            .field("id_tokens", &self.id_tokens.len())
            .field("access_tokens", &self.access_tokens.len())
            .field("refresh_tokens", &self.refresh_tokens.len())
            .field("app_metadata", &self.app_metadata.len())
            .field("unread", &self.unread)
            .finish_non_exhaustive()
    }
}

/// A row of a known section that cannot be used and is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRow {
    /// The section.
    pub section: &'static str,
    /// The field that is at fault; empty for the row as a whole.
    pub field: &'static str,
    /// What is wrong with it, as the end of a sentence that begins with the field.
    pub problem: &'static str,
}

impl fmt::Display for UnreadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of section {}: ", self.section)?;
        match self.field {
            "" => write!(f, "it {}", self.problem),
            field => write!(f, "field {field} {}", self.problem),
        }
    }
}

/// Reads a cache file of any MSAL. How large it may be is the caller's decision.
///
/// Accepted beyond JSON: a byte order mark, trailing commas, duplicate names (the last wins), times as
/// integers, floats or texts, `target` as an array, `null` for anything, tenant profiles as objects. Rows that cannot
/// be used are kept in the [residue](MsalCache::residue) and named in [`unread`](MsalCache::unread).
///
/// # Errors
/// [`CodecError::Malformed`] when the file as a whole is not what it should be: not JSON, nested more than 96 levels
/// deep, an integer of more than 64 bits, or a known section that is neither an object nor `null`. The message
/// shows no content.
pub fn read(bytes: &[u8]) -> Result<MsalCache, CodecError> {
    let mut file = lenient::parse(bytes)?;
    let known = [
        Account::SECTION,
        IdToken::SECTION,
        AccessToken::SECTION,
        RefreshToken::SECTION,
        AppMetadata::SECTION,
    ];
    for section in known {
        if !matches!(
            file.expose().get(section),
            None | Some(Value::Object(_) | Value::Null)
        ) {
            return Err(malformed(format!("section {section} is not an object of rows")));
        }
    }
    let mut cache = MsalCache::default();
    for (section, value) in std::mem::take(file.expose_mut()) {
        let rows = match value {
            Value::Object(rows) if !section.is_empty() => SecretJson::new(rows),
            value => {
                let members = cache.residue.entry(String::new()).or_default();
                members.expose_mut().insert(section, value);
                continue;
            }
        };
        let unread = &mut cache.unread;
        let left = match section.as_str() {
            Account::SECTION => read_rows(rows, &mut cache.accounts, unread),
            IdToken::SECTION => read_rows(rows, &mut cache.id_tokens, unread),
            AccessToken::SECTION => read_rows(rows, &mut cache.access_tokens, unread),
            RefreshToken::SECTION => read_rows(rows, &mut cache.refresh_tokens, unread),
            AppMetadata::SECTION => read_rows(rows, &mut cache.app_metadata, unread),
            _ => Some(rows),
        };
        if let Some(left) = left {
            cache.residue.insert(section, left);
        }
    }
    Ok(cache)
}

/// Writes a cache file that every MSAL can read.
///
/// Rows of our own follow the rules that all of them accept: times as texts of unix seconds, nothing `null` or
/// empty, tenant profiles as JSON texts, names in lower case. Rows that came from a file are written as they were.
/// A section without rows is left out unless the file had it. Two rows of one name, and rows that would hide
/// each other, are told apart by a suffix of the name.
#[must_use]
pub fn write(cache: &MsalCache) -> SecretBytes {
    to_bytes(&to_json(cache))
}

/// As [`write()`], with those refresh tokens first, and in this order, whose names are in `order`.
pub(super) fn write_in_order(cache: &MsalCache, order: &[String]) -> SecretBytes {
    let file = to_json(cache);
    serialized(&InOrder {
        file: file.expose(),
        order,
    })
}

fn to_json(cache: &MsalCache) -> SecretJson {
    let mut file = SecretJson::default();
    let sections = file.expose_mut();
    for (section, rows) in &cache.residue {
        if !section.is_empty() {
            sections.insert(section.clone(), Value::Object(rows.expose().clone()));
        }
    }
    write_rows(sections, &cache.accounts);
    write_rows(sections, &cache.id_tokens);
    write_rows(sections, &cache.access_tokens);
    write_rows(sections, &cache.refresh_tokens);
    write_rows(sections, &cache.app_metadata);
    for (name, value) in cache
        .residue
        .get("")
        .into_iter()
        .flat_map(|members| members.expose())
    {
        // Rows have come to a section that was `null`.
        if !(value.is_null() && sections.contains_key(name)) {
            sections.insert(row::free_name(sections, name.clone()), value.clone());
        }
    }
    file
}

/// The JSON text, in a buffer that leaves no copies behind.
pub(super) fn to_bytes(json: &SecretJson) -> SecretBytes {
    serialized(json.expose())
}

fn serialized(json: &impl Serialize) -> SecretBytes {
    let mut buffer = SecretBuffer::default();
    #[expect(
        clippy::expect_used,
        reason = "a JSON value with text keys has a JSON form, and memory does not fail to write"
    )]
    serde_json::to_writer(&mut buffer, json).expect("a JSON value is JSON");
    buffer.into_secret()
}

/// A file whose refresh tokens have an order.
struct InOrder<'a> {
    file: &'a Map<String, Value>,
    order: &'a [String],
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sections = serializer.serialize_map(Some(self.file.len()))?;
        for (name, section) in self.file {
            match section {
                Value::Object(rows) if name == RefreshToken::SECTION => {
                    sections.serialize_entry(
                        name,
                        &RowsInOrder {
                            rows,
                            order: self.order,
                        },
                    )?;
                }
                section => sections.serialize_entry(name, section)?,
            }
        }
        sections.end()
    }
}

struct RowsInOrder<'a> {
    rows: &'a Map<String, Value>,
    order: &'a [String],
}

impl Serialize for RowsInOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let places: HashMap<&str, usize> = self.order.iter().map(String::as_str).zip(0..).collect();
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(name, _)| places.get(name.as_str()).copied().unwrap_or(usize::MAX));
        serializer.collect_map(rows)
    }
}

/// Reads the rows of a section; what is left of the section is residue.
fn read_rows<R: Row>(
    mut rows: SecretJson,
    into: &mut Vec<R>,
    unread: &mut Vec<UnreadRow>,
) -> Option<SecretJson> {
    if rows.is_empty() {
        return Some(rows);
    }
    let mut left = SecretJson::default();
    for (name, value) in std::mem::take(rows.expose_mut()) {
        let (value, problem) = match value {
            Value::Object(fields) => {
                let mut fields = SecretJson::new(fields);
                match row::read(&name, &fields, Form::Exchange) {
                    Ok(row) => {
                        into.push(row);
                        continue;
                    }
                    Err(problem) => (Value::Object(std::mem::take(fields.expose_mut())), problem),
                }
            }
            value => (value, Problem::new("", "is not an object")),
        };
        unread.push(UnreadRow {
            section: R::SECTION,
            field: problem.field,
            problem: problem.problem,
        });
        left.expose_mut().insert(name, value);
    }
    (!left.is_empty()).then_some(left)
}

fn write_rows<R: Row>(sections: &mut Map<String, Value>, rows: &[R]) {
    if rows.is_empty() {
        return;
    }
    let section = sections
        .entry(R::SECTION)
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(section) = section else { return };
    // The names that a file gave come first, so that none of them changes for the sake of one of ours.
    let (named, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.foreign().is_some());
    for row in named.into_iter().chain(others) {
        row::insert(section, row.item_key(), row::write(row, Form::Exchange));
    }
}

/// Lets the row be written with a time that it does not have.
fn keep_as_written<R: Row>(row: &mut R, field: &str, time: UnixSeconds) {
    let foreign = row.foreign_mut().get_or_insert_default();
    foreign
        .fields
        .expose_mut()
        .entry(field)
        .or_insert_with(|| time.to_string().into());
}
