//! Asking the place that has the identity.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, CallOutcome};
use cache_core::schema::TokenResponse;

use super::Inner;
use crate::Error;
use crate::client::lazy_correlation::LazyCorrelation;
use crate::error::ManagedIdentityError;
use crate::http::{HttpError, HttpErrorKind, HttpResponse};
use crate::managed_identity::{
    AUTHORITY, Ask, Endpoint, ManagedIdentitySource, ReplyFor, Resource, authorization, pause_before_retry,
    token_response,
};
use crate::response::Reply;
use crate::throttle::RequestKeys;

impl Inner {
    /// Asks for a token, unless an earlier answer forbids it still.
    async fn obtain(&self, call: &Call, time_limit: Duration) -> Result<TokenResponse, Error> {
        let keys = RequestKeys::of_platform(
            self.endpoint.source().tag(),
            [self.identity.tag(), self.identity.cache_id()],
            call.resource.scopes().as_str(),
        );
        let permit = self.transport.throttle().admit(keys, AUTHORITY, time_limit)?;
        let result = self.ask(call, time_limit).await;
        permit.settle(result.as_ref().map(drop), None);
        result
    }

    /// Asks for a token, and once more where that may help, all within `time_limit`.
    async fn ask(&self, call: &Call, time_limit: Duration) -> Result<TokenResponse, Error> {
        let clock = self.cache.clock();
        let began = clock.monotonic();
        let mut may_repeat = true;
        let correlation_id = call.correlation_id.draw_from(&**self.cache.random())?;
        loop {
            let elapsed = clock.monotonic().saturating_sub(began);
            let ask = Ask {
                resource: &call.resource,
                rejected: call.rejected.as_ref(),
                correlation_id,
                time_limit: time_limit.saturating_sub(elapsed),
            };
            tracing::debug!(source = %self.endpoint.source(), "asking for a managed identity's token");
            let sent_at = clock.now();
            let request = self.endpoint.request(&ask);
            let secrets = request.secrets();
            let reply = self.http.send(request).await;
            let now = clock.now();
            let pause = pause_before_retry(self.endpoint.source(), &reply, now).filter(|_| may_repeat);
            let elapsed = clock.monotonic().saturating_sub(began);
            if let Some(pause) = pause
                && elapsed.saturating_add(pause) < time_limit
            {
                may_repeat = false;
                clock.sleep(pause).await;
                continue;
            }
            let asked = ReplyFor {
                identity: &self.identity,
                resource: &call.resource,
                sent_at,
                now,
            };
            let reply = Reply::new(self.reached(reply)?, secrets);
            let reply = self
                .shown_key(ask, reply, began.saturating_add(time_limit))
                .await?;
            return token_response(&asked, &reply);
        }
    }

    /// The reply, or that nobody is there. Every program asks the instance metadata service where it finds nothing else, so that
    /// it cannot be reached is the usual answer of a machine that is not Azure's.
    fn reached(&self, reply: Result<HttpResponse, HttpError>) -> Result<HttpResponse, Error> {
        match reply {
            Err(error)
                if error.kind() == HttpErrorKind::NotSent
                    && self.endpoint.source() == ManagedIdentitySource::Imds =>
            {
                tracing::debug!(%error, "the instance metadata service cannot be reached");
                Err(ManagedIdentityError::NoMetadataService.into())
            }
            reply => Ok(reply?),
        }
    }

    /// The reply to the same question with Azure Arc's key shown, if `reply` asks for that; else `reply`. It is asked once:
    /// a second challenge is a refusal.
    async fn shown_key(&self, ask: Ask<'_>, reply: Reply, deadline: Duration) -> Result<Reply, Error> {
        let Endpoint::AzureArc(arc) = &self.endpoint else {
            return Ok(reply);
        };
        let Some(key_file) = arc.challenge(&reply.response) else {
            return Ok(reply);
        };
        let key_file = key_file?;
        // Reading blocks, if only for a moment.
        let authorization = tokio::task::spawn_blocking(move || authorization(&key_file))
            .await
            .map_err(|_| ManagedIdentityError::KeyUnreadable(std::io::ErrorKind::Other))??;
        let ask = Ask {
            time_limit: deadline.saturating_sub(self.cache.clock().monotonic()),
            ..ask
        };
        let request = self.endpoint.request(&ask).header("authorization", authorization);
        let secrets = request.secrets();
        Ok(Reply::new(self.http.send(request).await?, secrets))
    }
}

/// What the cache asks for a token.
pub(super) struct Call {
    pub(super) inner: Arc<Inner>,
    pub(super) resource: Resource,
    pub(super) rejected: Option<[u8; 32]>,
    pub(super) correlation_id: LazyCorrelation,
}

#[async_trait]
impl AppTokenCall for Call {
    async fn obtain(&self, time_limit: Duration) -> CallOutcome {
        match self.inner.obtain(self, time_limit).await {
            Ok(response) => CallOutcome::Granted(Box::new(response)),
            Err(error) => error.into_call_outcome(),
        }
    }
}
