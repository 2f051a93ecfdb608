//! The index of a partition of many tokens: from what is asked for to the tokens that may have it.

use super::lookup::FEW;
use super::{IndexedPartition, TokenHeader};
use crate::schema::request::{context_hash, fingerprint, scope_hash};
use crate::schema::{ScopeRules, ScopeSet, TokenRequest};

/// Stands for a token of whatever scopes, and for one whose scopes name no resource. No scope has a space.
const ANY: &str = " ";
const NO_RESOURCE: &str = "  ";

/// Tokens by what can be asked for.
pub(super) struct TokenIndex {
    /// By the fingerprint of the whole identity and the scopes.
    exact: Postings,
    /// By the identity without the scopes and one scope, in the form that its short and its long form share.
    scopes: Postings,
}

impl TokenIndex {
    pub(super) fn new(partition: &IndexedPartition) -> Self {
        let mut exact = Vec::with_capacity(partition.tokens.len());
        let mut scopes = Vec::with_capacity(partition.tokens.len() * 4);
        let groups: Vec<_> = partition
            .groups
            .iter()
            .map(|group| {
                let [_, environment, client_id, realm] = group.names.map(|name| partition.text(name));
                let (token_type, context) = IndexedPartition::kind(group);
                let hash = context_hash(client_id, realm, token_type, context);
                (hash, ScopeRules::of_names(environment))
            })
            .collect();
        for (number, header) in (0..).zip(&partition.tokens) {
            let (context, rules) = &groups[header.group as usize];
            let set = partition.target(header).to_scope_set();
            exact.push((fingerprint(*context, set.words()), number));
            scopes.push((scope_hash(*context, ANY), number));
            if !rules.names_resource(&set) {
                scopes.push((scope_hash(*context, NO_RESOURCE), number));
            }
            let mut post = |set: &ScopeSet| {
                let words = set.words();
                scopes.extend(words.map(|word| (scope_hash(*context, rules.shortest(word)), number)));
            };
            post(&set);
            let extra = partition.extra(header);
            if let Some(requested) = extra.and_then(|extra| extra.requested) {
                // It answers a request for all that it was asked for with, whatever of it was granted.
                post(&ScopeSet::parse(partition.text(requested)));
            }
        }
        Self {
            exact: Postings::new(exact, &partition.tokens),
            scopes: Postings::new(scopes, &partition.tokens),
        }
    }

    /// The tokens that have this fingerprint, the latest expiry first.
    pub(super) fn exact(&self, fingerprint: u64) -> impl Iterator<Item = u32> {
        self.exact.of(fingerprint).iter().copied()
    }

    /// The tokens that have the rarest of the scopes, the latest expiry first.
    pub(super) fn covering(&self, request: &TokenRequest) -> impl Iterator<Item = u32> {
        let context = request.context_hash();
        let rules = ScopeRules::of_names(request.environment());
        let of = |scope: &str| self.scopes.of(scope_hash(context, scope));
        let scopes = request.scopes().words().map(|word| of(rules.shortest(word)));
        let others = (!request.scopes().has_permissions()).then(|| {
            let has_graph = request.authority_kind().has_graph();
            of(if has_graph { NO_RESOURCE } else { ANY })
        });
        let rarest = scopes.chain(others).min_by_key(|tokens| tokens.len());
        rarest.unwrap_or_default().iter().copied()
    }

    /// About how many bytes the index of so many tokens takes, of the usual two scopes each.
    pub(super) fn estimated_bytes(tokens: usize) -> usize {
        const OF_A_TOKEN: usize = 88;
        if tokens <= FEW { 0 } else { tokens * OF_A_TOKEN }
    }
}

/// Lists of tokens by hash.
struct Postings {
    /// The upper bits of a hash name its bucket.
    shift: u32,
    /// Where each bucket begins among the hashes, and the end of the last.
    buckets: Box<[u32]>,
    /// Each hash once, sorted.
    hashes: Box<[u64]>,
    /// Where the list of each hash begins, and the end of the last.
    starts: Box<[u32]>,
    tokens: Box<[u32]>,
}

impl Postings {
    fn new(mut pairs: Vec<(u64, u32)>, tokens: &[TokenHeader]) -> Self {
        let expiry = |token: u32| tokens[token as usize].expires_on;
        pairs.sort_unstable_by(|one, two| {
            let by_expiry = || expiry(two.1).cmp(&expiry(one.1));
            // Of tokens with one expiry the last is the best, as in a walk through all.
            one.0
                .cmp(&two.0)
                .then_with(by_expiry)
                .then_with(|| two.1.cmp(&one.1))
        });
        pairs.dedup();
        let mut hashes: Vec<u64> = Vec::new();
        let mut starts = Vec::new();
        for (at, (hash, _)) in (0_u32..).zip(&pairs) {
            if hashes.last() != Some(hash) {
                hashes.push(*hash);
                starts.push(at);
            }
        }
        starts.push(length(pairs.len()));
        let bits = hashes.len().next_power_of_two().trailing_zeros().max(1);
        let shift = u64::BITS - bits;
        let mut buckets = vec![0; (1 << bits) + 1];
        for hash in &hashes {
            buckets[bucket(*hash, shift) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut buckets {
            sum += *start;
            *start = sum;
        }
        Self {
            shift,
            buckets: buckets.into(),
            hashes: hashes.into(),
            starts: starts.into(),
            tokens: pairs.into_iter().map(|(_, token)| token).collect(),
        }
    }

    fn of(&self, hash: u64) -> &[u32] {
        let bucket = bucket(hash, self.shift);
        let (start, end) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        // A bucket has about one hash.
        let Some(offset) = self.hashes[start..end].iter().position(|known| *known == hash) else {
            return &[];
        };
        let list = start + offset;
        &self.tokens[self.starts[list] as usize..self.starts[list + 1] as usize]
    }
}

fn bucket(hash: u64, shift: u32) -> usize {
    usize::try_from(hash >> shift).unwrap_or(0)
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
