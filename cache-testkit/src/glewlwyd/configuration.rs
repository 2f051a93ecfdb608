//! What the provider is told: its file, and over its own interface the plugin, scopes, people and clients.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    ALICE, BOB, CLI_CLIENT_ID, Options, PASSWORD, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET,
    SERVICE_PRIVATE_KEY, numbered_user,
};

/// Where the modules and the script that makes the database are installed.
pub(super) const MODULES: &str = "/usr/lib/glewlwyd";
pub(super) const DATABASE_SCRIPT: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";

/// Where a browser is sent back to.
pub(super) const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";

/// The configuration file. The names of certificates are read even where TLS is off, so they must be there.
pub(super) fn file(port: u16, database: &Path) -> String {
    format!(
        r#"port={port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:{port}"
login_url="login.html"
api_prefix="api"
allow_origin="*"
allow_methods="GET, POST, PUT, DELETE, OPTIONS"
allow_headers="Content-Type, Accept, Authorization, DPoP"
expose_headers="Content-Encoding, Authorization"
log_mode="console"
log_level="WARNING"
cookie_secure=0
cookie_same_site="empty"
session_expiration=2419200
session_key="GLEWLWYD2_SESSION_ID"
admin_session_authentication="cookie"
profile_session_authentication="cookie"
allow_multiple_user_per_session=true
login_api_enabled=true
plugin_api_run_enabled=""
add_x_frame_option_header_deny=true
max_post_size=16778240
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="{MODULES}/user"
client_module_path="{MODULES}/client"
user_auth_scheme_module_path="{MODULES}/scheme"
plugin_module_path="{MODULES}/plugin"
use_secure_connection=false
secure_connection_key_file="unused"
secure_connection_pem_file="unused"
secure_connection_ca_file="unused"
hash_algorithm="SHA512"
database={{ type="sqlite3" path="{database}" }}
"#,
        database = database.display()
    )
}

/// The OpenID Connect plugin: strict rotation, and everything that the flows can use.
pub(super) fn plugin(issuer: &str, private_key: &str, public_key: &str, options: &Options) -> Value {
    json!({
        "module": "oidc",
        "name": "oidc",
        "display_name": "OpenID Connect",
        "parameters": {
            "iss": issuer,
            "oauth-as-iss-id": true,
            "jwt-type": "rsa",
            "jwt-key-size": "256",
            "key": private_key,
            "cert": public_key,
            "jwks-show": true,
            "access-token-duration": options.access_token_ttl_seconds,
            "refresh-token-duration": 1_209_600,
            "code-duration": 600,
            "refresh-token-rolling": true,
            "refresh-token-one-use": "always",
            "allow-non-oidc": true,
            "subject-type": "public",
            "name-claim": "mandatory",
            "auth-type-code-enabled": true,
            "auth-type-code-revoke-replayed": true,
            "auth-type-device-enabled": true,
            "auth-type-password-enabled": true,
            "auth-type-client-enabled": true,
            "auth-type-refresh-enabled": true,
            "pkce-allowed": true,
            "pkce-method-plain-allowed": false,
            "introspection-revocation-allowed": true,
            "introspection-revocation-allow-target-client": true,
            "device-authorization-expiration": 600,
            "device-authorization-interval": 1,
            "oauth-dpop-allowed": true,
            "oauth-dpop-iat-duration": 60,
            "oauth-par-allowed": true,
            "oauth-par-required": false,
            "oauth-par-duration": 90,
            "oauth-par-request_uri-prefix": "urn:ietf:params:oauth:request_uri:",
            "request-parameter-allow": true,
            "client-pubkey-parameter": "pubkey",
            "client-jwks-parameter": "jwks",
            "request-maximum-exp": 600,
        },
    })
}

/// The scopes beside `openid`.
pub(super) fn scopes() -> impl Iterator<Item = Value> {
    ["api:read", "api:write", "profile", "offline_access"]
        .into_iter()
        .map(|name| {
            json!({
                "name": name,
                "display_name": name,
                "description": name,
                "password_required": true,
                "password_max_age": 0,
                "scheme": {},
            })
        })
}

/// What the people may grant.
pub(super) const GRANTABLE: &str = "openid profile offline_access api:read api:write";

pub(super) fn users(options: &Options) -> impl Iterator<Item = Value> {
    let named = [(ALICE, "Alice"), (BOB, "Bob")].map(|(username, name)| (username.to_owned(), name));
    let numbered = (0..options.numbered_users).map(|number| (numbered_user(number), "Numbered"));
    named.into_iter().chain(numbered).map(|(username, name)| {
        json!({
            "username": username,
            "name": name,
            "email": format!("{username}@example.test"),
            "password": PASSWORD,
            "enabled": true,
            "scope": GRANTABLE.split(' ').collect::<Vec<_>>(),
        })
    })
}

/// The public half of the key that the confidential client signs assertions with.
pub(super) fn service_public_key() -> Result<String, rcgen::Error> {
    Ok(rcgen::KeyPair::from_pem(SERVICE_PRIVATE_KEY)?.public_key_pem())
}

/// The clients, redirected to the fixed address and to `redirect_uri`.
pub(super) fn clients(redirect_uri: &str, service_public_key: &str) -> impl Iterator<Item = Value> {
    let redirects = json!([REDIRECT_URI, redirect_uri]);
    let user_grants = ["code", "device_authorization", "refresh_token", "password"];
    let service_grants = [user_grants.as_slice(), &["client_credentials"]].concat();
    [
        json!({
            "client_id": CLI_CLIENT_ID,
            "name": CLI_CLIENT_ID,
            "confidential": false,
            "enabled": true,
            "redirect_uri": redirects,
            "authorization_type": user_grants,
            "scope": [],
            "token_endpoint_auth_method": ["none"],
        }),
        json!({
            "client_id": SERVICE_CLIENT_ID,
            "name": SERVICE_CLIENT_ID,
            "confidential": true,
            "client_secret": SERVICE_CLIENT_SECRET,
            "pubkey": service_public_key,
            "enabled": true,
            "redirect_uri": redirects,
            "authorization_type": service_grants,
            "scope": ["api:read", "api:write"],
            "token_endpoint_auth_method": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        }),
    ]
    .into_iter()
}
