//! Which rows of an imported cache belong to an authority.

use cache_core::codec::msal::RowOrigin;
use cache_core::schema::{AuthorityIdentity, AuthorityKind};

use super::Authority;

impl Authority {
    /// Whose a row of an imported cache is: this authority's where the row is of its host, else what the row says itself.
    /// Pass it to [`TokenCache::import`](cache_core::cache::TokenCache::import).
    ///
    /// A file does not say which issuer a host belongs to unless the row names it, so only the configuration can tell
    /// rows of B2C, External ID and most OpenID providers. A host without a port matches any, as MSAL Python drops it.
    #[must_use]
    pub fn identify(&self, origin: &RowOrigin<'_>) -> AuthorityIdentity {
        let same_issuer = match (self.kind(), origin.issuer) {
            (AuthorityKind::Oidc, Some(issuer)) => issuer == self.url(),
            _ => true,
        };
        let environment = &*self.host;
        let host = environment.rsplit_once(':').map_or(environment, |(host, _)| host);
        let is = |environment: &str| environment.eq_ignore_ascii_case(origin.environment);
        let is_alias = || {
            let aliases = self.cloud.iter().flat_map(|cloud| &cloud.aliases);
            aliases.map(String::as_str).any(is)
        };
        if same_issuer && (is(environment) || is(host) || is_alias()) {
            return self.identity();
        }
        origin.default_identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin<'a>(environment: &'a str, issuer: Option<&'a str>) -> RowOrigin<'a> {
        RowOrigin {
            environment,
            authority_type: None,
            issuer,
        }
    }

    #[test]
    fn the_configuration_claims_rows_of_its_host_and_issuer_only() {
        let issuer = "https://id.example.org:8443/staff";
        let authority = Authority::oidc(issuer).unwrap();
        let of = |origin: RowOrigin<'_>| authority.identify(&origin);
        assert_eq!(of(origin("id.example.org:8443", None)), authority.identity());
        assert_eq!(of(origin("ID.example.org", Some(issuer))), authority.identity());
        let other = origin("id.example.org:8443", Some("https://id.example.org:8443/guests"));
        assert_ne!(of(other), authority.identity());
        assert_ne!(of(origin("evil.example.org", None)), authority.identity());
    }
}
