//! Service Fabric.
//!
//! Source: Microsoft Learn, "Leverage a Service Fabric application's managed identity to access Azure services".

use cache_core::secret::Secret;
use url::Url;

use super::ManagedIdentityId;
use super::source::{Ask, endpoint_url, get};
use crate::error::ConfigurationError;
use crate::http::HttpRequest;

const API_VERSION: &str = "2019-07-01-preview";

pub(crate) struct ServiceFabric {
    url: Url,
    secret: Secret,
    thumbprint: String,
}

impl ServiceFabric {
    pub(super) fn new(
        endpoint: &str,
        secret: &Secret,
        thumbprint: &str,
        identity: &ManagedIdentityId,
    ) -> Result<Self, ConfigurationError> {
        identity.must_be_system_assigned("Service Fabric, whose identities are chosen in the cluster,")?;
        let url = endpoint_url("IDENTITY_ENDPOINT", endpoint)?;
        if url.scheme() != "https" {
            // The thumbprint would be a promise that nobody keeps.
            return Err(ConfigurationError::new(
                "the environment variable IDENTITY_ENDPOINT holds no https URL, so Service Fabric's certificate cannot be checked",
            ));
        }
        Ok(Self {
            url,
            secret: secret.clone(),
            thumbprint: thumbprint.to_owned(),
        })
    }

    /// The only certificate that may be trusted with the secret.
    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    pub(super) fn request(&self, ask: &Ask<'_>) -> HttpRequest {
        // The endpoint has a cache of its own, which would answer with the rejected token again.
        let more = ask.rejected.map(|hash| ("token_sha256_to_refresh", hex(hash)));
        get(&self.url, API_VERSION, ask, more).header("secret", self.secret.clone())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
