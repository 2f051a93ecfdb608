//! Tokens of the application itself.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, CallError, CallOutcome, Freshness};
use cache_core::schema::ScopeSet;
use cache_core::secret::SecretRef;

use super::application::{Application, in_realm};
use super::asked_scopes::AskedScopes;
use super::cache_options::{CacheOptions, cache_option_methods};
use super::lazy_correlation::LazyCorrelation;
use super::seen_refusal::SeenRefusal;
use super::{Acquisition, ConfidentialClient, cached_app_token, outcome};
use crate::request::client_credentials;
use crate::{AuthenticationResult, Error};

/// An acquisition by client credentials (RFC 6749 section 4.4). Await it to run it.
///
/// Dropping the future leaves a request that was begun to its end, and its token in the cache.
///
/// ```no_run
/// # async fn token(client: flows::client::ConfidentialClient) -> Result<(), flows::Error> {
/// let result = client.acquire_token_for_client(["https://graph.microsoft.com/.default"]).await?;
/// let header = result.authorization_header();
/// # let _ = header; Ok(()) }
/// ```
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenForClient<'a> {
    application: &'a Arc<Application>,
    scopes: AskedScopes,
    options: CacheOptions,
}

impl ConfidentialClient {
    /// A token of the application itself (RFC 6749 section 4.4): from the cache, else by one request for all who ask.
    pub fn acquire_token_for_client<I>(&self, scopes: I) -> AcquireTokenForClient<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenForClient::new(self.application(), AskedScopes::of(scopes))
    }
}

impl<'a> AcquireTokenForClient<'a> {
    pub(super) fn new(application: &'a Arc<Application>, scopes: AskedScopes) -> Self {
        Self {
            application,
            scopes,
            options: CacheOptions::new(),
        }
    }

    cache_option_methods!();

    /// The token that memory has for it, as far as that can be told at once.
    pub(super) fn at_hand(&self) -> Option<AuthenticationResult> {
        if !self.options.take_what_is_cached() {
            return None;
        }
        self.application.own_token_at_hand(&self.scopes)
    }

    pub(super) async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            scopes,
            options,
        } = self;
        let scopes = scopes.to_set();
        options.check()?;
        // Checked here and not when the cache has nothing, so that a mistake does not hide behind a hit.
        drop(client_credentials::request(
            &application.authority,
            &application.client,
            scopes.clone(),
        )?);
        let freshness = options.freshness();
        let CacheOptions {
            claims,
            extended_lifetime,
            ..
        } = options;
        let request = cached_app_token::request(
            &application.cache,
            &application.authority,
            application.client.id(),
            scopes.clone(),
        )
        .token_type(application.client_token_type().await?)
        .context(application.context.clone())
        .claims(claims.clone());
        let call = Arc::new(Call {
            application: Arc::clone(application),
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
            .acquire_app(Arc::new(request), options, sent)
            .await
            .map_err(|error| call.refusal.explain(error))?;
        let elapsed = application.cache.clock().monotonic().saturating_sub(began);
        Ok(outcome::result(acquired, call.correlation_id.drawn(), elapsed))
    }
}

impl<'a> IntoFuture for AcquireTokenForClient<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::for_client(self)
    }
}

impl fmt::Debug for AcquireTokenForClient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenForClient")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

struct Call {
    application: Arc<Application>,
    scopes: ScopeSet,
    claims: Option<String>,
    correlation_id: LazyCorrelation,
    refusal: SeenRefusal,
}

#[async_trait]
impl AppTokenCall for Call {
    async fn obtain(&self, time_limit: Duration) -> CallOutcome {
        let Self {
            application,
            scopes,
            claims,
            correlation_id,
            refusal,
        } = self;
        let endpoint = match application.application_endpoint().await {
            Ok(endpoint) => endpoint,
            Err(error) => return not_sent(error),
        };
        let request =
            client_credentials::request(&application.authority, &application.client, scopes.clone());
        let request = match request {
            Ok(request) => request
                .context(application.context.clone())
                .claims(claims.as_deref().unwrap_or_default()),
            Err(error) => return not_sent(error.into()),
        };
        let correlation_id = match correlation_id.draw(application) {
            Ok(correlation_id) => correlation_id,
            Err(error) => return not_sent(error),
        };
        let reply = endpoint.send(request, correlation_id, time_limit).await;
        refusal.outcome(reply.map(|response| in_realm(&application.authority, response)))
    }
}

/// An error from before the request.
pub(super) fn not_sent(error: Error) -> CallOutcome {
    CallOutcome::NotSent(not_ready(error))
}

pub(super) fn not_ready(error: Error) -> CallError {
    CallError::new("the request could not be prepared").with_source(error)
}
