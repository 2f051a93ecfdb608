//! The keys of an issuer (RFC 7517 section 5), and whether one of them signed a token.

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::key::{self, VerificationKey};
use crate::authority::{IssuerRule, KEY_ISSUER_TENANT};
use crate::correlation::is_guid;
use crate::id_token::{IdTokenError, UnverifiedToken};
use crate::response::Fields;

/// The usable keys of a key set.
pub(crate) struct KeySet(Vec<VerificationKey>);

/// Whose a token claims to be.
pub(crate) struct ClaimedIssuer<'a> {
    /// Its `iss`, which the rule has accepted.
    pub(crate) iss: &'a str,
    /// Its `tid`.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) rule: &'a IssuerRule,
    /// Whether keys of this authority say whose tokens they may sign.
    pub(crate) keys_name_issuer: bool,
}

/// What the keys say of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// No key of that name, or none of the right kind: a newer set may have it.
    NoKey,
    /// No key verifies it, and the token does not say which one should: a newer set may.
    NoneOfThem,
    /// The key that the token names did not sign it.
    Forged,
    /// A key of the authority did, which may not sign for this issuer.
    ForeignKey,
}

impl KeySet {
    /// How many keys are kept of a set, and so how many are tried for a token that names none.
    const MOST: usize = 64;

    /// The usable keys of a document; `None` if it is no key set.
    pub(super) fn parse(document: &Fields) -> Option<Self> {
        let keys = document.value("keys")?.as_array()?;
        let usable = keys
            .iter()
            .filter_map(Value::as_object)
            .filter_map(VerificationKey::parse);
        Some(Self(usable.take(Self::MOST).collect()))
    }

    /// Judges the signature of `token`.
    pub(super) fn judge(
        &self,
        token: &UnverifiedToken<'_>,
        issuer: &ClaimedIssuer<'_>,
    ) -> Result<Verdict, IdTokenError> {
        let algorithm: Algorithm = key::algorithm(&token.algorithm).ok_or(IdTokenError::Algorithm)?;
        let fitting = || self.0.iter().filter(|key| key.fits(algorithm));
        let named = token.key_id.as_deref();
        // A name can stand twice in a set, for a key of each kind. A set of keys without names has nothing to choose by.
        let mut candidates: Vec<_> = fitting()
            .filter(|key| named.is_none() || key.id.as_deref() == named)
            .collect();
        let by_name = named.is_some() && !candidates.is_empty();
        if candidates.is_empty() {
            candidates = fitting().filter(|key| key.id.is_none()).collect();
        }
        if candidates.is_empty() {
            return Ok(Verdict::NoKey);
        }
        let mut verdict = if by_name {
            Verdict::Forged
        } else {
            Verdict::NoneOfThem
        };
        for key in candidates {
            if !key.has_signed(algorithm, token.signed, &token.signature) {
                continue;
            }
            if issuer.accepts(key) {
                return Ok(Verdict::Good);
            }
            verdict = Verdict::ForeignKey;
        }
        Ok(verdict)
    }
}

impl ClaimedIssuer<'_> {
    /// At Entra's shared endpoints one set holds keys that may sign for every tenant beside keys that may sign for one,
    /// such as that of personal accounts.
    fn accepts(&self, key: &VerificationKey) -> bool {
        let Some(issuer) = key.issuer.as_deref().filter(|_| self.keys_name_issuer) else {
            return true;
        };
        let issuer = match self.tenant.filter(|tenant| is_guid(tenant)) {
            Some(tenant) => issuer.replace(KEY_ISSUER_TENANT, tenant),
            None => issuer.to_owned(),
        };
        // The key may name the same tenant by the other version of Entra's issuers.
        issuer == self.iss || self.rule.check(&issuer, self.tenant).is_ok()
    }
}
