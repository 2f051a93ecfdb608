//! Token exchange.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use cache_core::cache::Freshness;
use cache_core::schema::{ScopeSet, TokenContext};
use cache_core::secret::{Secret, SecretRef};

use super::application::Application;
use super::assertion_exchange::AssertionExchange;
use super::cache_options::{CacheOptions, cache_option_methods};
use super::{Acquisition, ConfidentialClient};
use crate::request::token_exchange::{RequestedTokenType, SubjectTokenType, TokenExchange};
use crate::{AuthenticationResult, Error};

/// The exchange of a token (RFC 8693): from the cache by the hash of what is given, else by one request for all who give the same. Await it to run
/// it.
///
/// Most issuers answer without an ID token, so nobody knows whose token it is: no sign-out ends it, and it is kept as long as it is valid and no
/// longer. A refresh token in the reply is not kept: who has the subject token can exchange it again.
///
/// Dropping the future leaves a request that was begun to its end, and its token in the cache.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByTokenExchange<'a> {
    application: &'a Arc<Application>,
    exchange: TokenExchange,
    scopes: ScopeSet,
    options: CacheOptions,
}

impl ConfidentialClient {
    /// Exchanges a token for another (RFC 8693).
    ///
    /// ```no_run
    /// use cache_core::secret::Secret;
    /// use flows::client::ConfidentialClient;
    /// use flows::request::token_exchange::SubjectTokenType;
    ///
    /// # async fn exchange(client: &ConfidentialClient, presented: &Secret) -> Result<(), flows::Error> {
    /// let result = client
    ///     .acquire_token_by_token_exchange(presented, SubjectTokenType::AccessToken)
    ///     .audience("billing")
    ///     .scopes(["invoices:read"])
    ///     .await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn acquire_token_by_token_exchange(
        &self,
        subject_token: &Secret,
        subject_token_type: SubjectTokenType,
    ) -> AcquireTokenByTokenExchange<'_> {
        AcquireTokenByTokenExchange {
            application: self.application(),
            exchange: TokenExchange::new(subject_token.clone(), subject_token_type),
            scopes: ScopeSet::default(),
            options: CacheOptions::new(),
        }
    }
}

impl AcquireTokenByTokenExchange<'_> {
    /// Sets what the token is for.
    pub fn scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.scopes = ScopeSet::of(scopes);
        self
    }

    /// Adds the token of the party that acts for the subject: delegation instead of impersonation (RFC 8693 section 1.1).
    pub fn actor(mut self, token: &Secret, token_type: SubjectTokenType) -> Self {
        self.exchange = self.exchange.actor(token.clone(), token_type);
        self
    }

    /// Sets what is asked for; else the issuer decides. A reply of another type is refused.
    pub fn requested_token_type(mut self, requested: RequestedTokenType) -> Self {
        self.exchange = self.exchange.requested_token_type(requested);
        self
    }

    /// Sets where the token is to be used: a URI (RFC 8707).
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.exchange = self.exchange.resource(resource);
        self
    }

    /// Sets where the token is to be used: the name that the issuer knows the service by.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.exchange = self.exchange.audience(audience);
        self
    }

    cache_option_methods!();

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            exchange,
            scopes,
            options,
        } = self;
        let needed = AssertionExchange {
            application,
            authority: application.authority.clone(),
            hash: exchange.hash(),
            context: context(application, &exchange),
            scopes: scopes.clone(),
            options,
        };
        needed.run(move || exchange.request(scopes.clone())).await
    }
}

/// What sets the token apart from others of the same subject.
fn context(application: &Application, exchange: &TokenExchange) -> TokenContext {
    let mut context = application.assertion_context(&exchange.hash());
    context.resource = exchange.asked_resource().map(Into::into).or(context.resource);
    let mut component = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            context.components.insert(name.to_owned(), value.to_owned());
        }
    };
    component("audience", exchange.asked_audience());
    component(
        "requested_token_type",
        exchange.asked_token_type().map(RequestedTokenType::as_str),
    );
    context
}

impl<'a> IntoFuture for AcquireTokenByTokenExchange<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(self.run())
    }
}

impl fmt::Debug for AcquireTokenByTokenExchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByTokenExchange")
            .field("exchange", &self.exchange)
            .field("scopes", &self.scopes)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
