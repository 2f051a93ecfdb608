//! Sending what the grants built, exactly once, and reading what comes back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::CallOutcome;
use cache_core::schema::TokenResponse;
use url::Url;

use crate::authority::{Authority, Metadata};
use crate::correlation::CorrelationId;
use crate::error::{DiscoveryError, DiscoveryErrorKind, Error};
use crate::http::{Form, HttpRequest, HttpResponse};
use crate::request::authorization_code::PendingAuthorization;
use crate::request::device_code::{DeviceAuthorization, DeviceCodeRequest, Poll};
use crate::request::{Authentication, ClientIdentity, TokenRequest};
use crate::response::{ReplyContext, definite_success, token_response};
use crate::transport::Transport;

/// An authority's token endpoint, and its device authorization endpoint, as one client uses them.
///
/// Nothing is ever sent twice here, whatever happens.
#[derive(Clone)]
pub struct TokenEndpoint {
    transport: Arc<Transport>,
    authority: Authority,
    metadata: Arc<Metadata>,
    client: ClientIdentity,
}

impl TokenEndpoint {
    /// The endpoints of `authority`, whose metadata is `metadata`, for `client`.
    #[must_use]
    pub fn new(
        transport: Arc<Transport>,
        authority: Authority,
        metadata: Arc<Metadata>,
        client: ClientIdentity,
    ) -> Self {
        Self {
            transport,
            authority,
            metadata,
            client,
        }
    }

    /// Sends `request`; the reply has `time_limit` to be complete.
    ///
    /// # Errors
    /// [`Error::Authority`] and [`Error::InteractionRequired`] when the authority refused; [`Error::Http`] and
    /// [`Error::Reply`] when there was no usable answer; [`Error::IdToken`] when the reply speaks for somebody else.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves the outcome unknown. What must not be lost that way belongs into a task.
    pub async fn send(
        &self,
        request: TokenRequest,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<TokenResponse, Error> {
        let TokenRequest {
            grant,
            mut form,
            scopes,
            subject,
            context,
        } = request;
        if self.authority.kind().honours_client_info() {
            form.push("client_info", "1");
        }
        tracing::debug!(grant, "asking the token endpoint");
        let sent_at = self.transport.clock().now();
        let url = self.metadata.token_endpoint.clone();
        let response = self.post(url, form, correlation_id, time_limit).await?;
        let reply = ReplyContext {
            authority: &self.authority,
            metadata: &self.metadata,
            client_id: self.client.id(),
            scopes: &scopes,
            context: &context,
            subject: &subject,
            sent_at,
            now: self.transport.clock().now(),
        };
        token_response(&reply, &response)
    }

    /// As [`send`](Self::send), with the answer that the cache needs when a refresh token is spent.
    ///
    /// # Cancellation safety
    /// As [`send`](Self::send).
    pub async fn redeem(
        &self,
        request: TokenRequest,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> CallOutcome {
        match self.send(request, correlation_id, time_limit).await {
            Ok(response) => CallOutcome::Granted(Box::new(response)),
            Err(error) => error.into_call_outcome(),
        }
    }

    /// Hands an authorization request in (RFC 9126), authenticated as at the token endpoint. The URL of what comes back
    /// holds the client's ID and a reference, and nothing else of the request.
    ///
    /// # Errors
    /// [`Error::Discovery`] when the authority has no such endpoint; [`Error::Reply`] when the reply has no
    /// `request_uri`; else as [`send`](Self::send).
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing: an unused request expires.
    pub async fn push_authorization(
        &self,
        pending: PendingAuthorization,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<PendingAuthorization, Error> {
        let url = self
            .metadata
            .pushed_authorization_request_endpoint
            .clone()
            .ok_or_else(|| {
                let kind = DiscoveryErrorKind::NotOffered("pushed_authorization_request_endpoint");
                DiscoveryError::new(kind, self.authority.environment())
            })?;
        tracing::debug!("pushing the authorization request");
        let sent_at = self.transport.clock().now();
        let response = self
            .post(url, pending.pushed_form(), correlation_id, time_limit)
            .await?;
        let fields = definite_success(self.authority.kind(), &response, self.transport.clock().now())?;
        Ok(pending.accept_pushed(self.client.id(), &fields, sent_at)?)
    }

    /// Asks for a device code.
    ///
    /// # Errors
    /// [`Error::Discovery`] when the authority has no such endpoint; else as [`send`](Self::send).
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing but the code.
    pub async fn authorize_device(
        &self,
        mut request: DeviceCodeRequest,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<DeviceAuthorization, Error> {
        let url = self
            .metadata
            .device_authorization_endpoint
            .clone()
            .ok_or_else(|| {
                let kind = DiscoveryErrorKind::NotOffered("device_authorization_endpoint");
                DiscoveryError::new(kind, self.authority.environment())
            })?;
        let sent_at = self.transport.clock().now();
        let form = std::mem::take(&mut request.form);
        let response = self.post(url, form, correlation_id, time_limit).await?;
        let fields = definite_success(self.authority.kind(), &response, self.transport.clock().now())?;
        Ok(request.accept(fields, sent_at)?)
    }

    /// Waits until the user has entered the code, asking once an interval; each request has `time_limit`.
    ///
    /// # Errors
    /// [`Error::DeviceCode`] when the code expires or the user declines; else as [`send`](Self::send).
    ///
    /// # Cancellation safety
    /// Dropping the future ends the sign-in: if a request is under way, its tokens are lost.
    pub async fn await_device(
        &self,
        authorization: &DeviceAuthorization,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<TokenResponse, Error> {
        let mut polling = authorization.polling();
        let mut wait = polling.first(self.transport.clock().now())?;
        loop {
            self.transport.clock().sleep(wait).await;
            let request = authorization.token_request(&self.authority);
            let limit = polling.limit(time_limit, self.transport.clock().now());
            let reply = self.send(request, correlation_id, limit).await;
            match polling.judge(reply, self.transport.clock().now())? {
                Poll::Wait(next) => wait = next,
                Poll::Granted(response) => return Ok(*response),
            }
        }
    }

    async fn post(
        &self,
        url: Url,
        mut form: Form,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<HttpResponse, Error> {
        let authentication = Authentication {
            authority: &self.authority,
            metadata: &self.metadata,
        };
        let authorization = self.client.authenticate(&authentication, &mut form).await?;
        let mut request = HttpRequest::post(url, form, time_limit);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        // A generic issuer has no use for it, and it would link requests.
        if self.authority.kind().honours_client_info() {
            request = request
                .header("client-request-id", correlation_id.to_string())
                .header("return-client-request-id", "true".to_owned());
        }
        Ok(self.transport.http().send(request).await?)
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("authority", &self.authority)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
