//! SAML 2.0 assertions, as far as an on-behalf-of request needs one: an XML element around a signed statement.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::AuthorityError;
use super::signing::Claims;
use super::state::Core;

const BEGIN: &str = "<SignatureValue>";
const END: &str = "</SignatureValue>";

/// An assertion about `username` for `audience`.
pub(super) fn assertion(
    core: &Core,
    username: &str,
    audience: &str,
    lifetime: Duration,
) -> Result<String, AuthorityError> {
    let expires_at = core.clock.unix_seconds() + lifetime.as_secs();
    let statement = json!({
        "saml": true,
        "aud": audience,
        "scp": "user_impersonation",
        "preferred_username": username,
        "exp": expires_at,
    });
    let statement: Claims = statement.as_object().cloned().unwrap_or_default();
    let signature = core.signing.sign(&statement)?;
    Ok(format!(
        "<Assertion xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\" Version=\"2.0\"><Subject><NameID>{username}</NameID></Subject>\
         <Conditions><AudienceRestriction><Audience>{audience}</Audience></AudienceRestriction></Conditions>\
         {BEGIN}{signature}{END}</Assertion>"
    ))
}

/// What the assertion in base64url says, if this authority signed it.
pub(super) fn verified_claims(core: &Core, encoded: &str) -> Option<Claims> {
    let xml = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    let (_, rest) = xml.split_once(BEGIN)?;
    let (signature, _) = rest.split_once(END)?;
    core.signing.verified_claims(signature).filter(is_saml)
}

/// Whether a statement is that of a SAML assertion, and no token by itself.
pub(super) fn is_saml(claims: &Claims) -> bool {
    claims.get("saml").and_then(serde_json::Value::as_bool) == Some(true)
}
