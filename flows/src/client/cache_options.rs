//! What a caller may say of the cache, for every acquisition that reads it.

use cache_core::cache::Freshness;

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
        pub fn instead_of(mut self, token: &Secret) -> Self {
            self.options.force(Freshness::Forced {
                rejected: Some(token.sha256()),
            });
            self
        }

        /// Adds a claims request, as a resource demanded it; the cache is not read then.
        pub fn claims(mut self, claims: impl Into<String>) -> Self {
            self.options.claims = Some(claims.into());
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
