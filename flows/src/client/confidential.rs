//! The client of a server, which can keep a secret.

use std::fmt;
use std::sync::Arc;

use cache_core::cache::{AccountListing, TokenCache};
use cache_core::secret::Secret;

use super::application::Application;
use super::asked_scopes::AskedScopes;
use super::{AcquireTokenSilent, ClientBuilder};
use crate::Error;
use crate::authority::Authority;
use crate::error::ConfigurationError;
use crate::request::{
    ClientAssertionProvider, ClientCertificate, ClientIdentity, FederatedTokenFile, SecretMethod,
};

/// How a confidential client proves who it is.
#[derive(Clone)]
#[non_exhaustive]
pub enum ClientCredential {
    /// A secret that the authority knows too (RFC 6749 section 2.3.1).
    Secret {
        /// The secret.
        secret: Secret,
        /// How it is sent; `None` for what the authority offers.
        method: Option<SecretMethod>,
    },
    /// A key by which the client signs an assertion for each request (RFC 7523 section 2.2).
    Certificate(ClientCertificate),
    /// Somebody who makes the assertions (RFC 7521 section 4.2).
    Assertion(Arc<dyn ClientAssertionProvider>),
}

impl ClientCredential {
    /// A client secret, sent as the authority wants it.
    #[must_use]
    pub fn secret(secret: Secret) -> Self {
        Self::Secret { secret, method: None }
    }

    /// A certificate and its private key; [`ClientCertificate`] has an example.
    #[must_use]
    pub fn certificate(certificate: ClientCertificate) -> Self {
        Self::Certificate(certificate)
    }

    /// Assertions that `provider` makes, one for each request; [`ClientAssertionProvider`] has an example.
    #[must_use]
    pub fn assertion(provider: Arc<dyn ClientAssertionProvider>) -> Self {
        Self::Assertion(provider)
    }

    /// The token in a file, which is read for each request because its writer renews it. For Azure Workload Identity
    /// see [`WorkloadIdentity`](crate::request::WorkloadIdentity).
    ///
    /// ```
    /// use flows::client::ClientCredential;
    /// use flows::request::FederatedTokenFile;
    ///
    /// let file = FederatedTokenFile::new("/var/run/secrets/azure/tokens/azure-identity-token");
    /// let credential = ClientCredential::federated_token_file(file);
    /// # let _ = credential;
    /// ```
    #[must_use]
    pub fn federated_token_file(file: FederatedTokenFile) -> Self {
        Self::Assertion(Arc::new(file))
    }

    fn identity_of(self, client_id: String) -> Result<ClientIdentity, ConfigurationError> {
        match self {
            Self::Secret { secret, method } => {
                let client = ClientIdentity::with_secret(client_id, secret)?;
                Ok(match method {
                    Some(method) => client.secret_method(method),
                    None => client,
                })
            }
            Self::Certificate(certificate) => ClientIdentity::with_certificate(client_id, certificate),
            Self::Assertion(provider) => ClientIdentity::with_assertion(client_id, provider),
        }
    }
}

impl fmt::Debug for ClientCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { .. } => f.write_str("Secret([redacted])"),
            Self::Certificate(certificate) => certificate.fmt(f),
            // Not the provider: its author may not have thought of what it holds.
            Self::Assertion(_) => f.write_str("Assertion([not shown])"),
        }
    }
}

/// A client application on a server (RFC 6749 section 2.1). It acts for itself, and for users who signed in to it.
///
/// Clones are cheap and share everything.
#[derive(Clone, Debug)]
pub struct ConfidentialClient {
    application: Arc<Application>,
}

impl ConfidentialClient {
    /// Starts to build the client `client_id` of `authority`, with its tokens in `cache`.
    pub fn builder(
        client_id: impl Into<String>,
        authority: Authority,
        credential: ClientCredential,
        cache: TokenCache,
    ) -> ClientBuilder<Self> {
        ClientBuilder::new(credential.identity_of(client_id.into()), authority, cache)
    }

    pub(super) fn of(application: Arc<Application>) -> Self {
        Self { application }
    }

    pub(super) fn application(&self) -> &Arc<Application> {
        &self.application
    }

    /// A token for a user who signed in to this client before: from the cache, or by a refresh.
    pub fn acquire_token_silent<I>(&self, scopes: I) -> AcquireTokenSilent<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenSilent::new(&self.application, AskedScopes::of(scopes))
    }

    /// The accounts of this authority for which this client has tokens. It opens every user's partition: a server that knows its
    /// users asks for theirs.
    ///
    /// # Errors
    /// [`Error::Cache`]. Records that cannot be read are reported in the listing.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn accounts(&self) -> Result<AccountListing, Error> {
        self.application.accounts().await
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.application.cache
    }
}
