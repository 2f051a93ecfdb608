//! The parts of rows: a token's type and context, a refresh token's marker and refusals.

use bincode::{BorrowDecode, Encode};

use super::{Reason, map};
use crate::schema::{Refusal, SpendMarker, TokenContext, TokenType};
use crate::time::{UnixMillis, UnixSeconds};

#[derive(Encode, BorrowDecode)]
pub(super) enum WireTokenType<'a> {
    Bearer,
    Bound(&'a str, &'a str),
}

impl<'a> From<&'a TokenType> for WireTokenType<'a> {
    fn from(token_type: &'a TokenType) -> Self {
        match token_type {
            TokenType::Bearer => Self::Bearer,
            TokenType::Bound { scheme, key_id } => Self::Bound(scheme, key_id),
        }
    }
}

impl From<WireTokenType<'_>> for TokenType {
    fn from(wire: WireTokenType<'_>) -> Self {
        match wire {
            WireTokenType::Bearer => Self::Bearer,
            WireTokenType::Bound(scheme, key_id) => Self::Bound {
                scheme: scheme.into(),
                key_id: key_id.into(),
            },
        }
    }
}

#[derive(Encode, BorrowDecode)]
pub(super) struct WireContext<'a> {
    resource: Option<&'a str>,
    continuous_access_evaluation: bool,
    assertion_hash: Option<&'a str>,
    components: Vec<(&'a str, &'a str)>,
}

impl WireContext<'_> {
    /// Whether nothing sets the request apart.
    pub(super) fn is_plain(&self) -> bool {
        self.resource.is_none()
            && !self.continuous_access_evaluation
            && self.assertion_hash.is_none()
            && self.components.is_empty()
    }
}

impl<'a> From<&'a TokenContext> for WireContext<'a> {
    fn from(context: &'a TokenContext) -> Self {
        Self {
            resource: context.resource.as_deref(),
            continuous_access_evaluation: context.continuous_access_evaluation,
            assertion_hash: context.assertion_hash.as_deref(),
            components: context
                .components
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        }
    }
}

impl TryFrom<WireContext<'_>> for TokenContext {
    type Error = Reason;

    fn try_from(wire: WireContext<'_>) -> Result<Self, Reason> {
        Ok(Self {
            resource: wire.resource.map(Into::into),
            continuous_access_evaluation: wire.continuous_access_evaluation,
            assertion_hash: wire.assertion_hash.map(Into::into),
            components: map(wire.components, |value| Ok(value.to_owned()))?,
        })
    }
}

#[derive(Encode, BorrowDecode)]
pub(super) struct WireMarker {
    token_hash: [u8; 32],
    attempt: [u8; 16],
    deadline: i64,
    attempts: u8,
    outcome_unknown: bool,
}

impl From<&SpendMarker> for WireMarker {
    fn from(marker: &SpendMarker) -> Self {
        Self {
            token_hash: marker.token_hash,
            attempt: marker.attempt,
            deadline: marker.deadline.0,
            attempts: marker.attempts,
            outcome_unknown: marker.outcome_unknown,
        }
    }
}

impl From<WireMarker> for SpendMarker {
    fn from(wire: WireMarker) -> Self {
        Self {
            token_hash: wire.token_hash,
            attempt: wire.attempt,
            deadline: UnixMillis(wire.deadline),
            attempts: wire.attempts,
            outcome_unknown: wire.outcome_unknown,
        }
    }
}

#[derive(Encode, BorrowDecode)]
pub(super) struct WireRefusal<'a> {
    request: Option<[u8; 16]>,
    error: &'a str,
    suberror: Option<&'a str>,
    claims: Option<&'a str>,
    refused_at: i64,
}

impl<'a> From<&'a Refusal> for WireRefusal<'a> {
    fn from(refusal: &'a Refusal) -> Self {
        Self {
            request: refusal.request,
            error: &refusal.error,
            suberror: refusal.suberror.as_deref(),
            claims: refusal.claims.as_deref(),
            refused_at: refusal.refused_at.0,
        }
    }
}

impl From<WireRefusal<'_>> for Refusal {
    fn from(wire: WireRefusal<'_>) -> Self {
        Self {
            request: wire.request,
            error: wire.error.to_owned(),
            suberror: wire.suberror.map(str::to_owned),
            claims: wire.claims.map(str::to_owned),
            refused_at: UnixSeconds(wire.refused_at),
        }
    }
}
