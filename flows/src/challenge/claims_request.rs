//! The `claims` parameter (OIDC Core section 5.5): what the caller asks for, and what the client can handle.

use serde_json::{Map, Value, json};

use crate::error::ConfigurationError;

/// What a client says that it can handle, such as `cp1`, the continuous evaluation of access.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientCapabilities(Vec<String>);

impl ClientCapabilities {
    pub(crate) fn new<I>(names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut capabilities = Vec::new();
        for name in names {
            let name = name.into();
            if !name.is_empty() && !capabilities.contains(&name) {
                capabilities.push(name);
            }
        }
        Self(capabilities)
    }

    /// Whether the client promises to answer claims challenges, for which it is given tokens that live longer.
    pub(crate) fn handle_claims_challenges(&self) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case("cp1"))
    }

    /// The parameter of a request whose caller asks for `claims`; `None` where there is nothing to ask for.
    ///
    /// Capabilities are added to the caller's claims, which stay as they are.
    pub(crate) fn parameter(&self, claims: Option<&str>) -> Result<Option<String>, ConfigurationError> {
        let Some(claims) = claims.filter(|claims| !claims.trim().is_empty()) else {
            return Ok((!self.0.is_empty())
                .then(|| json!({ "access_token": { "xms_cc": { "values": self.0 } } }).to_string()));
        };
        let mut object = check(claims)?;
        if self.0.is_empty() {
            return Ok(Some(claims.to_owned()));
        }
        let access_token = member(&mut object, "access_token")?;
        let capabilities = member(access_token, "xms_cc")?;
        let mut values = match (capabilities.remove("values"), capabilities.remove("value")) {
            (Some(Value::Array(values)), _) => values,
            (_, Some(value)) => vec![value],
            _ => Vec::new(),
        };
        for name in &self.0 {
            if !values.iter().any(|value| value == name.as_str()) {
                values.push(name.as_str().into());
            }
        }
        capabilities.insert("values".to_owned(), values.into());
        Ok(Some(Value::Object(object).to_string()))
    }
}

/// `claims` as the JSON object that it has to be.
pub(crate) fn check(claims: &str) -> Result<Map<String, Value>, ConfigurationError> {
    match serde_json::from_str(claims) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ConfigurationError::new(
            "the claims are no JSON object; pass them on as the authority or the resource sent them, decoded",
        )),
    }
}

/// The object `name` in `object`. OIDC lets `null` stand for a claim without further wishes.
fn member<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
) -> Result<&'a mut Map<String, Value>, ConfigurationError> {
    let value = object.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value
        .as_object_mut()
        .ok_or_else(|| ConfigurationError::new(format!("`{name}` in the claims is no JSON object")))
}
