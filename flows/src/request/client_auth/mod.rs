//! How a client says who it is at the token endpoint (RFC 6749 section 2.3, RFC 7521, RFC 7523).

mod assertion;
mod certificate;
mod federated;
mod pem;
mod provider;
mod secret;
mod signing_key;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::secret::Secret;
use cache_core::time::with_deadline;

use self::secret::{basic, default_method};
use crate::Transport;
use crate::authority::{Authority, Metadata};
use crate::error::{ConfigurationError, Error};
use crate::http::Form;

pub use self::certificate::ClientCertificate;
pub use self::federated::{FederatedTokenFile, WorkloadIdentity};
pub use self::provider::{AssertionRequest, ClientAssertionError, ClientAssertionProvider};
pub use self::secret::SecretMethod;

/// A client and its credential, if it has one.
///
/// ```
/// use cache_core::secret::Secret;
/// use flows::request::{ClientIdentity, SecretMethod};
///
/// # fn main() -> Result<(), flows::Error> {
/// let tool = ClientIdentity::public("my-tool")?;
/// let server = ClientIdentity::with_secret("my-server", Secret::new("secret"))?.secret_method(SecretMethod::Basic);
/// assert!(server.is_confidential() && !tool.is_confidential());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ClientIdentity {
    id: String,
    credential: Credential,
}

#[derive(Clone)]
enum Credential {
    /// A public client: anybody can read what a program on a user's machine holds.
    None,
    Secret(Secret, Option<SecretMethod>),
    Certificate(ClientCertificate),
    Assertion(Arc<dyn ClientAssertionProvider>),
}

/// The request that a client authenticates, as far as its credential needs to know.
pub(crate) struct Authentication<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) metadata: &'a Metadata,
    pub(crate) transport: &'a Transport,
    /// For whoever makes an assertion.
    pub(crate) time_limit: Duration,
}

impl ClientIdentity {
    /// A public client.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the identifier is empty.
    pub fn public(id: impl Into<String>) -> Result<Self, ConfigurationError> {
        Self::new(id.into(), Credential::None)
    }

    /// A confidential client with a secret. How the secret is sent follows the authority's metadata.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the identifier or the secret is empty.
    pub fn with_secret(id: impl Into<String>, secret: Secret) -> Result<Self, ConfigurationError> {
        if secret.is_empty() {
            return Err(ConfigurationError::new("the client secret is empty"));
        }
        Self::new(id.into(), Credential::Secret(secret, None))
    }

    /// A confidential client that signs an assertion for each request.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the identifier is empty.
    pub fn with_certificate(
        id: impl Into<String>,
        certificate: ClientCertificate,
    ) -> Result<Self, ConfigurationError> {
        Self::new(id.into(), Credential::Certificate(certificate))
    }

    /// A confidential client whose assertions `provider` makes.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the identifier is empty.
    pub fn with_assertion(
        id: impl Into<String>,
        provider: Arc<dyn ClientAssertionProvider>,
    ) -> Result<Self, ConfigurationError> {
        Self::new(id.into(), Credential::Assertion(provider))
    }

    fn new(id: String, credential: Credential) -> Result<Self, ConfigurationError> {
        if id.is_empty() {
            return Err(ConfigurationError::new("the client ID is empty"));
        }
        Ok(Self { id, credential })
    }

    /// Sends the secret in this way, whatever the metadata says: some issuers accept only the one that the client
    /// was registered for.
    #[must_use]
    pub fn secret_method(mut self, method: SecretMethod) -> Self {
        if let Credential::Secret(_, chosen) = &mut self.credential {
            *chosen = Some(method);
        }
        self
    }

    /// The client ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the client has a credential.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        !matches!(self.credential, Credential::None)
    }

    /// Whether `authority` can accept the credential.
    ///
    /// # Errors
    /// [`ConfigurationError`] when it certainly cannot.
    pub(crate) fn check(&self, authority: &Authority) -> Result<(), ConfigurationError> {
        match &self.credential {
            Credential::Certificate(certificate) => certificate.check(authority.kind()),
            _ => Ok(()),
        }
    }

    /// Adds what authenticates the client to `form`, or returns the `Authorization` header that does. Each attempt to
    /// send a request needs a call of its own: an assertion is for one use.
    ///
    /// # Errors
    /// When the credential cannot be had; nothing was sent then.
    ///
    /// # Cancellation safety
    /// Cancellation safe, as far as the provider of assertions is.
    pub(crate) async fn authenticate(
        &self,
        request: &Authentication<'_>,
        form: &mut Form,
    ) -> Result<Option<Secret>, Error> {
        let assertion = match &self.credential {
            Credential::None => {
                form.push("client_id", &self.id);
                return Ok(None);
            }
            Credential::Secret(secret, chosen) => return Ok(self.present(secret, *chosen, request, form)),
            Credential::Certificate(certificate) => assertion::sign(certificate, &self.id, request)?,
            Credential::Assertion(provider) => self.ask(&**provider, request).await?,
        };
        form.push("client_id", &self.id);
        form.push("client_assertion_type", assertion::JWT_BEARER);
        form.push_secret("client_assertion", &assertion);
        Ok(None)
    }

    fn present(
        &self,
        secret: &Secret,
        chosen: Option<SecretMethod>,
        request: &Authentication<'_>,
        form: &mut Form,
    ) -> Option<Secret> {
        match chosen.unwrap_or_else(|| default_method(request.authority.kind(), request.metadata)) {
            // RFC 6749 section 2.3: one method a request, so neither part is repeated in the form.
            SecretMethod::Basic => Some(basic(&self.id, secret)),
            SecretMethod::Post => {
                form.push("client_id", &self.id);
                form.push_secret("client_secret", secret);
                None
            }
        }
    }

    async fn ask(
        &self,
        provider: &dyn ClientAssertionProvider,
        request: &Authentication<'_>,
    ) -> Result<Secret, ClientAssertionError> {
        let wanted = AssertionRequest {
            client_id: &self.id,
            token_endpoint: &request.metadata.token_endpoint,
            time_limit: request.time_limit,
        };
        let clock = &**request.transport.clock();
        match with_deadline(clock, request.time_limit, provider.assertion(&wanted)).await {
            None => Err(ClientAssertionError::TimedOut),
            Some(Ok(assertion)) if assertion.is_empty() => Err(ClientAssertionError::Empty),
            Some(made) => made,
        }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("id", &self.id)
            .field("confidential", &self.is_confidential())
            .finish()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
