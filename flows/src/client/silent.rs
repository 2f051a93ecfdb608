//! Silent acquisition.

use std::fmt;
use std::future::IntoFuture;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AuthorityCall, CacheError, CachedAccount, CallError, CallOutcome, Freshness, Redemption,
};
use cache_core::schema::{Account, PartitionKey, ScopeSet, TokenRequest, TokenType};
use cache_core::secret::{Secret, SecretRef};

use super::account_selection::AccountSelection;
use super::application::{Application, in_realm, session_authority, tenant_authority};
use super::asked_scopes::AskedScopes;
use super::cache_options::{CacheOptions, cache_option_methods};
use super::client_credentials::{not_ready, not_sent};
use super::lazy_correlation::LazyCorrelation;
use super::seen_refusal::SeenRefusal;
use super::session::KeyedSession;
use super::{Acquisition, outcome};
use crate::authority::Authority;
use crate::error::ConfigurationError;
use crate::request::{self, refresh_token};
use crate::{AuthenticationResult, Error, IdTokenClaims, TokenEndpoint};

/// A silent acquisition: from the cache, or by a refresh (RFC 6749 section 6). Await it to run it.
///
/// [`Error::InteractionRequired`] is the answer that means: ask the user. Dropping the future leaves a refresh that was begun to
/// its end, and its tokens in the cache.
///
/// ```no_run
/// use flows::Error;
/// use flows::client::PublicClient;
///
/// # async fn token(client: PublicClient) -> Result<(), Error> {
/// for account in client.accounts().await?.accounts {
///     match client.acquire_token_silent(["User.Read"]).account(&account).await {
///         Ok(result) => println!("valid until {:?}", result.expires_on()),
///         Err(Error::InteractionRequired(why)) => println!("sign in again: {why}"),
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok(()) }
/// ```
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenSilent<'a> {
    application: &'a Arc<Application>,
    scopes: AskedScopes,
    account: AccountSelection<'a>,
    session: Option<Box<KeyedSession<'a>>>,
    tenant: Option<String>,
    options: CacheOptions,
}

impl<'a> AcquireTokenSilent<'a> {
    pub(super) fn new(application: &'a Arc<Application>, scopes: AskedScopes) -> Self {
        Self {
            application,
            scopes,
            account: AccountSelection::Unsaid,
            session: None,
            tenant: None,
            options: CacheOptions::new(),
        }
    }

    /// Says whose token it is. There is no silent acquisition without it or a [`login_hint`](Self::login_hint).
    pub fn account(mut self, account: &'a CachedAccount) -> Self {
        self.account = AccountSelection::Account(account);
        self
    }

    /// Says whose token it is by a user name, a home account ID or a local account ID.
    ///
    /// It only selects among the accounts that this client has at its authority, and opens all of them to do so; a server keeps
    /// the account instead. Nobody is identified by it: names can be given to somebody else. If it fits nobody, the answer is
    /// [`Error::InteractionRequired`]; if it fits several, [`Error::AmbiguousAccount`].
    ///
    /// ```no_run
    /// # async fn token(client: flows::client::PublicClient) -> Result<(), flows::Error> {
    /// let result = client.acquire_token_silent(["User.Read"]).login_hint("alice@contoso.com").await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn login_hint(mut self, hint: impl Into<String>) -> Self {
        self.account = AccountSelection::LoginHint(hint.into());
        self
    }

    /// Asks in another tenant (a GUID or a domain), in which the account is a guest; only Entra has them. Unless set, the tenant of
    /// the authority, or the account's home where that is a shared one.
    ///
    /// ```no_run
    /// # async fn token(client: flows::client::PublicClient) -> Result<(), flows::Error> {
    /// let silent = client.acquire_token_silent(["User.Read"]).login_hint("alice@contoso.com");
    /// let result = silent.tenant("fabrikam.com").await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    pub(super) fn in_keyed_session(mut self, session: KeyedSession<'a>) -> Self {
        self.session = Some(Box::new(session));
        self
    }

    pub(super) fn application(&self) -> &'a Arc<Application> {
        self.application
    }

    cache_option_methods!();

    /// The token that memory has for it, as far as that can be told at once.
    pub(super) fn at_hand(&self) -> Option<AuthenticationResult> {
        if !self.options.take_what_is_cached() {
            return None;
        }
        match (&self.account, &self.session) {
            (AccountSelection::Account(account), None) => {
                let tenant = self.tenant.as_deref();
                self.application
                    .users_token_at_hand(account, tenant, &self.scopes)
            }
            (AccountSelection::Unsaid, Some(session)) if self.tenant.is_none() => {
                self.application.sessions_token_at_hand(session, &self.scopes)
            }
            _ => None,
        }
    }

    pub(super) async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            scopes,
            account,
            session,
            tenant,
            options,
        } = self;
        let scopes = scopes.to_set();
        options.check()?;
        let authority = match &tenant {
            Some(tenant) => application.authority.with_tenant(tenant)?,
            None => application.authority.clone(),
        };
        let mut lookup = None;
        let (partition, account, authority) = match (session, account) {
            (Some(session), AccountSelection::Unsaid) => {
                let looked_up = lookup.insert(session.lookup(application).await?);
                let authority = session_authority(&authority, &looked_up.account)?;
                (session.partition().clone(), looked_up.account.clone(), authority)
            }
            (Some(_), _) => {
                let error = "a silent acquisition is for an account or in a session, not both";
                return Err(ConfigurationError::new(error).into());
            }
            (None, account) => {
                let account = account.resolve(application).await?;
                let authority = tenant_authority(&authority, &account)?;
                let partition = application.user_partition(&account.account.home_account_id);
                (partition, account.into_owned().account, authority)
            }
        };
        let freshness = options.freshness();
        let CacheOptions {
            claims,
            extended_lifetime,
            ..
        } = options;
        let token_type = application.account_token_type(&account.home_account_id).await?;
        let request = application
            .users_request(&authority, partition.clone(), scopes.clone(), token_type)
            .claims(claims.clone());
        let call = Arc::new(Call {
            application: Arc::clone(application),
            partition,
            authority,
            scopes,
            claims,
            account,
            correlation_id: LazyCorrelation::default(),
            id_token: OnceLock::new(),
            refusal: SeenRefusal::default(),
        });
        let sent: Arc<dyn AuthorityCall> = call.clone();
        let options = application.options(freshness, extended_lifetime);
        let began = application.cache.clock().monotonic();
        let acquired = application
            .cache
            .acquire(Arc::new(request), options, sent)
            .await
            .map_err(|error| call.refusal.explain(error))?;
        let mut elapsed = application.cache.clock().monotonic().saturating_sub(began);
        let acquired = match &lookup {
            Some(lookup) => {
                elapsed += lookup.time_in_store();
                acquired.looked_up(lookup)
            }
            None => acquired,
        };
        Ok(outcome::result(acquired, call.correlation_id.drawn(), elapsed))
    }
}

