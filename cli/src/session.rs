//! What the commands share: the options, and what is opened by them, once and on first use.

mod shared_place;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cache_core::cache::{CacheError, TokenCache};
use cache_core::random::OsRandom;
use cache_core::seal::{KeySource, KeySourceError, Namespace, SealError};
use cache_core::store::Store;
use cache_core::strategy::{Strategy, TimeLimits};
use cache_core::time::{Clock, SystemClock};
use flows::authority::Authority;
use flows::client::{ClientBuilder, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, ReqwestClient};
use tokio::sync::OnceCell;

use crate::answer::say;
use crate::arguments::Options;
use crate::authority_address::AuthorityAddress;
use crate::azure_cli::{self, AzureCli, Identity};
use crate::failure::Failure;
use crate::folders;
use crate::key_address::KeyAddress;
use crate::key_source::source_of;
use crate::opened_store::{OpenedStore, has_ring};
use crate::passphrase::{self, Asking};
use crate::store_address::StoreAddress;

/// How long a connection may take at the most.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a commit may take beside the request.
const COMMIT: Duration = Duration::from_secs(10);

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) options: Options,
    store: OnceCell<OpenedStore>,
    cache: OnceCell<TokenCache>,
    azure_cli: OnceLock<AzureCli>,
    /// Where a pass phrase is looked for before anybody is asked.
    passphrase_variable: &'static str,
}

/// What a command does where there is no store yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Makes one.
    Create,
    /// Fails: there is nothing to look at.
    Refuse,
}

/// What a command reads from standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// Nothing, so a pass phrase may come from there.
    Free,
    /// Its own input.
    Taken,
}

