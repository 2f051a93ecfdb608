//! Application metadata rows.

use serde_json::{Map, Value};

use super::field::{Form, Problem, Writer, required, text};
use super::row::Row;
use crate::codec::wire::WireAppMetadata;
use crate::codec::{CodecError, binary};
use crate::schema::{AppMetadata, Foreign};
use crate::secret::SecretBytes;

/// The fields of an application metadata row that this crate understands.
pub const APP_METADATA_FIELDS: &[&str] = &["client_id", "environment", "family_id", "issuer"];

impl Row for AppMetadata {
    const SECTION: &'static str = "AppMetadata";

    fn parse(fields: &Map<String, Value>, _: Form) -> Result<Self, Problem> {
        Ok(Self {
            client_id: required(fields, "client_id")?,
            environment: required(fields, "environment")?,
            family_id: text(fields, "family_id"),
            foreign: None,
        })
    }

    fn canonical(&self, form: Form) -> Map<String, Value> {
        let mut out = Writer::default();
        out.text("client_id", &self.client_id);
        out.text("environment", &self.environment);
        match self.family_id.as_deref() {
            // That a client is known to have no family is said to others by the row alone.
            Some(family) if form == Form::Full => out.text("family_id", family),
            family => out.optional("family_id", family),
        }
        out.0
    }

    fn own_item_key(&self) -> String {
        format!("appmetadata-{}-{}", self.environment, self.client_id).to_lowercase()
    }

    fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_deref()
    }

    fn foreign_mut(&mut self) -> &mut Option<Box<Foreign>> {
        &mut self.foreign
    }

    fn to_wire(&self) -> Result<SecretBytes, CodecError> {
        binary::encode(&WireAppMetadata::from(self))
    }

    fn from_wire(bytes: &[u8]) -> Result<Self, CodecError> {
        binary::decode::<WireAppMetadata<'_>>(bytes)?
            .try_into()
            .map_err(binary::malformed)
    }
}
