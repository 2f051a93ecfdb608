//! Building a client.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{TokenCache, UnknownOutcomePolicy};
use cache_core::schema::{AuthorityKind, ScopeSet, TokenContext};

use super::application::Application;
use super::password::PasswordGrant;
use super::proof_key::ProofKeys;
use super::{ConfidentialClient, PublicClient, cached_app_token};
use crate::authority::{Authority, Region};
use crate::challenge::ClientCapabilities;
use crate::error::ConfigurationError;
use crate::http::HttpClient;
use crate::proof::DpopKey;
use crate::request::ClientIdentity;
use crate::telemetry::Telemetry;
use crate::{Error, IdTokenVerification, Transport};

/// Chooses what a client does not need to be told. `C` is the kind of client.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use cache_core::cache::TokenCache;
/// use flows::authority::Authority;
/// use flows::client::PublicClient;
/// use flows::{IdTokenVerification, Transport};
///
/// # fn build(cache: TokenCache, shared: Arc<Transport>) -> Result<(), flows::Error> {
/// let authority = Authority::oidc("https://id.example/")?;
/// let client = PublicClient::builder("my-client", authority, cache)
///     .transport(shared)
///     .time_limit(Duration::from_secs(10))
///     .verify_id_tokens(IdTokenVerification::Always)
///     .build()?;
/// # let _ = client; Ok(()) }
/// ```
#[must_use]
pub struct ClientBuilder<C> {
    client: Result<ClientIdentity, ConfigurationError>,
    authority: Authority,
    cache: TokenCache,
    http: Option<Arc<dyn HttpClient>>,
    transport: Option<Arc<Transport>>,
    time_limit: Option<Duration>,
    unknown_outcome: Option<UnknownOutcomePolicy>,
    id_tokens: IdTokenVerification,
    capabilities: ClientCapabilities,
    dpop: Option<DpopKey>,
    pub(super) password_grant: Option<PasswordGrant>,
    telemetry: Option<(String, String)>,
    log_personal_data: bool,
    region: Option<Region>,
    kind: PhantomData<C>,
}

impl<C> ClientBuilder<C> {
    pub(super) fn new(
        client: Result<ClientIdentity, ConfigurationError>,
        authority: Authority,
        cache: TokenCache,
    ) -> Self {
        Self {
            client,
            authority,
            cache,
            http: None,
            transport: None,
            time_limit: None,
            unknown_outcome: None,
            id_tokens: IdTokenVerification::default(),
            capabilities: ClientCapabilities::default(),
            dpop: None,
            password_grant: None,
            telemetry: None,
            log_personal_data: false,
            region: None,
            kind: PhantomData,
        }
    }

    /// Sets who sends the requests; without it a [`ReqwestClient`](crate::http::ReqwestClient) on the system's certificates (feature `reqwest`).
    pub fn http(mut self, http: Arc<dyn HttpClient>) -> Self {
        self.http = Some(http);
        self
    }

