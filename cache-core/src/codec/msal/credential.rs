//! ID token, access token and refresh token rows.

use serde_json::{Map, Value};

use super::field::{self, Form, Problem, Writer, filled, required, text};
use super::row::Row;
use super::{EXTENSION, extension};
use crate::codec::wire::{WireAccessToken, WireIdToken, WireRefreshToken};
use crate::codec::{CodecError, binary};
use crate::schema::{AccessToken, Foreign, IdToken, RefreshToken, TokenContext, TokenType};
use crate::secret::SecretBytes;
use crate::time::UnixSeconds;

/// The fields of an ID token row that this crate understands.
pub const ID_TOKEN_FIELDS: &[&str] = &[
    "home_account_id",
    "environment",
    "credential_type",
    "client_id",
    "realm",
    "secret",
    "issuer",
];

/// The fields of an access token row that this crate understands, in every spelling, and those others that
/// describe one token only and are wrong on the next.
pub const ACCESS_TOKEN_FIELDS: &[&str] = &[
    "home_account_id",
    "environment",
    "credential_type",
    "client_id",
    "realm",
    "target",
    "secret",
    "token_type",
    "key_id",
    "kid",
    "keyid",
    "cached_at",
    "expires_on",
    "extended_expires_on",
    "ext_expires_on",
    "refresh_on",
    "userAssertionHash",
    "user_assertion_hash",
    EXTENDED_KEY,
    "requestedClaims",
    "requestedClaimsHash",
    "issuer",
    AccessToken::REQUESTED_SCOPES,
    EXTENSION,
];

/// The fields of a refresh token row that this crate understands.
pub const REFRESH_TOKEN_FIELDS: &[&str] = &[
    "home_account_id",
    "environment",
    "credential_type",
    "client_id",
    "family_id",
    "target",
    "secret",
    "last_modification_time",
    "expires_on",
    "issuer",
    EXTENSION,
];

/// Node writes `key_id`, .NET `kid`, Go `keyid`.
const KEY_ID: &[&str] = &["key_id", "kid", "keyid"];
/// A hash of the extra parts of a request. A token that has it serves no request without it, so it is a component of
/// the context, under this name.
const EXTENDED_KEY: &str = "ext_cache_key";
/// Node writes the first, .NET and Go the second.
const ASSERTION_HASH: &[&str] = &["userAssertionHash", "user_assertion_hash"];

impl Row for IdToken {
    const SECTION: &'static str = "IdToken";

    fn parse(fields: &Map<String, Value>, _: Form) -> Result<Self, Problem> {
        Ok(Self {
            home_account_id: required(fields, "home_account_id")?,
            environment: required(fields, "environment")?,
            realm: text(fields, "realm").unwrap_or_default(),
            client_id: required(fields, "client_id")?,
            secret: field::secret(fields)?,
            foreign: None,
        })
    }

    fn canonical(&self, _: Form) -> Map<String, Value> {
        let mut out = Writer::default();
        out.text("home_account_id", &self.home_account_id);
        out.text("environment", &self.environment);
        out.text("credential_type", "IdToken");
        out.text("client_id", &self.client_id);
        out.text("realm", &self.realm);
        out.text("secret", self.secret.expose());
        out.0
    }

    fn own_item_key(&self) -> String {
        format!(
            "{}-{}-idtoken-{}-{}-",
            self.home_account_id, self.environment, self.client_id, self.realm
        )
        .to_lowercase()
    }

    fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_deref()
    }

    fn foreign_mut(&mut self) -> &mut Option<Box<Foreign>> {
        &mut self.foreign
    }

    fn to_wire(&self) -> Result<SecretBytes, CodecError> {
        binary::encode(&WireIdToken::from(self))
    }

    fn from_wire(bytes: &[u8]) -> Result<Self, CodecError> {
        binary::decode::<WireIdToken<'_>>(bytes)?
            .try_into()
            .map_err(binary::malformed)
    }
}

impl Row for AccessToken {
    const SECTION: &'static str = "AccessToken";

    fn parse(fields: &Map<String, Value>, _: Form) -> Result<Self, Problem> {
        let mut context = TokenContext {
            assertion_hash: filled(fields, ASSERTION_HASH).map(Into::into),
            ..TokenContext::default()
        };
        extension::into_context(fields, &mut context)?;
        if let Some(key) = filled(fields, &[EXTENDED_KEY]) {
            context.components.insert(EXTENDED_KEY.to_owned(), key);
        }
        Ok(Self {
            home_account_id: text(fields, "home_account_id").unwrap_or_default(),
            environment: required(fields, "environment")?,
            client_id: required(fields, "client_id")?,
            realm: text(fields, "realm").unwrap_or_default(),
            target: field::scopes(fields, "target").unwrap_or_default(),
            token_type: token_type(fields),
            secret: field::secret(fields)?,
            // Of unknown age is as old as can be, so that nothing takes it for a fresh one.
            cached_at: field::time(fields, "cached_at").unwrap_or(UnixSeconds(0)),
            expires_on: field::required_time(fields, "expires_on")?,
            extended_expires_on: field::time(fields, "extended_expires_on"),
            refresh_on: field::time(fields, "refresh_on"),
            context,
            foreign: None,
        })
    }

