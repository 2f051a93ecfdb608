//! Authorities: who issues the tokens.
//!
//! An [`Authority`] is a URL that was understood: which kind it is, which host and tenant it names, and what
//! identifies it in the cache. [`Discovery`] then finds its endpoints and its issuer as [`Metadata`].

mod discovery;
mod imported_rows;
mod instance;
mod issuer;
mod metadata;
mod region;

use std::fmt;
use std::sync::Arc;

use cache_core::schema::{AuthorityIdentity, AuthorityKind, environment};
use url::Url;

use crate::correlation::is_guid;
use crate::error::ConfigurationError;
use crate::http::{host_and_port, is_allowed_url};

use instance::DiscoveredCloud;

pub use discovery::Discovery;
pub(crate) use issuer::TENANT as KEY_ISSUER_TENANT;
pub use issuer::{IssuerRule, TenantPolicy};
pub use metadata::Metadata;
pub use region::Region;
pub(crate) use region::regional;

/// The tenant of Microsoft's personal accounts.
pub const CONSUMERS_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

const SHARED_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// An authority: its kind, host and tenant.
///
/// ```
/// use cache_core::schema::AuthorityKind;
/// use flows::authority::Authority;
///
/// # fn main() -> Result<(), flows::Error> {
/// let work = Authority::detect("https://login.microsoftonline.com/contoso.onmicrosoft.com")?;
/// assert_eq!(work.kind(), AuthorityKind::Entra);
/// assert_eq!(work.tenant(), "contoso.onmicrosoft.com");
///
/// let other = Authority::detect("https://id.example.org/realms/staff")?;
/// assert_eq!(other.kind(), AuthorityKind::Oidc);
/// assert_eq!(other.tenant(), "");
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    kind: AuthorityKind,
    /// Without a trailing slash; for a generic issuer, the issuer exactly as it was given.
    url: String,
    host: String,
    tenant: String,
    loopback: bool,
    /// The cloud that instance discovery found the host to belong to.
    cloud: Option<Arc<DiscoveredCloud>>,
}

impl Authority {
    /// A Microsoft Entra ID authority: `https://login.microsoftonline.com/{tenant}`, in any cloud. The tenant is a
    /// GUID, a domain name, `common`, `organizations` or `consumers`; a trailing `/v2.0` is accepted.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the URL may not be used or names no tenant.
    pub fn entra(url: &str) -> Result<Self, ConfigurationError> {
        let parsed = parse(url)?;
        match segments(&parsed).as_slice() {
            [tenant] | [tenant, "v2.0"] if is_tenant(tenant) => {
                Ok(Self::of(AuthorityKind::Entra, &parsed, &[tenant], tenant))
            }
            _ => Err(ConfigurationError::new(
                "an Entra authority is https://HOST/TENANT, where the tenant is a GUID, a domain, common, \
                 organizations or consumers",
            )),
        }
    }

    /// An Azure AD B2C authority: `https://{name}.b2clogin.com/{tenant}/{policy}`, with or without `/tfp` before the
    /// tenant.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the URL may not be used, or lacks the tenant or the policy.
    pub fn b2c(url: &str) -> Result<Self, ConfigurationError> {
        let parsed = parse(url)?;
        match segments(&parsed).as_slice() {
            path @ ([tenant, policy] | ["tfp", tenant, policy]) if is_tenant(tenant) && is_tenant(policy) => {
                Ok(Self::of(AuthorityKind::B2c, &parsed, path, tenant))
            }
            _ => Err(ConfigurationError::new(
                "a B2C authority is https://HOST/TENANT/POLICY",
            )),
        }
    }

