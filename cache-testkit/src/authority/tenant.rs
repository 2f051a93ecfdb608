//! The tenant that a path names, and who may sign in there.

use super::directory::{CONSUMER_TENANT, GUEST_TENANT, HOME_TENANT, User};
use super::refusal::Refusal;
use super::state::Directory;

/// The first segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TenantPath {
    Common,
    Organizations,
    Consumers,
    /// The GUID of one tenant, in lower case.
    Tenant(String),
}

/// A user as one tenant sees that user.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) user: &'a User,
    pub(super) tenant: String,
    pub(super) object_id: String,
}

impl TenantPath {
    pub(super) fn parse(segment: &str, directory: &Directory) -> Result<Self, Refusal> {
        let segment = segment.to_ascii_lowercase();
        match segment.as_str() {
            "common" => Ok(Self::Common),
            "organizations" => Ok(Self::Organizations),
            "consumers" | CONSUMER_TENANT => Ok(Self::Consumers),
            _ if is_known(&segment, directory) => Ok(Self::Tenant(segment)),
            _ => {
                let text = format!("Tenant '{segment}' not found. Check the tenant ID and the cloud.");
                Err(Refusal::invalid_request(90_002, text))
            }
        }
    }

    /// As it stands in the addresses of a discovery document.
    pub(super) fn segment(&self) -> &str {
        match self {
            Self::Common => "common",
            Self::Organizations => "organizations",
            Self::Consumers => "consumers",
            Self::Tenant(tenant) => tenant,
        }
    }

    /// As it stands in the issuer of a discovery document: a template where many tenants are meant.
    pub(super) fn issuer_segment(&self) -> &str {
        match self {
            Self::Common | Self::Organizations => "{tenantid}",
            Self::Consumers => CONSUMER_TENANT,
            Self::Tenant(tenant) => tenant,
        }
    }

    /// The user as seen by the tenant that this path leads to.
    pub(super) fn subject<'a>(&self, user: &'a User) -> Result<Subject<'a>, Refusal> {
        let tenant = match self {
            Self::Common => user.home_tenant.as_str(),
            Self::Organizations if user.home_tenant != CONSUMER_TENANT => user.home_tenant.as_str(),
            Self::Organizations => "organizations",
            Self::Consumers => CONSUMER_TENANT,
            Self::Tenant(tenant) => tenant,
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
