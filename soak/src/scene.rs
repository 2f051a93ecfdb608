//! Caches on real files, and users whose tokens say which of their sign-ins they are of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, AuthorityCall, CacheError, CallError, CallOutcome, Redemption, TokenCache,
};
use cache_core::layout::MsalLayout;
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenContext,
    TokenRequest, TokenResponse, TokenType,
};
use cache_core::seal::{FileKeySource, FixedKeySource, KeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::StoreError;
use cache_core::strategy::{SealPolicy, Strategy};
use cache_core::time::{Clock, SystemClock};
use cache_keychain::msal_file::{MsalFileConfig, MsalFileStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use serde::{Deserialize, Serialize};

/// The host that issued everything here. Nothing is sent to it.
const HOST: &str = "login.microsoftonline.com";
const TENANT: &str = "00000000-0000-0000-0000-00000000000b";
pub(crate) const CLIENT: &str = "soak";
const SCOPE: &str = "User.Read";
const HOUR: Duration = Duration::from_secs(3600);

/// Where a cache is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Place {
    /// A database, sealed.
    Sqlite(PathBuf),
    /// A file that MSAL programs share, in plaintext as they want it.
    MsalFile(PathBuf),
    /// A database, sealed by a key in the file `key` beside it.
    KeyFile(PathBuf),
}

impl Place {
    /// One of each kind in `folder`.
    #[must_use]
    pub fn each(folder: &Path) -> [Self; 3] {
        [
            Self::Sqlite(folder.join("cache.db")),
            Self::MsalFile(folder.join("cache.json")),
            Self::KeyFile(folder.join("cache.db")),
        ]
    }

    /// The same in another folder.
    #[must_use]
    pub fn in_folder(&self, folder: &Path) -> Self {
        let [sqlite, msal_file, key_file] = Self::each(folder);
        match self {
            Self::Sqlite(_) => sqlite,
            Self::MsalFile(_) => msal_file,
            Self::KeyFile(_) => key_file,
        }
    }

    /// What it is called in results.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::MsalFile(_) => "an MSAL file",
            Self::KeyFile(_) => "SQLite with a key file",
        }
    }

    /// Opens the cache that is there, or a new one.
    ///
    /// # Errors
    ///
    /// As those of the store and of the cache.
    pub async fn open(&self) -> Result<Opened, CacheError> {
        match self {
            Self::Sqlite(path) => open_sealed(path, key_source()).await,
            Self::KeyFile(path) => {
                let key = Arc::new(FileKeySource::new(path.with_file_name("key")));
                open_sealed(path, key).await
            }
            Self::MsalFile(path) => {
                let store = MsalFileStore::open(MsalFileConfig::new(path)).await?;
                let layout = MsalLayout::single_record(store.record());
                let cache = TokenCache::builder(Arc::new(store))
                    .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
                    .open_plaintext_shared(Namespace::default(), layout)?;
                Ok(Opened {
                    cache,
                    database: None,
                })
            }
        }
    }
}

async fn open_sealed(path: &Path, key: Arc<dyn KeySource>) -> Result<Opened, CacheError> {
    let store = Arc::new(SqliteStore::open(SqliteConfig::new(path)).await?);
    let cache = TokenCache::builder(store.clone())
        .open_sealed(Namespace::default(), key)
        .await;
    if cache.is_err() {
        store.close().await;
    }
    Ok(Opened {
        cache: cache?,
        database: Some(store),
    })
}

/// A cache that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The cache.
    pub cache: TokenCache,
    database: Option<Arc<SqliteStore>>,
}

impl Opened {
    /// Closes the store beneath.
    pub async fn close(&self) {
        if let Some(database) = &self.database {
            database.close().await;
        }
    }
}

/// The key of every sealed cache here, as if a keychain kept it.
#[must_use]
pub fn key_source() -> Arc<FixedKeySource> {
    Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])))
}

/// Who is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct User(pub u32);

impl User {
    /// The partition of this user.
    #[must_use]
    pub fn partition(self) -> PartitionKey {
        PartitionKey::User {
            authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
            home_account_id: self.home_account_id(),
        }
    }

    fn home_account_id(self) -> String {
        format!("user-{}.{TENANT}", self.0)
    }