impl<'a> IntoFuture for AcquireTokenSilent<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::silent(self)
    }
}

impl fmt::Debug for AcquireTokenSilent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenSilent")
            .field("scopes", &self.scopes)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Application {
    /// What a token for the user of `partition` is found by.
    pub(super) fn users_request(
        &self,
        authority: &Authority,
        partition: PartitionKey,
        scopes: ScopeSet,
        token_type: TokenType,
    ) -> TokenRequest {
        TokenRequest::new(
            partition,
            authority.kind(),
            self.client.id(),
            authority.environment(),
            authority.tenant().to_ascii_lowercase(),
            scopes,
        )
        .token_type(token_type)
        .context(self.context.clone())
    }
}

struct Call {
    application: Arc<Application>,
    partition: PartitionKey,
    authority: Authority,
    scopes: ScopeSet,
    claims: Option<String>,
    account: Account,
    /// What the account's latest ID token in this tenant says: the next one must be of the same subject.
    id_token: OnceLock<IdTokenClaims>,
    correlation_id: LazyCorrelation,
    refusal: SeenRefusal,
}

impl Call {
    async fn read_id_token(&self) -> Result<(), CacheError> {
        let application = &self.application;
        let rows = application
            .cache
            .id_tokens(&self.partition, application.client.id())
            .await?;
        let row = rows
            .iter()
            .find(|row| row.realm.eq_ignore_ascii_case(self.authority.tenant()));
        if let Some(claims) = row.and_then(|row| IdTokenClaims::decode(&row.secret).ok()) {
            self.id_token.get_or_init(|| claims);
        }
        Ok(())
    }

    async fn endpoint_for(&self, refresh_token: &Secret) -> Result<TokenEndpoint, Error> {
        let account = &self.account.home_account_id;
        let signer = self.application.refresh_signer(account, refresh_token).await?;
        self.application.endpoint_with(&self.authority, signer).await
    }

    fn request(&self, refresh_token: &Secret) -> request::TokenRequest {
        let (scopes, account) = (self.scopes.clone(), self.account.clone());
        let id_token = self.id_token.get().cloned();
        refresh_token::request(&self.authority, refresh_token, scopes, account, id_token)
            .context(self.application.context.clone())
            .claims(self.claims.as_deref().unwrap_or_default())
    }
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        let endpoint = self
            .application
            .endpoint_with(&self.authority, None)
            .await
            .map_err(not_ready)?;
        let read = self.read_id_token().await;
        read.map_err(|error| CallError::new("the account's ID token could not be read").with_source(error))?;
        // Before the marker is written: what would be held back must not keep others from the token meanwhile.
        endpoint
            .check(&self.request(&Secret::default()))
            .map_err(not_ready)
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        let endpoint = match self.endpoint_for(&redemption.refresh_token).await {
            Ok(endpoint) => endpoint,
            Err(error) => return not_sent(error),
        };
        let correlation_id = match self.correlation_id.draw(&self.application) {
            Ok(correlation_id) => correlation_id,
            Err(error) => return not_sent(error),
        };
        let request = self.request(&redemption.refresh_token);
        // Looked at last, right before the first byte: whoever was stopped meanwhile may have been taken over.
        if self.application.cache.clock().monotonic() >= redemption.send_before {
            return CallOutcome::NotSent(CallError::new(
                "the time for the request was over before it was sent",
            ));
        }
        let reply = endpoint
            .send(request, correlation_id, redemption.time_limit)
            .await;
        self.refusal
            .outcome(reply.map(|response| in_realm(&self.authority, response)))
    }

    async fn discard(&self, refresh_token: Secret, time_limit: Duration) {
        let revoked = async {
            let endpoint = self.application.endpoint_with(&self.authority, None).await?;
            if !endpoint.offers_revocation() {
                return Ok(());
            }
            let correlation_id = self.correlation_id.draw(&self.application)?;
            endpoint.revoke(&refresh_token, correlation_id, time_limit).await
        };
        if let Err::<(), Error>(error) = revoked.await {
            tracing::warn!(error = %error, "a refresh token that came after the sign-out was not revoked");
        }
    }
}
