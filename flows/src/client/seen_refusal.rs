//! What the authority said to the caller whose request it refused.

use std::sync::{Mutex, PoisonError};

use cache_core::cache::{CacheError, CallOutcome, InteractionReason};
use cache_core::schema::TokenResponse;

use crate::Error;
use crate::error::AuthorityError;

/// The refusal of a request that was sent, with the description and the IDs that help to find it in the authority's logs.
/// The cache remembers only what decides what happens next, because everybody who asks after this caller is told that.
#[derive(Default)]
pub(super) struct SeenRefusal(Mutex<Option<AuthorityError>>);

impl SeenRefusal {
    /// What the cache is told of `reply`; a refusal is kept here.
    pub(super) fn outcome(&self, reply: Result<TokenResponse, Error>) -> CallOutcome {
        let error = match reply {
            Ok(response) => return CallOutcome::Granted(Box::new(response)),
            Err(error) => error,
        };
        let refusal = match &error {
            Error::InteractionRequired(required) => required.refusal(),
            Error::Authority(refusal) => Some(&**refusal),
            _ => None,
        };
        if let Some(refusal) = refusal {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal.clone());
        }
        error.into_call_outcome()
    }

    /// `error`, in the authority's own words where it is about the refusal that was seen here.
    pub(super) fn explain(&self, error: CacheError) -> Error {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(seen) = seen else { return error.into() };
        let is_seen = match &error {
            CacheError::InteractionRequired(required) => match &required.reason {
                InteractionReason::Refused(refusal) => {
                    refusal.error == seen.refusal.error && refusal.suberror == seen.refusal.suberror
                }
                _ => false,
            },
            CacheError::Refused(refusal) => **refusal == seen.refusal,
            _ => false,
        };
        if is_seen { seen.into() } else { error.into() }
    }
}
