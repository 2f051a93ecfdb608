//! Where the program runs, and how its endpoint is asked.

use std::fmt;
use std::time::Duration;

use cache_core::secret::Secret;
use url::Url;

use super::app_service::AppService;
use super::arc::AzureArc;
use super::azure_ml::AzureMl;
use super::cloud_shell::CloudShell;
use super::imds::Imds;
use super::service_fabric::ServiceFabric;
use super::{ManagedIdentityEnvironment, ManagedIdentityId, Resource};
use crate::CorrelationId;
use crate::error::ConfigurationError;
use crate::http::{HttpRequest, is_allowed_url, is_platform_address};

/// A place that gives programs identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ManagedIdentitySource {
    /// An application on a Service Fabric cluster.
    ServiceFabric,
    /// App Service, Functions, Container Apps.
    AppService,
    /// Azure Machine Learning.
    AzureMl,
    /// Azure Cloud Shell: the identity is that of the user who opened it.
    CloudShell,
    /// A machine elsewhere that Azure Arc manages.
    AzureArc,
    /// The instance metadata service of a virtual machine; also what is assumed where nothing else was found.
    Imds,
}

impl ManagedIdentitySource {
    /// The word for it in cache keys. It never changes.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::ServiceFabric => "service-fabric",
            Self::AppService => "app-service",
            Self::AzureMl => "azure-ml",
            Self::CloudShell => "cloud-shell",
            Self::AzureArc => "azure-arc",
            Self::Imds => "imds",
        }
    }
}

impl fmt::Display for ManagedIdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceFabric => "Service Fabric",
            Self::AppService => "App Service",
            Self::AzureMl => "Azure Machine Learning",
            Self::CloudShell => "Cloud Shell",
            Self::AzureArc => "Azure Arc",
            Self::Imds => "the instance metadata service",
        })
    }
}

/// One request for a token.
pub(crate) struct Ask<'a> {
    pub(crate) resource: &'a Resource,
    /// The hash of the token that the resource rejected, for endpoints that have a cache of their own.
    pub(crate) rejected: Option<&'a [u8; 32]>,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) time_limit: Duration,
}

/// The endpoint of the place that the program runs in, for one identity.
pub(crate) enum Endpoint {
    ServiceFabric(ServiceFabric),
    AppService(AppService),
    AzureMl(AzureMl),
    CloudShell(CloudShell),
    AzureArc(AzureArc),
    Imds(Imds),
}

impl Endpoint {
    /// The first place that `environment` has the marks of, in MSAL's order.
    pub(crate) fn detect(
        environment: &ManagedIdentityEnvironment,
        identity: &ManagedIdentityId,
    ) -> Result<Self, ConfigurationError> {
        identity.check()?;
        if let (Some(endpoint), Some(header)) = (&environment.identity_endpoint, &environment.identity_header)
        {
            return match &environment.identity_server_thumbprint {
                Some(thumbprint) => {
                    ServiceFabric::new(endpoint, header, thumbprint, identity).map(Self::ServiceFabric)
                }
                None => AppService::new(endpoint, header, identity).map(Self::AppService),
            };
        }
        if let Some(endpoint) = &environment.msi_endpoint {
            return match &environment.msi_secret {
                Some(secret) => {
                    let default = environment.default_identity_client_id.as_deref();
                    AzureMl::new(endpoint, secret, default, identity).map(Self::AzureMl)
                }
                None => CloudShell::new(endpoint, identity).map(Self::CloudShell),
            };
        }
        let named = environment
            .imds_endpoint
            .as_ref()
            .and(environment.identity_endpoint.as_deref());
        if named.is_some() || environment.arc_agent {
            return AzureArc::new(named, &environment.arc_key_folder, identity).map(Self::AzureArc);
        }
        Imds::new(environment.pod_identity_authority_host.as_deref(), identity).map(Self::Imds)
    }

    pub(crate) fn source(&self) -> ManagedIdentitySource {
        match self {
            Self::ServiceFabric(_) => ManagedIdentitySource::ServiceFabric,
            Self::AppService(_) => ManagedIdentitySource::AppService,
            Self::AzureMl(_) => ManagedIdentitySource::AzureMl,
            Self::CloudShell(_) => ManagedIdentitySource::CloudShell,
            Self::AzureArc(_) => ManagedIdentitySource::AzureArc,
            Self::Imds(_) => ManagedIdentitySource::Imds,
        }
    }

    pub(crate) fn request(&self, ask: &Ask<'_>) -> HttpRequest {
        let request = match self {
            Self::ServiceFabric(endpoint) => endpoint.request(ask),
            Self::AppService(endpoint) => endpoint.request(ask),
            Self::AzureMl(endpoint) => endpoint.request(ask),
            Self::CloudShell(endpoint) => endpoint.request(ask),
            Self::AzureArc(endpoint) => endpoint.request(ask),
            Self::Imds(endpoint) => endpoint.request(ask),
        };
        request
            .header("x-ms-client-request-id", ask.correlation_id.to_string())
            .for_platform()
    }
}

/// The URL that the variable `name` holds, if a secret may be sent there.
pub(super) fn endpoint_url(name: &str, value: &str) -> Result<Url, ConfigurationError> {
    let url = Url::parse(value).map_err(|error| {
        ConfigurationError::new(format!("the environment variable {name} holds no URL")).with_source(error)
    })?;
    match is_allowed_url(&url) {
        Err(_) if is_platform_address(&url) => Ok(url),
        Err(refused) => Err(ConfigurationError::new(format!(
            "the URL in the environment variable {name} is not used for managed identities: neither HTTPS, nor a loopback \
             or link-local address (169.254.0.0/16)"
        ))
        .with_source(refused)),
        Ok(()) => Ok(url),
    }
}

/// A GET of `url` with the parameters that all endpoints have, and those of `more`.
pub(super) fn get(
    url: &Url,
    api_version: &str,
    ask: &Ask<'_>,
    more: impl IntoIterator<Item = (&'static str, String)>,
) -> HttpRequest {
    let mut url = url.clone();
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("api-version", api_version);
        query.append_pair("resource", ask.resource.as_str());
        for (name, value) in more {
            query.append_pair(name, &value);
        }
    }
    HttpRequest::get(url, ask.time_limit)
}

/// `Metadata: true`, which a browser that was tricked into asking cannot send.
pub(super) fn with_metadata_header(request: HttpRequest) -> HttpRequest {
    request.header("metadata", Secret::new("true"))
}
