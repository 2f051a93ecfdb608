//! A cache that is full.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{
    AcquireOptions, AuthorityCall, CacheError, CachedAccount, PreparedRequest, TokenCache, TokenSource,
};
use cache_core::codec::{BincodeCodec, Codec, CodecError};
use cache_core::schema::{
    AccessToken, Account, AuthorityIdentity, AuthorityKind, Partition, PartitionKey, ScopeSet, TokenContext,
    TokenRequest, TokenResponse, TokenType,
};
use cache_core::seal::{FixedKeySource, InvalidNamespace, Namespace, SecretKey};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::MemoryStore;
use cache_core::strategy::{DirectoryPolicy, MemoryTier, Strategy};
use cache_core::time::{Clock, UnixSeconds};
use flows::authority::Authority;
use flows::client::PublicClient;
use tokio::runtime::Runtime;

use crate::offline::{Offline, Repeatable, Standing};
use crate::probes::{find_scopes, silently};

/// How many users there are, with a partition each.
pub const USERS: usize = 1000;

pub(crate) const KIND: AuthorityKind = AuthorityKind::Entra;
pub(crate) const CLIENT_ID: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
pub(crate) const ENVIRONMENT: &str = "login.microsoftonline.com";
pub(crate) const REALM: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
/// What everybody asks for: fewer than was granted.
pub(crate) const SCOPES: [&str; 2] = ["Mail.Read", "User.Read"];
const GRANTED: &str = "Files.Read Mail.Read Mail.Send User.Read";

