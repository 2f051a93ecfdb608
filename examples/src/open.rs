//! The shared cache, opened by its options, and the client that uses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CacheError, TokenCache};
use cache_core::random::OsRandom;
use cache_core::seal::{KeySource, KeySourceError, Namespace, RollbackPolicy};
use cache_core::store::{Store, StoreError};
use cache_core::strategy::{Strategy, TimeLimits};
use cache_core::time::SystemClock;
use cache_redis::{RedisConfig, RedisStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use flows::Transport;
use flows::client::{ClientCredential, ConfidentialClient};
use flows::http::ReqwestClient;

use crate::options::CacheOptions;
use crate::protected_api::{ProtectedApi, ProtectedApiError};
use crate::secret_address::SecretError;
use crate::store_address::StoreAddress;

/// How long one request to the issuer may take. Somebody waits for the page, so it is shorter than the library's 30 seconds.
const REQUEST: Duration = Duration::from_secs(10);

/// How long a commit may take beside the request.
const COMMIT: Duration = Duration::from_secs(5);

/// What a program of the example works with.
pub struct Opened {
    /// The client, whose cache the others share.
    pub client: ConfidentialClient,
    /// What the client speaks through.
    pub transport: Arc<Transport>,
    /// Where the cache and the web sessions are.
    pub store: Arc<dyn Store>,
    /// What protects them.
    pub key_source: Arc<dyn KeySource>,
    /// The protected API.
    pub api: ProtectedApi,
    closing: Closing,
}

enum Closing {
    Sqlite(Arc<SqliteStore>),
    Redis(Arc<RedisStore>),
}

impl Opened {
    /// Opens the cache with `strategy`.
    ///
    /// # Errors
    /// [`OpenError`]: what is wrong with which option.
    pub async fn open(options: &CacheOptions, strategy: Strategy) -> Result<Self, OpenError> {
        let ca_certificates = options.ca_certificates.as_ref().map(|path| {
            std::fs::read(path).map_err(|source| OpenError::CaCertificates {
                path: path.clone(),
                source,
            })
        });
        let ca_certificates = ca_certificates.transpose()?;
        let (store, closing) = open_store(options, ca_certificates.as_deref()).await?;
        let key_source = options.key.key_source()?;
        let limits = TimeLimits {
            request: REQUEST,
            commit: COMMIT,
            // A caller that finds another at work waits for that one's whole turn, and has time left for one of its own.
            acquire: (REQUEST + COMMIT) * 2,
        };
        let cache = TokenCache::builder(Arc::clone(&store))
            .strategy(strategy.limits(limits).rollback(rollback(&options.store)))
            .open_sealed(Namespace::default(), Arc::clone(&key_source))
            .await?;
        // A connection that fails has certainly sent nothing, so it may fail well before the request's own limit.
        let mut http = ReqwestClient::builder().connect_timeout(REQUEST / 2);
        if let Some(pem) = &ca_certificates {
            http = http.ca_certificates(pem.as_slice());
        }
        let http = Arc::new(http.build().map_err(flows::Error::from)?);
        let transport = Arc::new(Transport::new(http, Arc::new(SystemClock), Arc::new(OsRandom)));
        let credential = ClientCredential::secret(options.client_secret.read()?);
        let authority = options.authority.0.clone();
        let client = ConfidentialClient::builder(options.client_id.as_str(), authority, credential, cache)
            .transport(Arc::clone(&transport))
            .time_limit(REQUEST)
            // A promise that `api_call` keeps: it answers claims challenges.
            .client_capabilities(["cp1"])
            .build()?;
        Ok(Self {
            client,
            transport,
            store,
            key_source,
            api: ProtectedApi::new(options.api.clone(), ca_certificates.as_deref())?,
            closing,
        })
    }

    /// Ends in order: refreshes under way get their tokens stored, since each has spent a refresh token for them.
    pub async fn close(self) {
        let unfinished = self.client.cache().shutdown(REQUEST + COMMIT).await;
        if unfinished > 0 {
            tracing::warn!(unfinished, "refreshes or writes did not finish in time");
        }
        match self.closing {
            Closing::Sqlite(store) => store.close().await,
            Closing::Redis(store) => store.close().await,
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("client", &self.client)
            .field("store", &self.store)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

/// A failover may take a server back to what its replica had. Then the user signs in again; no old refresh token is used. Nothing takes
/// a file back but somebody who puts an old copy in its place.
fn rollback(store: &StoreAddress) -> RollbackPolicy {
    match store {
        StoreAddress::Sqlite(_) => RollbackPolicy::Refuse,
        StoreAddress::Redis(_) => RollbackPolicy::MissAndReport,
    }
}

async fn open_store(
    options: &CacheOptions,
    ca_certificates: Option<&[u8]>,
) -> Result<(Arc<dyn Store>, Closing), OpenError> {
    match &options.store {
        StoreAddress::Sqlite(path) => {
            let store = Arc::new(SqliteStore::open(SqliteConfig::new(path)).await?);
            Ok((Arc::clone(&store) as Arc<dyn Store>, Closing::Sqlite(store)))
        }
        StoreAddress::Redis(url) => {
            let mut config = RedisConfig::from_url(url)?;
            if let Some(password) = &options.redis_password {
                config = config.password(password.read()?);
            }
            if let Some(pem) = ca_certificates.filter(|_| options.store.is_over_tls()) {
                config = config.ca_certificates(pem.to_vec());
            }
            let store = Arc::new(RedisStore::open(config).await?);
            Ok((Arc::clone(&store) as Arc<dyn Store>, Closing::Redis(store)))
        }
    }
}

/// Why a program of the example did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error("the store of --store cannot be opened")]
    Store(#[from] StoreError),
    /// What it is sealed under.
    #[error("--key cannot be used")]
    Key(#[from] KeySourceError),
    /// The cache in the store.
    #[error("the cache cannot be opened")]
    Cache(#[from] CacheError),
    /// The application's secret, or the store's password.
    #[error("a secret cannot be read")]
    Secret(#[from] SecretError),
    /// The certificates.
    #[error("the file {} of --ca-certificates cannot be read", path.display())]
    CaCertificates {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client.
    #[error("the client cannot be set up")]
    Client(#[from] flows::Error),
    /// The protected API.
    #[error("--api cannot be used")]
    Api(#[from] ProtectedApiError),
}
