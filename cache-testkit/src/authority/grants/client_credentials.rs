//! Tokens for the client itself.

use super::super::refusal::Refusal;
use super::super::tenant::TenantPath;
use super::super::token_endpoint::TokenRequest;
use super::super::tokens::{AppToken, TokenReply};

pub(crate) fn client_credentials(request: TokenRequest<'_>) -> Result<TokenReply, Refusal> {
    if !request.client.is_confidential() {
        let text = "A public client cannot ask for tokens of its own.";
        return Err(Refusal::invalid_client(7_000_218, text));
    }
    let (TenantPath::Tenant(tenant) | TenantPath::B2c { tenant, .. }) = &request.tenant else {
        let text = "The grant type is not supported over the /common, /organizations or /consumers \
                    endpoints. Use a tenant-specific endpoint.";
        return Err(Refusal::invalid_request(9_001_023, text));
    };
    let scope = request.parameter("scope")?;
    if !scope.ends_with("/.default") {
        let text = format!("The provided value for scope {scope} is not valid; it must end in '/.default'.");
        return Err(Refusal::new("invalid_scope", 1_002_012, text));
    }
    let token = AppToken {
        client: request.client,
        tenant: tenant.clone(),
        scopes: request.scopes()?,
        claims: request.claims.clone(),
    };
    token.mint(request.core, &mut request.core.state())
}
