//! Errors in Entra's form.

use serde_json::{Value, json};

use super::clock::error_timestamp;
use super::script::ScriptedError;

/// A refusal, with the AADSTS number by which MSALs and people recognise it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) error: String,
    pub(super) code: u32,
    pub(super) description: String,
    pub(super) suberror: Option<String>,
    pub(super) claims: Option<String>,
}

impl Refusal {
    pub(super) fn new(error: &str, code: u32, description: impl Into<String>) -> Self {
        let status = if error == "invalid_client" { 401 } else { 400 };
        Self {
            status,
            error: error.to_owned(),
            code,
            description: description.into(),
            suberror: None,
            claims: None,
        }
    }

    pub(super) fn invalid_request(code: u32, description: impl Into<String>) -> Self {
        Self::new("invalid_request", code, description)
    }

    pub(super) fn invalid_grant(code: u32, description: impl Into<String>) -> Self {
        Self::new("invalid_grant", code, description)
    }

    pub(super) fn invalid_client(code: u32, description: impl Into<String>) -> Self {
        Self::new("invalid_client", code, description)
    }

    pub(super) fn missing_parameter(name: &str) -> Self {
        let description = format!("The request body must contain the following parameter: '{name}'.");
        Self::invalid_request(900_144, description)
    }

    /// The authority itself failed, which only a broken cryptographic library can bring about.
    pub(super) fn internal(what: &dyn std::fmt::Display) -> Self {
        Self {
            status: 500,
            ..Self::new("server_error", 90_020, what.to_string())
        }
    }

    pub(super) fn suberror(mut self, suberror: &str) -> Self {
        self.suberror = Some(suberror.to_owned());
        self
    }

    /// `error_description` as Entra writes it.
    pub(super) fn described(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.description)
    }

    /// The JSON body. `correlation_id` echoes the request's.
    pub(super) fn body(&self, now: u64, trace_id: &str, correlation_id: &str) -> Value {
        let timestamp = error_timestamp(now);
        let description = format!(
            "{} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
            self.described()
        );
        let mut body = json!({
            "error": self.error,
            "error_description": description,
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        if let Some(suberror) = &self.suberror {
            body["suberror"] = suberror.as_str().into();
        }
        if let Some(claims) = &self.claims {
            body["claims"] = claims.as_str().into();
        }
        body
    }
}

impl From<ScriptedError> for Refusal {
    fn from(scripted: ScriptedError) -> Self {
        let ScriptedError {
            status,
            error,
            code,
            description,
            suberror,
            claims,
        } = scripted;
        Self {
            status,
            error,
            code,
            description,
            suberror,
            claims,
        }
    }
}
