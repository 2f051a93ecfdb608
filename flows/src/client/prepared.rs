//! Handles for tokens that are asked for again and again.

use std::fmt;
use std::sync::{Arc, OnceLock};

use cache_core::cache::{CachedAccount, PeekedToken, PreparedRequest};
use cache_core::schema::{ScopeSet, TokenRequest, TokenType};
use cache_core::secret::{Secret, SecretRef};
use cache_core::time::UnixSeconds;

use super::application::{Application, tenant_authority};
use super::asked_scopes::AskedScopes;
use super::{AcquireTokenForClient, AcquireTokenSilent, ConfidentialClient, PublicClient, cached_app_token};
use crate::result::{AuthenticationResult, authorization_header};

/// A silent request that is made again and again: for one account and one set of scopes.
///
/// While memory has the token, [`peek`](Self::peek) borrows it within nanoseconds. [`acquire`](Self::acquire) is for everything else: it is the
/// usual [silent acquisition](AcquireTokenSilent), and what that brings is peeked at from then on. Sign-outs and changes of the account, by
/// other processes too, end it as they end every hit in memory.
///
/// Clones are cheap and share everything. Each keeps what its last answer was in, in memory, until it is asked again or dropped.
///
/// ```no_run
/// use cache_core::cache::CachedAccount;
/// use flows::client::PublicClient;
///
/// # async fn serve(client: PublicClient, account: CachedAccount, requests: Vec<()>) -> Result<(), flows::Error> {
/// let prepared = client.prepare_silent(["User.Read"], &account);
/// for request in requests {
///     let header = match prepared.peek() {
///         Some(token) => token.authorization_header(),
///         None => prepared.acquire().await?.authorization_header(),
///     };
///     # let _ = (request, header);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PreparedSilent {
    inner: Arc<Prepared<CachedAccount>>,
}

/// A request for a token of the application itself that is made again and again, with one set of scopes.
///
/// It is to [`acquire_token_for_client`](ConfidentialClient::acquire_token_for_client) what a [`PreparedSilent`] is to silent acquisitions.
///
/// ```no_run
/// # async fn serve(client: flows::client::ConfidentialClient, requests: Vec<()>) -> Result<(), flows::Error> {
/// let prepared = client.prepare_for_client(["https://graph.microsoft.com/.default"]);
/// for request in requests {
///     let header = match prepared.peek() {
///         Some(token) => token.authorization_header(),
///         None => prepared.acquire().await?.authorization_header(),
///     };
///     # let _ = (request, header);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PreparedForClient {
    inner: Arc<Prepared<()>>,
}

struct Prepared<A> {
    application: Arc<Application>,
    account: A,
    scopes: AskedScopes,
    /// Made when the type of the tokens is known.
    request: OnceLock<Option<PreparedRequest>>,
}

macro_rules! prepare_silent {
    ($client:ty) => {
        impl $client {
            /// A handle for silent requests of one account that are made again and again. What it is asked for is what
            /// [`acquire_token_silent`](Self::acquire_token_silent) is.
            pub fn prepare_silent<I>(&self, scopes: I, account: &CachedAccount) -> PreparedSilent
            where
                I: IntoIterator,
                I::Item: AsRef<str>,
            {
                PreparedSilent {
                    inner: Prepared::new(self.application(), account.clone(), AskedScopes::of(scopes)),
                }
            }
        }
    };
}

prepare_silent!(PublicClient);
prepare_silent!(ConfidentialClient);

impl ConfidentialClient {
    /// A handle for requests of the application itself that are made again and again. What it is asked for is what
    /// [`acquire_token_for_client`](Self::acquire_token_for_client) is.
    pub fn prepare_for_client<I>(&self, scopes: I) -> PreparedForClient
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        PreparedForClient {
            inner: Prepared::new(self.application(), (), AskedScopes::of(scopes)),
        }
    }
}

impl PreparedSilent {
    /// The token, if memory has one that serves and needs no refresh; it is borrowed, without waiting and without an allocation. `None` says
    /// nothing but that [`acquire`](Self::acquire) is to be asked.
    ///
    /// A public client whose tokens are bound to a software key has one for each account, which is looked up at length; there is nothing to peek at.
    #[must_use]
    #[inline]
    pub fn peek(&self) -> Option<PeekedResult> {
        self.inner.peek(Prepared::users_request)
    }