    /// What the authority grants at this user's sign-in number `serial`.
    #[must_use]
    pub fn granted(self, serial: u64) -> TokenResponse {
        let now = SystemClock.now().to_seconds();
        let scopes = ScopeSet::parse(SCOPE);
        let Self(user) = self;
        TokenResponse {
            client_id: CLIENT.to_owned(),
            environment: HOST.to_owned(),
            realm: TENANT.to_owned(),
            scopes: scopes.clone(),
            requested_scopes: scopes,
            token_type: TokenType::Bearer,
            access_token: Some(Secret::new(format!("access {user} {serial}"))),
            requested_at: now,
            expires_on: now.saturating_add(HOUR * 24),
            extended_expires_on: None,
            refresh_on: None,
            refresh_token: Some(Secret::new(format!("refresh {user} {serial}"))),
            refresh_token_expires_on: None,
            family_id: None,
            id_token: Some(Secret::new(format!("id {user} {serial}"))),
            account: Some(Account {
                home_account_id: self.home_account_id(),
                environment: HOST.to_owned(),
                realm: TENANT.to_owned(),
                local_account_id: format!("user-{user}"),
                username: format!("user-{user}@contoso.test"),
                authority_type: "MSSTS".to_owned(),
                name: None,
                issuer: None,
                tenant_profiles: Vec::new(),
                foreign: None,
            }),
            context: TokenContext::default(),
        }
    }

    /// The partition of this user's one session.
    #[must_use]
    pub fn session(self) -> PartitionKey {
        let mut assertion = [0; 32];
        assertion[..4].copy_from_slice(&self.0.to_be_bytes());
        PartitionKey::Session {
            client_id: CLIENT.to_owned(),
            authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
            key: SessionKey::AssertionHash(assertion),
        }
    }

    /// Begins the session with what is granted at this user's sign-in number `serial`.
    ///
    /// # Errors
    ///
    /// As [`TokenCache::begin_session`].
    pub async fn begin_session(self, cache: &TokenCache, serial: u64) -> Result<(), CacheError> {
        let granted = self.granted(serial);
        let lifetime = HOUR * 24;
        cache
            .begin_session(&self.partition(), &self.session(), granted, lifetime)
            .await?;
        Ok(())
    }

    /// As [`serial`](Self::serial), of the session.
    ///
    /// # Errors
    ///
    /// As [`serial`](Self::serial).
    pub async fn session_serial(self, cache: &TokenCache) -> Result<u64, ReadError> {
        self.serial_in(self.session(), cache).await
    }

    /// Signs this user in for the `serial`th time, durably.
    ///
    /// # Errors
    ///
    /// As [`TokenCache::sign_in`].
    pub async fn sign_in(self, cache: &TokenCache, serial: u64) -> Result<(), CacheError> {
        cache.sign_in(&self.partition(), self.granted(serial)).await?;
        Ok(())
    }

    /// The number of this user's sign-in that the cache knows; 0 when it knows none.
    ///
    /// # Errors
    ///
    /// That the cache cannot be read, or that it has another user's token for this one.
    pub async fn serial(self, cache: &TokenCache) -> Result<u64, ReadError> {
        self.serial_in(self.partition(), cache).await
    }

    /// What asks for this user's token.
    #[must_use]
    pub fn request(self) -> Arc<TokenRequest> {
        request_in(self.partition())
    }

    async fn serial_in(self, partition: PartitionKey, cache: &TokenCache) -> Result<u64, ReadError> {
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        let acquired = match cache
            .acquire(request_in(partition), options, Arc::new(Unreachable))
            .await
        {
            Ok(acquired) => acquired,
            Err(error) if error.is_interaction_required() => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let token = acquired.token().secret.expose().to_owned();
        let parts: Vec<_> = token.split(' ').collect();
        match parts[..] {
            ["access", user, serial] if user == self.0.to_string() => {
                serial.parse().map_err(|_| ReadError::Foreign)
            }
            _ => Err(ReadError::Foreign),
        }
    }
}

fn request_in(partition: PartitionKey) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse(SCOPE);
    Arc::new(TokenRequest::new(
        partition,
        AuthorityKind::Entra,
        CLIENT,
        HOST,
        TENANT,
        scopes,
    ))
}

/// Why a user's sign-in was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The cache failed.
    #[error("the cache failed: {0}")]
    Cache(#[from] CacheError),
    /// It answered with a token that is not of this user.
    #[error("the cache answered with a token that is not of this user")]
    Foreign,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// An authority without a network in front of it.
struct Unreachable;

#[async_trait]
impl AuthorityCall for Unreachable {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Err(CallError::new("there is no network"))
    }

    async fn redeem(&self, _redemption: Redemption) -> CallOutcome {
        CallOutcome::NotSent(CallError::new("there is no network"))
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}

/// How many records the cache has, of which each can be opened.
///
/// # Errors
///
/// The first that cannot.
pub async fn openable_records(cache: &TokenCache) -> Result<u64, String> {
    let records = cache.inspect().await.map_err(|error| error.to_string())?;
    for record in &records {
        if let Err(error) = &record.header
            && cache.sealer().is_sealed()
        {
            return Err(format!("{}: {error}", record.key));
        }
        if let Some(Err(error)) = &record.contents {
            return Err(format!("{}: {error}", record.key));
        }
    }
    Ok(records.len() as u64)
}
