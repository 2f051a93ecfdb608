//! The store of a run: opened as its address says, and closed in the end.

mod keychains;

use std::path::Path;
use std::sync::Arc;

use cache_core::seal::{Namespace, RecordKind};
use cache_core::secret::Secret;
use cache_core::store::error::ErrorKind;
use cache_core::store::{MemoryStore, Store, StoreError, StoreKey};
#[cfg(unix)]
use cache_keychain::msal_file::MsalFileStore;
use cache_redis::{DurabilityMode, RedisConfig, RedisStore, ServerInfo};
use cache_sqlite::{SqliteConfig, SqliteStore};
use futures_util::StreamExt;

use crate::azure_cli;
use crate::credential_options::CredentialFile;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::private_file;
use crate::redis_address::RedisAddress;
use crate::redis_options::{PASSWORD_VARIABLE, RedisDurability, RedisOptions, SENTINEL_PASSWORD_VARIABLE};
use crate::session::Missing;
use crate::store_address::StoreAddress;

/// A store, and the handle that closes it.
#[derive(Debug)]
pub(crate) struct OpenedStore {
    pub(crate) store: Arc<dyn Store>,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Memory,
    Sqlite(Arc<SqliteStore>),
    Redis(Arc<RedisStore>),
    #[cfg(unix)]
    MsalFile(Arc<MsalFileStore>),
    /// It has the record of MSAL programs, and nothing to close.
    MsalItem(StoreKey),
    /// Nor has a keychain.
    Keychain,
}

impl OpenedStore {
    /// Opens the store at `address`.
    pub(crate) async fn open(
        address: &StoreAddress,
        redis: &RedisOptions,
        missing: Missing,
    ) -> Result<Self, Failure> {
        tracing::debug!(store = %address, "opening the store");
        match address {
            StoreAddress::Memory => Ok(Self {
                store: Arc::new(MemoryStore::new()),
                handle: Handle::Memory,
            }),
            StoreAddress::Sqlite(path) => Self::open_sqlite(path, missing).await,
            StoreAddress::Redis(address) => Self::open_redis(address, redis, missing).await,
            StoreAddress::AzureCli => Self::open_msal_file(&azure_cli::token_cache()?, missing).await,
            StoreAddress::MsalFile(path) => Self::open_msal_file(path, missing).await,
            StoreAddress::MsalItem(address) => Self::open_msal_item(address).await,
            StoreAddress::Keychain(name) => Self::open_keychain(name.as_ref(), missing).await,
        }
    }

    /// The record that MSAL programs keep their tokens in, where it is their place.
    pub(crate) fn msal_record(&self) -> Option<StoreKey> {
        match &self.handle {
            #[cfg(unix)]
            Handle::MsalFile(file) => Some(file.record()),
            Handle::MsalItem(record) => Some(record.clone()),
            _ => None,
        }
    }

    async fn open_sqlite(path: &Path, missing: Missing) -> Result<Self, Failure> {
        if missing == Missing::Refuse && !path.exists() {
            return Err(missing_store(&path.display().to_string()));
        }
        let config = SqliteConfig::new(path).create(missing == Missing::Create);
        let sqlite = Arc::new(SqliteStore::open(config).await?);
        Ok(Self {
            store: Arc::clone(&sqlite) as Arc<dyn Store>,
            handle: Handle::Sqlite(sqlite),
        })
    }

    async fn open_redis(
        address: &RedisAddress,
        options: &RedisOptions,
        missing: Missing,
    ) -> Result<Self, Failure> {
        let config = redis_config(address, options)?;
        // Boxed: its future is too deep for those around it.
        let opened = Box::pin(RedisStore::open(config)).await;
        let redis = Arc::new(opened.map_err(|error| of_opening(error, address))?);
        let opened = Self {
            store: Arc::clone(&redis) as Arc<dyn Store>,
            handle: Handle::Redis(redis),
        };
        if missing == Missing::Refuse {
            let refusal = match opened.holds_anything().await {
                Ok(true) => return Ok(opened),
                Ok(false) => missing_store(&address.to_string()),
                Err(error) => error.into(),
            };
            opened.close().await;
            return Err(refusal);
        }
        Ok(opened)
    }

    /// Reads the whole store, where it can be checked.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        if let Handle::Sqlite(sqlite) = &self.handle {
            sqlite.check().await?;
        }
        Ok(())
    }

    /// Whether there is anything of a cache, be it in quarantine and its key ring with it.
    pub(crate) async fn holds_anything(&self) -> Result<bool, StoreError> {
        let found = self.store.scan(&Namespace::default().prefix()).next().await;
        Ok(found.transpose()?.is_some())
    }

    /// What the servers say of themselves, where there are any.
    pub(crate) async fn describe(&self) -> Option<Result<ServerInfo, StoreError>> {
        match &self.handle {
            Handle::Redis(redis) => Some(redis.describe().await),
            _ => None,
        }
    }

    /// Closes it.
    pub(crate) async fn close(&self) {
        match &self.handle {
            Handle::Memory | Handle::MsalItem(_) | Handle::Keychain => {}
            Handle::Sqlite(sqlite) => sqlite.close().await,
            Handle::Redis(redis) => redis.close().await,
            #[cfg(unix)]
            Handle::MsalFile(file) => file.close(),
        }
    }
}

