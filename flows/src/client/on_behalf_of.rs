//! Tokens on behalf of a user whose token this service was presented with.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, CallOutcome, Freshness};
use cache_core::schema::{ScopeSet, SessionKey, TokenRequest};
use cache_core::secret::Secret;

use super::application::{Application, in_realm};
use super::cache_options::{CacheOptions, cache_option_methods};
use super::client_credentials::not_sent;
use super::lazy_correlation::LazyCorrelation;
use super::seen_refusal::SeenRefusal;
use super::{Acquisition, ConfidentialClient, outcome};
use crate::authority::Authority;
use crate::error::ConfigurationError;
use crate::request::on_behalf_of::{self, UserAssertion};
use crate::{AuthenticationResult, Error};

/// How long what an assertion brought is kept at the most; its token does not last longer either.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// An acquisition on behalf of a user (Entra's on-behalf-of): from the cache by the assertion's hash, else by one request for all who present the
/// same assertion. Await it to run it.
///
/// It never spends a refresh token: once the token has expired, the assertion is sent again. [`Error::InteractionRequired`] goes back to
/// whoever called this service, with its [`claims`](crate::InteractionRequired::claims): they ask the user, and come again with another assertion.
///
/// Dropping the future leaves a request that was begun to its end, and its token in the cache.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenOnBehalfOf<'a> {
    application: &'a Arc<Application>,
    assertion: &'a UserAssertion,
    scopes: ScopeSet,
    tenant: Option<&'a str>,
    options: CacheOptions,
}

impl ConfidentialClient {
    /// A token for the next service, on behalf of the user who presented `assertion` to this one.
    ///
    /// The assertion must have been validated before, as with every request: a token is served to whoever presents the same bytes.
    ///
    /// ```no_run
    /// use cache_core::secret::Secret;
    /// use flows::client::ConfidentialClient;
    /// use flows::request::on_behalf_of::UserAssertion;
    ///
    /// # async fn call_graph(client: &ConfidentialClient, bearer: String) -> Result<(), flows::Error> {
    /// let assertion = UserAssertion::jwt(Secret::new(bearer));
    /// let result = client.acquire_token_on_behalf_of(&assertion, ["User.Read"]).await?;
    /// let header = result.authorization_header();
    /// # let _ = header; Ok(()) }
    /// ```
    pub fn acquire_token_on_behalf_of<'a, I>(
        &'a self,
        assertion: &'a UserAssertion,
        scopes: I,
    ) -> AcquireTokenOnBehalfOf<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenOnBehalfOf {
            application: self.application(),
            assertion,
            scopes: ScopeSet::of(scopes),
            tenant: None,
            options: CacheOptions::new(),
        }
    }
}

impl<'a> AcquireTokenOnBehalfOf<'a> {
    /// Names the tenant, where the client's authority is one that many share: the tenant that issued the assertion (its `tid`).
    pub fn tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    cache_option_methods!();

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            assertion,
            scopes,
            tenant,
            options,
        } = self;
        let authority = tenant_of_assertion(&application.authority, tenant)?;
        let hash = assertion.hash();
        options.check()?;
        let freshness = options.freshness();
        let CacheOptions {
            claims,
            extended_lifetime,
            ..
        } = options;
        let request = TokenRequest::new(
            application.session_partition(SessionKey::AssertionHash(hash)),
            authority.kind(),
            application.client.id(),
            authority.environment(),
            authority.tenant().to_ascii_lowercase(),
            scopes.clone(),
        )
        .token_type(application.client_token_type().await?)
        .context(application.assertion_context(&hash))
        .claims(claims.clone());
        let call = Arc::new(Call {
            application: Arc::clone(application),
            authority,
            assertion: assertion.clone(),
            scopes,
            claims,
            correlation_id: LazyCorrelation::default(),
            refusal: SeenRefusal::default(),
        });
        let sent: Arc<dyn AppTokenCall> = call.clone();
        let options = application.options(freshness, extended_lifetime);
        let began = application.cache.clock().monotonic();
        let acquired = application
            .cache
            .acquire_session(Arc::new(request), options, sent, LONGEST)
            .await
            .map_err(|error| call.refusal.explain(error))?;
        let elapsed = application.cache.clock().monotonic().saturating_sub(began);
        Ok(outcome::result(&acquired, call.correlation_id.drawn(), elapsed))
    }
}

/// The authority of the tenant that an assertion is exchanged in.
pub(super) fn tenant_of_assertion(authority: &Authority, tenant: Option<&str>) -> Result<Authority, Error> {
    match tenant {
        Some(tenant) => Ok(authority.with_tenant(tenant)?),
        None if authority.is_multi_tenant() => Err(ConfigurationError::new(format!(
            "an assertion is exchanged in the tenant that issued it, and `{}` is none; name it with tenant()",
            authority.tenant()
        ))
        .into()),
        None => Ok(authority.clone()),
    }
}

impl<'a> IntoFuture for AcquireTokenOnBehalfOf<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for AcquireTokenOnBehalfOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenOnBehalfOf")
            .field("scopes", &self.scopes)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

struct Call {
    application: Arc<Application>,
    authority: Authority,
    assertion: UserAssertion,
    scopes: ScopeSet,
    claims: Option<String>,
    correlation_id: LazyCorrelation,
    refusal: SeenRefusal,
}

#[async_trait]
impl AppTokenCall for Call {
    async fn obtain(&self, time_limit: Duration) -> CallOutcome {
        let lasting = on_behalf_of::Lifetime::Assertion;
        let request = on_behalf_of::request(&self.assertion, self.scopes.clone(), lasting)
            .context(self.application.assertion_context(&self.assertion.hash()))
            .claims(self.claims.as_deref().unwrap_or_default());
        let endpoint = match self.application.endpoint(&self.authority).await {
            Ok(endpoint) => endpoint,
            Err(error) => return not_sent(error),
        };
        let correlation_id = match self.correlation_id.draw(&self.application) {
            Ok(correlation_id) => correlation_id,
            Err(error) => return not_sent(error),
        };
        let reply = endpoint.send(request, correlation_id, time_limit).await;
        self.refusal.outcome(reply.map(|response| {
            let mut response = in_realm(&self.authority, response);
            // Some issuers send one unasked. Nothing would ever spend it here.
            response.refresh_token = None;
            response
        }))
    }
}
