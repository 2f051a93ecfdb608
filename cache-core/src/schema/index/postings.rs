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
            exact.push((tag(fingerprint(*context, set.words())), number));
            scopes.push((tag(scope_hash(*context, ANY)), number));
            if !rules.names_resource(&set) {
                scopes.push((tag(scope_hash(*context, NO_RESOURCE)), number));
            }
            let mut post = |set: &ScopeSet| {
                let words = set.words();
                scopes.extend(words.map(|word| (tag(scope_hash(*context, rules.shortest(word))), number)));
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

    /// The tokens that may have this fingerprint, the latest expiry first.
    pub(super) fn exact(&self, fingerprint: u64) -> impl Iterator<Item = u32> {
        self.exact.of(tag(fingerprint)).iter().copied()
    }

    /// The tokens that may have one of the scopes that few have, the latest expiry first.
    pub(super) fn covering(&self, request: &TokenRequest) -> impl Iterator<Item = u32> {
        let context = request.context_hash();
        let rules = ScopeRules::of_names(request.environment());
        let of = |scope: &str| self.scopes.of(tag(scope_hash(context, scope)));
        let scopes = request.scopes().words().map(|word| of(rules.shortest(word)));
        let others = (!request.scopes().has_permissions()).then(|| {
            let has_graph = request.authority_kind().has_graph();
            of(if has_graph { NO_RESOURCE } else { ANY })
        });
        let mut rarest: Option<&[u32]> = None;
        for tokens in scopes.chain(others) {
            if rarest.is_none_or(|rarest| tokens.len() < rarest.len()) {
                rarest = Some(tokens);
            }
            // No other is worth a look.
            if tokens.len() <= 1 {
                break;
            }
        }
        rarest.unwrap_or_default().iter().copied()
    }

    /// About how many bytes the index of the partition takes, if it has one: its first tokens have as many scopes as the others.
    pub(super) fn estimated_bytes(partition: &IndexedPartition) -> usize {
        /// Two of three places are taken.
        const PLACE: usize = size_of::<Place>() * 3 / 2;
        let tokens = &partition.tokens;
        if tokens.len() <= FEW {
            return 0;
        }
        let words = |header: &TokenHeader| partition.target(header).words().count();
        let scopes: usize = tokens[..FEW].iter().map(words).sum();
        // Each is in the list of all, and may be in that of those without a resource.
        let of_a_token = PLACE + PLACE * scopes / FEW + 2 * size_of::<u32>();
        tokens.len() * of_a_token
    }
}

/// Tokens by a part of the hash of what can be asked for.
///
/// A hash table in which nearly every place that is asked for is in one cache line, and names its token there. Its places are sorted, so
/// that neither a chain nor a second hash is needed.
struct Postings {
    places: Box<[Place]>,
    /// How many places a tag may begin at.
    homes: u32,
    /// The tokens of tags that have several: how many, then which.
    lists: Box<[u32]>,
}

#[derive(Clone, Copy)]
struct Place {
    tag: u32,
    /// A token, or with [`Place::LIST`] where its list begins.
    token: u32,
}

impl Place {
    /// No partition has so many tokens: it would be larger than 2 GiB.
    const LIST: u32 = 1 << 31;
    const FREE: Self = Self {
        tag: 0,
        token: u32::MAX,
    };

    fn is_free(self) -> bool {
        self.token == u32::MAX
    }
}

impl Postings {
    fn new(mut pairs: Vec<(u32, u32)>, tokens: &[TokenHeader]) -> Self {
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
        let tags = pairs.chunk_by(|one, two| one.0 == two.0);
        // A third stays free.
        let tags_and_half = tags.clone().count() * 3 / 2;
        let homes = length(tags_and_half).max(1);
        let mut places = Vec::with_capacity(tags_and_half + 1);
        let mut lists = Vec::new();
        for tokens in tags {
            let [(tag, first), rest @ ..] = tokens else {
                continue;
            };
            let home = home(*tag, homes).max(places.len());
            places.resize(home, Place::FREE);
            let token = if rest.is_empty() {
                *first
            } else {
                let list = length(lists.len()) | Place::LIST;
                lists.push(length(tokens.len()));
                lists.extend(tokens.iter().map(|(_, token)| *token));
                list
            };
            places.push(Place { tag: *tag, token });
        }
        Self {
            places: places.into(),
            homes,
            lists: lists.into(),
        }
    }

    /// The tokens with this tag, the latest expiry first.
    fn of(&self, tag: u32) -> &[u32] {
        let run = self.places.get(home(tag, self.homes)..).unwrap_or_default();
        let mut run = run.iter().take_while(|place| !place.is_free());
        // In a run tags ascend.
        let Some(place) = run
            .find(|place| place.tag >= tag)
            .filter(|place| place.tag == tag)
        else {
            return &[];
        };
        if place.token & Place::LIST == 0 {
            return std::slice::from_ref(&place.token);
        }
        let list = &self.lists[(place.token & !Place::LIST) as usize..];
        match list {
            [count, tokens @ ..] => &tokens[..*count as usize],
            [] => &[],
        }
    }
}

fn home(tag: u32, homes: u32) -> usize {
    ((u64::from(tag) * u64::from(homes)) >> 32) as usize
}

/// The part of a hash that tokens are found by.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
