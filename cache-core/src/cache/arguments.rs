//! Arguments of lookups as texts: hashed, kept, and compared byte for byte.

mod kept;
mod lately;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

pub(crate) use self::kept::{KeptHolder, KeptQueries, KeptQuery};
use super::lookup::{Lookup, PartitionRef};
use crate::schema::{AuthorityKind, SessionKey, TokenContext, TokenRequest, TokenType};

/// The secrets of the hash, drawn once for the process: a [`TokenRequest`] keeps its hash and knows no cache.
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let random = RandomState::new();
    Secrets {
        first: random.hash_one(1_u8),
        // An even factor would lose a bit at each multiplication.
        second: random.hash_one(2_u8) | 1,
        third: random.hash_one(3_u8) | 1,
    }
});

struct Secrets {
    first: u64,
    second: u64,
    third: u64,
}

/// A lookup as texts and flags: whose token, and which.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    /// The account, the tenant of an application, or the key of a session.
    holder: &'a [u8],
    query: Query<'a>,
}

/// Which token: most users of a client ask the same, so it is kept once for all of them.
#[derive(Clone, Copy)]
struct Query<'a> {
    flags: u32,
    /// Authority, client, environment and realm.
    usual: [&'a [u8]; 4],
    /// What few lookups have.
    rare: Option<Rare<'a>>,
    scopes: Scopes<'a>,
}

#[derive(Clone, Copy)]
struct Rare<'a> {
    /// The client of the partition, its resource, the scheme and key of a bound token, and of the context the resource and the assertion.
    texts: [&'a [u8]; 6],
    of_partition: Option<&'a BTreeMap<String, String>>,
    of_context: Option<&'a BTreeMap<String, String>>,
}

/// Of the flags: the realm is the holder's name, which many tenants of one application then share a query by.
const REALM_IS_HOLDER: u32 = 1 << 17;

#[derive(Clone, Copy)]
enum Scopes<'a> {
    Each(&'a [&'a str]),
    /// Joined by single spaces, as a [`ScopeSet`](crate::schema::ScopeSet) has them.
    Joined(&'a str),
}

impl<'a> Arguments<'a> {
    #[inline(always)]
    pub(crate) fn of_lookup(lookup: &Lookup<'a>) -> Self {
        Self::new(
            lookup.partition,
            lookup.kind,
            [lookup.client_id, lookup.environment, lookup.realm],
            Scopes::Each(lookup.scopes),
            lookup.token_type,
            lookup.context,
        )
    }

    /// `None` for a request that no answer is kept for: one with claims, and one for the residue.
    #[inline]
    pub(crate) fn of_request(request: &'a TokenRequest) -> Option<Self> {
        if request.requested_claims().is_some() {
            return None;
        }
        let partition = PartitionRef::of(request.partition())?;
        Some(Self::new(
            if request.is_by_scopes() {
                partition.by_scopes()
            } else {
                partition
            },
            request.authority_kind(),
            [request.client_id(), request.environment(), request.realm()],
            Scopes::Joined(request.scopes().as_str()),
            request.requested_token_type(),
            request.requested_context(),
        ))
    }

    #[inline(always)]
    fn new(
        partition: PartitionRef<'a>,
        kind: AuthorityKind,
        [client_id, environment, realm]: [&'a str; 3],
        scopes: Scopes<'a>,
        token_type: &'a TokenType,
        context: &'a TokenContext,
    ) -> Self {
        let authority = partition.authority();
        let (place, holder) = match partition {
            PartitionRef::User { home_account_id, .. } => (0, home_account_id.as_bytes()),
            PartitionRef::App { tenant, .. } => (1, tenant.as_bytes()),
            PartitionRef::AppByScopes { tenant, .. } => (5, tenant.as_bytes()),
            PartitionRef::Session { key, .. } => {
                let kind = match key {
                    SessionKey::AssertionHash(_) => 2,
                    SessionKey::CallerKey(_) => 3,
                    SessionKey::WebSession(_) => 4,
                };
                (kind, key.bytes())
            }
        };
        let rare = Rare::new(partition, token_type, context);
        let is_holder = same(realm.as_bytes(), holder);
        let flags = place
            | (kind as u32) << 4
            | (authority.kind() as u32) << 8
            | u32::from(context.continuous_access_evaluation) << 12
            | rare.as_ref().map_or(0, |(_, flags)| flags << 13)
            | if is_holder { REALM_IS_HOLDER } else { 0 };
        let realm = if is_holder { &[] } else { realm.as_bytes() };
        Self {
            holder,
            query: Query {
                flags,
                usual: [
                    authority.id().as_bytes(),
                    client_id.as_bytes(),
                    environment.as_bytes(),
                    realm,
                ],
                rare: rare.map(|(rare, _)| rare),
                scopes,
            },
        }
    }

    /// A hash that says which answers to look at. It is never trusted: of texts that seldom tell lookups apart only
    /// the ends are in it.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.hash_with(self.query.hash())
    }

