//! The correlation ID of a request that may never be made.

use std::sync::OnceLock;

use cache_core::random::Random;

use super::application::Application;
use crate::{CorrelationId, Error};

/// Draws the ID when a request is about to be sent: a hit in the cache costs no randomness and names no request.
#[derive(Default)]
pub(super) struct LazyCorrelation(OnceLock<CorrelationId>);

impl LazyCorrelation {
    /// The ID, drawn by the first call.
    pub(super) fn draw(&self, application: &Application) -> Result<CorrelationId, Error> {
        self.draw_from(&**application.cache.random())
    }

    /// As [`draw`](Self::draw), for who has no application.
    pub(super) fn draw_from(&self, random: &dyn Random) -> Result<CorrelationId, Error> {
        match self.drawn() {
            Some(id) => Ok(id),
            None => {
                let fresh = CorrelationId::random(random)?;
                Ok(*self.0.get_or_init(|| fresh))
            }
        }
    }

    /// The ID, if a request was made with it.
    pub(super) fn drawn(&self) -> Option<CorrelationId> {
        self.0.get().copied()
    }
}
