//! What an authority says of itself: its issuer and its endpoints.

use cache_core::schema::{AuthorityKind, environment};
use url::Url;

use super::{Authority, IssuerRule, TenantPolicy};
use crate::correlation::is_guid;
use crate::error::{DiscoveryError, DiscoveryErrorKind};
use crate::http::{host_and_port, is_allowed_url, is_loopback};
use crate::response::Fields;

/// An authority's issuer, endpoints and abilities (OIDC Discovery section 3, RFC 8414 section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Which `iss` values are its own.
    pub issuer: IssuerRule,
    /// Where tokens are granted.
    pub token_endpoint: Url,
    /// Where a browser is sent.
    pub authorization_endpoint: Option<Url>,
    /// Where a device asks for a code (RFC 8628).
    pub device_authorization_endpoint: Option<Url>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// Its signing keys.
    pub jwks_uri: Option<Url>,
    /// Where a browser is sent to sign out.
    pub end_session_endpoint: Option<Url>,
    /// Whether authorization responses carry `iss` (RFC 9207).
    pub authorization_response_iss: bool,
    /// The names of the ways in which clients may authenticate; `None` when it does not say.
    pub token_endpoint_auth_methods: Option<Vec<String>>,
    /// The names of the algorithms by which clients may sign their assertions; `None` when it does not say.
    pub token_endpoint_auth_signing_algorithms: Option<Vec<String>>,
    /// The names of the PKCE methods; `None` when it does not say.
    pub code_challenge_methods: Option<Vec<String>>,
}

impl Metadata {
    /// What is known without asking: the endpoints of Microsoft's clouds follow a convention. `None` where it
    /// takes discovery, which includes a tenant that is named by its domain: only the authority knows its ID.
    #[must_use]
    pub fn by_convention(authority: &Authority) -> Option<Self> {
        let hosts = environment::aliases(authority.environment());
        let tenant = authority.tenant();
        if authority.kind() != AuthorityKind::Entra
            || hosts.is_empty()
            || !(is_guid(tenant) || authority.is_multi_tenant())
        {
            return None;
        }
        let endpoint = |path: &str| Url::parse(&format!("{}/{path}", authority.url())).ok();
        Some(Self {
            issuer: IssuerRule::of_cloud(hosts, TenantPolicy::of(tenant)),
            token_endpoint: endpoint("oauth2/v2.0/token")?,
            authorization_endpoint: endpoint("oauth2/v2.0/authorize"),
            device_authorization_endpoint: endpoint("oauth2/v2.0/devicecode"),
            revocation_endpoint: None,
            jwks_uri: endpoint("discovery/v2.0/keys"),
            end_session_endpoint: endpoint("oauth2/v2.0/logout"),
            authorization_response_iss: false,
            token_endpoint_auth_methods: None,
            token_endpoint_auth_signing_algorithms: None,
            code_challenge_methods: None,
        })
    }

    /// Reads and checks the metadata document of `authority`.
    pub(crate) fn parse(authority: &Authority, document: &Fields) -> Result<Self, DiscoveryError> {
        let error = |kind| DiscoveryError::new(kind, authority.environment());
        let issuer = document
            .text("issuer")
            .ok_or_else(|| error(DiscoveryErrorKind::Missing("issuer")))?;
        check_issuer(authority, issuer).map_err(error)?;
        let endpoint = |name: &'static str| match document.text(name) {
            None => Ok(None),
            Some(url) => check_endpoint(authority, url)
                .map(Some)
                .ok_or_else(|| error(DiscoveryErrorKind::Endpoint(name))),
        };
        let names = |name: &str| {
            document
                .texts(name)
                .map(|names| names.into_iter().map(str::to_owned).collect())
        };
        Ok(Self {
            issuer: match authority.kind() {
                AuthorityKind::Entra => IssuerRule::of(issuer, TenantPolicy::of(authority.tenant())),
                // Only Entra's shared endpoints issue by a template; elsewhere braces are nothing special.
                _ => IssuerRule::Exact(issuer.to_owned()),
            },
            token_endpoint: endpoint("token_endpoint")?
                .ok_or_else(|| error(DiscoveryErrorKind::Missing("token_endpoint")))?,
            authorization_endpoint: endpoint("authorization_endpoint")?,
            device_authorization_endpoint: endpoint("device_authorization_endpoint")?,
            revocation_endpoint: endpoint("revocation_endpoint")?,
            jwks_uri: endpoint("jwks_uri")?,
            end_session_endpoint: endpoint("end_session_endpoint")?,
            authorization_response_iss: document
                .boolean("authorization_response_iss_parameter_supported")
                .unwrap_or(false),
            token_endpoint_auth_methods: names("token_endpoint_auth_methods_supported"),
            token_endpoint_auth_signing_algorithms: names("token_endpoint_auth_signing_alg_values_supported"),
            code_challenge_methods: names("code_challenge_methods_supported"),
        })
    }

    /// Whether a PKCE challenge by S256 is accepted, as far as it says. Falling back to `plain` or to none is a
    /// downgrade that an attacker could provoke.
    #[must_use]
    pub fn accepts_s256(&self) -> bool {
        self.code_challenge_methods
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|method| method == "S256"))
    }
}

