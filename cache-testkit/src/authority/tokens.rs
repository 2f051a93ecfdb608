//! Minting: the successful answer of the token endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::claims_request::ClaimsRequest;
use super::directory::{Client, User};
use super::families::FamilyId;
use super::refusal::Refusal;
use super::scopes::RequestedScopes;
use super::signing::Claims;
use super::state::{Core, State};
use super::tenant::Subject;

/// The fields of a successful answer.
pub(super) type TokenReply = Map<String, Value>;

/// Tokens to be issued for a user.
pub(super) struct UserTokens<'a> {
    pub(super) client: &'a Client,
    pub(super) subject: Subject<'a>,
    pub(super) scopes: RequestedScopes,
    pub(super) family: FamilyId,
    pub(super) nonce: Option<String>,
    pub(super) claims: ClaimsRequest,
    /// Whether the request said `client_info=1`.
    pub(super) client_info: bool,
}

/// A token to be issued for the client itself.
pub(super) struct AppToken<'a> {
    pub(super) client: &'a Client,
    pub(super) tenant: String,
    pub(super) scopes: RequestedScopes,
    pub(super) claims: ClaimsRequest,
}

impl UserTokens<'_> {
    pub(super) fn mint(self, core: &Core, state: &mut State) -> Result<TokenReply, Refusal> {
        let now = core.clock.unix_seconds();
        let expires_at = now + state.lifetimes.access_token.as_secs();
        let mut access = envelope(core, state, &self.subject.tenant, now, expires_at);
        extend(
            &mut access,
            json!({
                "aud": self.scopes.resource(),
                "azp": self.client.client_id,
                "azpacr": if self.client.is_confidential() { "1" } else { "0" },
                "oid": self.subject.object_id,
                "sub": pairwise_subject(&self.subject, &self.client.client_id),
                "name": self.subject.user.name,
                "preferred_username": self.subject.user.username,
                "scp": self.scopes.scp(),
                "sid": self.family.claim(),
            }),
        );
        self.claims.reflect(&mut access);

        let mut reply = timed_reply(state);
        reply.insert("scope".to_owned(), self.scopes.granted().into());
        reply.insert("access_token".to_owned(), sign(core, &access)?.into());
        // Entra's public clients get one unasked; MSALs ask always, and oidc clients may not.
        if self.scopes.offline_access || !self.client.is_confidential() {
            let refresh_token = state.opaque.secret("1.rt-");
            let expires_at = now + state.lifetimes.refresh_token.as_secs();
            state.families.add(self.family, refresh_token.clone(), expires_at);
            reply.insert("refresh_token".to_owned(), refresh_token.into());
            if let Some(family) = &self.client.family {
                reply.insert("foci".to_owned(), family.as_str().into());
            }
        }
        if self.scopes.openid {
            reply.insert(
                "id_token".to_owned(),
                self.id_token(core, state, now, expires_at)?.into(),
            );
        }
        let client_info = self.subject.kind.client_info(&self.subject);
        if let Some(client_info) = client_info.filter(|_| self.client_info) {
            reply.insert("client_info".to_owned(), client_info.into());
        }
        Ok(reply)
    }

    fn id_token(&self, core: &Core, state: &mut State, now: u64, expires_at: u64) -> Result<String, Refusal> {
        let mut claims = envelope(core, state, &self.subject.tenant, now, expires_at);
        extend(
            &mut claims,
            json!({
                "aud": self.client.client_id,
                "oid": self.subject.object_id,
                "sub": pairwise_subject(&self.subject, &self.client.client_id),
                "name": self.subject.user.name,
                "preferred_username": self.subject.user.username,
                "email": self.subject.user.username,
            }),
        );
        self.subject.kind.adapt_id_token(core, &self.subject, &mut claims);
        if let Some(nonce) = &self.nonce {
            claims.insert("nonce".to_owned(), nonce.as_str().into());
        }
        sign(core, &claims)
    }
}

impl AppToken<'_> {
    pub(super) fn mint(self, core: &Core, state: &mut State) -> Result<TokenReply, Refusal> {
        let now = core.clock.unix_seconds();
        let expires_at = now + state.lifetimes.access_token.as_secs();
        let principal = stable_guid(&[&self.client.client_id, &self.tenant]);
        let mut access = envelope(core, state, &self.tenant, now, expires_at);
        extend(
            &mut access,
            json!({
                "aud": self.scopes.resource(),
                "azp": self.client.client_id,
                "azpacr": "1",
                "idtyp": "app",
                "oid": principal,
                "sub": principal,
                "roles": ["Tasks.Read.All"],
            }),
        );
        self.claims.reflect(&mut access);
        // Entra sends no `scope` here, and neither a refresh token nor an ID token.
        let mut reply = timed_reply(state);
        reply.insert("access_token".to_owned(), sign(core, &access)?.into());
        Ok(reply)
    }
}

/// `client_info`: base64url of JSON with the home account's `uid` and `utid`.
pub(super) fn client_info(user: &User) -> String {
    URL_SAFE_NO_PAD.encode(json!({ "uid": user.object_id, "utid": user.home_tenant }).to_string())
}

/// Signs claims.
pub(super) fn sign(core: &Core, claims: &Claims) -> Result<String, Refusal> {
    core.signing
        .sign(claims)
        .map_err(|error| Refusal::internal(&error))
}

/// The issuer of tokens of one tenant.
pub(super) fn issuer(core: &Core, tenant: &str) -> String {
    format!("{}/{tenant}/v2.0", core.base_url)
}

/// The claims that every token has.
fn envelope(core: &Core, state: &mut State, tenant: &str, now: u64, expires_at: u64) -> Claims {
    let mut claims = Claims::new();
    extend(
        &mut claims,
        json!({
            "iss": issuer(core, tenant),
            "iat": now,
            "nbf": now,
            "exp": expires_at,
            "tid": tenant,
            "ver": "2.0",
            // Unique per token, so that two tokens minted within a second differ.
            "uti": state.opaque.secret(""),
        }),
    );
    claims
}

/// The fields that every successful answer begins with.
fn timed_reply(state: &State) -> TokenReply {
    let lifetimes = &state.lifetimes;
    let mut reply = TokenReply::new();
    reply.insert("token_type".to_owned(), "Bearer".into());
    reply.insert("expires_in".to_owned(), lifetimes.access_token.as_secs().into());
    if let Some(extended) = lifetimes.extended {
        reply.insert("ext_expires_in".to_owned(), extended.as_secs().into());
    }
    if let Some(refresh_in) = lifetimes.refresh_in {
        reply.insert("refresh_in".to_owned(), refresh_in.as_secs().into());
    }
    reply
}

/// Entra's `sub` differs from client to client, unlike `oid`.
fn pairwise_subject(subject: &Subject<'_>, client_id: &str) -> String {
    let digest = Sha256::new()
        .chain_update(subject.tenant.as_bytes())
        .chain_update(subject.object_id.as_bytes())
        .chain_update(client_id.as_bytes())
        .finalize();
    URL_SAFE_NO_PAD.encode(digest)
}

/// A GUID that is always the same for the same parts.
fn stable_guid(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n"));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

fn extend(claims: &mut Claims, more: Value) {
    if let Value::Object(more) = more {
        claims.extend(more);
    }
}
