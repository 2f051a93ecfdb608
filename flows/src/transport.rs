//! What the clients of a process speak to authorities through, and what it remembers of them.

use std::fmt;
use std::sync::Arc;

use cache_core::random::Random;
use cache_core::time::Clock;

use crate::authority::Discovery;
use crate::http::HttpClient;
use crate::issuer_keys::IssuerKeys;
use crate::proof::Nonces;
use crate::throttle::Throttle;

/// An HTTP client, a clock and a source of randomness, with what was learned of authorities by them.
///
/// Share one among all clients of a process: what one of them was told, such as to wait, then holds for all.
///
/// ```
/// use std::sync::Arc;
///
/// use cache_core::cache::TokenCache;
/// use cache_core::random::OsRandom;
/// use cache_core::time::SystemClock;
/// use flows::Transport;
/// use flows::authority::Authority;
/// use flows::client::PublicClient;
/// use flows::http::ReqwestClient;
///
/// # fn build(authority: Authority, other: Authority, cache: TokenCache) -> Result<(), flows::Error> {
/// let http = Arc::new(ReqwestClient::new()?);
/// let shared = Arc::new(Transport::new(http, Arc::new(SystemClock), Arc::new(OsRandom)));
/// let one = PublicClient::builder("one", authority, cache.clone()).transport(Arc::clone(&shared)).build()?;
/// let two = PublicClient::builder("two", other, cache).transport(shared).build()?;
/// # let _ = (one, two); Ok(()) }
/// ```
pub struct Transport {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    discovery: Discovery,
    issuer_keys: IssuerKeys,
    nonces: Nonces,
    throttle: Throttle,
}

impl Transport {
    /// A transport that knows nothing yet.
    #[must_use]
    pub fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            discovery: Discovery::new(Arc::clone(&http), Arc::clone(&clock)),
            issuer_keys: IssuerKeys::new(Arc::clone(&http), Arc::clone(&clock)),
            nonces: Nonces::default(),
            throttle: Throttle::new(Arc::clone(&clock), Arc::clone(&random)),
            http,
            clock,
            random,
        }
    }

    /// Who sends the requests.
    #[must_use]
    pub fn http(&self) -> &Arc<dyn HttpClient> {
        &self.http
    }

    /// The clock that lifetimes and waits go by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where identifiers and nonces are drawn from.
    #[must_use]
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.random
    }

    /// The nonces that servers gave for proofs.
    pub(crate) fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// The authorities' metadata.
    #[must_use]
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// The keys that the authorities sign with.
    pub(crate) fn issuer_keys(&self) -> &IssuerKeys {
        &self.issuer_keys
    }

    /// What authorities forbid for the moment.
    pub(crate) fn throttle(&self) -> &Throttle {
        &self.throttle
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
