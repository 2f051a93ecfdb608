//! Proofs of possession (DPoP, RFC 9449), checked strictly.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::config::Dpop;
use super::directory::Client;
use super::refusal::Refusal;
use super::request::IncomingRequest;
use super::signing::verified_claims;
use super::state::Core;
use super::statistics::Grant;
use super::tokens::{TokenReply, sign};

/// How far a proof's `iat` may be from this authority's clock, in seconds.
const WINDOW: u64 = 60;

/// The private members of RFC 7518 and RFC 8037, none of which belongs into a header.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What is remembered of proofs.
#[derive(Default)]
pub(super) struct ProofState {
    seen: HashSet<String>,
    /// Counts the nonces that were handed out; only the latest is accepted.
    nonce: u64,
}

impl ProofState {
    pub(super) fn nonce(&self) -> String {
        format!("dpop-nonce-{}", self.nonce)
    }

    pub(super) fn renew_nonce(&mut self) {
        self.nonce += 1;
    }
}

/// The thumbprint of the key that the request proves to have; `None` for a request without a proof, or where none is looked at.
pub(super) fn proven_key(core: &Core, request: &IncomingRequest) -> Result<Option<String>, Refusal> {
    if core.dpop == Dpop::Off {
        return Ok(None);
    }
    match &request.proofs[..] {
        [] => Ok(None),
        [proof] => check(core, request, proof).map(Some),
        _ => Err(invalid("there is more than one proof")),
    }
}

/// A refresh token that is bound to a key is good with that key alone.
pub(super) fn check_binding(
    core: &Core,
    request: &IncomingRequest,
    grant: Grant,
    key: Option<&str>,
) -> Result<(), Refusal> {
    let Some(token) = request
        .parameters
        .get("refresh_token")
        .filter(|_| grant == Grant::RefreshToken)
    else {
        return Ok(());
    };
    match core.state().families.key_of(token) {
        Some(bound) if Some(&*bound) != key => Err(Refusal::invalid_grant(
            70_002,
            "The refresh token is bound to another key.",
        )),
        _ => Ok(()),
    }
}

/// Binds what was granted: the access token always, the refresh token of a public client.
pub(super) fn bind(core: &Core, client: &Client, reply: &mut TokenReply, key: &str) -> Result<(), Refusal> {
    reply.insert("token_type".to_owned(), "DPoP".into());
    let access_token = reply.get("access_token").and_then(Value::as_str);
    if let Some(mut claims) = access_token.and_then(|token| core.signing.verified_claims(token)) {
        claims.insert("cnf".to_owned(), json!({ "jkt": key }));
        reply.insert("access_token".to_owned(), sign(core, &claims)?.into());
    }
    if let (false, Some(token)) = (
        client.is_confidential(),
        reply.get("refresh_token").and_then(Value::as_str),
    ) {
        core.state().families.bind(token, key);
    }
    Ok(())
}

fn check(core: &Core, request: &IncomingRequest, proof: &str) -> Result<String, Refusal> {
    let header = proof.split('.').next().unwrap_or_default();
    let header: Map<String, Value> = URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| invalid("its header is not JSON"))?;
    if header.get("typ") != Some(&"dpop+jwt".into()) || header.get("alg") != Some(&"ES256".into()) {
        return Err(invalid("its type or its algorithm is another"));
    }
    let jwk = header
        .get("jwk")
        .and_then(Value::as_object)
        .filter(|jwk| !PRIVATE.iter().any(|member| jwk.contains_key(*member)))
        .ok_or_else(|| invalid("it has no public key, or a private one"))?;
    let member = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    let (x, y) = (member("x"), member("y"));
    if member("kty") != "EC" || member("crv") != "P-256" {
        return Err(invalid("its key is not on P-256"));
    }
    let key = DecodingKey::from_ec_components(x, y).map_err(|_| invalid("its key is no point"))?;
    let claims =
        verified_claims(proof, Algorithm::ES256, &key).ok_or_else(|| invalid("its signature is wrong"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("htm") != Some(request.method.as_str()) {
        return Err(invalid("it is for another method"));
    }
    if text("htu") != Some(&*format!("{}{}", core.base_url, request.path)) {
        return Err(invalid("it is for another address"));
    }
    let issued_at = claims.get("iat").and_then(Value::as_u64).unwrap_or_default();
    if issued_at.abs_diff(core.clock.unix_seconds()) > WINDOW {
        return Err(invalid("it is not of now"));
    }
    let mut state = core.state();
    let proofs = &mut state.proofs;
    if core.dpop == Dpop::WithNonce && text("nonce") != Some(&*proofs.nonce()) {
        return Err(Refusal::new(
            "use_dpop_nonce",
            0,
            "The proof must carry the nonce of this server.",
        ));
    }
    let jti = text("jti")
        .filter(|jti| !jti.is_empty())
        .ok_or_else(|| invalid("it has no jti"))?;
    if !proofs.seen.insert(jti.to_owned()) {
        return Err(invalid("it was seen before"));
    }
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(
        "invalid_dpop_proof",
        0,
        format!("The DPoP proof is refused: {why}."),
    )
}