    /// The usual silent acquisition, to be awaited, with all of its options.
    pub fn acquire(&self) -> AcquireTokenSilent<'_> {
        let Prepared {
            application,
            account,
            scopes,
            ..
        } = &*self.inner;
        AcquireTokenSilent::new(application, scopes.clone()).account(account)
    }
}

impl PreparedForClient {
    /// The token, if memory has one that serves and needs no replacement; it is borrowed, without waiting and without an allocation. `None` says
    /// nothing but that [`acquire`](Self::acquire) is to be asked.
    #[must_use]
    #[inline]
    pub fn peek(&self) -> Option<PeekedResult> {
        self.inner.peek(Prepared::own_request)
    }

    /// The usual acquisition, to be awaited, with all of its options.
    pub fn acquire(&self) -> AcquireTokenForClient<'_> {
        AcquireTokenForClient::new(&self.inner.application, self.inner.scopes.clone())
    }
}

impl<A> Prepared<A> {
    fn new(application: &Arc<Application>, account: A, scopes: AskedScopes) -> Arc<Self> {
        Arc::new(Self {
            application: Arc::clone(application),
            account,
            scopes,
            request: OnceLock::new(),
        })
    }

    #[inline]
    fn peek(&self, make: fn(&Self, &TokenType) -> Option<TokenRequest>) -> Option<PeekedResult> {
        match self.request.get() {
            Some(prepared) => prepared.as_ref()?.peek().map(PeekedResult),
            None => self.peek_first(make),
        }
    }

    #[cold]
    fn peek_first(&self, make: fn(&Self, &TokenType) -> Option<TokenRequest>) -> Option<PeekedResult> {
        // A confidential client's software key is at hand when it was used for the first time.
        let token_type = self.application.known_token_type()?;
        let request = make(self, token_type);
        let prepare = || request.map(|request| self.application.cache.prepare(Arc::new(request)));
        self.request
            .get_or_init(prepare)
            .as_ref()?
            .peek()
            .map(PeekedResult)
    }

    fn scopes(&self) -> ScopeSet {
        self.scopes.to_set()
    }
}

impl Prepared<CachedAccount> {
    /// `None` for what the acquisition will refuse.
    fn users_request(&self, token_type: &TokenType) -> Option<TokenRequest> {
        let application = &self.application;
        let authority = tenant_authority(&application.authority, &self.account).ok()?;
        let partition = application.user_partition(&self.account.account.home_account_id);
        let scopes = self.scopes();
        Some(application.users_request(&authority, partition, scopes, token_type.clone()))
    }
}

impl Prepared<()> {
    /// `None` for what the acquisition will refuse.
    fn own_request(&self, token_type: &TokenType) -> Option<TokenRequest> {
        let application = &self.application;
        if application.is_multi_tenant {
            return None;
        }
        let (authority, client_id) = (&application.authority, application.client.id());
        let request = cached_app_token::request(&application.cache, authority, client_id, self.scopes());
        Some(
            request
                .token_type(token_type.clone())
                .context(application.context.clone()),
        )
    }
}

impl fmt::Debug for PreparedSilent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedSilent")
            .field("scopes", &self.inner.scopes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PreparedForClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedForClient")
            .field("scopes", &self.inner.scopes)
            .finish_non_exhaustive()
    }
}

/// A token that is borrowed from memory. Hold it briefly: what it was in stays in memory as long.
pub struct PeekedResult(PeekedToken);

impl PeekedResult {
    /// The access token, as [`AuthenticationResult::access_token`].
    #[must_use]
    pub fn access_token(&self) -> SecretRef<'_> {
        self.0.token().secret
    }

    /// How the access token is presented.
    #[must_use]
    pub fn token_type(&self) -> &TokenType {
        self.0.token().token_type
    }

    /// When the access token expires.
    #[must_use]
    pub fn expires_on(&self) -> UnixSeconds {
        self.0.token().expires_on
    }

    /// The value of an `Authorization` header that presents the token: its type and the token.
    #[must_use]
    pub fn authorization_header(&self) -> Secret {
        authorization_header(self.token_type().as_str(), self.access_token().expose())
    }

    /// Everything that is known about the token, as an acquisition gives it.
    #[must_use]
    pub fn to_result(&self) -> AuthenticationResult {
        AuthenticationResult::from_cache(self.0.to_acquired())
    }
}

/// Shows what helps in a log and no personal data.
impl fmt::Debug for PeekedResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekedResult")
            .field("token_type", self.token_type())
            .field("expires_on", &self.expires_on())
            .finish_non_exhaustive()
    }
}
