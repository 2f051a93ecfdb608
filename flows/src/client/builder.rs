//! Building a client.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{TokenCache, UnknownOutcomePolicy};
use cache_core::schema::{AuthorityKind, TokenContext};

use super::application::Application;
use super::proof_key::ProofKeys;
use super::{ConfidentialClient, PublicClient};
use crate::authority::Authority;
use crate::error::ConfigurationError;
use crate::http::HttpClient;
use crate::proof::DpopKey;
use crate::request::ClientIdentity;
use crate::{Error, Transport};

/// Chooses what a client does not need to be told. `C` is the kind of client.
#[must_use]
pub struct ClientBuilder<C> {
    client: Result<ClientIdentity, ConfigurationError>,
    authority: Authority,
    cache: TokenCache,
    http: Option<Arc<dyn HttpClient>>,
    transport: Option<Arc<Transport>>,
    time_limit: Option<Duration>,
    unknown_outcome: Option<UnknownOutcomePolicy>,
    dpop: Option<DpopKey>,
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
            dpop: None,
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

    fn application(self) -> Result<Arc<Application>, Error> {
        let transport = match (self.transport, self.http) {
            (Some(transport), _) => transport,
            (None, http) => {
                let http = http.map_or_else(default_http, Ok)?;
                let (clock, random) = (Arc::clone(self.cache.clock()), Arc::clone(self.cache.random()));
                Arc::new(Transport::new(http, clock, random))
            }
        };
        let usual = match self.authority.kind() {
            AuthorityKind::Entra | AuthorityKind::B2c | AuthorityKind::Ciam => {
                UnknownOutcomePolicy::RetryOnce
            }
            AuthorityKind::Adfs | AuthorityKind::Oidc => UnknownOutcomePolicy::AskUser,
        };
        Ok(Arc::new(Application {
            client: self.client?,
            authority: self.authority,
            cache: self.cache,
            transport,
            time_limit: self.time_limit.unwrap_or(Duration::from_secs(30)),
            unknown_outcome: self.unknown_outcome.unwrap_or(usual),
            context: TokenContext::default(),
            proof_keys: ProofKeys::new(self.dpop),
        }))
    }
}

impl ClientBuilder<PublicClient> {
    /// The client.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an unusable client ID, or when there is nobody to send requests.
    pub fn build(self) -> Result<PublicClient, Error> {
        self.application().map(PublicClient::of)
    }
}

impl ClientBuilder<ConfidentialClient> {
    /// The client.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an unusable client ID or credential, or when there is nobody to send requests.
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
fn default_http() -> Result<Arc<dyn HttpClient>, ConfigurationError> {
    Ok(Arc::new(crate::http::ReqwestClient::new()?))
}

#[cfg(not(feature = "reqwest"))]
fn default_http() -> Result<Arc<dyn HttpClient>, ConfigurationError> {
    Err(ConfigurationError::new(
        "no HTTP client: give the builder one, or turn the feature `reqwest` on",
    ))
}
