//! Which of a machine's identities is meant.

use crate::error::ConfigurationError;

/// Which identity a token is for. None of them is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ManagedIdentityId {
    /// The one that the machine or service itself has.
    SystemAssigned,
    /// One that was made on its own and assigned, by its client ID (application ID).
    UserAssignedClientId(String),
    /// By its object ID (principal ID).
    UserAssignedObjectId(String),
    /// By its resource ID: `/subscriptions/…/userAssignedIdentities/…`.
    UserAssignedResourceId(String),
}

impl ManagedIdentityId {
    /// The client ID in the cache, as in MSAL: the identifier, or a fixed word.
    pub(crate) fn cache_id(&self) -> &str {
        match self {
            Self::SystemAssigned => "system_assigned_managed_identity",
            Self::UserAssignedClientId(id)
            | Self::UserAssignedObjectId(id)
            | Self::UserAssignedResourceId(id) => id,
        }
    }

    /// What kind of identifier it is, for the cache: one GUID may be the client ID of one identity and the object ID of another.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            Self::SystemAssigned => "system-assigned",
            Self::UserAssignedClientId(_) => "client-id",
            Self::UserAssignedObjectId(_) => "object-id",
            Self::UserAssignedResourceId(_) => "resource-id",
        }
    }

    /// The query parameter that names it, of an endpoint with these names for client ID, object ID and resource ID.
    pub(crate) fn parameter(&self, names: [&'static str; 3]) -> Option<(&'static str, &str)> {
        let [client_id, object_id, resource_id] = names;
        match self {
            Self::SystemAssigned => None,
            Self::UserAssignedClientId(id) => Some((client_id, id)),
            Self::UserAssignedObjectId(id) => Some((object_id, id)),
            Self::UserAssignedResourceId(id) => Some((resource_id, id)),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigurationError> {
        let id = self.cache_id();
        if id.is_empty()
            || id
                .chars()
                .any(|character| character.is_whitespace() || character.is_control())
        {
            return Err(ConfigurationError::new(
                "the ID of the managed identity is empty or has white space in it; copy it from the identity's page",
            ));
        }
        Ok(())
    }

    /// Refuses an identity that was assigned: `place` says for whom.
    pub(crate) fn must_be_system_assigned(&self, place: &str) -> Result<(), ConfigurationError> {
        if *self == Self::SystemAssigned {
            return Ok(());
        }
        Err(ConfigurationError::new(format!(
            "{place} cannot be asked for a user-assigned identity; leave the identity's ID out"
        )))
    }
}
