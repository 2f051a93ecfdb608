//! Which token of a partition answers a request.

use super::postings::TokenIndex;
use super::{Group, IndexedPartition, TokenHeader};
use crate::schema::{AccessTokenRef, AuthorityKind, ScopeRules, ScopeSet, TokenRequest, environment};

/// So many tokens are looked through, of most of them nothing but the mask, sooner than an index is built.
pub(super) const FEW: usize = 16;

impl IndexedPartition {
    /// The index of the access token that serves `request` as long as `usable` says yes, best first: exact scopes before a superset,
    /// then the latest expiry. An index of fingerprints and scopes finds the candidates among many tokens; every field of a
    /// candidate is compared, a fingerprint is never trusted alone.
    pub fn find(&self, request: &TokenRequest, usable: impl Fn(AccessTokenRef<'_>) -> bool) -> Option<u32> {
        let asked = Asked::of(request);
        if self.tokens.len() <= FEW {
            return self.scan(&asked, usable);
        }
        let index = self.index.get_or_init(|| Box::new(TokenIndex::new(self)));
        let at = |candidate: &u32| &self.tokens[*candidate as usize];
        let is_it = |header: &TokenHeader| {
            self.is_for(&self.groups[header.group as usize], request)
                && self.grants(header, &asked)
                && usable(self.view(header))
        };
        // Candidates come with the latest expiry first.
        let mut exact = index.exact(request.fingerprint());
        exact
            .find(|candidate| self.is_exact(at(candidate), &asked) && is_it(at(candidate)))
            .or_else(|| index.covering(request).find(|candidate| is_it(at(candidate))))
    }

    fn scan(&self, asked: &Asked<'_>, usable: impl Fn(AccessTokenRef<'_>) -> bool) -> Option<u32> {
        // Neighbours are often of one group.
        let mut group = (u32::MAX, false);
        let mut best = None;
        for (index, header) in (0..).zip(&self.tokens) {
            if asked.mask & !header.mask != 0 {
                continue;
            }
            if group.0 != header.group {
                let is_for = self.is_for(&self.groups[header.group as usize], asked.request);
                group = (header.group, is_for);
            }
            if !group.1 || !self.grants(header, asked) || !usable(self.view(header)) {
                continue;
            }
            let rank = (self.is_exact(header, asked), header.expires_on);
            if best.is_none_or(|(known, _)| known <= rank) {
                best = Some((rank, index));
            }
        }
        best.map(|(_, index)| index)
    }

    /// Whether the group agrees with all of the request but its scopes.
    fn is_for(&self, group: &Group, request: &TokenRequest) -> bool {
        let [_, environment, client_id, realm] = group.names;
        let (token_type, context) = Self::kind(group);
        self.text(client_id) == request.client_id()
            && self.text(realm) == request.realm()
            && token_type == request.requested_token_type()
            && context == request.requested_context()
            && environment::same(self.text(environment), request.environment())
    }

    fn grants(&self, header: &TokenHeader, asked: &Asked<'_>) -> bool {
        let covers = asked.mask & !header.mask == 0
            && asked
                .rules
                .serve_words(self.target(header), asked.request.scopes());
        covers || self.answers_again(header, asked)
    }

    /// Whether the token is what the same request brought before, with fewer scopes than were asked for: sending it again would
    /// bring the same. Only the whole set is answered so; a request for what was not granted is not.
    fn answers_again(&self, header: &TokenHeader, asked: &Asked<'_>) -> bool {
        let requested = self.extra(header).and_then(|extra| extra.requested);
        requested.is_some_and(|requested| {
            ScopeSet::parse(self.text(requested)).is_same_set(asked.request.scopes(), asked.ignore_case)
        })
    }

    fn is_exact(&self, header: &TokenHeader, asked: &Asked<'_>) -> bool {
        self.target(header)
            .is_same_set(asked.request.scopes(), asked.ignore_case)
    }
}

/// A request, and what follows from it for every candidate.
struct Asked<'a> {
    request: &'a TokenRequest,
    rules: ScopeRules,
    ignore_case: bool,
    mask: u32,
}

impl<'a> Asked<'a> {
    fn of(request: &'a TokenRequest) -> Self {
        let kind: AuthorityKind = request.authority_kind();
        Self {
            request,
            // Tokens of other environments than the request's aliases are no candidates.
            rules: ScopeRules::of(kind, request.environment()),
            ignore_case: kind.scopes_ignore_case(),
            mask: request.scopes().folded_mask(),
        }
    }
}
