//! Sending what the grants built, exactly once, and reading what comes back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::CallOutcome;
use cache_core::schema::{TokenContext, TokenResponse, TokenType};
use cache_core::secret::Secret;
use tracing::Instrument;
use tracing::field::Empty;
use url::Url;

use crate::authority::{Authority, Metadata};
use crate::correlation::CorrelationId;
use crate::error::{DiscoveryError, DiscoveryErrorKind, Error};
use crate::http::{Form, HttpErrorKind, HttpRequest, HttpResponse};
use crate::proof::{self, Proof, ProofSigner};
use crate::request::device_code::{DeviceAuthorization, DeviceCodeRequest, Poll};
use crate::request::{Authentication, ClientIdentity, TokenRequest, revocation};
use crate::response::{Fields, ReplyContext, Subject, definite_success, token_response};
use crate::telemetry::Telemetry;
use crate::throttle::{KeyParts, RequestKeys};
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
    proof_signer: Option<Arc<dyn ProofSigner>>,
    telemetry: Option<Arc<Telemetry>>,
    log_personal_data: bool,
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
            proof_signer: None,
            telemetry: None,
            log_personal_data: false,
        }
    }

    /// Asks for tokens that are bound to this key (DPoP, RFC 9449): each request to the token endpoint carries a proof, and a reply
    /// with a token of another type is refused.
    #[must_use]
    pub fn proof_signer(mut self, signer: Arc<dyn ProofSigner>) -> Self {
        self.proof_signer = Some(signer);
        self
    }

    /// Tells Microsoft's authorities which application asks. Nothing of it is sent unless this is called.
    #[must_use]
    pub fn telemetry(mut self, telemetry: Option<Arc<Telemetry>>) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// Names accounts in the spans of this endpoint's requests. They are personal data, so they appear nowhere unless
    /// this is set.
    #[must_use]
    pub fn log_personal_data(mut self, log: bool) -> Self {
        self.log_personal_data = log;
        self
    }

    /// Whether `request` may be sent now, as [`send`](Self::send) would decide.
    ///
    /// # Errors
    /// [`Error::Throttled`] and [`Error::InteractionRequired`], as [`send`](Self::send).
    pub fn check(&self, request: &TokenRequest) -> Result<(), Error> {
        let throttle = self.transport.throttle();
        throttle.check(&self.keys(request), self.authority.environment())
    }

    /// Sends `request`; the reply has `time_limit` to be complete.
    ///
    /// # Errors
    /// [`Error::Authority`] and [`Error::InteractionRequired`] when the authority refused; [`Error::Http`] and
    /// [`Error::Reply`] when there was no usable answer; [`Error::IdToken`] when the reply speaks for somebody else.
    /// [`Error::Throttled`] when an earlier answer forbids the request still, and nothing was sent; a refusal that
    /// needs the user is repeated for two minutes without asking, unless a user attends the request.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves the outcome unknown. What must not be lost that way belongs into a task.
    pub async fn send(
        &self,
        request: TokenRequest,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<TokenResponse, Error> {
        let span = tracing::info_span!(
            "token_request",
            grant = request.grant,
            authority = self.authority.environment(),
            correlation_id = %correlation_id,
            outcome = Empty,
            status = Empty,
            account = Empty,
        );
        let sent = self.send_once(request, correlation_id, time_limit);
        let result = sent.instrument(span.clone()).await;
        span.record("outcome", outcome(&result));
        if self.log_personal_data
            && let Ok(TokenResponse {
                account: Some(account),
                ..
            }) = &result
        {
            span.record("account", &*account.home_account_id);
        }
        result
    }

    async fn send_once(
        &self,
        request: TokenRequest,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<TokenResponse, Error> {
        let throttle = self.transport.throttle();
        let permit = throttle.admit(self.keys(&request), self.authority.environment(), time_limit)?;
        let result = self.exchange(request, correlation_id, time_limit).await;
        permit.settle(result.as_ref().map(drop), result.as_ref().ok());
        result
    }

    async fn exchange(
        &self,
        request: TokenRequest,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<TokenResponse, Error> {
        let TokenRequest {
            grant: _,
            mut form,
            scopes,
            subject,
            context,
        } = request;
        if self.authority.kind().honours_client_info() {
            form.push("client_info", "1");
        }
        let sent_at = self.transport.clock().now();
        let url = self.metadata.token_endpoint.clone();
        let response = match &self.proof_signer {
            Some(signer) => {
                self.post_with_proof(&**signer, url, form, correlation_id, time_limit)
                    .await?
            }
            None => self.post(url, form, None, correlation_id, time_limit).await?,
        };
        tracing::Span::current().record("status", response.status);
        let reply = ReplyContext {
            authority: &self.authority,
            metadata: &self.metadata,
            client_id: self.client.id(),
            scopes: &scopes,
            context: &context,
            subject: &subject,
            token_type: self
                .proof_signer
                .as_ref()
                .map_or(TokenType::Bearer, |signer| proof::token_type(signer.public_key())),
            sent_at,
            now: self.transport.clock().now(),
        };
        token_response(&reply, &response)
    }

    fn keys(&self, request: &TokenRequest) -> RequestKeys {
        RequestKeys::of(&KeyParts {
            client_id: self.client.id(),
            authority: &self.authority,
            grant: request.grant,
            scopes: &request.scopes,
            context: &request.context,
            subject: &request.subject,
            form: &request.form,
        })
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
        let keys = RequestKeys::of(&KeyParts {
            client_id: self.client.id(),
            authority: &self.authority,
            grant: "device_authorization",
            scopes: request.scopes(),
            context: &TokenContext::default(),
            subject: &Subject::NewUser { nonce: None },
            form: &request.form,
        });
        let throttle = self.transport.throttle();
        let permit = throttle.admit(keys, self.authority.environment(), time_limit)?;
        let sent_at = self.transport.clock().now();
        let form = std::mem::take(&mut request.form);
        let result = match self.post(url, form, None, correlation_id, time_limit).await {
            Ok(response) => definite_success(self.authority.kind(), &response, self.transport.clock().now()),
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
        let response = self.post(url, form, None, correlation_id, time_limit).await?;
        revocation::judge(self.authority.kind(), &response, self.transport.clock().now())
    }

    /// As [`post`](Self::post), with a proof. A server that wants a nonce in it refuses the request unexecuted and says which; then, and
    /// only then, the request is sent once more, with a proof of its own (RFC 9449 section 8).
    async fn post_with_proof(
        &self,
        signer: &dyn ProofSigner,
        url: Url,
        form: Form,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<HttpResponse, Error> {
        let (clock, nonces) = (self.transport.clock(), self.transport.nonces());
        let began = clock.monotonic();
        let nonce = nonces.of(&url);
        let proof = self.prove(signer, &url, nonce.as_deref()).await?;
        let response = self
            .post(url.clone(), form.clone(), Some(proof), correlation_id, time_limit)
            .await?;
        let given = nonces.note(&url, &response);
        let Some(nonce) = given.filter(|_| wants_nonce(&response)) else {
            return Ok(response);
        };
        let left = time_limit.saturating_sub(clock.monotonic().saturating_sub(began));
        if left.is_zero() {
            return Ok(response);
        }
        let proof = self.prove(signer, &url, Some(&nonce)).await?;
        let response = self
            .post(url.clone(), form, Some(proof), correlation_id, left)
            .await?;
        nonces.note(&url, &response);
        Ok(response)
    }

    async fn prove(&self, signer: &dyn ProofSigner, url: &Url, nonce: Option<&str>) -> Result<Secret, Error> {
        let proof = Proof {
            method: "POST",
            url,
            nonce,
            access_token: None,
        };
        let now = self.transport.clock().now().to_seconds();
        proof.sign(signer, &**self.transport.random(), now).await
    }

    async fn post(
        &self,
        url: Url,
        mut form: Form,
        proof: Option<Secret>,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<HttpResponse, Error> {
        let authentication = Authentication {
            authority: &self.authority,
            metadata: &self.metadata,
            transport: &self.transport,
            time_limit,
        };
        let clock = self.transport.clock();
        let began = clock.monotonic();
        let authorization = self.client.authenticate(&authentication, &mut form).await?;
        // Whoever made the assertion spent a part of the time.
        let time_limit = time_limit.saturating_sub(clock.monotonic().saturating_sub(began));
        let mut request = HttpRequest::post(url, form, time_limit);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        // A generic issuer has no use for it, and it would link requests.
        if self.authority.kind().honours_client_info() {
            request = request
                .header("client-request-id", correlation_id.to_string())
                .header("return-client-request-id", "true".to_owned());
            if let Some(telemetry) = &self.telemetry {
                request = telemetry.add_to(request);
            }
        }
        let began = self.transport.clock().monotonic();
        let result = self.transport.http().send(request).await;
        let elapsed = self.transport.clock().monotonic().saturating_sub(began);
        match &result {
            Ok(_) => metrics::histogram!("tokenkeep_http_duration_seconds", "outcome" => "answered"),
            Err(error) => match error.kind() {
                HttpErrorKind::NotSent => {
                    metrics::histogram!("tokenkeep_http_duration_seconds", "outcome" => "not_sent")
                }
                HttpErrorKind::OutcomeUnknown => {
                    metrics::histogram!("tokenkeep_http_duration_seconds", "outcome" => "unknown")
                }
            },
        }
        .record(elapsed);
        Ok(result?)
    }
}

/// Whether this is the refusal of RFC 9449 section 8.
fn wants_nonce(response: &HttpResponse) -> bool {
    response.status == 400
        && Fields::parse(&response.body).is_some_and(|fields| fields.text("error") == Some("use_dpop_nonce"))
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("authority", &self.authority)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// How a request ended, in a word for logs.
fn outcome(result: &Result<TokenResponse, Error>) -> &'static str {
    match result {
        Ok(_) => "granted",
        Err(Error::InteractionRequired(_)) => "interaction_required",
        Err(Error::Authority(_)) => "refused",
        Err(Error::Throttled(_)) => "throttled",
        Err(Error::Http(error)) if error.kind() == HttpErrorKind::NotSent => "not_sent",
        Err(Error::Http(_)) => "no_reply",
        Err(Error::Reply(_) | Error::IdToken(_)) => "unusable_reply",
        Err(_) => "not_sent",
    }
}
