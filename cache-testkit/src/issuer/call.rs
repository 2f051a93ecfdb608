//! What a cache asks an issuer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AppTokenCall, AuthorityCall, CallError, CallOutcome, Redemption, RefusedBecause};
use cache_core::secret::Secret;
use cache_core::time::Clock;

use super::{CLIENT, Issuer, Mishap, refusal};

/// A request to an [`Issuer`], which a cache makes when it needs one.
pub struct Call {
    pub(super) issuer: Arc<Issuer>,
    pub(super) client: String,
    pub(super) scopes: String,
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        let issuer = &self.issuer;
        let now = issuer.clock.now().to_seconds();
        let mishap = issuer.state().mishaps.pop_front();
        assert!(!matches!(mishap, Some(Mishap::Panic)), "expected by the test");
        if let Some(Mishap::NotSent) = mishap {
            return CallOutcome::NotSent(CallError::new("no route"));
        }
        if let Some(Mishap::Interaction) = mishap {
            return CallOutcome::Refused(refusal("interaction_required", RefusedBecause::Interaction));
        }
        if let Some(Mishap::Throttled) = mishap {
            return CallOutcome::Refused(refusal(
                "temporarily_unavailable",
                RefusedBecause::Throttled(None),
            ));
        }
        let token = redemption.refresh_token.expose();
        let outcome = issuer.state().redeem(token, &self.client, &self.scopes, now);
        issuer.arrived.send_modify(|count| *count += 1);
        let _permit = issuer.gate.acquire().await;
        match mishap {
            Some(Mishap::LostReply) => CallOutcome::OutcomeUnknown(CallError::new("connection reset")),
            Some(Mishap::OtherAccount) => match outcome {
                CallOutcome::Granted(mut response) => {
                    if let Some(account) = &mut response.account {
                        account.home_account_id = "sub-2".into();
                    }
                    CallOutcome::Granted(response)
                }
                other => other,
            },
            _ => outcome,
        }
    }

    /// Revokes the whole family, as RFC 7009 section 2.1 has it.
    async fn discard(&self, refresh_token: Secret, _time_limit: Duration) {
        let mut state = self.issuer.state();
        state.discarded.push(refresh_token.expose().to_owned());
        if let Some(family) = state.live.get(refresh_token.expose()).copied() {
            state.live.retain(|_, live| *live != family);
        }
    }
}

#[async_trait]
impl AppTokenCall for Call {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        let issuer = &self.issuer;
        let now = issuer.clock.now().to_seconds();
        issuer.arrived.send_modify(|count| *count += 1);
        let _permit = issuer.gate.acquire().await;
        let mut state = issuer.state();
        if let Some(Mishap::NotSent) = state.mishaps.pop_front() {
            return CallOutcome::NotSent(CallError::new("no route"));
        }
        state.obtained += 1;
        let mut response = state.response(CLIENT, &self.scopes, None, now);
        response.account = None;
        CallOutcome::Granted(Box::new(response))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("client", &self.client)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