/// Why there is nothing to count.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// There is no runtime.
    #[error("no runtime could be started")]
    Runtime(#[from] std::io::Error),
    /// The cache failed.
    #[error("the cache could not be filled")]
    Cache(#[from] CacheError),
    /// The client could not be built, or failed.
    #[error("the client could not be built")]
    Client(#[from] flows::Error),
    /// The authority is none.
    #[error("the authority could not be named")]
    Authority(#[from] flows::error::ConfigurationError),
    /// A partition could not be encoded.
    #[error("a partition could not be encoded")]
    Codec(#[from] CodecError),
    /// The namespace is none.
    #[error("the namespace could not be named")]
    Namespace(#[from] InvalidNamespace),
    /// A hit that was none.
    #[error("the cache does not answer from its memory")]
    Cold,
}

/// A cache of [`USERS`] users, all in the memory tier, and everything that the probes ask it with.
pub struct Fixture {
    /// What runs the cache's tasks.
    pub runtime: Runtime,
    /// The cache.
    pub cache: TokenCache,
    /// A client with that cache.
    pub client: PublicClient,
    /// Who is signed in, as the client says.
    pub accounts: Vec<CachedAccount>,
    /// A request for each user.
    pub requests: Vec<Arc<TokenRequest>>,
    /// The same in other words, which nobody has used yet.
    pub unused: Vec<Arc<TokenRequest>>,
    /// A handle for the first of them.
    pub prepared: PreparedRequest,
    /// The issuer that all belong to.
    pub authority: AuthorityIdentity,
    /// Refuses all requests.
    pub call: Arc<dyn AuthorityCall>,
    /// A partition with ten access tokens, encoded.
    pub encoded: SecretBytes,
}

impl Fixture {
    /// Fills a cache and asks it for everybody until memory answers.
    ///
    /// # Errors
    /// That a part failed.
    pub fn new() -> Result<Self, FixtureError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let random = Arc::new(Repeatable::default());
        let clock: Arc<dyn Clock> = Arc::new(Standing);
        let store = Arc::new(MemoryStore::with(Arc::clone(&clock), random.clone()));
        let memory = MemoryTier::bounded(64 << 20).max_staleness(Duration::from_secs(86_400));
        let strategy = Strategy::web_front_end()
            .memory_tier(memory)
            .directory(DirectoryPolicy::Off);
        let source = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
        let builder = TokenCache::builder(store)
            .strategy(strategy)
            .clock(clock)
            .random(random);
        let cache = runtime.block_on(builder.open_sealed(Namespace::new("guard")?, source))?;
        let now = cache.clock().now().to_seconds();
        runtime.block_on(async {
            for user in 0..USERS {
                cache.sign_in(&key(user), response(user, now)).await?;
            }
            Ok::<(), CacheError>(())
        })?;

        let authority = Authority::entra(&format!("https://{ENVIRONMENT}/{REALM}"))?;
        let builder = PublicClient::builder(CLIENT_ID, authority, cache.clone());
        let client = builder.http(Arc::new(Offline)).build()?;
        let accounts = runtime.block_on(client.accounts())?.accounts;
        let requests = requests_for(SCOPES);
        let prepared = cache.prepare(Arc::clone(&requests[0]));
        let fixture = Self {
            runtime,
            cache,
            client,
            accounts,
            requests,
            unused: requests_for([SCOPES[1], SCOPES[0]]),
            prepared,
            authority: identity(),
            call: Arc::new(Offline),
            encoded: BincodeCodec.encode(&partition(now))?,
        };
        fixture.runtime.block_on(fixture.settle())?;
        Ok(fixture)
    }

    /// Until memory answers each of the questions. What the store reports of its being filled arrives late, and sends each lookup back to it once.
    async fn settle(&self) -> Result<(), FixtureError> {
        const ROUNDS: usize = 8;
        for round in 0..ROUNDS {
            let mut from_memory = 0;
            for request in &self.requests {
                let call = Arc::clone(&self.call);
                let acquired = self
                    .cache
                    .acquire(Arc::clone(request), AcquireOptions::default(), call)
                    .await?;
                from_memory += usize::from(acquired.source() == TokenSource::Memory);
            }
            // The last of the round that was whole may be what the listening task still has to hear of.
            tokio::task::yield_now().await;
            if from_memory == USERS && round > 1 && self.is_remembered() {
                return Ok(());
            }
        }
        Err(FixtureError::Cold)
    }

    fn is_remembered(&self) -> bool {
        let found = |account: &CachedAccount| {
            let home_account_id = &account.account.home_account_id;
            find_scopes(&self.cache, &self.authority, home_account_id, &SCOPES).is_some()
                && silently(&self.client, account).is_some()
        };
        self.accounts.iter().all(found) && self.prepared.peek().is_some()
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

pub(crate) fn home_account_id(user: usize) -> String {
    format!("{user:08x}-0000-4000-8000-000000000000.{REALM}")
}

fn identity() -> AuthorityIdentity {
    AuthorityIdentity::of_host(KIND, ENVIRONMENT)
}

fn key(user: usize) -> PartitionKey {
    PartitionKey::User {
        authority: identity(),
        home_account_id: home_account_id(user),
    }
}

fn requests_for(scopes: [&str; 2]) -> Vec<Arc<TokenRequest>> {
    let request = |user| {
        let scopes = ScopeSet::of(scopes);
        Arc::new(TokenRequest::new(
            key(user),
            KIND,
            CLIENT_ID,
            ENVIRONMENT,
            REALM,
            scopes,
        ))
    };
    (0..USERS).map(request).collect()
}

fn account(user: usize) -> Account {
    Account {
        home_account_id: home_account_id(user),
        environment: ENVIRONMENT.into(),
        realm: REALM.into(),
        local_account_id: format!("{user:08x}-0000-4000-8000-000000000000"),
        username: format!("user.{user}@contoso.example"),
        authority_type: KIND.msal_authority_type().into(),
        name: None,
        issuer: None,
        tenant_profiles: Vec::new(),
        foreign: None,
    }
}

fn response(user: usize, now: UnixSeconds) -> TokenResponse {
    TokenResponse {
        client_id: CLIENT_ID.into(),
        environment: ENVIRONMENT.into(),
        realm: REALM.into(),
        scopes: ScopeSet::parse(GRANTED),
        requested_scopes: ScopeSet::parse(GRANTED),
        token_type: TokenType::Bearer,
        access_token: Some(token(user, 1800)),
        requested_at: now,
        expires_on: now.saturating_add(Duration::from_secs(3900)),
        extended_expires_on: None,
        refresh_on: None,
        refresh_token: Some(token(user, 1200)),
        refresh_token_expires_on: None,
        family_id: None,
        id_token: Some(token(user, 1100)),
        account: Some(account(user)),
        context: TokenContext::default(),
    }
}

/// A user with access tokens for ten resources.
fn partition(now: UnixSeconds) -> Partition {
    let mut partition = Partition::new(key(0));
    partition.accounts.push(account(0));
    partition.access_tokens = (0..10).map(|resource| access_token(resource, now)).collect();
    partition
}

fn access_token(resource: usize, now: UnixSeconds) -> AccessToken {
    AccessToken {
        home_account_id: home_account_id(0),
        environment: ENVIRONMENT.into(),
        client_id: CLIENT_ID.into(),
        realm: REALM.into(),
        target: ScopeSet::parse(&format!("api-{resource}/Read api-{resource}/Write")),
        token_type: TokenType::Bearer,
        secret: token(resource, 1800),
        cached_at: now,
        expires_on: now.saturating_add(Duration::from_secs(3900)),
        extended_expires_on: None,
        refresh_on: None,
        context: TokenContext::default(),
        foreign: None,
    }
}

fn token(number: usize, length: usize) -> Secret {
    Secret::new(format!("{number:08x}{}", "x".repeat(length - 8)))
}
