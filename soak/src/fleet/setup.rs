//! What every process of a fleet is told at its start, and the cache and client that it builds from that.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::Namespace;
use cache_core::store::Store;
use cache_core::strategy::{Coalescing, MemoryTier, OutagePolicy, Strategy, TimeLimits};
use cache_testkit::declared::DeclaredStore;
use flows::http::{HttpClient, ReqwestClient};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::place::{Ground, Place};
use crate::gate::{Doing, GateError};
use crate::scene::key_source;

/// A process that is told nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// What the process stands for.
    pub program: Program,
    /// The store.
    pub place: Place,
    /// How long the store may take.
    pub patience: Duration,
    /// Who issues tokens.
    pub issuer: Issuer,
    /// How long things may take.
    pub limits: Limits,
    /// How long memory is trusted.
    pub max_staleness: Duration,
    /// How long a server's memory serves beyond that while the store is away.
    pub outage: Duration,
    /// Whether the store tells of changes.
    pub watch: bool,
    /// Whether whoever spends a refresh token tells the fleet so first.
    pub coalesced: bool,
}

/// How long a store may take: sixteen processes that all begin at once, on a machine of two processors, are a crowd.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process stands for: by that it has its [`Strategy`] and its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A program that one person runs.
    Tool,
    /// A server that signs users in.
    FrontEnd,
    /// Jobs that act for them.
    Worker,
}

impl Program {
    /// A front end has several. All others have one, as sixteen of them share a machine with the provider and the store.
    pub(super) fn runtime(self) -> Result<tokio::runtime::Runtime, GateError> {
        if self == Self::FrontEnd {
            return crate::stage::runtime();
        }
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing("could not start the runtime")
    }
}

/// Who issues tokens, and to which client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issuer {
    /// What the client is configured with.
    pub authority: String,
    /// The client's ID.
    pub client_id: String,
    /// Whether the client has the secret of the tests.
    pub is_confidential: bool,
    /// The certificate that it is trusted by, where it speaks TLS.
    pub ca_pem: Option<String>,
    /// The scope to ask for.
    pub scope: String,
    /// Where it tells whose an access token is (RFC 7662), where it does.
    pub introspection: Option<String>,
    /// The port of the proxy that refresh tokens are sent through.
    pub refresh_port: Option<u16>,
    /// The port of the proxy that everything else is posted through.
    pub others_port: Option<u16>,
}

impl Issuer {
    /// Nobody: the cache alone is used.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            authority: "https://issuer.example".to_owned(),
            client_id: "soak".to_owned(),
            is_confidential: false,
            ca_pem: None,
            scope: "api:read".to_owned(),
            introspection: None,
            refresh_port: None,
            others_port: None,
        }
    }
}

/// [`TimeLimits`], to be told to a process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// For one request.
    pub request: Duration,
    /// For storing its reply.
    pub commit: Duration,
    /// For a caller that waits for another's.
    pub acquire: Duration,
}

impl Default for Limits {
    /// Those of an application that sets none.
    fn default() -> Self {
        let TimeLimits {
            request,
            commit,
            acquire,
        } = TimeLimits::default();
        Self {
            request,
            commit,
            acquire,
        }
    }
}

impl From<Limits> for TimeLimits {
    fn from(limits: Limits) -> Self {
        Self {
            request: limits.request,
            commit: limits.commit,
            acquire: limits.acquire,
        }
    }
}

impl Setup {
    /// Processes over `ground`, to whom `issuer` issues tokens.
    #[must_use]
    pub fn new(ground: &Ground, issuer: Issuer) -> Self {
        Self {
            program: Program::Tool,
            place: ground.place(),
            patience: PATIENCE,
            issuer,
            limits: Limits::default(),
            max_staleness: Duration::from_secs(30),
            outage: Duration::from_secs(300),
            watch: true,
            coalesced: true,
        }
    }

    /// Opens the cache.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub async fn cache(&self) -> Result<TokenCache, GateError> {
        let store = self.place.open(self.patience).await?;
        let store: Arc<dyn Store> = if self.watch {
            store
        } else {
            Arc::new(DeclaredStore::new(store, |capabilities| {
                capabilities.watch = false;
            }))
        };
        let coalescing = if self.coalesced {
            Coalescing::Fleet
        } else {
            Coalescing::None
        };
        let memory = |bytes| MemoryTier::bounded(bytes).max_staleness(self.max_staleness);
        let outage = OutagePolicy::ServeFromMemory { at_most: self.outage };
        let strategy = match self.program {
            Program::Tool => Strategy::desktop_tool().memory_tier(memory(8 << 20)),
            Program::FrontEnd => Strategy::web_front_end()
                .memory_tier(memory(64 << 20))
                .outage(outage),
            Program::Worker => Strategy::background_worker()
                .memory_tier(memory(32 << 20))
                .outage(outage),
        };
        let strategy = strategy.coalescing(coalescing).limits(self.limits.into());
        TokenCache::builder(store)
            .strategy(strategy)
            .open_sealed(Namespace::default(), key_source())
            .await
            .doing("could not open the cache")
    }

    /// The HTTP client that trusts the issuer.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub fn http(&self) -> Result<ReqwestClient, GateError> {
        let mut http = ReqwestClient::builder().no_proxy();
        if let Some(pem) = &self.issuer.ca_pem {
            http = http.ca_certificates(pem.as_bytes());
        }
        http.build().doing("could not build an HTTP client")
    }

    /// The client, which sends by `http`.
    ///
    /// # Errors
    ///
    /// When it cannot be built.
    pub fn client(&self, cache: TokenCache, http: Arc<dyn HttpClient>) -> Result<Client, GateError> {
        Client::new(&self.issuer, cache, http).doing("could not build a client")
    }
}
