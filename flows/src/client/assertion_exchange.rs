//! What on-behalf-of and token exchange share: a token for something that somebody else issued, from the cache by its hash, else by
//! one request for all who present it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, CallOutcome};
use cache_core::schema::{ScopeSet, SessionKey, TokenContext, TokenRequest};

use super::application::{Application, in_realm};
use super::cache_options::CacheOptions;
use super::client_credentials::not_sent;
use super::lazy_correlation::LazyCorrelation;
use super::outcome;
use super::seen_refusal::SeenRefusal;
use crate::authority::Authority;
use crate::{AuthenticationResult, Error, request};

/// How long what was exchanged is kept at the most; its token does not last longer either.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// An exchange that may not be needed.
pub(super) struct AssertionExchange<'a> {
    pub(super) application: &'a Arc<Application>,
    pub(super) authority: Authority,
    /// What the cache knows the assertion by.
    pub(super) hash: [u8; 32],
    /// What sets the token apart from others for the same assertion.
    pub(super) context: TokenContext,
    pub(super) scopes: ScopeSet,
    pub(super) options: CacheOptions,
}

impl AssertionExchange<'_> {
    /// The token; `make` builds the request when one is needed.
    pub(super) async fn run(
        self,
        make: impl Fn() -> request::TokenRequest + Send + Sync + 'static,
    ) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            authority,
            hash,
            context,
            scopes,
            options,
        } = self;
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
            scopes,
        )
        .token_type(application.client_token_type().await?)
        .context(context.clone())
        .claims(claims.clone());
        let call = Arc::new(Call {
            application: Arc::clone(application),
            authority,
            context,
            claims,
            make,
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
        Ok(outcome::result(acquired, call.correlation_id.drawn(), elapsed))
    }
}

struct Call<F> {
    application: Arc<Application>,
    authority: Authority,
    context: TokenContext,
    claims: Option<String>,
    make: F,
    correlation_id: LazyCorrelation,
    refusal: SeenRefusal,
}

#[async_trait]
impl<F: Fn() -> request::TokenRequest + Send + Sync + 'static> AppTokenCall for Call<F> {
    async fn obtain(&self, time_limit: Duration) -> CallOutcome {
        let request = (self.make)()
            .context(self.context.clone())
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
            // Some issuers send one unasked. Nothing would ever spend it here: the assertion is presented again.
            response.refresh_token = None;
            response
        }))
    }
}