    /// Sets what the client speaks through, to share it with other clients of the process; [`http`](Self::http) then counts for nothing.
    pub fn transport(mut self, transport: Arc<Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets how long one request of a sign-in may take, to the last byte of its reply; 30 seconds unless set. Refreshes go by the
    /// cache's [`TimeLimits`](cache_core::strategy::TimeLimits), because others wait for them.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Sets whether a refresh token whose fate is unknown may be sent once more. Unless set, only to Entra, B2C and External ID, whose
    /// refresh tokens survive their use. Say [`RetryOnce`](UnknownOutcomePolicy::RetryOnce) of another issuer only if it is known to accept reuse: one
    /// that rotates strictly would revoke the session.
    pub fn unknown_outcome(mut self, policy: UnknownOutcomePolicy) -> Self {
        self.unknown_outcome = Some(policy);
        self
    }

    /// Sets when the signatures of ID tokens are checked; unless set, where they do not come straight over TLS from the token
    /// endpoint.
    pub fn verify_id_tokens(mut self, when: IdTokenVerification) -> Self {
        self.id_tokens = when;
        self
    }

    /// Says what this client can handle. `cp1` is a promise: to answer the claims challenges of resources that evaluate access
    /// continuously, see [`challenge`](crate::challenge). Its tokens then live longer, and are kept apart from those of clients
    /// that do not promise it.
    ///
    /// Entra, B2C and External ID are told with every request. Other issuers do not know the claim that says it, so there the
    /// capabilities count for nothing.
    ///
    /// ```no_run
    /// # fn build(authority: flows::authority::Authority, cache: cache_core::cache::TokenCache) -> Result<(), flows::Error> {
    /// use flows::client::PublicClient;
    ///
    /// let client = PublicClient::builder("11111111-2222-3333-4444-555555555555", authority, cache)
    ///     .client_capabilities(["cp1"])
    ///     .build()?;
    /// # let _ = client; Ok(()) }
    /// ```
    pub fn client_capabilities<I>(mut self, capabilities: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.capabilities = ClientCapabilities::new(capabilities);
        self
    }

    /// Binds all tokens of the client to a key (DPoP, RFC 9449), so that they are of no use to whoever steals them alone. An authority that
    /// answers with bearer tokens all the same is refused.
    ///
    /// ```no_run
    /// # use cache_core::cache::{CachedAccount, TokenCache};
    /// # use flows::authority::Authority;
    /// use flows::client::PublicClient;
    /// use flows::proof::DpopKey;
    ///
    /// # async fn read(authority: Authority, cache: TokenCache, account: CachedAccount) -> Result<(), flows::Error> {
    /// let client = PublicClient::builder("my-client", authority, cache).dpop(DpopKey::software()).build()?;
    /// let result = client.acquire_token_silent(["api:read"]).account(&account).await?;
    /// let url = "https://api.example/things";
    /// let proof = client.dpop_proof(&result, "GET", url, None).await?;
    /// let headers = [("authorization", result.authorization_header()), ("dpop", proof)];
    /// # let _ = headers; Ok(()) }
    /// ```
    pub fn dpop(mut self, key: DpopKey) -> Self {
        self.dpop = Some(key);
        self
    }

    /// Tells Microsoft's authorities the application's name and version, this library's and the operating system, in the
    /// headers that its sign-in logs know (`x-app-name`, `x-app-ver`, `x-client-sku`, `x-client-ver`, `x-client-os`).
    /// Unless this is called nothing of it is sent, and never to any other issuer.
    ///
    /// ```
    /// # use cache_core::cache::TokenCache;
    /// # use flows::{authority::Authority, client::PublicClient};
    /// # fn build(authority: Authority, cache: TokenCache) -> Result<(), flows::Error> {
    /// let client = PublicClient::builder("11111111-2222-3333-4444-555555555555", authority, cache)
    ///     .telemetry("my-tool", "1.0")
    ///     .build()?;
    /// # let _ = client; Ok(()) }
    /// ```
    pub fn telemetry(mut self, application_name: impl Into<String>, version: impl Into<String>) -> Self {
        self.telemetry = Some((application_name.into(), version.into()));
        self
    }

    /// Whether accounts are named in spans and events, as home account IDs. They are personal data: unless this is set, nothing
    /// that is logged says whose token it is. Secrets are never logged, whatever is set.
    pub fn log_personal_data(mut self, log: bool) -> Self {
        self.log_personal_data = log;
        self
    }

    /// Asks Microsoft which cloud the authority's host belongs to, so that all names of one cloud share accounts and tokens: see
    /// [`Discovery::canonical`](crate::authority::Discovery::canonical). It does nothing for a host that is built in or on this
    /// machine, and for other kinds of authority. Call it after [`http`](Self::http) or [`transport`](Self::transport).
    ///
    /// MSAL asks by default; here a host that is not built in stands for itself until this is called.
    ///
    /// ```no_run
    /// # async fn client(cache: cache_core::cache::TokenCache) -> Result<(), flows::Error> {
    /// use flows::authority::Authority;
    /// use flows::client::PublicClient;
    ///
    /// let authority = Authority::entra("https://login.private-cloud.example/common")?;
    /// let builder = PublicClient::builder("11111111-2222-3333-4444-555555555555", authority, cache);
    /// let client = builder.instance_discovery().await?.build()?;
    /// # let _ = client; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Configuration`] when there is nobody to send requests. That nobody answers is no error.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn instance_discovery(mut self) -> Result<Self, Error> {
        let transport = self.shared_transport()?;
        let limit = self.time_limit.unwrap_or(Self::TIME_LIMIT);
        self.authority = transport.discovery().canonical(&self.authority, limit).await;
        Ok(self)
    }

    const TIME_LIMIT: Duration = Duration::from_secs(30);

