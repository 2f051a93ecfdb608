//! What the authority was asked, for tests to look at afterwards.

use std::collections::BTreeMap;
use std::fmt;

/// What a request is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/common/discovery/instance`: which hosts belong together.
    InstanceDiscovery,
    /// `/{tenant}/v2.0/.well-known/openid-configuration`.
    OpenIdConfiguration,
    /// `/{tenant}/discovery/v2.0/keys`: the public keys (JWKS).
    Keys,
    /// `/{tenant}/oauth2/v2.0/authorize`.
    Authorize,
    /// `/{tenant}/oauth2/v2.0/token`.
    Token,
    /// `/{tenant}/oauth2/v2.0/devicecode`.
    DeviceCode,
    /// `/devicelogin`: the page on which a person approves a device code.
    DeviceApproval,
    /// `/{tenant}/oauth2/v2.0/revoke` (RFC 7009), with [`super::Config::revocation`]. Entra itself has none.
    Revocation,
    /// `/{tenant}/oauth2/v2.0/logout`.
    Logout,
    /// `/common/userrealm/{username}`: whether a user is federated. MSALs ask before a password grant.
    UserRealm,
    /// Anything else; answered 404.
    Unknown,
}

impl Endpoint {
    /// Whether requests must be a POST of a form.
    pub(super) fn takes_secrets(self) -> bool {
        matches!(self, Self::Token | Self::DeviceCode | Self::Revocation)
    }
}

/// The grant type of a SAML 2.0 assertion (RFC 7522).
pub(super) const SAML2_BEARER: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";

/// A grant type of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// `authorization_code` (RFC 6749 section 4.1.3).
    AuthorizationCode,
    /// `urn:ietf:params:oauth:grant-type:device_code` (RFC 8628), and `device_code` as MSAL Node writes it.
    DeviceCode,
    /// `refresh_token` (RFC 6749 section 6).
    RefreshToken,
    /// `client_credentials` (RFC 6749 section 4.4).
    ClientCredentials,
    /// `password` (RFC 6749 section 4.3).
    Password,
    /// Entra's on-behalf-of: `urn:ietf:params:oauth:grant-type:jwt-bearer`, and `…:saml2-bearer` for a SAML assertion.
    OnBehalfOf,
}

impl Grant {
    /// The grant that a `grant_type` names.
    pub(super) fn parse(grant_type: &str) -> Option<Self> {
        Some(match grant_type {
            "authorization_code" => Self::AuthorizationCode,
            "urn:ietf:params:oauth:grant-type:device_code" | "device_code" => Self::DeviceCode,
            "refresh_token" => Self::RefreshToken,
            "client_credentials" => Self::ClientCredentials,
            "password" => Self::Password,
            "urn:ietf:params:oauth:grant-type:jwt-bearer" | SAML2_BEARER => Self::OnBehalfOf,
            _ => return None,
        })
    }
}

/// How often a grant was asked for. Scripted answers count as requests, and as refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantCount {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests for which tokens were issued, whether the answer arrived or not.
    pub issued: u64,
}

/// A refresh-token family: every token that descends from one sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FamilyStatistics {
    /// Who signed in.
    pub username: String,
    /// The client that the user signed in to.
    pub client_id: String,
    /// How often one of the family's tokens was exchanged for new ones.
    pub refreshes: u64,
    /// How often a token was used again after it was spent, under [`super::Rotation::Strict`].
    pub reuses: u64,
    /// Whether the family is revoked.
    pub revoked: bool,
}

/// One request that arrived, without its secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// What the request was addressed to.
    pub endpoint: Endpoint,
    /// The path, without the query.
    pub path: String,
    /// The grant, at the token endpoint.
    pub grant: Option<Grant>,
    /// The client ID, from the form, the query or the HTTP basic credentials.
    pub client_id: Option<String>,
    /// The scopes, in the order in which they came.
    pub scopes: Vec<String>,
    /// Whether a `claims` parameter was there.
    pub has_claims: bool,
    /// The names of the headers, in lower case.
    pub header_names: Vec<String>,
    pub(super) parameters: Vec<(String, String)>,
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("RecordedRequest")
            .field("endpoint", &self.endpoint)
            .field("path", &self.path)
            .field("grant", &self.grant)
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes)
            .field("header_names", &self.header_names)
            .field("parameter_names", &names)
            .finish()
    }
}

/// The running record.
#[derive(Default)]
pub(super) struct Record {
    pub(super) requests: Vec<RecordedRequest>,
    pub(super) grants: BTreeMap<Grant, GrantCount>,
}

impl Record {
    pub(super) fn arrived(&mut self, request: RecordedRequest) {
        if let Some(grant) = request.grant {
            self.grants.entry(grant).or_default().requests += 1;
        }
        self.requests.push(request);
    }

    pub(super) fn issued(&mut self, grant: Grant) {
        self.grants.entry(grant).or_default().issued += 1;
    }
}
