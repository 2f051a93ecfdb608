//! The instance metadata service of virtual machines and scale sets.
//!
//! Source: Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access token".

use url::Url;

use super::ManagedIdentityId;
use super::source::{Ask, endpoint_url, get, with_metadata_header};
use crate::error::ConfigurationError;
use crate::http::HttpRequest;

const HOST: &str = "http://169.254.169.254";
const PATH: &str = "/metadata/identity/oauth2/token";
const API_VERSION: &str = "2018-02-01";

pub(crate) struct Imds {
    url: Url,
    identity: ManagedIdentityId,
}

impl Imds {
    pub(super) fn new(host: Option<&str>, identity: &ManagedIdentityId) -> Result<Self, ConfigurationError> {
        let host = host.unwrap_or(HOST).trim_end_matches('/');
        Ok(Self {
            url: endpoint_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", &format!("{host}{PATH}"))?,
            identity: identity.clone(),
        })
    }

    pub(super) fn request(&self, ask: &Ask<'_>) -> HttpRequest {
        let parameter = self.identity.parameter(["client_id", "object_id", "msi_res_id"]);
        let more = parameter.map(|(name, id)| (name, id.to_owned()));
        with_metadata_header(get(&self.url, API_VERSION, ask, more))
    }
}
