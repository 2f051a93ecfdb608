//! Token exchange.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, CallOutcome, Freshness};
use cache_core::schema::{ScopeSet, SessionKey, TokenContext, TokenRequest};
use cache_core::secret::Secret;

use super::application::{Application, in_realm};
use super::cache_options::{CacheOptions, cache_option_methods};
use super::client_credentials::not_sent;
use super::lazy_correlation::LazyCorrelation;
use super::seen_refusal::SeenRefusal;
use super::{Acquisition, ConfidentialClient, outcome};
use crate::request::token_exchange::{RequestedTokenType, SubjectTokenType, TokenExchange};
use crate::{AuthenticationResult, Error};

/// How long what was exchanged is kept at the most; its token does not last longer either.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

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
        let authority = &application.authority;
        let context = context(application, &exchange);
        options.check()?;
        let freshness = options.freshness();
        let CacheOptions {
            claims,
            extended_lifetime,
            ..
        } = options;
        let request = TokenRequest::new(
            application.session_partition(SessionKey::AssertionHash(exchange.hash())),
            authority.kind(),
            application.client.id(),
            authority.environment(),
            authority.tenant().to_ascii_lowercase(),
            scopes.clone(),
        )
        .token_type(application.client_token_type().await?)
        .context(context.clone())
        .claims(claims.clone());
        let call = Arc::new(Call {
            application: Arc::clone(application),
            exchange,
            scopes,
            claims,
            context,
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
        Box::pin(self.run())
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

struct Call {
    application: Arc<Application>,
    exchange: TokenExchange,
    scopes: ScopeSet,
    claims: Option<String>,
    context: TokenContext,
    correlation_id: LazyCorrelation,
    refusal: SeenRefusal,
}

#[async_trait]
impl AppTokenCall for Call {
    async fn obtain(&self, time_limit: Duration) -> CallOutcome {
        let application = &self.application;
        let request = self
            .exchange
            .request(self.scopes.clone())
            .context(self.context.clone())
            .claims(self.claims.as_deref().unwrap_or_default());
        let endpoint = match application.endpoint(&application.authority).await {
            Ok(endpoint) => endpoint,
            Err(error) => return not_sent(error),
        };
        let correlation_id = match self.correlation_id.draw(application) {
            Ok(correlation_id) => correlation_id,
            Err(error) => return not_sent(error),
        };
        let reply = endpoint.send(request, correlation_id, time_limit).await;
        self.refusal.outcome(reply.map(|response| {
            let mut response = in_realm(&application.authority, response);
            response.refresh_token = None;
            response
        }))
    }
}