    fn shared_transport(&mut self) -> Result<Arc<Transport>, Error> {
        if let Some(transport) = &self.transport {
            return Ok(Arc::clone(transport));
        }
        let http = self.http.take().map_or_else(default_http, Ok)?;
        let (clock, random) = (Arc::clone(self.cache.clock()), Arc::clone(self.cache.random()));
        let transport = Arc::new(Transport::new(http, clock, random));
        self.transport = Some(Arc::clone(&transport));
        Ok(transport)
    }

    fn application(mut self) -> Result<Arc<Application>, Error> {
        let transport = self.shared_transport()?;
        let usual = match self.authority.kind() {
            AuthorityKind::Entra | AuthorityKind::B2c | AuthorityKind::Ciam => {
                UnknownOutcomePolicy::RetryOnce
            }
            AuthorityKind::Adfs | AuthorityKind::Oidc => UnknownOutcomePolicy::AskUser,
        };
        let capabilities = match self.authority.kind() {
            kind if kind.honours_client_info() => self.capabilities,
            _ => ClientCapabilities::default(),
        };
        let telemetry = self
            .telemetry
            .map(|(name, version)| Telemetry::new(name, version).map(Arc::new))
            .transpose()?;
        let client = self.client?;
        client.check(&self.authority)?;
        if self.region.is_some() && self.authority.kind() != AuthorityKind::Entra {
            return Err(
                ConfigurationError::new("only an Entra authority has regions; remove the region").into(),
            );
        }
        let own_partition =
            cached_app_token::request(&self.cache, &self.authority, client.id(), ScopeSet::default())
                .partition()
                .clone();
        let own_partition = Some(own_partition).filter(|_| !self.authority.is_multi_tenant());
        Ok(Arc::new(Application {
            telemetry,
            log_personal_data: self.log_personal_data,
            client,
            own_partition,
            identity: self.authority.identity(),
            is_multi_tenant: self.authority.is_multi_tenant(),
            authority: self.authority,
            cache: self.cache,
            transport,
            time_limit: self.time_limit.unwrap_or(Self::TIME_LIMIT),
            unknown_outcome: self.unknown_outcome.unwrap_or(usual),
            region: self.region,
            context: TokenContext {
                continuous_access_evaluation: capabilities.handle_claims_challenges(),
                ..TokenContext::default()
            },
            id_tokens: self.id_tokens,
            capabilities,
            proof_keys: ProofKeys::new(self.dpop),
            password_grant: self.password_grant,
        }))
    }
}

impl ClientBuilder<PublicClient> {
    /// The client.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an unusable client ID or telemetry, or when there is nobody to send requests.
    pub fn build(self) -> Result<PublicClient, Error> {
        self.application().map(PublicClient::of)
    }
}

impl ClientBuilder<ConfidentialClient> {
    /// Sets the Azure region whose endpoint grants the application's own tokens, so that they do not depend on
    /// another region; without it the global endpoint does. Entra's clouds only; a host that is none of them is asked
    /// as it is. Tokens of users always come from the global endpoint, and the cache knows no regions.
    ///
    /// ```
    /// use cache_core::cache::TokenCache;
    /// use flows::Error;
    /// use flows::authority::{Authority, Region};
    /// use flows::client::{ClientCredential, ConfidentialClient};
    ///
    /// # fn client(authority: Authority, credential: ClientCredential, cache: TokenCache) -> Result<(), Error> {
    /// let region = Region::from_environment().unwrap_or_else(|_| Region::discover());
    /// let client = ConfidentialClient::builder("11111111-2222-3333-4444-555555555555", authority, credential, cache)
    ///     .region(region)
    ///     .build()?;
    /// # let _ = client; Ok(()) }
    /// ```
    pub fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an unusable client ID, credential or telemetry, one that the authority cannot accept, a
    /// region of an authority that has none, or when there is nobody to send requests.
    pub fn build(self) -> Result<ConfidentialClient, Error> {
        self.application().map(ConfidentialClient::of)
    }
}

impl<C> fmt::Debug for ClientBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "reqwest")]
pub(super) fn default_http() -> Result<Arc<dyn HttpClient>, ConfigurationError> {
    Ok(Arc::new(crate::http::ReqwestClient::new()?))
}

#[cfg(not(feature = "reqwest"))]
pub(super) fn default_http() -> Result<Arc<dyn HttpClient>, ConfigurationError> {
    Err(ConfigurationError::new(
        "no HTTP client: give the builder one, or turn the feature `reqwest` on",
    ))
}
