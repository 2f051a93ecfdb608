//! Sending what the grants built, exactly once, and reading what comes back.

mod exchange;
mod other_endpoints;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::CallOutcome;
use cache_core::schema::{TokenResponse, TokenType};
use tracing::Instrument;
use tracing::field::Empty;

use crate::authority::{Authority, Metadata};
use crate::challenge::ClientCapabilities;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::http::HttpErrorKind;
use crate::id_token::{IdTokenClaims, IdTokenVerification, SignatureCheck, verify_signature};
use crate::proof::{self, ProofSigner};
use crate::request::{ClientIdentity, TokenRequest};
use crate::response::{ReplyContext, token_response};
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
    id_tokens: IdTokenVerification,
    capabilities: ClientCapabilities,
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
            id_tokens: IdTokenVerification::default(),
            capabilities: ClientCapabilities::default(),
            proof_signer: None,
            telemetry: None,
            log_personal_data: false,
        }
    }

    /// Sets when the signatures of ID tokens are checked.
    #[must_use]
    pub fn verify_id_tokens(mut self, when: IdTokenVerification) -> Self {
        self.id_tokens = when;
        self
    }

    /// Sets what the client can handle. Only Entra, B2C and External ID are told: elsewhere the claim means nothing, and a
    /// strict issuer refuses claims that it does not know.
    #[must_use]
    pub(crate) fn capabilities(mut self, capabilities: ClientCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Fetches the issuer's keys where the ID tokens of this endpoint will be checked with them, unless they are known. Once a
    /// refresh token was sent it is too late: it is spent, and without the keys the reply cannot be believed.
    ///
    /// # Errors
    /// [`Error::IssuerKeys`] when the keys cannot be had within `time_limit`.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn prepare(&self, time_limit: Duration) -> Result<(), Error> {
        if !self.checks_signatures() {
            return Ok(());
        }
        self.signature_check().prepare(time_limit).await
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
            claims,
            max_age,
        } = request;
        if let Some(claims) = self.capabilities.parameter(claims.as_deref())? {
            form.push("claims", &claims);
        }
        if self.authority.kind().honours_client_info() {
            form.push("client_info", "1");
        }
        let sent_at = self.transport.clock().now();
        let began = self.transport.clock().monotonic();
        let url = self.metadata.token_endpoint.clone();
        let reply = match &self.proof_signer {
            Some(signer) => {
                self.post_with_proof(&**signer, url, form, correlation_id, time_limit)
                    .await?
            }
            None => self.post(url, form, None, correlation_id, time_limit).await?,
        };
        tracing::Span::current().record("status", reply.response.status);
        let context = ReplyContext {
            authority: &self.authority,
            metadata: &self.metadata,
            client_id: self.client.id(),
            scopes: &scopes,
            context: &context,
            subject: &subject,
            max_age,
            token_type: self
                .proof_signer
                .as_ref()
                .map_or(TokenType::Bearer, |signer| proof::token_type(signer.public_key())),
            sent_at,
            now: self.transport.clock().now(),
        };
        let tokens = token_response(&context, &reply)?;
        let elapsed = self.transport.clock().monotonic().saturating_sub(began);
        self.check_signature(&tokens, time_limit.saturating_sub(elapsed))
            .await?;
        Ok(tokens)
    }

    /// Checks the signature of the reply's ID token where nothing else vouches for it. Nothing of the reply is kept otherwise.
    async fn check_signature(&self, tokens: &TokenResponse, time_limit: Duration) -> Result<(), Error> {
        let Some(token) = tokens.id_token.as_ref().filter(|_| self.checks_signatures()) else {
            return Ok(());
        };
        let claims = IdTokenClaims::decode(token)?;
        verify_signature(&self.signature_check(), token, &claims, time_limit).await
    }

    fn checks_signatures(&self) -> bool {
        let over_tls = self.metadata.token_endpoint.scheme() == "https";
        self.id_tokens == IdTokenVerification::Always || !over_tls
    }

    fn signature_check(&self) -> SignatureCheck<'_> {
        SignatureCheck {
            transport: &self.transport,
            authority: &self.authority,
            metadata: &self.metadata,
        }
    }

    fn keys(&self, request: &TokenRequest) -> RequestKeys {
        RequestKeys::of(&KeyParts {
            client_id: self.client.id(),
            authority: &self.authority,
            grant: request.grant,
            scopes: &request.scopes,
            context: &request.context,
            subject: &request.subject,
            claims: request.claims.as_deref(),
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
        Err(Error::Reply(_) | Error::IdToken(_) | Error::IssuerKeys(_)) => "unusable_reply",
        Err(_) => "not_sent",
    }
}
