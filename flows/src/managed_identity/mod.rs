//! Managed identities: tokens that Azure gives a machine or a service for being what it is, without a secret.
//!
//! Each place that Azure runs programs in has an endpoint of its own on the machine, which is found by environment variables,
//! and each wants another header, version and set of parameters. [`ManagedIdentityEnvironment`] holds what there is, and
//! [`ManagedIdentitySource`] names the place. The modules here build requests and judge replies;
//! [`ManagedIdentityClient`](crate::client::ManagedIdentityClient) sends them and keeps the tokens.
//!
//! | source | found by | identities |
//! |---|---|---|
//! | Service Fabric | `IDENTITY_ENDPOINT`, `IDENTITY_HEADER`, `IDENTITY_SERVER_THUMBPRINT` | the application's own |
//! | App Service | `IDENTITY_ENDPOINT`, `IDENTITY_HEADER` | all |
//! | Azure Machine Learning | `MSI_ENDPOINT`, `MSI_SECRET` | system-assigned, client ID |
//! | Cloud Shell | `MSI_ENDPOINT` | the user's own |
//! | Azure Arc | `IDENTITY_ENDPOINT`, `IMDS_ENDPOINT`, or the agent's program | system-assigned |
//! | virtual machine (IMDS) | nothing else; `AZURE_POD_IDENTITY_AUTHORITY_HOST` moves it | all |
//!
//! They are tried in this order, which is that of MSAL.
//!
//! # What is promised
//! - Requests go to HTTPS, to loopback or to link-local addresses (`http://169.254.0.0/16`), and never through a proxy.
//! - Service Fabric's self-signed certificate must have the thumbprint that the platform named; nothing else is trusted.
//! - Azure Arc's agent is sent one of its own key files and no other file, whatever it asks for.

mod app_service;
mod arc;
mod azure_ml;
mod cloud_shell;
mod environment;
mod error;
mod expiry;
mod identity;
mod imds;
mod reply;
mod resource;
mod retry;
mod service_fabric;
mod source;

pub use environment::ManagedIdentityEnvironment;
pub use error::ManagedIdentityError;
pub use identity::ManagedIdentityId;
pub use source::ManagedIdentitySource;

pub(crate) use arc::authorization;
pub(crate) use reply::{ReplyFor, token_response};
pub(crate) use resource::Resource;
pub(crate) use retry::pause_before_retry;
pub(crate) use source::{Ask, Endpoint};

/// Stands for the authority in partitions and rows. No host contains a space, so no real authority can be meant.
pub(crate) const AUTHORITY: &str = "managed identity";

/// Stands for the tenant, as in MSAL: the endpoints do not say which it is.
pub(crate) const TENANT: &str = "managed_identity";
