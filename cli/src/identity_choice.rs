//! `--identity-…`: which managed identity is meant.

use clap::Args;
use flows::managed_identity::ManagedIdentityId;

/// The options that name a user-assigned identity, of which there may be one.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub(crate) struct IdentityArguments {
    /// The client ID of a user-assigned managed identity [default: the system-assigned one]
    #[arg(long, value_name = "ID")]
    identity_client_id: Option<String>,
    /// The object ID of a user-assigned managed identity
    #[arg(long, value_name = "ID")]
    identity_object_id: Option<String>,
    /// The resource ID of a user-assigned managed identity
    #[arg(long, value_name = "ID")]
    identity_resource_id: Option<String>,
}

impl IdentityArguments {
    /// Whether an identity is named, so that a managed one is meant.
    pub(crate) fn is_given(&self) -> bool {
        self.identity_client_id.is_some()
            || self.identity_object_id.is_some()
            || self.identity_resource_id.is_some()
    }
}

impl From<IdentityArguments> for ManagedIdentityId {
    fn from(arguments: IdentityArguments) -> Self {
        let by_client = arguments.identity_client_id.map(Self::UserAssignedClientId);
        let by_object = arguments.identity_object_id.map(Self::UserAssignedObjectId);
        let by_resource = arguments.identity_resource_id.map(Self::UserAssignedResourceId);
        by_client
            .or(by_object)
            .or(by_resource)
            .unwrap_or(Self::SystemAssigned)
    }
}
