//! A request as the authority reads it: address, parameters and the few headers that matter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};

use super::refusal::Refusal;
use super::statistics::{Endpoint, Grant, RecordedRequest};

/// The longest body that is read, in bytes.
const MAX_BODY: usize = 1024 * 1024;
const FORM: &str = "application/x-www-form-urlencoded";

/// A request whose body has arrived.
#[derive(Clone)]
pub(super) struct IncomingRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) endpoint: Endpoint,
    /// What the path has before the endpoint: the tenant, or what stands in its place.
    pub(super) tenant: String,
    /// The form and, at the endpoints that a browser visits, the query.
    pub(super) parameters: Parameters,
    /// Client ID and secret from HTTP basic authentication.
    pub(super) basic: Option<(String, String)>,
    /// The access token that is shown to the resource.
    pub(super) bearer: Option<String>,
    /// The `client-request-id` header, echoed in errors.
    pub(super) correlation_id: Option<String>,
    /// Every `DPoP` header.
    pub(super) proofs: Vec<String>,
    header_names: Vec<String>,
}

impl IncomingRequest {
    pub(super) async fn read(request: hyper::Request<Incoming>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let unreadable = |_| Refusal::invalid_request(90_014, "The request body is too long or incomplete.");
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(unreadable)?
            .to_bytes();

        let header = |name: &str| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
        let path = parts.uri.path().to_owned();
        let (endpoint, tenant) = route(&path);
        let mut parameters = Parameters::default();
        // A secret in an address ends up in logs, so the endpoints that take secrets read forms only.
        if !endpoint.takes_secrets() {
            parameters.extend(parts.uri.query().unwrap_or_default().as_bytes());
        }
        if header(CONTENT_TYPE.as_str()).is_some_and(|value| value.starts_with(FORM)) {
            parameters.extend(&body);
        }
        Ok(Self {
            endpoint,
            tenant: tenant.to_owned(),
            path,
            parameters,
            basic: header(AUTHORIZATION.as_str()).and_then(|value| basic_credentials(&value)),
            bearer: header(AUTHORIZATION.as_str())
                .and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned())),
            correlation_id: header("client-request-id"),
            proofs: parts
                .headers
                .get_all("dpop")
                .iter()
                .map(|value| value.to_str().unwrap_or_default().to_owned())
                .collect(),
            header_names: parts
                .headers
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect(),
            method: parts.method,
        })
    }

    pub(super) fn grant(&self) -> Option<Grant> {
        if self.endpoint != Endpoint::Token {
            return None;
        }
        Grant::parse(self.parameters.get("grant_type")?)
    }

    /// The same request with other parameters.
    pub(super) fn with_parameters(&self, parameters: Parameters) -> Self {
        Self {
            parameters,
            ..self.clone()
        }
    }

    pub(super) fn client_id(&self) -> Option<&str> {
        self.parameters
            .get("client_id")
            .or(self.basic.as_ref().map(|(client_id, _)| client_id.as_str()))
    }

    pub(super) fn record(&self) -> RecordedRequest {
        RecordedRequest {
            endpoint: self.endpoint,
            path: self.path.clone(),
            grant: self.grant(),
            client_id: self.client_id().map(str::to_owned),
            scopes: self.parameters.words("scope").map(str::to_owned).collect(),
            has_claims: self.parameters.get("claims").is_some(),
            header_names: self.header_names.clone(),
            parameters: self.parameters.0.clone(),
        }
    }
}

/// Form or query parameters, in order. An empty parameter counts as absent (RFC 6749 section 3.1).
#[derive(Clone, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn extend(&mut self, encoded: &[u8]) {
        self.0.extend(url::form_urlencoded::parse(encoded).into_owned());
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// All but what authenticates the client.
    pub(super) fn without_credentials(&self) -> Self {
        let kept = self.0.iter().filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "client_secret" | "client_assertion" | "client_assertion_type"
            )
        });
        Self(kept.cloned().collect())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::missing_parameter(name))
    }

    /// The parts of a space-separated parameter.
    pub(super) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).unwrap_or_default().split_ascii_whitespace()
    }
}

