//! Azure Machine Learning: the older form of App Service's endpoint, whose parameter is spelled `clientid`.
//!
//! Source: MSAL's and the Azure SDK's behaviour; there is no public page of the contract.

use cache_core::secret::Secret;
use url::Url;

use super::ManagedIdentityId;
use super::source::{Ask, endpoint_url, get};
use crate::error::ConfigurationError;
use crate::http::HttpRequest;

const API_VERSION: &str = "2017-09-01";

pub(crate) struct AzureMl {
    url: Url,
    secret: Secret,
    client_id: Option<String>,
}

impl AzureMl {
    /// `default` is the identity that the platform made the compute's own; the endpoint wants it by name.
    pub(super) fn new(
        endpoint: &str,
        secret: &Secret,
        default: Option<&str>,
        identity: &ManagedIdentityId,
    ) -> Result<Self, ConfigurationError> {
        let client_id = match identity {
            ManagedIdentityId::SystemAssigned => default.map(str::to_owned),
            ManagedIdentityId::UserAssignedClientId(id) => Some(id.clone()),
            ManagedIdentityId::UserAssignedObjectId(_) | ManagedIdentityId::UserAssignedResourceId(_) => {
                return Err(ConfigurationError::new(
                    "Azure Machine Learning knows user-assigned identities by their client ID only; give that",
                ));
            }
        };
        Ok(Self {
            url: endpoint_url("MSI_ENDPOINT", endpoint)?,
            secret: secret.clone(),
            client_id,
        })
    }

    pub(super) fn request(&self, ask: &Ask<'_>) -> HttpRequest {
        let more = self.client_id.clone().map(|id| ("clientid", id));
        get(&self.url, API_VERSION, ask, more).header("secret", self.secret.clone())
    }
}
