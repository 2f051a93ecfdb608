//! Tokens of managed identities.

mod question;

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use cache_core::cache::{
    AcquireOptions, AppTokenCall, CacheError, Freshness, TokenCache, UnknownOutcomePolicy,
};
use cache_core::schema::{AuthorityIdentity, AuthorityKind, PartitionKey, TokenRequest};
use cache_core::secret::SecretRef;
use cache_core::store::CompareAndSwap;

use self::question::Call;
use super::builder::default_http;
use super::cache_options::{CacheOptions, cache_option_methods};
use super::lazy_correlation::LazyCorrelation;
use super::{Acquisition, outcome};
use crate::error::ConfigurationError;
use crate::http::HttpClient;
use crate::managed_identity::{
    AUTHORITY, Endpoint, ManagedIdentityEnvironment, ManagedIdentityId, ManagedIdentitySource, Resource,
    TENANT,
};
use crate::{AuthenticationResult, Error, Transport};

/// A client that has the identity which Azure gave the place it runs in; see [`managed_identity`](crate::managed_identity).
///
/// It is cheap to clone, and clones share everything. Tokens are kept in a partition of the application's own tokens, apart from
/// those of every real authority, of every other identity and of every other kind of place.
///
/// ```no_run
/// use cache_core::cache::TokenCache;
/// use flows::Error;
/// use flows::client::ManagedIdentityClient;
/// use flows::managed_identity::ManagedIdentityId;
///
/// # async fn token(cache: TokenCache) -> Result<(), Error> {
/// let client = ManagedIdentityClient::builder(ManagedIdentityId::SystemAssigned, cache).build()?;
/// let result = client.acquire_token_for_managed_identity("https://vault.azure.net").await?;
/// let header = result.authorization_header();
/// # let _ = header; Ok(()) }
/// ```
#[derive(Clone)]
pub struct ManagedIdentityClient {
    inner: Arc<Inner>,
}

struct Inner {
    identity: ManagedIdentityId,
    endpoint: Endpoint,
    owner: Option<String>,
    cache: TokenCache,
    http: Arc<dyn HttpClient>,
    transport: Arc<Transport>,
}

impl ManagedIdentityClient {
    /// A client with the identity `identity` and the cache `cache`.
    pub fn builder(identity: ManagedIdentityId, cache: TokenCache) -> ManagedIdentityClientBuilder {
        ManagedIdentityClientBuilder {
            identity,
            cache,
            environment: None,
            http: None,
            transport: None,
            owner: None,
        }
    }

    /// Where the program runs, by the marks of its environment. Nobody is asked: the instance metadata service is also what is
    /// assumed where there are no marks.
    #[must_use]
    pub fn source(&self) -> ManagedIdentitySource {
        self.inner.endpoint.source()
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.inner.cache
    }

    /// A token for `resource`, such as `https://vault.azure.net` or its scope `https://vault.azure.net/.default`: from the cache,
    /// else by one request for all who ask.
    pub fn acquire_token_for_managed_identity(
        &self,
        resource: impl Into<String>,
    ) -> AcquireTokenForManagedIdentity<'_> {
        AcquireTokenForManagedIdentity {
            inner: &self.inner,
            resource: resource.into(),
            options: CacheOptions::new(),
        }
    }
}

impl fmt::Debug for ManagedIdentityClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityClient")
            .field("identity", &self.inner.identity)
            .field("source", &self.source())
            .finish_non_exhaustive()
    }
}

/// Chooses what a [`ManagedIdentityClient`] does not need to be told.
///
/// ```no_run
/// use cache_core::cache::TokenCache;
/// use flows::client::ManagedIdentityClient;
/// use flows::managed_identity::ManagedIdentityId;
///
/// # fn build(cache: TokenCache) -> Result<(), flows::Error> {
/// let identity = ManagedIdentityId::UserAssignedClientId("11111111-2222-3333-4444-555555555555".to_owned());
/// let client = ManagedIdentityClient::builder(identity, cache).owner("host-17").build()?;
/// println!("asks {:?}", client.source());
/// # Ok(()) }
/// ```
#[must_use]
pub struct ManagedIdentityClientBuilder {
    identity: ManagedIdentityId,
    cache: TokenCache,
    environment: Option<ManagedIdentityEnvironment>,
    http: Option<Arc<dyn HttpClient>>,
    transport: Option<Arc<Transport>>,
    owner: Option<String>,
}

