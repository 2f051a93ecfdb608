//! The token endpoint: authenticates the client, hands the request to its grant, alters a scripted answer.

use serde_json::Value;

use super::claims_request::ClaimsRequest;
use super::client_authentication::authenticate;
use super::directory::Client;
use super::dpop;
use super::grants;
use super::refusal::Refusal;
use super::request::IncomingRequest;
use super::scopes::RequestedScopes;
use super::script::Alteration;
use super::state::Core;
use super::statistics::Grant;
use super::tenant::TenantPath;
use super::tokens::{TokenReply, client_info, sign};

/// What every grant needs to know of a request.
pub(super) struct TokenRequest<'a> {
    pub(super) core: &'a Core,
    pub(super) request: &'a IncomingRequest,
    pub(super) tenant: TenantPath,
    pub(super) client: &'a Client,
    pub(super) claims: ClaimsRequest,
}

impl TokenRequest<'_> {
    pub(super) fn parameter(&self, name: &str) -> Result<&str, Refusal> {
        self.request.parameters.required(name)
    }

    /// The scopes of the request.
    pub(super) fn scopes(&self) -> Result<RequestedScopes, Refusal> {
        RequestedScopes::parse(self.request.parameters.words("scope"))
    }

    /// The scopes of the request or, if it names none, those of the original grant (RFC 6749 section 6).
    pub(super) fn scopes_or(&self, original: &[String]) -> Result<RequestedScopes, Refusal> {
        if self.request.parameters.get("scope").is_some() {
            return self.scopes();
        }
        RequestedScopes::parse(original.iter().map(String::as_str))
    }

    /// Whether the client asked for `client_info`.
    pub(super) fn client_info(&self) -> bool {
        self.request.parameters.get("client_info") == Some("1")
    }
}

/// Answers one token request.
pub(super) fn token(
    core: &Core,
    request: &IncomingRequest,
    alterations: &[Alteration],
) -> Result<TokenReply, Refusal> {
    let grant_type = request.parameters.required("grant_type")?;
    let grant = Grant::parse(grant_type).ok_or_else(|| {
        let text = format!("The app requested an unsupported grant type '{grant_type}'.");
        Refusal::new("unsupported_grant_type", 70_003, text)
    })?;
    let client = authenticate(core, request)?;
    let key = dpop::proven_key(core, request)?;
    dpop::check_binding(core, request, grant, key.as_deref())?;
    let request = TokenRequest {
        core,
        request,
        tenant: TenantPath::parse(&request.tenant, &core.directory)?,
        client,
        claims: ClaimsRequest::parse(request.parameters.get("claims"))?,
    };
    let reply = match grant {
        Grant::AuthorizationCode => grants::authorization_code(request),
        Grant::DeviceCode => grants::device_code(request),
        Grant::RefreshToken => grants::refresh_token(request),
        Grant::ClientCredentials => grants::client_credentials(request),
        Grant::Password => grants::password(request),
        Grant::OnBehalfOf => grants::on_behalf_of(request),
    };
    let mut reply = reply?;
    if let Some(key) = key {
        dpop::bind(core, client, &mut reply, &key)?;
    }
    let reply = altered(core, reply, alterations)?;
    core.state().record.issued(grant);
    Ok(reply)
}

/// A successful answer as a script wants it.
pub(super) fn altered(
    core: &Core,
    mut reply: TokenReply,
    alterations: &[Alteration],
) -> Result<TokenReply, Refusal> {
    for alteration in alterations {
        match alteration {
            Alteration::Set(field, value) => {
                reply.insert(field.clone(), value.clone());
            }
            Alteration::Omit(field) => {
                reply.remove(field);
            }
            Alteration::AsString(field) => {
                if let Some(value) = reply.get_mut(field).filter(|value| value.is_number()) {
                    *value = Value::String(value.to_string());
                }
            }
            Alteration::IdTokenClaim(claim, value) => {
                let id_token = reply.get("id_token").and_then(Value::as_str);
                if let Some(mut claims) = id_token.and_then(|token| core.signing.verified_claims(token)) {
                    match value {
                        Value::Null => claims.remove(claim),
                        value => claims.insert(claim.clone(), value.clone()),
                    };
                    reply.insert("id_token".to_owned(), sign(core, &claims)?.into());
                }
            }
            Alteration::IdTokenSignature => {
                let id_token = reply.get("id_token").and_then(Value::as_str);
                if let Some((signed, _)) = id_token.and_then(|token| token.rsplit_once('.')) {
                    let spoiled = format!("{signed}.{}", "A".repeat(342));
                    reply.insert("id_token".to_owned(), spoiled.into());
                }
            }
            Alteration::ClientInfoOf(username) => {
                let user = core.directory.user(username).ok_or_else(|| {
                    Refusal::internal(&format!("a script names the user {username}, who does not exist"))
                })?;
                reply.insert("client_info".to_owned(), client_info(user).into());
            }
        }
    }
    Ok(reply)
}
