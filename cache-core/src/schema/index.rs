//! A decoded partition with an index, so that a lookup never scans.

use std::collections::HashMap;
use std::hash::Hasher;
use std::time::Duration;

use super::request::{context_hasher, fingerprint};
use super::{
    AccessToken, AccessTokenRef, Partition, PartitionKey, ScopeRules, ScopeSet, TokenRequest, environment,
};
use crate::codec::CodecError;
use crate::secret::Secret;
use crate::time::{UnixMillis, UnixSeconds};

/// An immutable partition and the index of its access tokens.
#[derive(Debug)]
pub struct IndexedPartition {
    partition: Partition,
    /// Tokens by the fingerprint of their whole identity and scopes.
    exact: HashMap<u64, Vec<u32>>,
    /// Tokens by the fingerprint of their identity without the scopes.
    by_context: HashMap<u64, Vec<u32>>,
}

impl IndexedPartition {
    /// Indexes `partition`.
    ///
    /// # Errors
    /// [`CodecError`] when it is too large to be kept.
    pub fn new(partition: Partition) -> Result<Self, CodecError> {
        let mut exact: HashMap<u64, Vec<u32>> = HashMap::with_capacity(partition.access_tokens.len());
        let mut by_context: HashMap<u64, Vec<u32>> = HashMap::new();
        for (index, token) in (0_u32..).zip(&partition.access_tokens) {
            let words = token.target.words();
            let whole = fingerprint(
                &token.client_id,
                &token.realm,
                &token.token_type,
                &token.context,
                words,
            );
            exact.entry(whole).or_default().push(index);
            by_context.entry(context_of(token)).or_default().push(index);
        }
        Ok(Self {
            partition,
            exact,
            by_context,
        })
    }

    /// Which partition it is.
    #[must_use]
    pub fn key(&self) -> PartitionKey {
        self.partition.key.clone()
    }

    /// All rows, decoded. This copies every one of them: a lookup needs only [`token`](Self::token).
    #[must_use]
    pub fn rows(&self) -> Partition {
        self.partition.clone()
    }

    /// How many access tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partition.access_tokens.len()
    }

    /// Whether there is no access token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partition.access_tokens.is_empty()
    }

    /// The access token with this index.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn token(&self, index: u32) -> AccessTokenRef<'_> {
        (&self.partition.access_tokens[index as usize]).into()
    }

    /// The access tokens, in the order of their indices.
    pub fn tokens(&self) -> impl Iterator<Item = AccessTokenRef<'_>> {
        self.partition.access_tokens.iter().map(Into::into)
    }

    /// The index of the access token that is `secret`.
    #[must_use]
    pub fn position(&self, secret: &Secret) -> Option<u32> {
        (0..)
            .zip(self.tokens())
            .find_map(|(index, token)| (token.secret == *secret).then_some(index))
    }

    /// For a session: the key of the user partition that it belongs to, and the sign-in.
    #[must_use]
    pub fn anchor(&self) -> Option<(&[u8], [u8; 16])> {
        let anchor = self.partition.anchor.as_ref()?;
        Some((&anchor.user, anchor.epoch))
    }

    /// The current sign-in of a client.
    #[must_use]
    pub fn epoch(&self, client_id: &str) -> Option<[u8; 16]> {
        let mut epochs = self.partition.epochs.iter();
        Some(epochs.find(|known| known.client_id == client_id)?.epoch)
    }

    /// The keys of the sessions that were made for this account, and when each ends.
    pub fn sessions(&self) -> impl Iterator<Item = (&[u8], UnixMillis)> {
        let sessions = self.partition.sessions.iter();
        sessions.map(|link| (link.key.as_slice(), link.expires_at))
    }

    /// The index of the access token that serves `request` until `usable` says no, best first: exact scopes before a superset, then
    /// the latest expiry.
    pub fn find(&self, request: &TokenRequest, usable: impl Fn(AccessTokenRef<'_>) -> bool) -> Option<u32> {
        let candidates = |indices: Option<&Vec<u32>>, words: Option<usize>| {
            indices
                .into_iter()
                .flatten()
                .filter_map(|index| Some((*index, self.partition.access_tokens.get(*index as usize)?)))
                .filter(|(_, token)| words.is_none_or(|words| token.target.words().len() == words))
                .filter(|(_, token)| serves(token, request) && usable((*token).into()))
                .max_by_key(|(_, token)| token.expires_on)
                .map(|(index, _)| index)
        };
        // A fingerprint knows no case. Where case matters, `a A` is a superset of `a`.
        let matters = !request.authority_kind().scopes_ignore_case();
        let words = matters.then(|| request.scopes().words().len());
        candidates(self.exact.get(&request.fingerprint()), words).or_else(|| {
            let hasher = context_hasher(
                request.client_id(),
                request.realm(),
                request.requested_token_type(),
                request.requested_context(),
            );
            candidates(self.by_context.get(&hasher.finish()), None)
        })
    }

    /// Roughly how many bytes of memory the partition takes, for the bound of the memory tier.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        const ROW: usize = 256;
        let rows = &self.partition;
        let secrets = rows
            .access_tokens
            .iter()
            .map(|row| row.secret.expose().len() + row.target.as_str().len() * 2)
            .chain(rows.id_tokens.iter().map(|row| row.secret.expose().len()))
            .chain(rows.refresh_tokens.iter().map(|row| row.secret.expose().len()))
            .sum::<usize>();
        let count = rows.access_tokens.len() * 2
            + rows.id_tokens.len()
            + rows.refresh_tokens.len()
            + rows.accounts.len()
            + rows.app_metadata.len()
            + rows.sessions.len();
        secrets + (count + 2) * ROW
    }
}

