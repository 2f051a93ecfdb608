//! Which `iss` values an authority may put into an ID token.

use crate::correlation::is_guid;
use crate::id_token::IdTokenError;

use super::CONSUMERS_TENANT;

/// The place of the tenant in Entra's issuers.
pub(crate) const TENANT: &str = "{tenantid}";

/// Which `iss` values are the authority's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerRule {
    /// This string, character by character (OIDC Core section 3.1.3.7).
    Exact(String),
    /// One of these strings with the token's own `tid`, a GUID, in place of `{tenantid}`: how Entra's shared
    /// endpoints issue for every tenant.
    Templates {
        /// The strings.
        templates: Vec<String>,
        /// Which tenants may issue.
        tenants: TenantPolicy,
    },
}

impl IssuerRule {
    /// The rule of a metadata document of Entra that names `issuer`. Where that is the issuer of one tenant, tokens have to
    /// name the same tenant in `tid`: accounts are kept by it.
    pub(crate) fn of(issuer: &str, tenants: TenantPolicy) -> Self {
        if issuer.contains(TENANT) {
            Self::Templates {
                templates: vec![issuer.to_owned()],
                tenants,
            }
        } else if let Some(tenant) = issuer.split('/').find(|segment| is_guid(segment)) {
            Self::Templates {
                templates: vec![issuer.replacen(tenant, TENANT, 1)],
                tenants: TenantPolicy::Only(tenant.to_owned()),
            }
        } else {
            Self::Exact(issuer.to_owned())
        }
    }

    /// The rule of a Microsoft cloud whose hosts are `hosts`.
    pub(crate) fn of_cloud(hosts: &[&str], tenants: TenantPolicy) -> Self {
        let versions = |host: &&str| {
            [
                format!("https://{host}/{TENANT}/v2.0"),
                format!("https://{host}/{TENANT}/"),
            ]
        };
        Self::Templates {
            templates: hosts.iter().flat_map(versions).collect(),
            tenants,
        }
    }

    /// Checks the `iss` of a token whose `tid` claim is `tid`.
    ///
    /// # Errors
    /// [`IdTokenError::Issuer`] for another issuer, [`IdTokenError::Tenant`] for a tenant that may not issue here.
    pub fn check(&self, iss: &str, tid: Option<&str>) -> Result<(), IdTokenError> {
        match self {
            Self::Exact(expected) if expected == iss => Ok(()),
            Self::Exact(_) => Err(IdTokenError::Issuer),
            Self::Templates { templates, tenants } => {
                // Only a GUID goes into the template: any other text could complete it to another host's issuer.
                let tid = tid.filter(|tid| is_guid(tid)).ok_or(IdTokenError::Tenant)?;
                if !templates
                    .iter()
                    .any(|template| template.replace(TENANT, tid) == iss)
                {
                    return Err(IdTokenError::Issuer);
                }
                if tenants.allows(tid) {
                    Ok(())
                } else {
                    Err(IdTokenError::Tenant)
                }
            }
        }
    }

    /// Checks an `iss` that comes without a token (RFC 9207).
    #[must_use]
    pub fn could_be(&self, iss: &str) -> bool {
        match self {
            Self::Exact(expected) => expected == iss,
            Self::Templates { templates, tenants } => templates.iter().any(|template| {
                let Some((before, after)) = template.split_once(TENANT) else {
                    return template == iss;
                };
                iss == template
                    || iss
                        .strip_prefix(before)
                        .and_then(|rest| rest.strip_suffix(after))
                        .is_some_and(|tid| is_guid(tid) && tenants.allows(tid))
            }),
        }
    }
}

/// Which tenants may sign users in at an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantPolicy {
    /// Every tenant, personal accounts included (`common`).
    Any,
    /// Every tenant but that of personal accounts (`organizations`).
    Organizations,
    /// This tenant.
    Only(String),
}