/// Which endpoint a path leads to, and what it has before the endpoint: a tenant, a B2C tenant and policy, or `adfs`.
fn route(path: &str) -> (Endpoint, &str) {
    let path = path.trim_start_matches('/');
    let (prefix, rest) = split_prefix(path);
    let endpoint = match rest {
        "discovery/instance" => Endpoint::InstanceDiscovery,
        // Entra's first path serves a document of its version 1; clients of this authority want version 2.
        "v2.0/.well-known/openid-configuration" | ".well-known/openid-configuration" => {
            Endpoint::OpenIdConfiguration
        }
        "discovery/v2.0/keys" => Endpoint::Keys,
        "oauth2/v2.0/authorize" => Endpoint::Authorize,
        "oauth2/v2.0/token" => Endpoint::Token,
        "oauth2/v2.0/par" => Endpoint::PushedAuthorization,
        "oauth2/v2.0/devicecode" => Endpoint::DeviceCode,
        "oauth2/v2.0/revoke" => Endpoint::Revocation,
        "oauth2/v2.0/logout" => Endpoint::Logout,
        "discovery/keys" if prefix == "adfs" => Endpoint::Keys,
        "oauth2/authorize" if prefix == "adfs" => Endpoint::Authorize,
        "oauth2/token" if prefix == "adfs" => Endpoint::Token,
        "oauth2/devicecode" if prefix == "adfs" => Endpoint::DeviceCode,
        "oauth2/logout" if prefix == "adfs" => Endpoint::Logout,
        "" if prefix == "devicelogin" => Endpoint::DeviceApproval,
        "" if prefix == "resource" => Endpoint::Resource,
        _ if prefix == "common" && rest.starts_with("userrealm/") => Endpoint::UserRealm,
        _ => Endpoint::Unknown,
    };
    (endpoint, prefix)
}

/// B2C's prefix is `tenant/policy` or `tfp/tenant/policy`, where policies begin with `b2c_1`; all others are one segment.
fn split_prefix(path: &str) -> (&str, &str) {
    let is_policy = |segment: &str| {
        segment
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("b2c_1"))
    };
    let policy = path.split('/').take(3).position(is_policy);
    let segments = policy.map_or(1, |position| position + 1);
    let end = path
        .match_indices('/')
        .nth(segments - 1)
        .map_or(path.len(), |(index, _)| index);
    (&path[..end], path[end..].trim_start_matches('/'))
}

/// Client ID and secret of HTTP basic authentication, each form-encoded first (RFC 6749 section 2.3.1).
fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client_id, secret) = decoded.split_once(':')?;
    Some((form_decoded(client_id), form_decoded(secret)))
}

fn form_decoded(encoded: &str) -> String {
    // A bare value is parsed as the name of a parameter without a value; `=` inside it must survive.
    let escaped = encoded.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(escaped.as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_endpoints() {
        assert_eq!(route("/common/oauth2/v2.0/token"), (Endpoint::Token, "common"));
        assert_eq!(
            route("/x/.well-known/openid-configuration"),
            (Endpoint::OpenIdConfiguration, "x")
        );
        assert_eq!(route("/common/userrealm/a@b").0, Endpoint::UserRealm);
        assert_eq!(
            route("/tfp/x/B2C_1_susi/oauth2/v2.0/token"),
            (Endpoint::Token, "tfp/x/B2C_1_susi")
        );
        assert_eq!(
            route("/x/b2c_1_a/v2.0/.well-known/openid-configuration"),
            (Endpoint::OpenIdConfiguration, "x/b2c_1_a")
        );
        assert_eq!(route("/adfs/oauth2/token"), (Endpoint::Token, "adfs"));
        assert_eq!(route("/common/oauth2/token").0, Endpoint::Unknown);
        assert_eq!(route("/devicelogin").0, Endpoint::DeviceApproval);
        assert_eq!(route("/oauth2/v2.0/token").0, Endpoint::Unknown);
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let header = format!("Basic {}", STANDARD.encode("app:p%3Ass+w=rd"));
        assert_eq!(
            basic_credentials(&header),
            Some(("app".to_owned(), "p:ss w=rd".to_owned()))
        );
        assert_eq!(basic_credentials("Bearer x"), None);
    }
}
