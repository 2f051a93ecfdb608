//! Codec 2: a partition as MSAL JSON, with everything that MSAL has no place for.

use serde_json::{Map, Value};

use super::cache::to_bytes;
use super::extension::{decode_bytes, encode};
use super::field::{Form, Writer};
use super::row::{self, Row};
use super::{EXTENSION, NAME, malformed};
use crate::codec::{Codec, CodecError, check_version};
use crate::schema::{ClientEpoch, Partition, PartitionKey, SessionAnchor, SessionLink};
use crate::secret::{SecretBytes, SecretJson};
use crate::time::UnixMillis;

/// serde_json reads no deeper.
const MAX_DEPTH: usize = 127;

/// The codec whose records other MSAL programs can read, once unsealed.
///
/// The five sections are exactly MSAL's, and sections and rows of unknown meaning keep their places. One more section,
/// `TokenKeep`, has the partition's key, the order of the rows, sign-ins, sessions and the anchor. Spend
/// markers, refusals and contexts are in a nested object `TokenKeep` of their rows. A row whose fields cannot
/// say exactly what it is (it overlays a known field with something else, or shares its name with another row) is
/// there once more, in the layout of codec 1, and that copy is the one that counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct MsalJsonCodec;

impl MsalJsonCodec {
    /// The codec's id in record headers.
    pub const ID: u8 = 2;
    /// The schema version that is written.
    pub const SCHEMA_VERSION: u16 = 1;
}

impl Codec for MsalJsonCodec {
    fn id(&self) -> u8 {
        Self::ID
    }

    fn schema_version(&self) -> u16 {
        Self::SCHEMA_VERSION
    }

    fn encode(&self, partition: &Partition) -> Result<SecretBytes, CodecError> {
        let mut file = SecretJson::default();
        let sections = file.expose_mut();
        let mut apart = Map::new();
        let mut in_place = Vec::new();
        for (section, rows) in &partition.residue {
            let rows = Value::Object(rows.expose().clone());
            // These names mean something else in a file.
            if section.is_empty() || section == EXTENSION {
                apart.insert(section.clone(), rows);
            } else {
                sections.insert(section.clone(), rows);
                in_place.push(Value::from(section.as_str()));
            }
        }
        let mut names = Writer::default();
        put_rows(&partition.accounts, sections, &mut names)?;
        put_rows(&partition.id_tokens, sections, &mut names)?;
        put_rows(&partition.access_tokens, sections, &mut names)?;
        put_rows(&partition.refresh_tokens, sections, &mut names)?;
        put_rows(&partition.app_metadata, sections, &mut names)?;

        let mut extension = state(partition);
        extension.object("rows", names.0);
        extension.object("residue", apart);
        if !in_place.is_empty() {
            extension
                .0
                .insert("residue_sections".to_owned(), Value::Array(in_place));
        }
        sections.insert(EXTENSION.to_owned(), Value::Object(extension.0));
        if sections
            .values()
            .any(|section| !is_shallower(section, MAX_DEPTH - 1))
        {
            return Err(CodecError::Unrepresentable {
                codec: NAME,
                reason: "a field of unknown meaning nests too deep".to_owned(),
            });
        }
        Ok(to_bytes(&file))
    }

    fn decode(&self, bytes: &[u8], schema_version: u16) -> Result<Partition, CodecError> {
        check_version(NAME, schema_version, Self::SCHEMA_VERSION)?;
        let parsed = serde_json::from_slice::<Map<String, Value>>(bytes);
        let mut file = SecretJson::new(parsed.map_err(|_| malformed("it is not a JSON object"))?);
        let sections = file.expose_mut();
        let Some(Value::Object(extension)) = sections.remove(EXTENSION) else {
            return Err(malformed(format!("section {EXTENSION} is missing")));
        };
        let mut extension = SecretJson::new(extension);
        let extension = extension.expose_mut();

        let mut partition = read_state(extension).ok_or_else(|| unreadable("state"))?;
        let names = match extension.remove("rows") {
            None => Map::new(),
            Some(Value::Object(names)) => names,
            Some(_) => return Err(unreadable("rows")),
        };
        take_rows(&mut partition.accounts, sections, &names)?;
        take_rows(&mut partition.id_tokens, sections, &names)?;
        take_rows(&mut partition.access_tokens, sections, &names)?;
        take_rows(&mut partition.refresh_tokens, sections, &names)?;
        take_rows(&mut partition.app_metadata, sections, &names)?;

        for section in list(extension, "residue_sections").ok_or_else(|| unreadable("residue_sections"))? {
            let name = section.as_str().ok_or_else(|| unreadable("residue_sections"))?;
            let Some(Value::Object(rows)) = sections.remove(name) else {
                return Err(unreadable("residue_sections"));
            };
            partition.residue.insert(name.to_owned(), SecretJson::new(rows));
        }
        if let Some(Value::Object(apart)) = extension.remove("residue") {
            for (section, rows) in apart {
                let Value::Object(rows) = rows else {
                    return Err(unreadable("residue"));
                };
                partition.residue.insert(section, SecretJson::new(rows));
            }
        }
        let is_used_up = |section: &Value| section.as_object().is_some_and(Map::is_empty);
        if !sections.values().all(is_used_up) {
            return Err(malformed(format!(
                "there are rows that section {EXTENSION} does not list"
            )));
        }
        Ok(partition)
    }
}