    fn canonical(&self, _: Form) -> Map<String, Value> {
        let mut out = Writer::default();
        out.optional("home_account_id", Some(&self.home_account_id));
        out.text("environment", &self.environment);
        out.text("credential_type", self.credential_type());
        out.text("client_id", &self.client_id);
        out.text("realm", &self.realm);
        out.text("target", self.target.as_str());
        out.text("secret", self.secret.expose());
        out.text("token_type", self.token_type.as_str());
        out.optional("key_id", self.token_type.key_id());
        out.time("cached_at", Some(self.cached_at));
        out.time("expires_on", Some(self.expires_on));
        out.time("extended_expires_on", self.extended_expires_on);
        out.time("refresh_on", self.refresh_on);
        out.optional(ASSERTION_HASH[0], self.context.assertion_hash.as_deref());
        out.optional(EXTENDED_KEY, self.extended_key());
        // Also in the exchange form: without its context, the token would be imported as one of a plainer request.
        let is_field = |name: &str| name == EXTENDED_KEY && self.extended_key().is_some();
        out.object(EXTENSION, extension::of_context(&self.context, is_field));
        out.0
    }

    fn own_item_key(&self) -> String {
        let mut key = format!(
            "{}-{}-{}-{}-{}-{}",
            self.home_account_id,
            self.environment,
            match self.extended_key() {
                Some(_) => "atext",
                None => self.credential_type(),
            },
            self.client_id,
            self.realm,
            self.target.as_str()
        );
        if let TokenType::Bound { scheme, .. } = &self.token_type {
            key.push('-');
            key.push_str(scheme);
        }
        if let Some(extended) = self.extended_key() {
            key.push('-');
            key.push_str(extended);
        }
        key.to_lowercase()
    }

    fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_deref()
    }

    fn foreign_mut(&mut self) -> &mut Option<Box<Foreign>> {
        &mut self.foreign
    }

    fn to_wire(&self) -> Result<SecretBytes, CodecError> {
        binary::encode(&WireAccessToken::from(self))
    }

    fn from_wire(bytes: &[u8]) -> Result<Self, CodecError> {
        binary::decode::<WireAccessToken<'_>>(bytes)?
            .try_into()
            .map_err(binary::malformed)
    }
}

impl AccessToken {
    fn credential_type(&self) -> &'static str {
        match self.token_type {
            TokenType::Bearer => "AccessToken",
            TokenType::Bound { .. } => "AccessToken_With_AuthScheme",
        }
    }

    fn extended_key(&self) -> Option<&str> {
        let key = self.context.components.get(EXTENDED_KEY)?;
        (!key.is_empty()).then_some(key)
    }
}

fn token_type(fields: &Map<String, Value>) -> TokenType {
    match filled(fields, &["token_type"]) {
        Some(scheme) if !scheme.eq_ignore_ascii_case("bearer") => TokenType::Bound {
            scheme: scheme.into(),
            key_id: filled(fields, KEY_ID).unwrap_or_default().into(),
        },
        _ => TokenType::Bearer,
    }
}

impl Row for RefreshToken {
    const SECTION: &'static str = "RefreshToken";

    fn parse(fields: &Map<String, Value>, form: Form) -> Result<Self, Problem> {
        let family_id = filled(fields, &["family_id"]);
        let client_id = required(fields, "client_id");
        let mut row = Self {
            home_account_id: required(fields, "home_account_id")?,
            environment: required(fields, "environment")?,
            // A family's token needs no client of its own.
            client_id: if family_id.is_some() {
                client_id.unwrap_or_default()
            } else {
                client_id?
            },
            family_id,
            target: field::scopes(fields, "target").filter(|target| !target.as_str().is_empty()),
            secret: field::secret(fields)?,
            last_modification_time: field::time(fields, "last_modification_time"),
            expires_on: field::time(fields, "expires_on"),
            spending: None,
            refusals: Vec::new(),
            foreign: None,
        };
        if form == Form::Full {
            extension::into_refresh_token(fields, &mut row)?;
        }
        Ok(row)
    }

    fn canonical(&self, form: Form) -> Map<String, Value> {
        let mut out = Writer::default();
        out.text("home_account_id", &self.home_account_id);
        out.text("environment", &self.environment);
        out.text("credential_type", "RefreshToken");
        out.optional("client_id", Some(&self.client_id));
        out.optional("family_id", self.family_id.as_deref());
        let target = self.target.as_ref();
        out.optional("target", target.map(|target| target.as_str()));
        out.text("secret", self.secret.expose());
        out.time("last_modification_time", self.last_modification_time);
        out.time("expires_on", self.expires_on);
        if form == Form::Full {
            out.object(EXTENSION, extension::of_refresh_token(self));
        }
        out.0
    }

    fn own_item_key(&self) -> String {
        let family = self.family_id.as_deref().filter(|family| !family.is_empty());
        format!(
            "{}-{}-refreshtoken-{}--{}",
            self.home_account_id,
            self.environment,
            family.unwrap_or(&self.client_id),
            self.target.as_ref().map_or("", |target| target.as_str())
        )
        .to_lowercase()
    }

    fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_deref()
    }

    fn foreign_mut(&mut self) -> &mut Option<Box<Foreign>> {
        &mut self.foreign
    }

    fn to_wire(&self) -> Result<SecretBytes, CodecError> {
        binary::encode(&WireRefreshToken::from(self))
    }

    fn from_wire(bytes: &[u8]) -> Result<Self, CodecError> {
        binary::decode::<WireRefreshToken<'_>>(bytes)?
            .try_into()
            .map_err(binary::malformed)
    }
}
