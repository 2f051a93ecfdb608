//! Account rows and the tenant profiles inside them.

use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::field::{Form, Problem, Writer, filled, required, text};
use super::row::{self, Row};
use crate::codec::wire::WireAccount;
use crate::codec::{CodecError, binary};
use crate::schema::{Account, Foreign, TenantProfile};
use crate::secret::{SecretBytes, SecretJson};

/// The fields of an account row that this crate understands. What replaces a row replaces them; see
/// [`Foreign::carried_over`](crate::schema::Foreign::carried_over).
pub const ACCOUNT_FIELDS: &[&str] = &[
    "home_account_id",
    "environment",
    "realm",
    "local_account_id",
    "username",
    "authority_type",
    "name",
    "issuer",
    PROFILES,
];

/// The fields of a tenant profile that this crate understands.
pub const TENANT_PROFILE_FIELDS: &[&str] =
    &["tenantId", "localAccountId", "name", "username", "isHomeTenant"];

const PROFILES: &str = "tenantProfiles";

impl Row for Account {
    const SECTION: &'static str = "Account";

    fn parse(fields: &Map<String, Value>, _: Form) -> Result<Self, Problem> {
        let or_empty = |name| text(fields, name).unwrap_or_default();
        Ok(Self {
            home_account_id: required(fields, "home_account_id")?,
            environment: required(fields, "environment")?,
            realm: or_empty("realm"),
            local_account_id: or_empty("local_account_id"),
            username: or_empty("username"),
            authority_type: or_empty("authority_type"),
            name: filled(fields, &["name"]),
            issuer: filled(fields, &["issuer"]),
            tenant_profiles: profiles(fields),
            foreign: None,
        })
    }

    /// Node shows an account only if all of the first six are there.
    fn canonical(&self, _: Form) -> Map<String, Value> {
        let mut out = Writer::default();
        out.text("home_account_id", &self.home_account_id);
        out.text("environment", &self.environment);
        out.text("realm", &self.realm);
        out.text("local_account_id", &self.local_account_id);
        out.text("username", &self.username);
        out.text("authority_type", &self.authority_type);
        out.optional("name", self.name.as_deref());
        out.optional("issuer", self.issuer.as_deref());
        // An empty array hides the account in Node.
        if !self.tenant_profiles.is_empty() {
            let profiles = self
                .tenant_profiles
                .iter()
                .map(|profile| profile_text(profile).into());
            out.0
                .insert(PROFILES.to_owned(), Value::Array(profiles.collect()));
        }
        out.0
    }

    fn own_item_key(&self) -> String {
        format!("{}-{}-{}", self.home_account_id, self.environment, self.realm).to_lowercase()
    }

    fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_deref()
    }

    fn foreign_mut(&mut self) -> &mut Option<Box<Foreign>> {
        &mut self.foreign
    }

    fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    fn to_wire(&self) -> Result<SecretBytes, CodecError> {
        binary::encode(&WireAccount::from(self))
    }

    fn from_wire(bytes: &[u8]) -> Result<Self, CodecError> {
        binary::decode::<WireAccount<'_>>(bytes)?
            .try_into()
            .map_err(binary::malformed)
    }
}

/// The profiles that can be read: JSON texts (Node writes these) or objects. The row keeps the field as it was
/// written wherever that says more.
fn profiles(fields: &Map<String, Value>) -> Vec<TenantProfile> {
    let Some(Value::Array(profiles)) = fields.get(PROFILES) else {
        return Vec::new();
    };
    let read = |value: &Value| match value {
        Value::String(text) => serde_json::from_str(text)
            .ok()
            .and_then(|fields| profile(&SecretJson::new(fields))),
        Value::Object(fields) => profile(&SecretJson::new(fields.clone())),
        _ => None,
    };
    profiles.iter().filter_map(read).collect()
}

fn profile(fields: &SecretJson) -> Option<TenantProfile> {
    let fields = fields.expose();
    let mut profile = TenantProfile {
        tenant_id: filled(fields, &["tenantId"])?,
        local_account_id: text(fields, "localAccountId").unwrap_or_default(),
        name: filled(fields, &["name"]),
        username: filled(fields, &["username"]),
        is_home_tenant: fields
            .get("isHomeTenant")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        foreign: None,
    };
    let foreign = row::difference(fields, &profile_fields(&profile));
    profile.foreign = (!foreign.is_empty()).then(|| Box::new(foreign));
    Some(profile)
}

fn profile_fields(profile: &TenantProfile) -> Map<String, Value> {
    let mut out = Writer::default();
    out.text("tenantId", &profile.tenant_id);
    out.text("localAccountId", &profile.local_account_id);
    out.optional("name", profile.name.as_deref());
    out.optional("username", profile.username.as_deref());
    out.0
        .insert("isHomeTenant".to_owned(), profile.is_home_tenant.into());
    out.0
}

/// The profile as Node writes it, in its order of fields, with unknown ones behind.
fn profile_text(profile: &TenantProfile) -> String {
    let fields = row::overlay(profile_fields(profile), profile.foreign.as_deref());
    let fields = fields.expose();
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    let written = serializer.serialize_map(None).and_then(|mut map| {
        for name in TENANT_PROFILE_FIELDS {
            if let Some(value) = fields.get(*name) {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in fields {
            if !TENANT_PROFILE_FIELDS.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    });
    debug_assert!(written.is_ok(), "a JSON object with text keys has a JSON form");
    String::from_utf8(text).unwrap_or_default()
}