fn unreadable(part: &str) -> CodecError {
    malformed(format!(
        "{part} of section {EXTENSION} is not what this codec writes"
    ))
}

/// Writes rows into their section, and their names, in order, into `names`.
fn put_rows<R: Row>(
    rows: &[R],
    sections: &mut Map<String, Value>,
    names: &mut Writer,
) -> Result<(), CodecError> {
    if rows.is_empty() {
        return Ok(());
    }
    let section = sections
        .entry(R::SECTION)
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(section) = section else {
        return Err(unreadable("rows"));
    };
    let mut order = Vec::with_capacity(rows.len());
    for row in rows {
        let fields = row::write(row, Form::Full);
        let said = row::read::<R>(&row.item_key(), &fields, Form::Full);
        let wanted = row.item_key();
        let name = row::insert(section, wanted.clone(), fields);
        let is_exact = name == wanted && said.is_ok_and(|said| said == *row);
        order.push(if is_exact {
            Value::String(name)
        } else {
            let mut entry = Writer::default();
            entry.text("name", &name);
            entry.text("exact", &encode(row.to_wire()?.expose()));
            Value::Object(entry.0)
        });
    }
    names.0.insert(R::SECTION.to_owned(), Value::Array(order));
    Ok(())
}

/// Takes the rows that `names` lists out of their section.
fn take_rows<R: Row>(
    into: &mut Vec<R>,
    sections: &mut Map<String, Value>,
    names: &Map<String, Value>,
) -> Result<(), CodecError> {
    let wrong = |what: &str| malformed(format!("section {}: {what}", R::SECTION));
    let order = match names.get(R::SECTION) {
        None => return Ok(()),
        Some(order) => order.as_array().ok_or_else(|| unreadable("rows"))?,
    };
    let Some(Value::Object(section)) = sections.get_mut(R::SECTION) else {
        return Err(wrong("it is missing"));
    };
    for entry in order {
        let name = entry.as_str().or_else(|| entry.get("name")?.as_str());
        let name = name.ok_or_else(|| unreadable("rows"))?;
        let Some(Value::Object(fields)) = section.remove(name) else {
            return Err(wrong("a row is missing"));
        };
        let fields = SecretJson::new(fields);
        into.push(match entry.get("exact") {
            Some(exact) => {
                let exact = exact.as_str().and_then(decode_bytes);
                R::from_wire(SecretBytes::new(exact.ok_or_else(|| unreadable("rows"))?).expose())?
            }
            None => row::read(name, &fields, Form::Full)
                .map_err(|problem| wrong(&format!("field {} {}", problem.field, problem.problem)))?,
        });
    }
    Ok(())
}

/// The parts of a partition that are no rows.
pub(super) fn state(partition: &Partition) -> Writer {
    let mut out = Writer::default();
    out.text("partition_key", &encode(&partition.key.to_bytes()));
    let epochs = partition.epochs.iter().map(|epoch| {
        let mut entry = Writer::default();
        entry.text("client_id", &epoch.client_id);
        entry.text("epoch", &encode(&epoch.epoch));
        Value::Object(entry.0)
    });
    out.0.insert("epochs".to_owned(), epochs.collect());
    let sessions = partition.sessions.iter().map(|link| {
        let mut entry = Writer::default();
        entry.text("key", &encode(&link.key));
        entry
            .0
            .insert("expires_at_ms".to_owned(), link.expires_at.0.into());
        Value::Object(entry.0)
    });
    out.0.insert("sessions".to_owned(), sessions.collect());
    if let Some(anchor) = &partition.anchor {
        let mut entry = Writer::default();
        entry.text("user", &encode(&anchor.user));
        entry.text("epoch", &encode(&anchor.epoch));
        out.object("anchor", entry.0);
    }
    out
}

pub(super) fn read_state(extension: &Map<String, Value>) -> Option<Partition> {
    let bytes = |value: &Value, name: &str| decode_bytes(value.get(name)?.as_str()?);
    let key = decode_bytes(extension.get("partition_key")?.as_str()?)?;
    let mut partition = Partition::new(PartitionKey::from_bytes(&key)?);
    for entry in list(extension, "epochs")? {
        partition.epochs.push(ClientEpoch {
            client_id: entry.get("client_id")?.as_str()?.to_owned(),
            epoch: bytes(entry, "epoch")?.try_into().ok()?,
        });
    }
    for entry in list(extension, "sessions")? {
        partition.sessions.push(SessionLink {
            key: bytes(entry, "key")?,
            expires_at: UnixMillis(entry.get("expires_at_ms")?.as_i64()?),
        });
    }
    if let Some(anchor) = extension.get("anchor") {
        partition.anchor = Some(SessionAnchor {
            user: bytes(anchor, "user")?,
            epoch: bytes(anchor, "epoch")?.try_into().ok()?,
        });
    }
    Some(partition)
}

/// The elements of a list that may be missing; `None` when it is something else.
fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a [Value]> {
    match fields.get(name) {
        None => Some(&[]),
        Some(value) => value.as_array().map(Vec::as_slice),
    }
}

fn is_shallower(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(values) => depth > 0 && values.iter().all(|value| is_shallower(value, depth - 1)),
        Value::Object(fields) => depth > 0 && fields.values().all(|value| is_shallower(value, depth - 1)),
        _ => true,
    }
}
