//! A protected resource that evaluates access continuously: it answers a token that an event has overtaken with a claims
//! challenge, if the token's client promised to handle one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};

use super::families::FamilyId;
use super::reply::Reply;
use super::request::IncomingRequest;
use super::signing::Claims;
use super::state::Core;

/// The claim in which an access token shows the challenge that it was asked for with.
pub(super) const ANSWERED_CHALLENGE: &str = "xms_challenge";

/// Answers 200 to a token that is good here and now, else 401.
pub(super) fn resource(core: &Core, request: &IncomingRequest) -> Reply {
    let claims = request
        .bearer
        .as_deref()
        .and_then(|token| core.signing.verified_claims(token));
    let Some(claims) = claims else {
        return refuse(core, request, "error=\"invalid_token\"");
    };
    let event = event(core, &claims);
    let is_capable = claims
        .get("xms_cc")
        .and_then(Value::as_array)
        .is_some_and(|capabilities| capabilities.iter().any(|name| name == "cp1"));
    let is_answered = || claims.get(ANSWERED_CHALLENGE).and_then(Value::as_str) == event.as_deref();
    match (is_active(core, &claims), is_capable) {
        // A client that promised nothing keeps its token to the end: that is why it lives shorter.
        (true, false) => granted(&claims),
        (true, true) if event.is_none() || is_answered() => granted(&claims),
        (_, true) => {
            let since = event.unwrap_or_else(|| core.clock.unix_seconds().to_string());
            let wanted = json!({ "access_token": { "nbf": { "essential": true, "value": since } } });
            let encoded = STANDARD.encode(wanted.to_string());
            let why = format!("error=\"insufficient_claims\", claims=\"{encoded}\"");
            refuse(core, request, &why)
        }
        (false, false) => refuse(core, request, "error=\"invalid_token\""),
    }
}

/// Whether a token of these claims is unexpired by this authority's clock, and of no revoked family.
pub(super) fn is_active(core: &Core, claims: &Claims) -> bool {
    let number = |name: &str| claims.get(name).and_then(Value::as_u64);
    let unexpired = number("exp").is_some_and(|expires_at| expires_at > core.clock.unix_seconds());
    let family = number("sid").and_then(FamilyId::from_claim);
    unexpired && !family.is_some_and(|family| core.state().families.is_revoked(family))
}

fn event(core: &Core, claims: &Claims) -> Option<String> {
    let user = claims.get("preferred_username")?.as_str()?;
    core.state().access_events.get(user).map(u64::to_string)
}

fn granted(claims: &Claims) -> Reply {
    Reply::json(
        200,
        &json!({ "user": claims.get("preferred_username"), "acrs": claims.get("acrs") }),
    )
}

fn refuse(core: &Core, request: &IncomingRequest, why: &str) -> Reply {
    let challenge = format!(
        "Bearer realm=\"\", authorization_uri=\"{}/common/oauth2/authorize\", {why}",
        core.base_url
    );
    let error = if request.bearer.is_some() {
        "the token is refused"
    } else {
        "a token is needed"
    };
    Reply::json(
        401,
        &json!({ "error": { "code": "InvalidAuthenticationToken", "message": error } }),
    )
    // A second scheme in a header of its own, as resources behind other gates have it.
    .header(WWW_AUTHENTICATE, "Negotiate")
    .header(WWW_AUTHENTICATE, challenge)
}
