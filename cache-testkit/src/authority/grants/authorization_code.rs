//! Redeeming an authorization code, with PKCE.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::super::authorize::AuthorizationCode;
use super::super::families::FamilyId;
use super::super::refusal::Refusal;
use super::super::token_endpoint::TokenRequest;
use super::super::tokens::{TokenReply, UserTokens};
use super::known_user;

pub(crate) fn authorization_code(request: TokenRequest<'_>) -> Result<TokenReply, Refusal> {
    let code = request.parameter("code")?;
    let mut guard = request.core.state();
    let state = &mut *guard;
    let row = state.codes.get_mut(code).ok_or_else(|| {
        Refusal::invalid_grant(9_002_313, "Invalid request. Request is malformed or invalid.")
    })?;
    if row.client_id != request.client.client_id {
        let text = "The provided authorization code was issued to another client.";
        return Err(Refusal::invalid_grant(700_005, text));
    }
    if let Some(family) = row.redeemed {
        // Somebody else may have redeemed it, so what it brought is withdrawn (RFC 6749 section 4.1.2).
        state.families.revoke(family);
        let text = "OAuth2 Authorization code was already redeemed, please retry with a new valid code.";
        return Err(Refusal::invalid_grant(54_005, text));
    }
    check(&request, row)?;

    let user = known_user(&request, &row.username)?;
    let scopes = request.scopes_or(&row.scopes)?;
    let subject = request.tenant.subject(user)?;
    let family: FamilyId = state
        .families
        .begin(&user.username, request.client, &scopes.all());
    row.redeemed = Some(family);
    let nonce = row.nonce.clone();
    // A claims request may come with either leg; the later one wins.
    let claims = match request.request.parameters.get("claims") {
        Some(_) => request.claims.clone(),
        None => row.claims.clone(),
    };
    let client_info = request.client_info();
    let tokens = UserTokens {
        client: request.client,
        subject,
        scopes,
        family,
        nonce,
        claims,
        client_info,
    };
    tokens.mint(request.core, state)
}

fn check(request: &TokenRequest<'_>, row: &AuthorizationCode) -> Result<(), Refusal> {
    if row.expires_at <= request.core.clock.unix_seconds() {
        let text = "The provided authorization code has expired.";
        return Err(Refusal::invalid_grant(70_008, text));
    }
    if request.parameter("redirect_uri")? != row.redirect_uri {
        let text = "The reply address does not match the one of the authorization request.";
        return Err(Refusal::invalid_grant(500_112, text));
    }
    match (&row.challenge, request.request.parameters.get("code_verifier")) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) => {
            let matches = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == *challenge;
            let text = "The code_verifier does not match the code_challenge supplied in the authorization \
                        request.";
            matches
                .then_some(())
                .ok_or_else(|| Refusal::invalid_grant(501_481, text))
        }
        (Some(_), None) => Err(Refusal::missing_parameter("code_verifier")),
        // A verifier without a challenge: the challenge was stripped on the way (RFC 9700 section 4.8.2).
        (None, Some(_)) => {
            let text = "A code_verifier was sent, but the authorization request had no code_challenge.";
            Err(Refusal::invalid_grant(501_481, text))
        }
    }
}
