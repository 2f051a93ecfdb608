//! What the five kinds of row have in common, and how what another program wrote stays on a row.

use serde_json::{Map, Value};

use super::field::{Form, Problem};
use crate::codec::CodecError;
use crate::schema::Foreign;
use crate::secret::{SecretBytes, SecretJson};

/// The field of a row that names its issuer, where the host does not name the authority.
pub(super) const ISSUER: &str = "issuer";

/// A row of one of MSAL's sections.
pub(super) trait Row: Clone + PartialEq {
    /// The section's name.
    const SECTION: &'static str;

    /// The row that `fields` say, whatever wrote them.
    fn parse(fields: &Map<String, Value>, form: Form) -> Result<Self, Problem>;

    /// The fields as we write them, without what another program wrote.
    fn canonical(&self, form: Form) -> Map<String, Value>;

    /// The name that we give the row in its section.
    fn own_item_key(&self) -> String;

    fn foreign(&self) -> Option<&Foreign>;

    fn foreign_mut(&mut self) -> &mut Option<Box<Foreign>>;

    /// The row in the layout of codec 1.
    fn to_wire(&self) -> Result<SecretBytes, CodecError>;

    /// The row from the layout of codec 1.
    fn from_wire(bytes: &[u8]) -> Result<Self, CodecError>;

    /// The exact issuer that the row itself names.
    fn issuer(&self) -> Option<&str> {
        let issuer = self.foreign()?.fields.expose().get(ISSUER)?.as_str()?;
        (!issuer.is_empty()).then_some(issuer)
    }

    /// The name of the row in its section.
    fn item_key(&self) -> String {
        self.foreign()
            .and_then(|foreign| foreign.item_key.clone())
            .unwrap_or_else(|| self.own_item_key())
    }
}

/// Reads a row, and keeps on it whatever we would write otherwise.
pub(super) fn read<R: Row>(name: &str, fields: &SecretJson, form: Form) -> Result<R, Problem> {
    let mut row = R::parse(fields.expose(), form)?;
    let canonical = SecretJson::new(row.canonical(form));
    let mut foreign = difference(fields.expose(), canonical.expose());
    if row.own_item_key() != name {
        foreign.item_key = Some(name.to_owned());
    }
    *row.foreign_mut() = (!foreign.is_empty()).then(|| Box::new(foreign));
    Ok(row)
}

/// The fields of a row as they are written: our own, overlaid with those of the program that wrote it.
pub(super) fn write<R: Row>(row: &R, form: Form) -> SecretJson {
    overlay(row.canonical(form), row.foreign())
}

/// How `original` differs from what we would write.
pub(super) fn difference(original: &Map<String, Value>, canonical: &Map<String, Value>) -> Foreign {
    let differs = |(name, value): &(&String, &Value)| canonical.get(*name) != Some(*value);
    Foreign {
        item_key: None,
        fields: SecretJson::new(
            original
                .iter()
                .filter(differs)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        ),
        absent: canonical
            .keys()
            .filter(|name| !original.contains_key(*name))
            .cloned()
            .collect(),
    }
}

/// The inverse of [`difference`].
pub(super) fn overlay(canonical: Map<String, Value>, foreign: Option<&Foreign>) -> SecretJson {
    let mut fields = SecretJson::new(canonical);
    let Some(foreign) = foreign else { return fields };
    let written = fields.expose_mut();
    for name in &foreign.absent {
        if let Some(mut value) = written.remove(name) {
            crate::secret::wipe(&mut value);
        }
    }
    for (name, value) in foreign.fields.expose() {
        if let Some(mut replaced) = written.insert(name.clone(), value.clone()) {
            crate::secret::wipe(&mut replaced);
        }
    }
    fields
}

/// Puts a row into a section under its name, or under the next free variant of it: a name is never a reason to
/// lose a row.
pub(super) fn insert(section: &mut Map<String, Value>, name: String, mut fields: SecretJson) -> String {
    let name = free_name(section, name);
    section.insert(name.clone(), Value::Object(std::mem::take(fields.expose_mut())));
    name
}

/// The name itself, or the next variant of it that nothing has.
pub(super) fn free_name(section: &Map<String, Value>, name: String) -> String {
    if !section.contains_key(&name) {
        return name;
    }
    (2_u64..)
        .map(|copy| format!("{name}~{copy}"))
        .find(|name| !section.contains_key(name))
        .unwrap_or(name)
}