impl Session {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            store: OnceCell::new(),
            cache: OnceCell::new(),
            azure_cli: OnceLock::new(),
            passphrase_variable: passphrase::VARIABLE,
        }
    }

    /// For the store that another one's tokens are to go to, whose pass phrase is the new one.
    pub(crate) fn of_target(options: Options) -> Self {
        Self {
            passphrase_variable: passphrase::NEW_VARIABLE,
            ..Self::new(options)
        }
    }

    /// Where the store is.
    pub(crate) fn store_address(&self) -> Result<StoreAddress, Failure> {
        match &self.options.store {
            Some(address) => Ok(address.clone()),
            None => Ok(StoreAddress::Sqlite(folders::data()?.join("cache.db"))),
        }
    }

    /// Where the key comes from.
    pub(crate) fn key_address(&self) -> Result<KeyAddress, Failure> {
        match &self.options.key {
            Some(address) => Ok(address.clone()),
            None => Ok(KeyAddress::File(folders::configuration()?.join("key"))),
        }
    }

    /// The store. It is not opened with a key here, so it can be looked at although the key is lost.
    pub(crate) async fn store(&self, missing: Missing) -> Result<&Arc<dyn Store>, Failure> {
        Ok(&self.opened(missing).await?.store)
    }

    /// The same, with what only its backend can tell.
    pub(crate) async fn opened(&self, missing: Missing) -> Result<&OpenedStore, Failure> {
        self.store.get_or_try_init(|| self.open_store(missing)).await
    }

    /// The cache, sealed. It is opened without encryption only where the store's name says that the place is that of MSAL
    /// programs, who could not read it otherwise.
    pub(crate) async fn cache(&self, missing: Missing, stdin: Stdin) -> Result<&TokenCache, Failure> {
        self.cache
            .get_or_try_init(|| async {
                if self.store_address()?.is_of_msal() {
                    return self.open_shared(missing).await;
                }
                let source = self.key_source(missing, stdin).await?;
                let store = Arc::clone(self.store(missing).await?);
                let strategy = Strategy::desktop_tool().limits(self.time_limits());
                let cache = TokenCache::builder(store).strategy(strategy);
                let opened = cache.open_sealed(Namespace::default(), source).await;
                opened.map_err(|error| self.of_opening(error))
            })
            .await
    }

    /// Whether the cache is open, so that what is waited for is neither the store nor its key.
    pub(crate) fn is_open(&self) -> bool {
        self.cache.initialized()
    }

    /// Reads the whole store, where it can be checked, and says what it can do.
    pub(crate) async fn check_store(&self) -> Result<String, Failure> {
        let capabilities = self.store(Missing::Refuse).await?.capabilities();
        if let Some(opened) = self.store.get() {
            opened.check().await?;
        }
        Ok(format!(
            "sound; compare-and-swap: {:?}, persistence: {:?}, watch: {}",
            capabilities.compare_and_swap, capabilities.persistence, capabilities.watch
        ))
    }

    /// How long requests and waits may take. A caller that finds another at work waits for that one's whole
    /// turn, and has time left for one of its own.
    pub(crate) fn time_limits(&self) -> TimeLimits {
        let request = self.options.request_timeout;
        TimeLimits {
            request,
            commit: COMMIT,
            acquire: (request + COMMIT) * 2 + COMMIT,
        }
    }

    /// The authority, which most commands that ask one need.
    pub(crate) fn authority(&self) -> Result<Authority, Failure> {
        if let Some(AuthorityAddress(authority)) = &self.options.authority {
            return Ok(authority.clone());
        }
        match self.azure_cli()? {
            Some(cli) => cli.authority(),
            None => Err(Failure::usage("no authority is given; name it with --authority")),
        }
    }

    /// The client ID.
    pub(crate) fn client_id(&self) -> Result<&str, Failure> {
        if let Some(client_id) = &self.options.client_id {
            return Ok(client_id);
        }
        let Some(cli) = self.azure_cli()? else {
            return Err(Failure::usage(
                "no client ID is given; name the application with --client-id",
            ));
        };
        Ok(match cli.sign_in().map(|found| &found.identity) {
            // Users are signed in to the CLI itself.
            Some(Identity::ServicePrincipal(client_id)) if self.options.account.is_none() => client_id,
            _ => azure_cli::CLIENT_ID,
        })
    }

    /// The scopes, of which there must be one.
    pub(crate) fn scopes(&self) -> Result<Vec<String>, Failure> {
        let words = self
            .options
            .scope
            .iter()
            .flat_map(|scopes| scopes.split_whitespace());
        let cloud = self.azure_cli()?.map(|cli| &cli.cloud);
        let as_the_cli = |scope: &str| cloud.and_then(|cloud| cloud.scope_of_resource_manager(scope));
        let scopes: Vec<_> = words
            .map(|scope| as_the_cli(scope).unwrap_or_else(|| scope.to_owned()))
            .collect();
        if scopes.is_empty() {
            return Err(Failure::usage(
                "no scope is given; say what the token is for with --scope",
            ));
        }
        Ok(scopes)
    }

    /// Whether the application has a credential.
    pub(crate) fn is_confidential(&self) -> bool {
        self.options.credential.is_given()
    }

    /// A client without a credential. A service principal of the Azure CLI is none.
    pub(crate) async fn public_client(&self, missing: Missing) -> Result<PublicClient, Failure> {
        let client_id = match self.service_principal()? {
            Some(_) if self.options.client_id.is_none() => azure_cli::CLIENT_ID,
            _ => self.client_id()?,
        };
        let (client_id, authority, http) = (client_id.to_owned(), self.authority()?, self.http()?);
        let cache = self.cache(missing, Stdin::Free).await?.clone();
        Ok(PublicClient::builder(client_id, authority, cache)
            .http(http)
            .time_limit(self.options.request_timeout)
            .build()?)
    }

    /// A client with the credential of the options.
    pub(crate) async fn confidential_client(&self, missing: Missing) -> Result<ConfidentialClient, Failure> {
        Ok(self.confidential_builder(missing).await?.build()?)
    }

    /// The builder of such a client.
    pub(crate) async fn confidential_builder(
        &self,
        missing: Missing,
    ) -> Result<ClientBuilder<ConfidentialClient>, Failure> {
        let (client_id, authority, http) = (self.client_id()?.to_owned(), self.authority()?, self.http()?);
        let credential = match self.service_principal()? {
            Some(cli) => cli.credential(&client_id)?,
            None => self.options.credential.credential()?,
        };
        let cache = self.cache(missing, Stdin::Free).await?.clone();
        Ok(
            ConfidentialClient::builder(client_id, authority, credential, cache)
                .http(http)
                .time_limit(self.options.request_timeout),
        )
    }

    /// The HTTP client, with the certificates of `--ca-cert`.
    pub(crate) fn http(&self) -> Result<Arc<dyn HttpClient>, Failure> {
        // Shorter than the request's limit: a connection that is never made is then known to have sent nothing.
        let connect = self.options.request_timeout.mul_f64(0.8).min(CONNECT);
        let mut builder = ReqwestClient::builder().connect_timeout(connect);
        if let Some(path) = &self.options.ca_cert {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::file("read the CA certificates of", path, error).into_usage())?;
            builder = builder.ca_certificates(pem);
        }
        let http = builder.build().map_err(flows::Error::from)?;
        Ok(Arc::new(http))
    }

    /// The clock.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// Waits for refreshes and writes under way, for at most as long as they may take, and closes the store.
    pub(crate) async fn close(&self) {
        if let Some(cache) = self.cache.get() {
            let limits = self.time_limits();
            let unfinished = cache.shutdown(limits.request + limits.commit).await;
            if unfinished > 0 {
                say(&format!(
                    "warning: {unfinished} refreshes or writes did not finish in time"
                ));
            }
        }
        if let Some(opened) = self.store.get() {
            opened.close().await;
        }
    }

    /// A key that this keychain does not have is first looked for elsewhere: nobody gives up a cache for a wrong name.
    fn of_opening(&self, error: CacheError) -> Failure {
        let is_missing = matches!(&error, CacheError::Seal(cause)
            if matches!(**cause, SealError::KeySource(KeySourceError::Missing { .. })));
        let failure = Failure::from(error);
        match self.key_address() {
            Ok(key @ KeyAddress::Keychain { .. }) if is_missing => failure.next(format!(
                "look at the name in `--key {key}`: it must be the one that the cache was made with; and see whether the keychain that is \
                 unlocked is the one that it was made with. Nothing is lost while the item is in another keychain or under another name"
            )),
            _ => failure,
        }
    }

    async fn open_store(&self, missing: Missing) -> Result<OpenedStore, Failure> {
        OpenedStore::open(&self.store_address()?, &self.options.redis, missing).await
    }

    /// The key's source. It is asked for before a store is made, so that none is left when nobody gives a pass phrase.
    async fn key_source(&self, missing: Missing, stdin: Stdin) -> Result<Arc<dyn KeySource>, Failure> {
        let will_be_made = match self.store_address()? {
            StoreAddress::Memory => true,
            StoreAddress::Sqlite(path) => missing == Missing::Create && path.symlink_metadata().is_err(),
            // Only the server or the keychain can tell. The others have no key.
            _ => false,
        };
        let is_new = will_be_made || !has_ring(&**self.store(missing).await?).await?;
        let asking = Asking {
            variable: self.passphrase_variable,
            stdin_is_taken: stdin == Stdin::Taken,
            is_new,
        };
        source_of(self.key_address()?, asking).await
    }

    /// The source of a key that the ring is to be sealed under from now on. Standard input is left to the one in use.
    pub(crate) async fn new_key_source(&self, address: KeyAddress) -> Result<Arc<dyn KeySource>, Failure> {
        let asking = Asking {
            variable: passphrase::NEW_VARIABLE,
            stdin_is_taken: true,
            is_new: true,
        };
        source_of(address, asking).await
    }
}

/// The randomness of everything that is not the cache's.
pub(crate) fn random() -> Arc<OsRandom> {
    Arc::new(OsRandom)
}