    /// As [`hash`](Self::hash), where that of the query is known.
    #[inline(always)]
    fn hash_with(&self, query: u64) -> u64 {
        let secrets = &*SECRETS;
        fold(secrets.whole(self.holder) ^ query, secrets.second)
    }

    /// The same with every scope by itself, if one of them is a text of several.
    #[cold]
    pub(crate) fn split(scopes: &[&'a str]) -> Option<Vec<&'a str>> {
        let has_several = scopes.iter().any(|text| text.contains(char::is_whitespace));
        has_several.then(|| scopes.iter().flat_map(|text| text.split_whitespace()).collect())
    }
}

impl Query<'_> {
    #[inline]
    fn hash(&self) -> u64 {
        let secrets = &*SECRETS;
        let [authority, client, environment, realm] = self.usual.each_ref().map(|text| ends(text));
        let mut hash = fold(authority ^ secrets.second, client ^ secrets.third) ^ u64::from(self.flags);
        hash = hash.rotate_left(9) ^ fold(environment ^ secrets.second, realm ^ secrets.third);
        if let Some(rare) = &self.rare {
            hash = fold(hash ^ rare.hash(), secrets.second);
        }
        self.scopes
            .each(|word| hash = hash.rotate_left(9) ^ secrets.whole(word.as_bytes()));
        fold(hash, secrets.third)
    }
}

impl<'a> Rare<'a> {
    /// What the lookup has of it, and which: in most lookups nothing.
    #[inline]
    fn new(
        partition: PartitionRef<'a>,
        token_type: &'a TokenType,
        context: &'a TokenContext,
    ) -> Option<(Self, u32)> {
        let is_usual = matches!(
            (partition, token_type),
            (PartitionRef::User { .. }, TokenType::Bearer)
        ) && context.resource.is_none()
            && context.assertion_hash.is_none()
            && context.components.is_empty();
        (!is_usual).then(|| Self::of(partition, token_type, context))
    }

    fn hash(&self) -> u64 {
        let secrets = &*SECRETS;
        let mut hash = secrets.first;
        for text in &self.texts {
            hash = fold(hash ^ ends(text), secrets.second);
        }
        for (name, value) in [self.of_partition, self.of_context]
            .into_iter()
            .flatten()
            .flatten()
        {
            hash = fold(hash ^ secrets.whole(name.as_bytes()), secrets.second);
            hash = fold(hash ^ secrets.whole(value.as_bytes()), secrets.third);
        }
        hash
    }

