//! App Service, Functions and Container Apps.
//!
//! Source: Microsoft Learn, "Use managed identities for App Service and Azure Functions", REST endpoint reference.

use cache_core::secret::Secret;
use url::Url;

use super::ManagedIdentityId;
use super::source::{Ask, endpoint_url, get};
use crate::error::ConfigurationError;
use crate::http::HttpRequest;

const API_VERSION: &str = "2019-08-01";

pub(crate) struct AppService {
    url: Url,
    header: Secret,
    identity: ManagedIdentityId,
}

impl AppService {
    pub(super) fn new(
        endpoint: &str,
        header: &Secret,
        identity: &ManagedIdentityId,
    ) -> Result<Self, ConfigurationError> {
        Ok(Self {
            url: endpoint_url("IDENTITY_ENDPOINT", endpoint)?,
            header: header.clone(),
            identity: identity.clone(),
        })
    }

    pub(super) fn request(&self, ask: &Ask<'_>) -> HttpRequest {
        let parameter = self.identity.parameter(["client_id", "object_id", "mi_res_id"]);
        let more = parameter.map(|(name, id)| (name, id.to_owned()));
        get(&self.url, API_VERSION, ask, more).header("x-identity-header", self.header.clone())
    }
}
