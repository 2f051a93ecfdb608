//! Exchanging a user's token for this service for one for the next service.

use super::super::client_authentication::audiences;
use super::super::families::FamilyId;
use super::super::refusal::Refusal;
use super::super::saml;
use super::super::signing::Claims;
use super::super::statistics::SAML2_BEARER;
use super::super::token_endpoint::TokenRequest;
use super::super::tokens::TokenReply;
use super::{known_user, sign_in};

pub(crate) fn on_behalf_of(request: TokenRequest<'_>) -> Result<TokenReply, Refusal> {
    let core = request.core;
    if request.parameter("requested_token_use")? != "on_behalf_of" {
        let text = "The only supported value of 'requested_token_use' is 'on_behalf_of'.";
        return Err(Refusal::invalid_request(90_023, text));
    }
    if !request.client.is_confidential() {
        let text = "Only a confidential client can act on behalf of a user.";
        return Err(Refusal::invalid_client(7_000_218, text));
    }
    let claims = checked_assertion(&request)?;
    let username = claims
        .get("preferred_username")
        .and_then(|username| username.as_str());
    let username = username
        .ok_or_else(|| Refusal::invalid_grant(50_013, "The assertion is not the token of a user."))?;
    let user = known_user(&request, username)?;
    request.parameter("scope")?;
    let scopes = request.scopes()?;
    sign_in(request, &mut core.state(), user, scopes, None)
}

/// The claims of an assertion that this authority signed for this client and that is still good.
fn checked_assertion(request: &TokenRequest<'_>) -> Result<Claims, Refusal> {
    let refused = |why: &str| {
        let text = format!("Assertion failed validation: {why}.");
        Err(Refusal::invalid_grant(50_013, text))
    };
    let core = request.core;
    let assertion = request.parameter("assertion")?;
    let verified = if request.parameter("grant_type")? == SAML2_BEARER {
        saml::verified_claims(core, assertion)
    } else {
        let claims = core.signing.verified_claims(assertion);
        claims.filter(|claims| !saml::is_saml(claims))
    };
    let Some(claims) = verified else {
        return refused("its signature does not verify");
    };
    let identifier = format!("api://{}", request.client.client_id);
    if !audiences(&claims).any(|audience| audience == request.client.client_id || audience == identifier) {
        return refused("its audience is not the client that presents it");
    }
    // An ID token also names the client as its audience, and must not open the door.
    if !claims.contains_key("scp") {
        return refused("it is not an access token");
    }
    let number = |name: &str| claims.get(name).and_then(|value| value.as_u64());
    if number("exp").is_none_or(|expires_at| expires_at <= core.clock.unix_seconds()) {
        return refused("it has expired");
    }
    let family = number("sid").and_then(FamilyId::from_claim);
    if family.is_some_and(|family| core.state().families.is_revoked(family)) {
        return refused("it has been revoked");
    }
    Ok(claims)
}
