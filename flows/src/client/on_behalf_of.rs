//! Tokens on behalf of a user whose token this service was presented with.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use cache_core::cache::Freshness;
use cache_core::schema::ScopeSet;
use cache_core::secret::SecretRef;

use super::application::Application;
use super::assertion_exchange::AssertionExchange;
use super::cache_options::{CacheOptions, cache_option_methods};
use super::{Acquisition, ConfidentialClient};
use crate::authority::Authority;
use crate::error::ConfigurationError;
use crate::request::on_behalf_of::{self, UserAssertion};
use crate::{AuthenticationResult, Error};

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
    tenant: Option<String>,
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
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
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
        let hash = assertion.hash();
        let exchange = AssertionExchange {
            application,
            authority: tenant_of_assertion(&application.authority, tenant.as_deref())?,
            hash,
            context: application.assertion_context(&hash),
            scopes: scopes.clone(),
            options,
        };
        let assertion = assertion.clone();
        let lasting = on_behalf_of::Lifetime::Assertion;
        exchange
            .run(move || on_behalf_of::request(&assertion, scopes.clone(), lasting))
            .await
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
        Acquisition::boxed(self.run())
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
