//! Assertions that somebody else makes: a key vault, a workload identity, another token service.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::secret::Secret;
use url::Url;

/// Makes the assertion by which a client proves who it is (RFC 7521 section 4.2), for each request anew.
///
/// ```
/// use std::sync::Arc;
///
/// use cache_core::secret::Secret;
/// use flows::client::ClientCredential;
/// use flows::error::ClientAssertionError;
/// use flows::request::{AssertionRequest, ClientAssertionProvider};
///
/// /// Signs with a key that never leaves the vault.
/// #[derive(Debug)]
/// struct Vault;
///
/// #[async_trait::async_trait]
/// impl ClientAssertionProvider for Vault {
///     async fn assertion(&self, request: &AssertionRequest<'_>) -> Result<Secret, ClientAssertionError> {
///         let signed: Result<String, std::io::Error> = sign(request.client_id, request.token_endpoint.as_str());
///         signed.map(Secret::new).map_err(ClientAssertionError::provider)
///     }
/// }
/// # fn sign(_: &str, _: &str) -> Result<String, std::io::Error> { Ok(String::new()) }
///
/// let credential = ClientCredential::assertion(Arc::new(Vault));
/// # let _ = credential;
/// ```
///
/// # Cancellation safety
/// The future may be dropped at any time: when the time limit is over, or when nobody waits any more.
#[async_trait]
pub trait ClientAssertionProvider: fmt::Debug + Send + Sync + 'static {
    /// An assertion for `request`. What was returned before must not be returned again if the authority refuses
    /// replays; Microsoft's does not, so a federated token may be used until it expires.
    ///
    /// # Errors
    /// [`ClientAssertionError`], which must not hold a secret. The request is then not sent.
    async fn assertion(&self, request: &AssertionRequest<'_>) -> Result<Secret, ClientAssertionError>;
}

#[async_trait]
impl<T: ClientAssertionProvider + ?Sized> ClientAssertionProvider for Arc<T> {
    async fn assertion(&self, request: &AssertionRequest<'_>) -> Result<Secret, ClientAssertionError> {
        (**self).assertion(request).await
    }
}

/// What an assertion is wanted for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AssertionRequest<'a> {
    /// The client that is to be authenticated: `iss` and `sub` of an assertion that it signs itself.
    pub client_id: &'a str,
    /// Where it will be sent: the audience that Microsoft's authorities expect.
    pub token_endpoint: &'a Url,
    /// How long the provider may take. It is a part of the token request's own limit.
    pub time_limit: Duration,
}

/// Why there is no client assertion. Nothing was sent then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientAssertionError {
    /// The provider failed, for the reason that is the source.
    #[error("the client assertion could not be made")]
    Provider(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provider did not answer in time.
    #[error("the client assertion was not made within the time limit")]
    TimedOut,
    /// The provider returned the empty string.
    #[error("the provider of client assertions returned an empty one")]
    Empty,
    /// The file with the assertion cannot be read.
    #[error("the file with the client assertion cannot be read: {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is empty: whoever writes it has not begun, or failed.
    #[error("the file with the client assertion is empty: {}", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than any token.
    #[error("the file with the client assertion has more than {limit} bytes, which no token has: {}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The file holds something else than one token.
    #[error("the file with the client assertion does not hold one token: {}", path.display())]
    NotOneToken {
        /// The file.
        path: PathBuf,
    },
}

impl ClientAssertionError {
    /// The error of a provider that failed because of `source`, which must not hold a secret.
    pub fn provider(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Provider(source.into())
    }
}
