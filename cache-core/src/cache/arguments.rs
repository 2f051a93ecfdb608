//! Arguments of lookups as texts: hashed, kept, and compared byte for byte.

mod kept;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_micro_inline};

pub(crate) use self::kept::{KeptHolder, KeptQueries, KeptQuery};
use super::lookup::{Lookup, PartitionRef};
use crate::schema::{AuthorityKind, SessionKey, TokenContext, TokenRequest, TokenType};

/// The secrets of the hash, drawn once for the process: a [`TokenRequest`] keeps its hash and knows no cache.
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let random = RandomState::new();
    Secrets {
        whole: RapidSecrets::seed(random.hash_one(0_u8)),
        first: random.hash_one(1_u8),
        // An even factor would lose a bit at each multiplication.
        second: random.hash_one(2_u8) | 1,
        third: random.hash_one(3_u8) | 1,
    }
});

struct Secrets {
    whole: RapidSecrets,
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
    #[inline]
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

    #[inline]
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

    /// A hash that says which answers to look at. It is never trusted: components are left out of it, and of texts that seldom
    /// tell lookups apart only the ends are in it.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        let secrets = &*SECRETS;
        let whole = |text: &[u8]| rapidhash_v3_micro_inline::<false, false>(text, &secrets.whole);
        let query = &self.query;
        let mut hash = fold(secrets.first ^ u64::from(query.flags), whole(self.holder));
        // Apart from one another, so that the processor folds them at once.
        let [authority, client, environment, realm] = query.usual.map(ends);
        hash ^= fold(authority ^ secrets.second, client ^ secrets.third);
        hash ^= fold(environment ^ secrets.third, realm ^ secrets.second);
        for text in query.rare.iter().flat_map(|rare| &rare.texts) {
            hash = fold(hash ^ ends(text), secrets.second);
        }
        query
            .scopes
            .each(|word| hash = fold(hash ^ whole(word.as_bytes()), secrets.second));
        hash
    }

    /// The same with every scope by itself, if one of them is a text of several.
    #[cold]
    pub(crate) fn split(scopes: &[&'a str]) -> Option<Vec<&'a str>> {
        let has_several = scopes.iter().any(|text| text.contains(char::is_whitespace));
        has_several.then(|| scopes.iter().flat_map(|text| text.split_whitespace()).collect())
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

/// `==`, without the call that it is: these texts are short, and mostly the same.
#[inline]
fn same(mine: &[u8], theirs: &[u8]) -> bool {
    if mine.len() != theirs.len() {
        return false;
    }
    let (Some(last), Some(of_theirs)) = (mine.last_chunk::<16>(), theirs.last_chunk::<16>()) else {
        return mine == theirs;
    };
    let chunks = mine.as_chunks::<16>().0.iter().zip(theirs.as_chunks::<16>().0);
    last == of_theirs && chunks.fold(true, |same, (mine, theirs)| same & (mine == theirs))
}

/// The product of two numbers, folded: every bit of it depends on all of both.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The first and the last eight bytes of a text, and its length.
#[inline]
fn ends(text: &[u8]) -> u64 {
    let eight = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    match text.len() {
        length @ 8.. => {
            eight(text.first_chunk()) ^ eight(text.last_chunk()).rotate_left(32) ^ (length as u64) << 56
        }
        _ => text
            .iter()
            .fold(text.len() as u64, |hash, byte| hash << 8 | u64::from(*byte)),
    }
}

impl<'a> Scopes<'a> {
    #[inline]
    fn each(&self, mut visit: impl FnMut(&'a str)) {
        match self {
            Self::Each(words) => words.iter().for_each(|word| visit(word)),
            Self::Joined(text) => text.split(' ').for_each(visit),
        }
    }
}