impl ManagedIdentityClientBuilder {
    /// Sets what the place that the program runs in is told by; without it this process's environment.
    pub fn environment(mut self, environment: ManagedIdentityEnvironment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Sets who sends the requests; without it a [`ReqwestClient`](crate::http::ReqwestClient) (feature `reqwest`). On Service
    /// Fabric the client has one of its own all the same, because no other trusts that one certificate alone.
    pub fn http(mut self, http: Arc<dyn HttpClient>) -> Self {
        self.http = Some(http);
        self
    }

    /// Sets what the client speaks through, to share it with other clients of the process; [`http`](Self::http) then counts for
    /// nothing. What one of them was told, such as to wait, then holds for all.
    pub fn transport(mut self, transport: Arc<Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Says whose system-assigned identity it is: the name of a machine, a scale set or an application. Only programs with the
    /// same name share tokens of it.
    ///
    /// A store that machines share needs it, because every machine has a system-assigned identity of its own, and one would be
    /// handed another's token. User-assigned identities are the same everywhere.
    pub fn owner(mut self, name: impl Into<String>) -> Self {
        self.owner = Some(name.into());
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`Error::Configuration`] when the environment makes no sense, the place does not know identities by that kind of ID, a
    /// system-assigned identity has no [`owner`](Self::owner) and the store is one that machines share, or there is nobody to
    /// send requests.
    pub fn build(self) -> Result<ManagedIdentityClient, Error> {
        let environment = self
            .environment
            .unwrap_or_else(ManagedIdentityEnvironment::from_process);
        let endpoint = Endpoint::detect(&environment, &self.identity)?;
        let is_of_one_place = self.identity == ManagedIdentityId::SystemAssigned;
        let capabilities = self.cache.store().capabilities();
        if is_of_one_place && self.owner.is_none() && capabilities.compare_and_swap == CompareAndSwap::Cluster
        {
            return Err(ConfigurationError::new(
                "the store is one that machines share, and each has a system-assigned identity of its own; say whose this is \
                 with `owner`, or use a user-assigned identity",
            )
            .into());
        }
        let pinned = match &endpoint {
            Endpoint::ServiceFabric(endpoint) => Some(pinned_http(endpoint.thumbprint())?),
            _ => None,
        };
        let transport = match self.transport {
            Some(transport) => transport,
            None => {
                let http = pinned.clone().or(self.http).map_or_else(default_http, Ok)?;
                let (clock, random) = (Arc::clone(self.cache.clock()), Arc::clone(self.cache.random()));
                Arc::new(Transport::new(http, clock, random))
            }
        };
        Ok(ManagedIdentityClient {
            inner: Arc::new(Inner {
                owner: self.owner.filter(|_| is_of_one_place),
                identity: self.identity,
                endpoint,
                cache: self.cache,
                http: pinned.unwrap_or_else(|| Arc::clone(transport.http())),
                transport,
            }),
        })
    }
}

impl fmt::Debug for ManagedIdentityClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityClientBuilder")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// An acquisition for a managed identity. Await it to run it.
///
/// The endpoints take no claims: [`claims`](Self::claims) makes sure that the token is a new one.
///
/// # Errors
/// [`Error::Configuration`] for a resource that is none, [`Error::Authority`] when the endpoint refuses,
/// [`Error::ManagedIdentity`] when Azure Arc's agent wants what it does not get, else [`Error::Cache`].
///
/// # Cancellation safety
/// Dropping the future leaves a request that was begun to its end, and its token in the cache.
///
/// ```no_run
/// # async fn token(client: flows::client::ManagedIdentityClient) -> Result<(), flows::Error> {
/// let vault = client.acquire_token_for_managed_identity("https://vault.azure.net");
/// let result = vault.force_refresh(true).await?;
/// # let _ = result; Ok(()) }
/// ```
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenForManagedIdentity<'a> {
    inner: &'a Arc<Inner>,
    resource: String,
    options: CacheOptions,
}

impl AcquireTokenForManagedIdentity<'_> {
    cache_option_methods!();

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            inner,
            resource,
            options,
        } = self;
        let resource = Resource::parse(&resource)?;
        let freshness = options.freshness();
        let request = inner.token_request(&resource).claims(options.claims);
        let call = Arc::new(Call {
            inner: Arc::clone(inner),
            resource,
            rejected: match freshness {
                Freshness::Forced { rejected } => rejected,
                _ => None,
            },
            correlation_id: LazyCorrelation::default(),
        });
        let options = AcquireOptions {
            freshness,
            // There is no refresh token whose fate could be unknown.
            unknown_outcome: UnknownOutcomePolicy::RetryOnce,
            extended_lifetime: options.extended_lifetime,
            cache_only: false,
        };
        let sent: Arc<dyn AppTokenCall> = call.clone();
        let began = inner.cache.clock().monotonic();
        let acquired = inner
            .cache
            .acquire_app(Arc::new(request), options, sent)
            .await
            .map_err(typed)?;
        let elapsed = inner.cache.clock().monotonic().saturating_sub(began);
        Ok(outcome::result(acquired, call.correlation_id.drawn(), elapsed))
    }
}