impl TenantPolicy {
    /// The policy of the tenant that an authority's URL names. A domain name is not a tenant ID, so it allows any;
    /// the issuer of its metadata is exact.
    pub(crate) fn of(tenant: &str) -> Self {
        match tenant {
            "organizations" => Self::Organizations,
            "consumers" => Self::Only(CONSUMERS_TENANT.to_owned()),
            guid if is_guid(guid) => Self::Only(guid.to_owned()),
            _ => Self::Any,
        }
    }

    /// Whether the tenant with the ID `tid` may.
    #[must_use]
    pub fn allows(&self, tid: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Organizations => !tid.eq_ignore_ascii_case(CONSUMERS_TENANT),
            Self::Only(tenant) => tid.eq_ignore_ascii_case(tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    #[test]
    fn only_a_guid_completes_a_template() {
        let rule = IssuerRule::of("https://login.example/{tenantid}/v2.0", TenantPolicy::Any);
        let iss = |tid: &str| format!("https://login.example/{tid}/v2.0");
        assert_eq!(rule.check(&iss(A), Some(A)), Ok(()));
        assert_eq!(rule.check(&iss(A), None), Err(IdTokenError::Tenant));
        assert_eq!(
            rule.check(&iss(A), Some(CONSUMERS_TENANT)),
            Err(IdTokenError::Issuer)
        );
        assert_eq!(rule.check(&iss("evil"), Some("evil")), Err(IdTokenError::Tenant));
        assert_eq!(
            rule.check("https://login.example/{tenantid}/v2.0", Some("{tenantid}")),
            Err(IdTokenError::Tenant)
        );
        assert!(
            rule.could_be(&iss(A)) && !rule.could_be(&iss("evil")) && !rule.could_be("https://evil.example")
        );
    }

    #[test]
    fn the_tenant_policy_follows_the_authority() {
        for (tenant, allowed, refused) in [
            ("common", vec![A, CONSUMERS_TENANT], vec![]),
            ("organizations", vec![A], vec![CONSUMERS_TENANT]),
            ("consumers", vec![CONSUMERS_TENANT], vec![A]),
            (A, vec![A], vec![CONSUMERS_TENANT]),
        ] {
            let rule = IssuerRule::of_cloud(&["login.example"], TenantPolicy::of(tenant));
            for tid in allowed {
                assert_eq!(
                    rule.check(&format!("https://login.example/{tid}/v2.0"), Some(tid)),
                    Ok(())
                );
            }
            for tid in refused {
                let iss = format!("https://login.example/{tid}/v2.0");
                assert_eq!(rule.check(&iss, Some(tid)), Err(IdTokenError::Tenant));
            }
        }
    }

    #[test]
    fn the_issuer_of_one_tenant_speaks_for_that_tenant_alone() {
        let iss = format!("https://login.example/{A}/v2.0");
        let rule = IssuerRule::of(&iss, TenantPolicy::Any);
        assert_eq!(rule.check(&iss, Some(A)), Ok(()));
        assert_eq!(
            rule.check(&iss, Some(CONSUMERS_TENANT)),
            Err(IdTokenError::Issuer)
        );
        assert_eq!(rule.check(&iss, None), Err(IdTokenError::Tenant));
        let other = format!("https://login.example/{CONSUMERS_TENANT}/v2.0");
        assert_eq!(
            rule.check(&other, Some(CONSUMERS_TENANT)),
            Err(IdTokenError::Tenant)
        );
        assert!(rule.could_be(&iss) && !rule.could_be(&other));
    }

    #[test]
    fn an_exact_issuer_is_exact() {
        let rule = IssuerRule::of("https://id.example", TenantPolicy::Any);
        assert_eq!(rule.check("https://id.example", None), Ok(()));
        for other in [
            "https://id.example/",
            "https://ID.example",
            "http://id.example",
            "",
        ] {
            assert_eq!(rule.check(other, None), Err(IdTokenError::Issuer), "{other}");
        }
    }
}