    fn of(partition: PartitionRef<'a>, token_type: &'a TokenType, context: &'a TokenContext) -> (Self, u32) {
        let none: &[u8] = &[];
        let (owner, resource, components) = match partition {
            PartitionRef::User { .. } => (none, None, None),
            PartitionRef::App {
                client_id,
                resource,
                components,
                ..
            } => (client_id.as_bytes(), resource, Some(components)),
            PartitionRef::AppByScopes {
                client_id,
                components,
                ..
            } => (client_id.as_bytes(), None, Some(components)),
            PartitionRef::Session { client_id, .. } => (client_id.as_bytes(), None, None),
        };
        let (scheme, key_id) = match token_type {
            TokenType::Bearer => (none, none),
            TokenType::Bound { scheme, key_id } => (scheme.as_bytes(), key_id.as_bytes()),
        };
        let optional = |text: &'a Option<Box<str>>| text.as_deref().map_or(none, str::as_bytes);
        let flags = u32::from(resource.is_some())
            | u32::from(matches!(token_type, TokenType::Bound { .. })) << 1
            | u32::from(context.resource.is_some()) << 2
            | u32::from(context.assertion_hash.is_some()) << 3;
        let rare = Self {
            texts: [
                owner,
                resource.map_or(none, str::as_bytes),
                scheme,
                key_id,
                optional(&context.resource),
                optional(&context.assertion_hash),
            ],
            of_partition: components.filter(|components| !components.is_empty()),
            of_context: Some(&context.components).filter(|components| !components.is_empty()),
        };
        (rare, flags)
    }
}

impl Secrets {
    /// A hash of all of a text. Its parts are multiplied apart from one another, so that the processor does it at once.
    #[inline(always)]
    fn whole(&self, text: &[u8]) -> u64 {
        let length = text.len() as u64;
        let Some(last) = text.last_chunk::<16>() else {
            let [first, last] = short(text);
            return fold(first ^ self.first, last ^ length ^ self.second);
        };
        let part = |chunk: &[u8; 16]| {
            let number = u128::from_le_bytes(*chunk);
            let [low, high] = halves(number);
            fold(low ^ self.second, high ^ self.third)
        };
        let mut hash = part(last) ^ length.wrapping_mul(self.second);
        match chunks(text) {
            [] => {}
            [one] => hash = hash.rotate_left(23) ^ part(one),
            [one, two] => hash = hash.rotate_left(23) ^ part(one) ^ part(two).rotate_left(31),
            more => {
                for chunk in more {
                    hash = hash.rotate_left(23) ^ part(chunk);
                }
            }
        }
        hash
    }
}

/// What a text has before its last sixteen bytes, and perhaps some of those. Most texts have no more than two, for which no loop is begun.
#[inline(always)]
fn chunks(text: &[u8]) -> &[[u8; 16]] {
    text.get(..text.len().saturating_sub(1))
        .unwrap_or_default()
        .as_chunks()
        .0
}

/// `==`, without the call that it is: these texts are short, and mostly the same.
#[inline(always)]
fn same(mine: &[u8], theirs: &[u8]) -> bool {
    if mine.len() != theirs.len() {
        return false;
    }
    let (Some(last), Some(of_theirs)) = (mine.last_chunk::<16>(), theirs.last_chunk::<16>()) else {
        return mine == theirs;
    };
    let difference =
        |mine: &[u8; 16], theirs: &[u8; 16]| u128::from_le_bytes(*mine) ^ u128::from_le_bytes(*theirs);
    let mut all = difference(last, of_theirs);
    match (chunks(mine), chunks(theirs)) {
        ([], []) => {}
        ([mine], [theirs]) => all |= difference(mine, theirs),
        ([first, second], [of_theirs, second_of_theirs]) => {
            all |= difference(first, of_theirs) | difference(second, second_of_theirs);
        }
        (mine, theirs) => {
            for (mine, theirs) in mine.iter().zip(theirs) {
                all |= difference(mine, theirs);
            }
        }
    }
    all == 0
}

/// The product of two numbers, folded: every bit of it depends on all of both.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let [low, high] = halves(u128::from(a) * u128::from(b));
    low ^ high
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

/// The first and the last eight bytes of a text, and its length.
#[inline(always)]
fn ends(text: &[u8]) -> u64 {
    let [first, last] = short(text);
    first ^ last.rotate_left(32) ^ (text.len() as u64) << 56
}

/// The first and the last eight bytes of a text: all of it, if it is no longer than sixteen.
#[inline(always)]
fn short(text: &[u8]) -> [u64; 2] {
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => [u64::from_le_bytes(*first), u64::from_le_bytes(*last)],
        _ => [
            text.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
            0,
        ],
    }
}

impl<'a> Scopes<'a> {
    #[inline]
    fn each(&self, mut visit: impl FnMut(&'a str)) {
        match self {
            Self::Each(words) => words.iter().for_each(|word| visit(word)),
            Self::Joined("") => {}
            Self::Joined(text) => text.split(' ').for_each(visit),
        }
    }
}

#[cfg(test)]
mod tests;