impl<'a> IntoFuture for AcquireTokenForManagedIdentity<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(self.run())
    }
}

impl fmt::Debug for AcquireTokenForManagedIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenForManagedIdentity")
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn token_request(&self, resource: &Resource) -> TokenRequest {
        let authority = AuthorityIdentity::from_parts(AuthorityKind::Entra, AUTHORITY);
        let (client_id, scopes) = (self.identity.cache_id(), resource.scopes());
        let mut partition = self.cache.app_partition(client_id, &authority, TENANT, &scopes);
        if let PartitionKey::App { components, .. } = &mut partition {
            *components = self.components();
        }
        TokenRequest::new(partition, authority.kind(), client_id, AUTHORITY, TENANT, scopes)
    }

    /// What sets the identity's partition apart from others with the same client ID.
    fn components(&self) -> BTreeMap<String, String> {
        let fixed = [
            ("identity", self.identity.tag()),
            ("source", self.endpoint.source().tag()),
        ];
        let owner = self.owner.as_deref().map(|name| ("owner", name));
        let all = fixed.into_iter().chain(owner);
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// The error that the endpoint's own module made, out of the cache's, which all who waited for the request share.
fn typed(error: CacheError) -> Error {
    let cause = match &error {
        CacheError::Unreachable(cause) => std::error::Error::source(&**cause),
        _ => None,
    };
    match cause.and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::ManagedIdentity(error)) => error.clone().into(),
        _ => error.into(),
    }
}

#[cfg(feature = "reqwest")]
fn pinned_http(thumbprint: &str) -> Result<Arc<dyn HttpClient>, ConfigurationError> {
    let pin = crate::http::CertificatePin::parse(thumbprint).ok_or_else(|| {
        ConfigurationError::new(
            "the environment variable IDENTITY_SERVER_THUMBPRINT holds no SHA-1 thumbprint, which is 40 hexadecimal digits",
        )
    })?;
    let http = crate::http::ReqwestClient::builder()
        .certificate_pin(pin)
        .no_proxy()
        .build()?;
    Ok(Arc::new(http))
}

#[cfg(not(feature = "reqwest"))]
fn pinned_http(_thumbprint: &str) -> Result<Arc<dyn HttpClient>, ConfigurationError> {
    Err(ConfigurationError::new(
        "Service Fabric's certificate can be checked with the feature `reqwest` of this crate only; turn it on",
    ))
}