/// Whether a document that came from `authority` may speak for `issuer`.
fn check_issuer(authority: &Authority, issuer: &str) -> Result<(), DiscoveryErrorKind> {
    let mismatch = || DiscoveryErrorKind::Issuer(crate::display_text::display_text(issuer));
    let is_exact = match authority.kind() {
        AuthorityKind::Oidc => Some(issuer == authority.url()),
        // Not the federation trust (`http://HOST/adfs/services/trust`): that is the issuer of its access tokens, which nobody reads.
        AuthorityKind::Adfs => Some(issuer.eq_ignore_ascii_case(authority.url())),
        _ => None,
    };
    if let Some(is_exact) = is_exact {
        return is_exact.then_some(()).ok_or_else(mismatch);
    }
    let url = Url::parse(issuer).map_err(|_| mismatch())?;
    if is_allowed_url(&url).is_err() || !is_own_host(authority, &url) {
        return Err(mismatch());
    }
    // The document of one tenant must not make another tenant's tokens acceptable.
    let named = url
        .path_segments()
        .into_iter()
        .flatten()
        .find(|segment| is_guid(segment));
    // Nor may one External ID tenant's host name another's.
    let label = url.host_str().and_then(|host| host.split('.').next());
    let is_foreign_host =
        authority.kind() == AuthorityKind::Ciam && label.is_some_and(is_guid) && label != named;
    match named {
        _ if is_foreign_host => Err(mismatch()),
        Some(named) if is_guid(authority.tenant()) && !named.eq_ignore_ascii_case(authority.tenant()) => {
            Err(mismatch())
        }
        _ => Ok(()),
    }
}

/// An endpoint that requests may go to. A generic issuer's own document may name other hosts (large providers
/// do); a Microsoft authority's endpoints stay in its cloud.
fn check_endpoint(authority: &Authority, url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    is_allowed_url(&url).ok()?;
    // A remote document must not point requests at whatever listens on this machine.
    if url.fragment().is_some() || (is_loopback(&url) && !authority.is_loopback()) {
        return None;
    }
    (authority.kind() == AuthorityKind::Oidc || is_own_host(authority, &url)).then_some(url)
}