fn context_of(token: &AccessToken) -> u64 {
    context_hasher(&token.client_id, &token.realm, &token.token_type, &token.context).finish()
}

/// Whether `token` may answer `request`, apart from its validity. Every field is compared: a fingerprint is
/// never trusted alone.
#[must_use]
pub fn serves(token: &AccessToken, request: &TokenRequest) -> bool {
    token.client_id == request.client_id()
        && token.realm == request.realm()
        && token.token_type == *request.requested_token_type()
        && token.context == *request.requested_context()
        && environment::same(&token.environment, request.environment())
        && (ScopeRules::of(request.authority_kind(), &token.environment)
            .serve(&token.target, request.scopes())
            || answers_again(token, request))
}

/// Whether `token` is what the same request brought before, with fewer scopes than were asked for: sending it again would
/// bring the same. Only the whole set is answered so; a request for what was not granted is not.
fn answers_again(token: &AccessToken, request: &TokenRequest) -> bool {
    token.requested_scopes().is_some_and(|requested| {
        ScopeSet::parse(requested)
            .is_same_set(request.scopes(), request.authority_kind().scopes_ignore_case())
    })
}

/// Whether `token` may be handed out at `now`: it must outlive the margin.
#[must_use]
pub fn is_fresh<'a>(token: impl Into<AccessTokenRef<'a>>, now: UnixSeconds) -> bool {
    let token = token.into();
    token.expires_on > now.saturating_add(token.margin()) && !is_from_the_future(token, now)
}

/// Whether `token` has not expired at `now`, margin or not.
#[must_use]
pub fn is_unexpired<'a>(token: impl Into<AccessTokenRef<'a>>, now: UnixSeconds) -> bool {
    let token = token.into();
    token.expires_on > now && !is_from_the_future(token, now)
}

/// Whether `token` may serve at `now` although the authority does not answer.
#[must_use]
pub fn is_within_extended_lifetime<'a>(token: impl Into<AccessTokenRef<'a>>, now: UnixSeconds) -> bool {
    let token = token.into();
    token.extended_expires_on.is_some_and(|extended| extended > now) && !is_from_the_future(token, now)
}

/// A token that was obtained well after now was written under another clock, so nothing is known of its expiry.
fn is_from_the_future(token: AccessTokenRef<'_>, now: UnixSeconds) -> bool {
    const SKEW: Duration = Duration::from_secs(300);
    token.cached_at > now.saturating_add(SKEW)
}

#[cfg(test)]
mod tests;
