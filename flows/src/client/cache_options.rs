//! What a caller may say of the cache, for every acquisition that reads it.

use cache_core::cache::Freshness;

use crate::challenge::{BearerChallenge, check_claims};
use crate::error::ConfigurationError;

/// How the cache is to be used.
#[derive(Debug)]
pub(super) struct CacheOptions {
    freshness: Freshness,
    pub(super) claims: Option<String>,
    pub(super) extended_lifetime: bool,
}

impl CacheOptions {
    pub(super) fn new() -> Self {
        Self {
            freshness: Freshness::Cached,
            claims: None,
            extended_lifetime: false,
        }
    }

    pub(super) fn force(&mut self, freshness: Freshness) {
        self.freshness = freshness;
    }

    pub(super) fn ask_claims(&mut self, claims: String) {
        self.claims = Some(claims).filter(|claims| !claims.trim().is_empty());
    }

    pub(super) fn answer(&mut self, challenge: &BearerChallenge) {
        match challenge.claims() {
            Some(claims) => self.ask_claims(claims.to_owned()),
            None => self.force(Freshness::Forced { rejected: None }),
        }
    }

    /// Refuses claims that could not be sent, before anything is done for their sake.
    pub(super) fn check(&self) -> Result<(), ConfigurationError> {
        match &self.claims {
            Some(claims) => check_claims(claims).map(drop),
            None => Ok(()),
        }
    }

    /// Whether a cached token will do.
    pub(super) fn take_what_is_cached(&self) -> bool {
        self.claims.is_none() && self.freshness == Freshness::Cached
    }

    /// No cached token is known to satisfy claims.
    pub(super) fn freshness(&self) -> Freshness {
        if self.claims.is_some() {
            Freshness::Claims
        } else {
            self.freshness
        }
    }
}

/// The options as methods of a builder with a field `options`.
macro_rules! cache_option_methods {
    () => {
        /// Asks the authority even if the cache has a token.
        pub fn force_refresh(mut self, force: bool) -> Self {
            self.options.force(if force {
                Freshness::Forced { rejected: None }
            } else {
                Freshness::Cached
            });
            self
        }

        /// Asks for another token than `token`, which the resource rejected; one that somebody else obtained meanwhile
        /// will do.
        pub fn instead_of<'token>(mut self, token: impl Into<SecretRef<'token>>) -> Self {
            self.options.force(Freshness::Forced {
                rejected: Some(token.into().sha256()),
            });
            self
        }

        /// Adds a claims request, as a resource demanded it: a JSON object. The cache is not read then.
        pub fn claims(mut self, claims: impl Into<String>) -> Self {
            self.options.ask_claims(claims.into());
            self
        }

        /// Answers a resource's challenge: asks for a token with the claims that it wants or, where it wants none, for
        /// another token than the cached one.
        pub fn challenge(mut self, challenge: &$crate::challenge::BearerChallenge) -> Self {
            self.options.answer(challenge);
            self
        }

        /// Lets a token serve until its extended expiry when the authority cannot be reached (Entra).
        pub fn extended_lifetime(mut self, allow: bool) -> Self {
            self.options.extended_lifetime = allow;
            self
        }
    };
}

pub(super) use cache_option_methods;
