//! Access tokens: opaque to the client that holds them (RFC 6749 section 1.4).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Foreign, ScopeSet};
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// An access token and everything that decides which requests it may serve.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The account that it acts for; empty for a token of the application itself.
    pub home_account_id: String,
    /// The host that issued it.
    pub environment: String,
    /// The client that it was issued to.
    pub client_id: String,
    /// The tenant that issued it; empty for issuers without tenants.
    pub realm: String,
    /// The scopes that were granted.
    pub target: ScopeSet,
    /// How it is presented.
    pub token_type: TokenType,
    /// The token.
    pub secret: Secret,
    /// When it was obtained.
    pub cached_at: UnixSeconds,
    /// When it expires.
    pub expires_on: UnixSeconds,
    /// Until when it may serve while the authority is down, where the caller allows that.
    pub extended_expires_on: Option<UnixSeconds>,
    /// From when it should be replaced although it is still good.
    pub refresh_on: Option<UnixSeconds>,
    /// What else the request had that a token for another request must not be mistaken for.
    pub context: TokenContext,
    /// What another program keeps on this row.
    pub foreign: Option<Box<Foreign>>,
}

impl AccessToken {
    /// The field of a row that keeps what was asked for, where less was granted. MSAL has none; others ignore it and keep it.
    pub(crate) const REQUESTED_SCOPES: &'static str = "tokenkeep_requested_scopes";

    /// The scopes that were asked for, if not all of them were granted.
    #[must_use]
    pub fn requested_scopes(&self) -> Option<&str> {
        self.foreign.as_ref()?.requested_scopes()
    }

    /// The scopes that were asked for and not granted; empty where all were.
    #[must_use]
    pub fn declined_scopes(&self) -> ScopeSet {
        declined(&self.target, self.requested_scopes().unwrap_or_default())
    }

    /// Remembers that `requested` brought this token, if its scopes are fewer.
    pub(crate) fn note_requested(&mut self, requested: &ScopeSet) {
        if self.target.covers(requested, true) {
            return;
        }
        let foreign = self.foreign.get_or_insert_default();
        foreign.fields.expose_mut().insert(
            Self::REQUESTED_SCOPES.to_owned(),
            requested.as_str().to_owned().into(),
        );
    }

    /// How long it was good for when it was obtained.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.expires_on.duration_since(self.cached_at)
    }

    /// How long before its expiry it is no longer handed out: 300 seconds, or a tenth of a shorter lifetime.
    #[must_use]
    pub fn margin(&self) -> Duration {
        margin(self.lifetime())
    }
}

/// What of `requested` is not in `granted`.
pub(super) fn declined(granted: &ScopeSet, requested: &str) -> ScopeSet {
    let requested = ScopeSet::parse(requested);
    let is_declined = |scope: &&str| !granted.covers(&ScopeSet::parse(scope), true);
    ScopeSet::of(requested.words().filter(is_declined))
}

/// The margin of a token with this lifetime.
pub(super) fn margin(lifetime: Duration) -> Duration {
    Duration::from_secs(300).min(lifetime / 10)
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("environment", &self.environment)
            .field("client_id", &self.client_id)
            .field("realm", &self.realm)
            .field("target", &self.target)
            .field("expires_on", &self.expires_on)
            .field("refresh_on", &self.refresh_on)
            .finish_non_exhaustive()
    }
}

/// How an access token is presented to the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// Whoever bears it may use it (RFC 6750).
    #[default]
    Bearer,
    /// It is bound to a key; another scheme's token, or one for another key, never stands in for it.
    Bound {
        /// The scheme as the authority names it: `pop`, `DPoP`, `ssh-cert` …
        scheme: Box<str>,
        /// The thumbprint that names the key.
        key_id: Box<str>,
    },
}

impl TokenType {
    /// The type as a token reply names it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Bearer => "Bearer",
            Self::Bound { scheme, .. } => scheme,
        }
    }

    /// The key that the token is bound to.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        match self {
            Self::Bearer => None,
            Self::Bound { key_id, .. } => Some(key_id),
        }
    }
}

/// The parts of a request that set its tokens apart although client, tenant and scopes agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenContext {
    /// The resource or audience that was asked for by parameter (RFC 8707), not by scope.
    pub resource: Option<Box<str>>,
    /// Whether the client declared that it handles continuous access evaluation, which gives long-lived tokens.
    pub continuous_access_evaluation: bool,
    /// The hash of the assertion that an on-behalf-of token was obtained with.
    pub assertion_hash: Option<Box<str>>,
    /// Extra components that the caller wants in the cache key.
    pub components: BTreeMap<String, String>,
}

impl TokenContext {
    /// Whether nothing sets the request apart.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}
