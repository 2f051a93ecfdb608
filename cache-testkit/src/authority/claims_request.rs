//! The `claims` parameter (OpenID Connect Core section 5.5), as far as an access token reflects it.

use serde_json::Value;

use super::refusal::Refusal;
use super::resource::ANSWERED_CHALLENGE;
use super::signing::Claims;

/// The claims that a client asked for, so that tests can see that a challenge was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct ClaimsRequest {
    /// Client capabilities, such as `cp1` for continuous access evaluation.
    capabilities: Option<Value>,
    /// The authentication context that conditional access asked for.
    authentication_context: Option<Value>,
    /// The event that a resource's challenge named.
    not_before: Option<String>,
}

impl ClaimsRequest {
    /// Reads the parameter. An absent or empty one asks for nothing.
    pub(super) fn parse(claims: Option<&str>) -> Result<Self, Refusal> {
        let Some(claims) = claims.filter(|claims| !claims.is_empty()) else {
            return Ok(Self::default());
        };
        let parsed: Value = serde_json::from_str(claims)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| {
                Refusal::invalid_request(901_007, "The parameter 'claims' is not a JSON object.")
            })?;
        let wanted = |name: &str| -> Option<Value> {
            let request = parsed.get("access_token")?.get(name)?;
            match (request.get("values"), request.get("value")) {
                (Some(values), _) => Some(values.clone()),
                (None, Some(value)) => Some(Value::Array(vec![value.clone()])),
                (None, None) => None,
            }
        };
        Ok(Self {
            capabilities: wanted("xms_cc"),
            authentication_context: wanted("acrs"),
            not_before: parsed
                .pointer("/access_token/nbf/value")
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }

    /// Writes what was asked for into an access token.
    pub(super) fn reflect(&self, access_token: &mut Claims) {
        if let Some(capabilities) = &self.capabilities {
            access_token.insert("xms_cc".to_owned(), capabilities.clone());
        }
        if let Some(context) = &self.authentication_context {
            access_token.insert("acrs".to_owned(), context.clone());
        }
        if let Some(not_before) = &self.not_before {
            access_token.insert(ANSWERED_CHALLENGE.to_owned(), not_before.as_str().into());
        }
    }
}