/// The password that stands beside the URL.
pub(crate) fn redis_password(options: &RedisOptions) -> Result<Option<Secret>, Failure> {
    password(
        options.redis_password_file.as_ref(),
        PASSWORD_VARIABLE,
        "the password of Redis",
    )
}

fn redis_config(address: &RedisAddress, options: &RedisOptions) -> Result<RedisConfig, Failure> {
    let mut config = RedisConfig::from_url(address.url().expose())?;
    if let Some(password) = redis_password(options)? {
        config = config.password(password);
    }
    let of_sentinels = password(
        options.redis_sentinel_password_file.as_ref(),
        SENTINEL_PASSWORD_VARIABLE,
        "the password of the Sentinels",
    )?;
    match (&options.redis_sentinel_user, of_sentinels) {
        (user, Some(password)) => {
            config = config.sentinel_login(user.as_deref().unwrap_or_default(), password);
        }
        (Some(_), None) => {
            return Err(Failure::usage(format!(
                "--redis-sentinel-user is given without a password: give --redis-sentinel-password-file or \
                 {SENTINEL_PASSWORD_VARIABLE}"
            )));
        }
        (None, None) => {}
    }
    if let Some(path) = &options.redis_ca_cert {
        config = config.ca_certificates(read(path, "the CA certificates of")?);
    }
    match (&options.redis_client_cert, &options.redis_client_key) {
        (None, None) => {}
        (Some(certificate), Some(CredentialFile(key))) => {
            let key = private_file::read(key, "the private key for Redis")?;
            let key = cache_core::secret::SecretBytes::new(key.expose().as_bytes().to_vec());
            config = config.client_certificate(read(certificate, "the certificate")?, key);
        }
        _ => {
            return Err(Failure::usage(
                "--redis-client-cert and --redis-client-key go together: give both",
            ));
        }
    }
    if let Some(prefix) = &options.redis_key_prefix {
        config = config.key_prefix(prefix);
    }
    Ok(match options.redis_durability {
        None | Some(RedisDurability::Acknowledged) => config,
        Some(RedisDurability::Replicated { replicas, timeout }) => {
            config.durability(DurabilityMode::Replicated { replicas, timeout })
        }
    })
}

/// The password in the file, else in the variable.
fn password(file: Option<&CredentialFile>, variable: &str, what: &str) -> Result<Option<Secret>, Failure> {
    if let Some(CredentialFile(path)) = file {
        let password = private_file::read(path, what)?;
        if password.expose().is_empty() {
            let message = format!("{}, which should hold {what}, is empty", path.display());
            return Err(Failure::usage(message));
        }
        return Ok(Some(password));
    }
    let Some(password) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let password = password.into_string();
    let password = password.map_err(|_| Failure::usage(format!("{variable} is not UTF-8")))?;
    Ok(Some(Secret::new(password)))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file(&format!("read {what}"), path, error).into_usage())
}

/// A configuration that makes no sense is the caller's; what else stands in the way is the server's or the network's.
fn of_opening(error: StoreError, address: &RedisAddress) -> Failure {
    if error.kind() == ErrorKind::InvalidArgument {
        return Failure::new("usage", Exit::Usage, error).next(format!(
            "check --store ({address}) and the --redis- options; a password comes from {PASSWORD_VARIABLE} or \
             --redis-password-file"
        ));
    }
    let next = match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "check the user in --store ({address}) and the password in {PASSWORD_VARIABLE} or --redis-password-file; a private \
             certificate authority needs --redis-ca-cert, and a server that asks for one --redis-client-cert"
        ),
        ErrorKind::Unsupported => "use Redis 6.2 or later, or Valkey".to_owned(),
        _ => format!(
            "check that the server at {address} runs and can be reached from here; rediss:// is for TLS"
        ),
    };
    Failure::from(error).next(next)
}

/// Whether the cache has a key ring, so that its pass phrase is one that was given before.
pub(crate) async fn has_ring(store: &dyn Store) -> Result<bool, StoreError> {
    let prefix = format!("{}{}/", Namespace::default().prefix(), RecordKind::KeyRing.tag());
    let found = store.scan(&prefix).next().await.transpose()?;
    Ok(found.is_some())
}

fn missing_store(place: &str) -> Failure {
    let message = format!("there is no store at {place}");
    Failure::new("store_missing", Exit::Storage, message)
        .next("sign in with `tokenkeep login`, or name another store with --store")
}