fn is_own_host(authority: &Authority, url: &Url) -> bool {
    authority.is_own_host(&host_and_port(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_core::secret::SecretBytes;

    const A: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const B: &str = "11111111-2222-3333-4444-555555555555";

    fn parse(authority: &str, issuer: &str, token_endpoint: &str) -> Result<Metadata, DiscoveryErrorKind> {
        let document = serde_json::json!({ "issuer": issuer, "token_endpoint": token_endpoint }).to_string();
        let fields = Fields::parse(&SecretBytes::new(document.into_bytes())).unwrap();
        Metadata::parse(&Authority::detect(authority).unwrap(), &fields).map_err(|error| error.kind().clone())
    }

    #[test]
    fn a_generic_issuer_is_compared_as_a_string() {
        let accepted =
            |issuer: &str| parse("https://id.example/a", issuer, "https://tokens.example/t").is_ok();
        assert!(accepted("https://id.example/a"));
        for issuer in [
            "https://id.example/a/",
            "https://ID.example/a",
            "https://id.example/b",
            "https://evil.example",
        ] {
            assert!(!accepted(issuer), "{issuer}");
        }
    }

    #[test]
    fn only_entra_issues_by_a_template() {
        let issuer = |authority: &str, issuer: &str, endpoint: &str| {
            parse(authority, issuer, endpoint).unwrap().issuer
        };
        let template = "https://login.example/{tenantid}/v2.0";
        let entra = issuer(
            "https://login.example/common",
            template,
            "https://login.example/token",
        );
        assert!(entra.check(&template.replace("{tenantid}", A), Some(A)).is_ok());
        let braces = "https://id.example/{tenantid}";
        let oidc = issuer(braces, braces, "https://id.example/token");
        assert!(oidc.check(&format!("https://id.example/{A}"), Some(A)).is_err());
    }

    #[test]
    fn endpoints_are_https_and_of_the_right_host() {
        let oidc = |endpoint: &str| parse("https://id.example", "https://id.example", endpoint).is_ok();
        assert!(oidc("https://id.example/token") && oidc("https://other.example/token?p=1"));
        for endpoint in [
            "http://id.example/token",
            "https://user@id.example/token",
            "https://id.example/token#f",
            "http://127.0.0.1/token",
            "https://[::1]/token",
            "/token",
        ] {
            assert!(!oidc(endpoint), "{endpoint}");
        }
        let local = "http://127.0.0.1:3000";
        assert!(parse(local, local, "http://127.0.0.1:3000/token").is_ok());
        let entra = |endpoint: &str| {
            parse(
                "https://login.microsoftonline.com/contoso.com",
                &format!("https://sts.windows.net/{A}/"),
                endpoint,
            )
        };
        assert!(entra("https://login.microsoftonline.com/x/token").is_ok());
        assert!(entra("https://login.windows.net/x/token").is_ok());
        assert_eq!(
            entra("https://evil.example/token"),
            Err(DiscoveryErrorKind::Endpoint("token_endpoint"))
        );
        assert!(entra("https://login.microsoftonline.us/x/token").is_err());
    }

    #[test]
    fn microsoft_authorities_speak_for_their_own_cloud_and_tenant() {
        let check = |authority: &str, issuer: &str| {
            let authority = Authority::detect(authority).unwrap();
            check_issuer(&authority, issuer).is_ok()
        };
        let tenant = format!("https://login.microsoftonline.com/{A}");
        assert!(check(&tenant, &format!("{tenant}/v2.0")));
        assert!(!check(
            &tenant,
            &format!("https://login.microsoftonline.com/{B}/v2.0")
        ));
        assert!(!check(&tenant, &format!("https://evil.example/{A}/v2.0")));
        assert!(check(
            "https://login.microsoftonline.com/common",
            "https://login.microsoftonline.com/{tenantid}/v2.0"
        ));
        let unknown = format!("https://127.0.0.1:8443/{A}");
        assert!(check(&unknown, &format!("{unknown}/v2.0")));
        assert!(!check(&unknown, &format!("https://127.0.0.1:8444/{A}/v2.0")));
        assert!(check(
            "https://contoso.ciamlogin.com",
            &format!("https://{A}.ciamlogin.com/{A}/v2.0")
        ));
        for refused in [
            format!("https://{A}.ciamlogin.com.evil.example/{A}/v2.0"),
            format!("https://{A}.ciamlogin.com/{B}/v2.0"),
            format!("https://fabrikam.ciamlogin.com/{A}/v2.0"),
        ] {
            assert!(!check("https://contoso.ciamlogin.com", &refused), "{refused}");
        }
        let b2c = "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_susi";
        assert!(check(b2c, &format!("https://contoso.b2clogin.com/{A}/v2.0/")));
        assert!(!check(b2c, &format!("https://fabrikam.b2clogin.com/{A}/v2.0/")));
        assert!(check(
            "https://fs.contoso.com/adfs",
            "https://fs.contoso.com/adfs"
        ));
        assert!(!check(
            "https://fs.contoso.com/adfs",
            "http://fs.contoso.com/adfs"
        ));
        assert!(!check(
            "http://127.0.0.1:1/adfs",
            "http://127.0.0.1:1/adfs/services/trust"
        ));
    }

    #[test]
    fn microsoft_clouds_need_no_discovery_but_domains_do() {
        let convention = |url: &str| Metadata::by_convention(&Authority::detect(url).unwrap());
        let common = convention("https://login.microsoftonline.com/common").unwrap();
        assert_eq!(
            common.device_authorization_endpoint.unwrap().as_str(),
            "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode"
        );
        assert!(
            common
                .issuer
                .check(&format!("https://login.microsoftonline.com/{A}/v2.0"), Some(A))
                .is_ok()
        );
        assert!(
            common
                .issuer
                .check(&format!("https://login.microsoftonline.us/{A}/v2.0"), Some(A))
                .is_err()
        );
        assert!(convention("https://login.microsoftonline.com/contoso.com").is_none());
        assert!(convention("https://id.example/common").is_none());
    }
}
