//! What MSAL's rows have no place for: a nested object `TokenKeep` of the row.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::EXTENSION;
use super::field::{Problem, Writer, text, time};
use crate::schema::{RefreshToken, Refusal, SpendMarker, TokenContext};
use crate::time::UnixMillis;

/// The parts of a context for which MSAL has no field; `is_field` tells components that it has one for.
pub(super) fn of_context(context: &TokenContext, is_field: impl Fn(&str) -> bool) -> Map<String, Value> {
    let mut out = Writer::default();
    if let Some(resource) = &context.resource {
        out.text("resource", resource);
    }
    if context.continuous_access_evaluation {
        out.0.insert("cae".to_owned(), true.into());
    }
    let components = context
        .components
        .iter()
        .filter(|(name, _)| !is_field(name))
        .map(|(name, value)| (name.clone(), value.as_str().into()));
    out.object("components", components.collect());
    out.0
}

/// Reads into `context` what [`of_context`] wrote. A part that cannot be read makes the row unusable: without it,
/// the token would pass for one of a plainer request.
pub(super) fn into_context(fields: &Map<String, Value>, context: &mut TokenContext) -> Result<(), Problem> {
    let Some(extension) = nested(fields)? else {
        return Ok(());
    };
    context.resource = match extension.get("resource") {
        None => None,
        Some(Value::String(resource)) => Some(resource.as_str().into()),
        Some(_) => return Err(unreadable()),
    };
    context.continuous_access_evaluation = match extension.get("cae") {
        None => false,
        Some(value) => value.as_bool().ok_or(unreadable())?,
    };
    let components = match extension.get("components") {
        None => return Ok(()),
        Some(value) => value.as_object().ok_or(unreadable())?,
    };
    for (name, value) in components {
        let value = value.as_str().ok_or(unreadable())?;
        context.components.insert(name.clone(), value.to_owned());
    }
    Ok(())
}

/// Who is spending a refresh token and what was refused to it.
pub(super) fn of_refresh_token(row: &RefreshToken) -> Map<String, Value> {
    let mut out = Writer::default();
    if let Some(marker) = &row.spending {
        let mut spending = Writer::default();
        spending.text("token_hash", &encode(&marker.token_hash));
        spending.text("attempt", &encode(&marker.attempt));
        spending
            .0
            .insert("deadline_ms".to_owned(), marker.deadline.0.into());
        spending.0.insert("attempts".to_owned(), marker.attempts.into());
        spending
            .0
            .insert("outcome_unknown".to_owned(), marker.outcome_unknown.into());
        out.object("spending", spending.0);
    }
    if !row.refusals.is_empty() {
        let refusals = row.refusals.iter().map(of_refusal).collect();
        out.0.insert("refusals".to_owned(), Value::Array(refusals));
    }
    out.0
}

fn of_refusal(refusal: &Refusal) -> Value {
    let mut out = Writer::default();
    if let Some(request) = &refusal.request {
        out.text("request", &encode(request));
    }
    out.text("error", &refusal.error);
    for (name, value) in [("suberror", &refusal.suberror), ("claims", &refusal.claims)] {
        if let Some(value) = value {
            out.text(name, value);
        }
    }
    out.time("refused_at", Some(refusal.refused_at));
    Value::Object(out.0)
}

/// Reads into `row` what [`of_refresh_token`] wrote.
pub(super) fn into_refresh_token(fields: &Map<String, Value>, row: &mut RefreshToken) -> Result<(), Problem> {
    let Some(extension) = nested(fields)? else {
        return Ok(());
    };
    if let Some(value) = extension.get("spending") {
        row.spending = Some(value.as_object().and_then(marker).ok_or(unreadable())?);
    }
    if let Some(value) = extension.get("refusals") {
        let refusals = value.as_array().ok_or(unreadable())?;
        row.refusals = refusals
            .iter()
            .map(|value| value.as_object().and_then(refusal).ok_or(unreadable()))
            .collect::<Result<_, _>>()?;
    }
    Ok(())
}

fn marker(fields: &Map<String, Value>) -> Option<SpendMarker> {
    Some(SpendMarker {
        token_hash: decode(fields, "token_hash")?,
        attempt: decode(fields, "attempt")?,
        deadline: UnixMillis(fields.get("deadline_ms")?.as_i64()?),
        attempts: fields.get("attempts")?.as_u64()?.try_into().ok()?,
        outcome_unknown: fields.get("outcome_unknown")?.as_bool()?,
    })
}

fn refusal(fields: &Map<String, Value>) -> Option<Refusal> {
    Some(Refusal {
        request: match fields.get("request") {
            None => None,
            Some(_) => Some(decode(fields, "request")?),
        },
        error: text(fields, "error")?,
        suberror: text(fields, "suberror"),
        claims: text(fields, "claims"),
        refused_at: time(fields, "refused_at")?,
    })
}

fn nested(fields: &Map<String, Value>) -> Result<Option<&Map<String, Value>>, Problem> {
    match fields.get(EXTENSION) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_object().map(Some).ok_or(unreadable()),
    }
}

fn unreadable() -> Problem {
    Problem::new(EXTENSION, "is not what this program writes")
}

/// Base64url without padding, the form of all bytes in MSAL's JSON.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode<const N: usize>(fields: &Map<String, Value>, name: &str) -> Option<[u8; N]> {
    decode_bytes(fields.get(name)?.as_str()?)?.try_into().ok()
}

pub(super) fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