    /// A Microsoft Entra External ID authority: `https://{name}.ciamlogin.com`, with or without the tenant as its
    /// path; a custom domain needs the tenant.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the URL may not be used or the tenant is missing.
    pub fn ciam(url: &str) -> Result<Self, ConfigurationError> {
        let parsed = parse(url)?;
        let host = parsed.host_str().unwrap_or_default();
        match (segments(&parsed).as_slice(), host.strip_suffix(".ciamlogin.com")) {
            ([tenant] | [tenant, "v2.0"], _) if is_tenant(tenant) => {
                Ok(Self::of(AuthorityKind::Ciam, &parsed, &[tenant], tenant))
            }
            ([], Some(name)) if is_tenant(name) => {
                let tenant = format!("{name}.onmicrosoft.com");
                Ok(Self::of(AuthorityKind::Ciam, &parsed, &[&tenant], &tenant))
            }
            _ => Err(ConfigurationError::new(
                "an External ID authority is https://NAME.ciamlogin.com or https://DOMAIN/TENANT",
            )),
        }
    }

    /// An AD FS authority: `https://HOST/adfs`.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the URL may not be used or its path is another.
    pub fn adfs(url: &str) -> Result<Self, ConfigurationError> {
        let parsed = parse(url)?;
        match segments(&parsed).as_slice() {
            // MSAL writes the path into the realm of its rows.
            [path] if path.eq_ignore_ascii_case("adfs") => {
                Ok(Self::of(AuthorityKind::Adfs, &parsed, &["adfs"], "adfs"))
            }
            _ => Err(ConfigurationError::new("an AD FS authority is https://HOST/adfs")),
        }
    }

    /// Any other OpenID Connect issuer. `issuer` is its identifier, character by character as its metadata and its
    /// ID tokens spell it: a trailing slash more or less is another issuer (OIDC Discovery section 4.3).
    ///
    /// # Errors
    /// [`ConfigurationError`] when the URL may not be used.
    pub fn oidc(issuer: &str) -> Result<Self, ConfigurationError> {
        let parsed = parse(issuer)?;
        let mut authority = Self::of(AuthorityKind::Oidc, &parsed, &[], "");
        issuer.clone_into(&mut authority.url);
        Ok(authority)
    }

    /// The kind is told from the URL: Microsoft's hosts, `*.b2clogin.com`, `*.ciamlogin.com`, the path `/adfs`, or a
    /// path that begins with a GUID, `common`, `organizations` or `consumers` (Entra). Anything else is a generic
    /// issuer. Where that guess is wrong, use the constructor of the right kind.
    ///
    /// # Errors
    /// As the constructor of the kind that was told.
    pub fn detect(url: &str) -> Result<Self, ConfigurationError> {
        let parsed = parse(url)?;
        let host = parsed.host_str().unwrap_or_default();
        let path = segments(&parsed);
        if host.ends_with(".b2clogin.com") || path.first() == Some(&"tfp") {
            return Self::b2c(url);
        }
        if host.ends_with(".ciamlogin.com") {
            return Self::ciam(url);
        }
        if environment::is_microsoft(host) {
            return Self::entra(url);
        }
        match path.as_slice() {
            [only] if only.eq_ignore_ascii_case("adfs") => Self::adfs(url),
            [first, ..] if is_guid(first) || is_shared_tenant(first) => Self::entra(url),
            _ => Self::oidc(url),
        }
    }

