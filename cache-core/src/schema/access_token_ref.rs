//! An access token as it lies in a cached partition, borrowed.

use std::fmt;
use std::time::Duration;

use super::access_token::{declined, margin};
use super::scopes::{folded_mask_of, is_reserved};
use super::{AccessToken, Foreign, ScopeSet, TokenContext, TokenType};
use crate::codec::decode_foreign;
use crate::secret::SecretRef;
use crate::time::UnixSeconds;

/// A borrowed [`AccessToken`]: the same fields, without a copy of any.
#[derive(Clone, Copy)]
pub struct AccessTokenRef<'a> {
    /// The account that it acts for; empty for a token of the application itself.
    pub home_account_id: &'a str,
    /// The host that issued it.
    pub environment: &'a str,
    /// The client that it was issued to.
    pub client_id: &'a str,
    /// The tenant that issued it; empty for issuers without tenants.
    pub realm: &'a str,
    /// The scopes that were granted.
    pub target: ScopesRef<'a>,
    /// How it is presented.
    pub token_type: &'a TokenType,
    /// The token.
    pub secret: SecretRef<'a>,
    /// When it was obtained.
    pub cached_at: UnixSeconds,
    /// When it expires.
    pub expires_on: UnixSeconds,
    /// Until when it may serve while the authority is down, where the caller allows that.
    pub extended_expires_on: Option<UnixSeconds>,
    /// From when it should be replaced although it is still good.
    pub refresh_on: Option<UnixSeconds>,
    /// What else the request had that a token for another request must not be mistaken for.
    pub context: &'a TokenContext,
    pub(super) requested: Option<&'a str>,
    pub(super) foreign: ForeignRef<'a>,
}

/// What another program keeps on the row.
#[derive(Clone, Copy)]
pub(super) enum ForeignRef<'a> {
    None,
    Decoded(&'a Foreign),
    Encoded(&'a [u8]),
}

impl<'a> AccessTokenRef<'a> {
    /// The scopes that were asked for, if not all of them were granted.
    #[must_use]
    pub fn requested_scopes(&self) -> Option<&'a str> {
        self.requested
    }

    /// The scopes that were asked for and not granted; empty where all were.
    #[must_use]
    pub fn declined_scopes(&self) -> ScopeSet {
        match self.requested {
            None => ScopeSet::default(),
            Some(requested) => declined(&self.target.to_scope_set(), requested),
        }
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

    /// A copy that may outlive the partition.
    #[must_use]
    pub fn to_owned(&self) -> AccessToken {
        AccessToken {
            home_account_id: self.home_account_id.to_owned(),
            environment: self.environment.to_owned(),
            client_id: self.client_id.to_owned(),
            realm: self.realm.to_owned(),
            target: self.target.to_scope_set(),
            token_type: self.token_type.clone(),
            secret: self.secret.to_secret(),
            cached_at: self.cached_at,
            expires_on: self.expires_on,
            extended_expires_on: self.extended_expires_on,
            refresh_on: self.refresh_on,
            context: self.context.clone(),
            foreign: match self.foreign {
                ForeignRef::None => None,
                ForeignRef::Decoded(foreign) => Some(Box::new(foreign.clone())),
                // It was decoded once before it was kept.
                ForeignRef::Encoded(bytes) => decode_foreign(bytes).unwrap_or_default(),
            },
        }
    }
}

impl<'a> From<&'a AccessToken> for AccessTokenRef<'a> {
    fn from(token: &'a AccessToken) -> Self {
        Self {
            home_account_id: &token.home_account_id,
            environment: &token.environment,
            client_id: &token.client_id,
            realm: &token.realm,
            target: ScopesRef::new(token.target.as_str()),
            token_type: &token.token_type,
            secret: (&token.secret).into(),
            cached_at: token.cached_at,
            expires_on: token.expires_on,
            extended_expires_on: token.extended_expires_on,
            refresh_on: token.refresh_on,
            context: &token.context,
            requested: token.requested_scopes(),
            foreign: token
                .foreign
                .as_deref()
                .map_or(ForeignRef::None, ForeignRef::Decoded),
        }
    }
}

impl fmt::Debug for AccessTokenRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokenRef")
            .field("environment", &self.environment)
            .field("client_id", &self.client_id)
            .field("realm", &self.realm)
            .field("target", &self.target)
            .field("expires_on", &self.expires_on)
            .field("refresh_on", &self.refresh_on)
            .finish_non_exhaustive()
    }
}

/// The scopes of an access token, borrowed: a [`ScopeSet`]'s text, not yet taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ScopesRef<'a>(&'a str);

impl<'a> ScopesRef<'a> {
    /// `text` must be a scope set's.
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The words as they were given, joined by single spaces.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The words as they were given, `openid`, `profile` and `offline_access` among them.
    pub fn words(self) -> impl Iterator<Item = &'a str> {
        self.0.split(' ').filter(|word| !word.is_empty())
    }

    /// The words that are not reserved, in the order given.
    pub(super) fn granted(self) -> impl Iterator<Item = &'a str> {
        self.words().filter(|word| !is_reserved(word))
    }

    /// As [`ScopeSet::folded_mask`].
    pub(super) fn mask(self) -> u32 {
        folded_mask_of(self.granted())
    }

    /// Whether a token for these scopes has all of `requested`.
    pub(super) fn covers(self, requested: &ScopeSet, ignore_case: bool) -> bool {
        // Most ask for what they asked for before, in the same words.
        if self.0 == requested.as_str() {
            return true;
        }
        requested
            .words()
            .all(|word| self.words().any(|granted| is_same(granted, word, ignore_case)))
    }

    /// Whether the two hold the same words, in any order.
    pub(super) fn is_same_set(self, other: &ScopeSet, ignore_case: bool) -> bool {
        if self.0 == other.as_str() {
            return true;
        }
        let is_asked = |granted: &str| other.words().any(|word| is_same(granted, word, ignore_case));
        self.granted().all(is_asked) && self.covers(other, ignore_case)
    }

    /// Whether the text contains `scope` exactly.
    #[must_use]
    pub fn contains(self, scope: &str) -> bool {
        self.words().any(|word| word == scope)
    }

    /// The set, to compare with others.
    #[must_use]
    pub fn to_scope_set(self) -> ScopeSet {
        ScopeSet::parse(self.0)
    }
}

fn is_same(one: &str, two: &str, ignore_case: bool) -> bool {
    one == two || ignore_case && one.eq_ignore_ascii_case(two)
}

impl PartialEq<ScopeSet> for ScopesRef<'_> {
    fn eq(&self, other: &ScopeSet) -> bool {
        self.0 == other.as_str()
    }
}

impl fmt::Display for ScopesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for ScopesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}
