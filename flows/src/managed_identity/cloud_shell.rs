//! Azure Cloud Shell: a token of the user who opened it.
//!
//! Source: MSAL's behaviour, and the `msi_endpoint` section of the Cloud Shell documentation.

use url::Url;

use super::ManagedIdentityId;
use super::source::{Ask, endpoint_url, with_metadata_header};
use crate::error::ConfigurationError;
use crate::http::{Form, HttpRequest};

pub(crate) struct CloudShell {
    url: Url,
}

impl CloudShell {
    pub(super) fn new(endpoint: &str, identity: &ManagedIdentityId) -> Result<Self, ConfigurationError> {
        identity.must_be_system_assigned("Cloud Shell")?;
        Ok(Self {
            url: endpoint_url("MSI_ENDPOINT", endpoint)?,
        })
    }

    pub(super) fn request(&self, ask: &Ask<'_>) -> HttpRequest {
        let mut form = Form::new();
        form.push("resource", ask.resource.as_str());
        with_metadata_header(HttpRequest::post(self.url.clone(), form, ask.time_limit))
    }
}