    fn of(kind: AuthorityKind, parsed: &Url, path: &[&str], tenant: &str) -> Self {
        let host = host_and_port(parsed).to_ascii_lowercase();
        let mut url = format!("{}://{host}", parsed.scheme());
        for segment in path {
            url.push('/');
            url.push_str(&segment.to_ascii_lowercase());
        }
        Self {
            kind,
            url,
            host,
            tenant: tenant.to_ascii_lowercase(),
            loopback: crate::http::is_loopback(parsed),
            cloud: None,
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> AuthorityKind {
        self.kind
    }

    /// The URL; for a generic issuer, the exact issuer.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The *environment* of rows in the cache: the host, with its port unless that is the scheme's own, or the host under which
    /// [discovery](Discovery::canonical) found its cloud to keep them.
    #[must_use]
    pub fn environment(&self) -> &str {
        self.cloud.as_ref().map_or(&self.host, |cloud| &cloud.cache_host)
    }

    /// The tenant as the URL names it, in lower case; empty for issuers without tenants.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The policy of a B2C authority, in lower case.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        let policy = || self.url.rsplit('/').next();
        (self.kind == AuthorityKind::B2c).then(policy).flatten()
    }

    /// What identifies the authority in the cache. Hosts of one Microsoft cloud are one; a host that is not
    /// built in stands for itself, or for the cloud that [discovery](Discovery::canonical) found.
    #[must_use]
    pub fn identity(&self) -> AuthorityIdentity {
        match self.kind {
            AuthorityKind::Oidc => AuthorityIdentity::of_issuer(&self.url),
            kind => AuthorityIdentity::of_host(kind, self.environment()),
        }
    }

    /// Whether the tenant is `common`, `organizations` or `consumers`, so that the user's own tenant is known only
    /// after signing in.
    #[must_use]
    pub fn is_multi_tenant(&self) -> bool {
        is_shared_tenant(&self.tenant)
    }

    /// The same authority for another tenant, in which the user is a guest.
    ///
    /// # Errors
    /// [`ConfigurationError`] when authorities of this kind have no tenants to choose from, or `tenant` is none.
    pub fn with_tenant(&self, tenant: &str) -> Result<Self, ConfigurationError> {
        if self.kind != AuthorityKind::Entra {
            return Err(ConfigurationError::new(
                "only an Entra authority has tenants to choose from",
            ));
        }
        if !is_tenant(tenant) {
            return Err(ConfigurationError::new("a tenant is a GUID or a domain name"));
        }
        let tenant = tenant.to_ascii_lowercase();
        let base = self.url.strip_suffix(&self.tenant).unwrap_or(&self.url);
        Ok(Self {
            url: format!("{base}{tenant}"),
            tenant,
            ..self.clone()
        })
    }

    /// The same authority as one of `cloud`: requests go to the cloud's network host, rows belong to its cache host.
    fn within(&self, cloud: DiscoveredCloud) -> Self {
        let path = self
            .url
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'));
        let path = path.map_or("", |(_, path)| path);
        Self {
            url: format!("https://{}/{path}", cloud.network_host),
            host: cloud.network_host.clone(),
            cloud: Some(Arc::new(cloud)),
            ..self.clone()
        }
    }

    /// Whether `host` is this authority's, or another name of its cloud.
    fn is_own_host(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.host)
            || match (self.kind, &self.cloud) {
                (_, Some(cloud)) => cloud.aliases.iter().any(|alias| alias == host),
                (AuthorityKind::Entra, None) => environment::aliases(&self.host).contains(&host),
                // The issuer's host may be the tenant's GUID instead of its name.
                (AuthorityKind::Ciam, None) => host.strip_suffix(".ciamlogin.com").is_some_and(is_guid),
                _ => false,
            }
    }

    /// Whether it is on this machine, which allows HTTP to loopback addresses.
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.tag(), self.url)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

fn parse(url: &str) -> Result<Url, ConfigurationError> {
    let parsed = Url::parse(url).map_err(|error| {
        ConfigurationError::new("the authority is not a URL; it begins with https://").with_source(error)
    })?;
    is_allowed_url(&parsed)
        .map_err(|error| ConfigurationError::new("the authority's URL is refused").with_source(error))?;
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(ConfigurationError::new(
            "an authority's URL has no query and no fragment; remove them",
        ));
    }
    Ok(parsed)
}

fn segments(url: &Url) -> Vec<&str> {
    url.path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect()
}

pub(crate) fn is_shared_tenant(tenant: &str) -> bool {
    SHARED_TENANTS
        .iter()
        .any(|shared| shared.eq_ignore_ascii_case(tenant))
}

/// A path segment that needs no escaping and cannot climb.
fn is_tenant(segment: &str) -> bool {
    segment.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests;
