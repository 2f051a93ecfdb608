//! One request and its reply: authenticated, proven where a key is used, and measured.

use std::time::Duration;

use cache_core::secret::Secret;
use url::Url;

use super::TokenEndpoint;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::http::{Form, HttpError, HttpErrorKind, HttpRequest};
use crate::proof::{Proof, ProofSigner};
use crate::request::Authentication;
use crate::response::{Fields, Reply};

impl TokenEndpoint {
    /// As [`post`](Self::post), with a proof. A server that wants a nonce in it refuses the request unexecuted and says which; then, and
    /// only then, the request is sent once more, with a proof of its own (RFC 9449 section 8).
    pub(super) async fn post_with_proof(
        &self,
        signer: &dyn ProofSigner,
        url: Url,
        form: Form,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<Reply, Error> {
        let (clock, nonces) = (self.transport.clock(), self.transport.nonces());
        let began = clock.monotonic();
        // A signer of one's own may take long, and a process may be stopped: each request has what is left then.
        let left = || time_limit.saturating_sub(clock.monotonic().saturating_sub(began));
        let nonce = nonces.of(&url);
        let proof = self.prove(signer, &url, nonce.as_deref()).await?;
        let reply = self
            .post(url.clone(), form.clone(), Some(proof), correlation_id, left())
            .await?;
        let given = nonces.note(&url, &reply.response);
        let Some(nonce) = given.filter(|_| wants_nonce(&reply)) else {
            return Ok(reply);
        };
        let proof = self.prove(signer, &url, Some(&nonce)).await?;
        let reply = self
            .post(url.clone(), form, Some(proof), correlation_id, left())
            .await?;
        nonces.note(&url, &reply.response);
        Ok(reply)
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

    pub(super) async fn post(
        &self,
        url: Url,
        mut form: Form,
        proof: Option<Secret>,
        correlation_id: CorrelationId,
        time_limit: Duration,
    ) -> Result<Reply, Error> {
        let authentication = Authentication {
            authority: &self.authority,
            metadata: &self.metadata,
            transport: &self.transport,
            time_limit,
        };
        let clock = self.transport.clock();
        let began = clock.monotonic();
        let authorization = self.client.authenticate(&authentication, &mut form).await?;
        // Whoever made the assertion spent a part of the time. When it is over, whoever may take a refresh token over has done so: a
        // process that was stopped until now must not send it.
        let time_limit = time_limit.saturating_sub(clock.monotonic().saturating_sub(began));
        if time_limit.is_zero() {
            let message = "the time for the request was over before it was sent";
            return Err(HttpError::new(HttpErrorKind::NotSent, &url, message).into());
        }
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
        let secrets = request.secrets();
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
        Ok(Reply::new(result?, secrets))
    }
}

/// Whether this is the refusal of RFC 9449 section 8.
fn wants_nonce(reply: &Reply) -> bool {
    reply.response.status == 400
        && Fields::parse(&reply.response.body)
            .is_some_and(|fields| fields.text("error") == Some("use_dpop_nonce"))
}
