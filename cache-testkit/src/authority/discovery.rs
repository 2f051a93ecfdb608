//! Instance discovery, the OpenID configuration, the public keys and the user realm.

use serde_json::{Value, json};
use url::Url;

use super::refusal::Refusal;
use super::request::IncomingRequest;
use super::state::Core;
use super::tenant::TenantPath;

/// The public cloud's hosts, which stand for one another.
const PUBLIC_CLOUD: [&str; 4] = [
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoft.com",
    "sts.windows.net",
];

/// Which hosts belong together, and where the tenant of an authorization endpoint is discovered. A host that
/// is neither this authority's nor the public cloud's is refused, which is what protects a client from a
/// made-up authority.
pub(super) fn instance(core: &Core, request: &IncomingRequest) -> Result<Value, Refusal> {
    let asked = Url::parse(request.parameters.required("authorization_endpoint")?)
        .map_err(|_| Refusal::invalid_request(90_013, "The authorization endpoint is not an address."))?;
    let own = own_aliases(core);
    let host = asked.host_str().unwrap_or_default();
    let groups = &core.alias_groups;
    let is_configured = groups
        .iter()
        .any(|group| group.aliases.iter().any(|alias| alias == host));
    if !own.iter().any(|alias| alias == host) && !PUBLIC_CLOUD.contains(&host) && !is_configured {
        let text = "Invalid instance. The host of the authorization endpoint is not known.";
        return Err(Refusal::new("invalid_instance", 50_049, text));
    }
    let tenant = asked
        .path_segments()
        .and_then(|mut segments| segments.next())
        .unwrap_or("common");
    let tenant = TenantPath::parse(tenant, &core.directory)?;
    let mut metadata = vec![
        json!({ "preferred_network": own.first(), "preferred_cache": own.first(), "aliases": own }),
        json!({
            "preferred_network": "login.microsoftonline.com",
            "preferred_cache": "login.windows.net",
            "aliases": PUBLIC_CLOUD,
        }),
    ];
    metadata.extend(groups.iter().map(|group| {
        json!({
            "preferred_network": group.preferred_network,
            "preferred_cache": group.preferred_cache,
            "aliases": group.aliases,
        })
    }));
    Ok(json!({
        "tenant_discovery_endpoint":
            format!("{}/{}/v2.0/.well-known/openid-configuration", core.base_url, tenant.segment()),
        "api-version": "1.1",
        "metadata": metadata,
    }))
}

/// The OpenID configuration of one tenant, or of the many that `common` stands for.
pub(super) fn openid_configuration(core: &Core, request: &IncomingRequest) -> Result<Value, Refusal> {
    let tenant = TenantPath::parse(&request.tenant, &core.directory)?;
    let kind = tenant.kind();
    let endpoint = |last: &str| format!("{}/{}/{}", core.base_url, tenant.segment(), kind.path(last));
    let mut document = json!({
        "issuer": kind.issuer(core, tenant.issuer_segment()),
        "authorization_endpoint": endpoint("authorize"),
        "token_endpoint": endpoint("token"),
        "device_authorization_endpoint": endpoint("devicecode"),
        "end_session_endpoint": endpoint("logout"),
        "jwks_uri": endpoint("keys"),
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported":
            ["sub", "iss", "aud", "exp", "iat", "nbf", "nonce", "tid", "oid", "ver", "name",
             "preferred_username", "email"],
        "request_uri_parameter_supported": false,
        "tenant_region_scope": null,
        "cloud_instance_name": "microsoftonline.com",
    });
    if core.revocation {
        document["revocation_endpoint"] = endpoint("revoke").into();
    }
    Ok(document)
}

/// The public keys. Each names, as Entra's do, the issuer whose tokens it may sign.
pub(super) fn keys(core: &Core, request: &IncomingRequest) -> Result<Value, Refusal> {
    TenantPath::parse(&request.tenant, &core.directory)?;
    let issuer = format!("{}/{{tenantid}}/v2.0", core.base_url);
    Ok(json!({ "keys": [core.signing.public_jwk(&issuer)] }))
}

/// No user here is federated, so MSALs go on with the password grant.
pub(super) fn user_realm(request: &IncomingRequest) -> Value {
    let username = request.path.rsplit('/').next().unwrap_or_default();
    json!({ "ver": "1.0", "account_type": "Managed", "domain_name": username.split('@').next_back() })
}

/// The names of this authority: MSAL Python drops the port from its environment, Node keeps it.
fn own_aliases(core: &Core) -> Vec<String> {
    let authority = core
        .base_url
        .split_once("://")
        .map_or("", |(_, authority)| authority);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    vec![authority.to_owned(), host.to_owned()]
}
