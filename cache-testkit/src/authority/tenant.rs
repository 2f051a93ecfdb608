//! The tenant that a path names, and who may sign in there.

use super::directory::{CONSUMER_TENANT, GUEST_TENANT, HOME_DOMAIN, HOME_TENANT, User};
use super::kind::Kind;
use super::refusal::Refusal;
use super::state::Directory;

/// What a path has before the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TenantPath {
    Common,
    Organizations,
    Consumers,
    /// The GUID of one tenant, in lower case.
    Tenant(String),
    /// B2C: the GUID of the tenant and the policy, both in lower case, and what the path had.
    B2c {
        tenant: String,
        policy: String,
        prefix: String,
    },
    /// AD FS, which has no tenants; its users are those of [`HOME_TENANT`].
    Adfs,
}

/// A user as one tenant sees that user.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) user: &'a User,
    pub(super) tenant: String,
    pub(super) object_id: String,
    /// How tokens and `client_info` speak of the user.
    pub(super) kind: Kind,
}

impl TenantPath {
    pub(super) fn parse(segment: &str, directory: &Directory) -> Result<Self, Refusal> {
        let segment = segment.to_ascii_lowercase();
        match segment.as_str() {
            "common" => Ok(Self::Common),
            "organizations" => Ok(Self::Organizations),
            "consumers" | CONSUMER_TENANT => Ok(Self::Consumers),
            "adfs" => Ok(Self::Adfs),
            HOME_DOMAIN => Ok(Self::Tenant(HOME_TENANT.to_owned())),
            _ if segment.contains('/') => Self::b2c(segment, directory),
            _ if is_known(&segment, directory) => Ok(Self::Tenant(segment)),
            _ => {
                let text = format!("Tenant '{segment}' not found. Check the tenant ID and the cloud.");
                Err(Refusal::invalid_request(90_002, text))
            }
        }
    }

    /// `tenant/policy` or `tfp/tenant/policy`.
    fn b2c(prefix: String, directory: &Directory) -> Result<Self, Refusal> {
        let mut parts = prefix.trim_start_matches("tfp/").split('/');
        let tenant = match Self::parse(parts.next().unwrap_or_default(), directory)? {
            Self::Tenant(tenant) => tenant,
            _ => {
                return Err(Refusal::invalid_request(
                    90_002,
                    "A B2C authority is of one tenant.",
                ));
            }
        };
        let policy = parts.next().unwrap_or_default().to_owned();
        Ok(Self::B2c {
            tenant,
            policy,
            prefix,
        })
    }

    /// As it stands in the addresses of a discovery document.
    pub(super) fn segment(&self) -> &str {
        match self {
            Self::Common => "common",
            Self::Organizations => "organizations",
            Self::Consumers => "consumers",
            Self::Tenant(tenant) => tenant,
            Self::B2c { prefix, .. } => prefix,
            Self::Adfs => "adfs",
        }
    }

    /// As it stands in the issuer of a discovery document: a template where many tenants are meant.
    pub(super) fn issuer_segment(&self) -> &str {
        match self {
            Self::Common | Self::Organizations => "{tenantid}",
            Self::Consumers => CONSUMER_TENANT,
            Self::Tenant(tenant) | Self::B2c { tenant, .. } => tenant,
            Self::Adfs => "adfs",
        }
    }

    /// Which kind of authority it is.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::B2c { policy, .. } => Kind::B2c {
                policy: policy.clone(),
            },
            Self::Adfs => Kind::Adfs,
            _ => Kind::Entra,
        }
    }

    /// The user as seen by the tenant that this path leads to.
    pub(super) fn subject<'a>(&self, user: &'a User) -> Result<Subject<'a>, Refusal> {
        let tenant = match self {
            Self::Common => user.home_tenant.as_str(),
            Self::Organizations if user.home_tenant != CONSUMER_TENANT => user.home_tenant.as_str(),
            Self::Organizations => "organizations",
            Self::Consumers => CONSUMER_TENANT,
            Self::Tenant(tenant) | Self::B2c { tenant, .. } => tenant,
            Self::Adfs => HOME_TENANT,
        };
        let object_id = user.object_id_in(tenant).ok_or_else(|| {
            let text = format!(
                "User account '{}' does not exist in tenant '{tenant}'.",
                user.username
            );
            Refusal::invalid_grant(50_020, text)
        })?;
        Ok(Subject {
            user,
            tenant: tenant.to_owned(),
            object_id: object_id.to_owned(),
            kind: self.kind(),
        })
    }
}

fn is_known(tenant: &str, directory: &Directory) -> bool {
    tenant == HOME_TENANT
        || tenant == GUEST_TENANT
        || directory
            .users
            .iter()
            .any(|user| user.object_id_in(tenant).is_some())
}
