//! The authority's other endpoints, as the same client uses them: pushed requests, device codes, revocation.

use std::time::Duration;

use cache_core::schema::{TokenContext, TokenResponse};
use cache_core::secret::Secret;

use super::TokenEndpoint;
use crate::correlation::CorrelationId;
use crate::error::{DiscoveryError, DiscoveryErrorKind, Error};
use crate::request::authorization_code::PendingAuthorization;
use crate::request::device_code::{DeviceAuthorization, DeviceCodeRequest, Poll};
use crate::request::revocation;
use crate::response::{Subject, definite_success};
use crate::throttle::{KeyParts, RequestKeys};

impl TokenEndpoint {
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
        let form = pending.pushed_form();
        let keys = RequestKeys::of(&KeyParts {
            client_id: self.client.id(),
            authority: &self.authority,
            grant: "pushed_authorization",
            scopes: pending.scopes(),
            context: &TokenContext::default(),
            subject: &Subject::NewUser { nonce: None },
            claims: None,
            form: &form,
        });
        let throttle = self.transport.throttle();
        let permit = throttle.admit(keys, self.authority.environment(), time_limit)?;
        tracing::debug!("pushing the authorization request");
        let sent_at = self.transport.clock().now();
        let result = match self.post(url, form, None, correlation_id, time_limit).await {
            Ok(reply) => definite_success(self.authority.kind(), &reply, self.transport.clock().now()),
            Err(error) => Err(error),
        };
        permit.settle(result.as_ref().map(drop), None);
        Ok(pending.accept_pushed(self.client.id(), &result?, sent_at)?)
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
        let claims = self.capabilities.parameter(request.claims.as_deref())?;
        let keys = RequestKeys::of(&KeyParts {
            client_id: self.client.id(),
            authority: &self.authority,
            grant: "device_authorization",
            scopes: request.scopes(),
            context: &TokenContext::default(),
            subject: &Subject::NewUser { nonce: None },
            claims: request.claims.as_deref(),
            form: &request.form,
        });
        let throttle = self.transport.throttle();
        let permit = throttle.admit(keys, self.authority.environment(), time_limit)?;
        let sent_at = self.transport.clock().now();
        let mut form = std::mem::take(&mut request.form);
        if let Some(claims) = &claims {
            form.push("claims", claims);
        }
        let result = match self.post(url, form, None, correlation_id, time_limit).await {
            Ok(reply) => definite_success(self.authority.kind(), &reply, self.transport.clock().now()),
            Err(error) => Err(error),
        };
        permit.settle(result.as_ref().map(drop), None);
        Ok(request.accept(result?, sent_at)?)
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

    /// Whether the authority revokes tokens at its clients' request (RFC 7009).
    #[must_use]
    pub fn offers_revocation(&self) -> bool {
        self.metadata.revocation_endpoint.is_some()
    }

    /// Asks the authority to revoke a refresh token, and with it all that was granted with it (RFC 7009 section 2.1).
    ///
    /// # Errors
    /// [`Error::Discovery`] when the authority has no such endpoint; else as [`send`](Self::send). The token may then still
    /// be good.
    ///
    /// # Cancellation safety
    /// As [`send`](Self::send).
    pub async fn revoke(
        &self,
        refresh_token: &Secret,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<(), Error> {
        let url = self.metadata.revocation_endpoint.clone().ok_or_else(|| {
            let kind = DiscoveryErrorKind::NotOffered("revocation_endpoint");
            DiscoveryError::new(kind, self.authority.environment())
        })?;
        let form = revocation::form(refresh_token);
        let reply = self.post(url, form, None, correlation_id, time_limit).await?;
        revocation::judge(self.authority.kind(), &reply, self.transport.clock().now())
    }
}
