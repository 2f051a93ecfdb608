//! Arguments of lookups as texts: hashed, kept, and compared byte for byte.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_micro_inline};

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
    }
});

struct Secrets {
    whole: RapidSecrets,
    first: u64,
    second: u64,
}

/// How many texts there are beside the scopes.
const TEXTS: usize = 11;

/// A lookup as texts and flags.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    flags: u32,
    texts: [&'a [u8]; TEXTS],
    scopes: Scopes<'a>,
    of_partition: Option<&'a BTreeMap<String, String>>,
    of_context: Option<&'a BTreeMap<String, String>>,
}

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
        let none: &[u8] = &[];
        let (place, owner, holder, resource, components) = match partition {
            PartitionRef::User { home_account_id, .. } => (0, none, home_account_id.as_bytes(), None, None),
            PartitionRef::App {
                client_id,
                tenant,
                resource,
                components,
                ..
            } => (
                1,
                client_id.as_bytes(),
                tenant.as_bytes(),
                resource,
                Some(components),
            ),
            PartitionRef::AppByScopes {
                client_id,
                tenant,
                components,
                ..
            } => (5, client_id.as_bytes(), tenant.as_bytes(), None, Some(components)),
            PartitionRef::Session { client_id, key, .. } => {
                let kind = match key {
                    SessionKey::AssertionHash(_) => 2,
                    SessionKey::CallerKey(_) => 3,
                    SessionKey::WebSession(_) => 4,
                };
                (kind, client_id.as_bytes(), key.bytes(), None, None)
            }
        };
        let (scheme, key_id) = match token_type {
            TokenType::Bearer => (none, none),
            TokenType::Bound { scheme, key_id } => (scheme.as_bytes(), key_id.as_bytes()),
        };
        let optional = |text: &'a Option<Box<str>>| text.as_deref().map_or(none, str::as_bytes);
        let flags = place
            | (kind as u32) << 4
            | (authority.kind() as u32) << 8
            | u32::from(resource.is_some()) << 12
            | u32::from(matches!(token_type, TokenType::Bound { .. })) << 13
            | u32::from(context.resource.is_some()) << 14
            | u32::from(context.assertion_hash.is_some()) << 15
            | u32::from(context.continuous_access_evaluation) << 16;
        Self {
            flags,
            texts: [
                holder,
                authority.id().as_bytes(),
                client_id.as_bytes(),
                environment.as_bytes(),
                realm.as_bytes(),
                owner,
                resource.map_or(none, str::as_bytes),
                scheme,
                key_id,
                optional(&context.resource),
                optional(&context.assertion_hash),
            ],
            scopes,
            of_partition: components.filter(|components| !components.is_empty()),
            of_context: Some(&context.components).filter(|components| !components.is_empty()),
        }
    }

    /// A hash that says which answers to look at. It is never trusted: components are left out of it, and of texts that seldom
    /// tell lookups apart only the ends are in it.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        let secrets = &*SECRETS;
        let whole = |text: &[u8]| rapidhash_v3_micro_inline::<false, false>(text, &secrets.whole);
        let [holder, others @ ..] = &self.texts;
        let mut hash = fold(secrets.first ^ u64::from(self.flags), whole(holder));
        for text in others.iter().filter(|text| !text.is_empty()) {
            hash = fold(hash ^ ends(text), secrets.second);
        }
        self.scopes
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

/// The arguments that an answer is for.
#[repr(C)]
pub(crate) struct OwnedArguments {
    flags: u32,
    lengths: [u32; TEXTS],
    length: u32,
    components: Option<Box<[BTreeMap<String, String>; 2]>>,
    /// The texts, and after them the scopes, joined by spaces.
    bytes: Bytes,
}

/// What most arguments take: a user's at Entra with two scopes have 260 bytes.
const INLINE: usize = 272;

#[expect(
    clippy::large_enum_variant,
    reason = "most answers have the large one, and it saves them a pointer"
)]
/// In the answer itself while they fit, because every pointer that a lookup follows is a wait for memory.
enum Bytes {
    Inline([u8; INLINE]),
    Boxed(Box<[u8]>),
}

impl OwnedArguments {
    pub(crate) fn new(arguments: &Arguments<'_>) -> Option<Self> {
        let mut bytes = arguments.texts.concat();
        let mut lengths = [0; TEXTS];
        for (length, text) in lengths.iter_mut().zip(arguments.texts) {
            *length = u32::try_from(text.len()).ok()?;
        }
        let start = bytes.len();
        arguments.scopes.each(|word| {
            if bytes.len() > start {
                bytes.push(b' ');
            }
            bytes.extend_from_slice(word.as_bytes());
        });
        let of_partition = arguments.of_partition.cloned().unwrap_or_default();
        let of_context = arguments.of_context.cloned().unwrap_or_default();
        let has_components = !(of_partition.is_empty() && of_context.is_empty());
        Some(Self {
            flags: arguments.flags,
            lengths,
            length: u32::try_from(bytes.len()).ok()?,
            bytes: Bytes::new(bytes),
            components: has_components.then(|| Box::new([of_partition, of_context])),
        })
    }

    /// Those of nothing that is looked up.
    pub(crate) fn none() -> Self {
        Self {
            flags: u32::MAX,
            lengths: [0; TEXTS],
            bytes: Bytes::Boxed(Box::default()),
            length: 0,
            components: None,
        }
    }

    /// Whether they are the same, byte for byte.
    #[inline]
    pub(crate) fn are(&self, arguments: &Arguments<'_>) -> bool {
        if self.flags != arguments.flags {
            return false;
        }
        let mut rest = self.bytes.as_slice(self.length as usize);
        for (length, text) in self.lengths.iter().zip(arguments.texts) {
            let Some((mine, others)) = rest.split_at_checked(*length as usize) else {
                return false;
            };
            if mine.len() != text.len() || (!mine.is_empty() && mine != text) {
                return false;
            }
            rest = others;
        }
        arguments.scopes.are(rest) && self.has_components(arguments)
    }

    #[inline]
    fn has_components(&self, arguments: &Arguments<'_>) -> bool {
        match (&self.components, arguments.of_partition, arguments.of_context) {
            (None, None, None) => true,
            (Some(components), of_partition, of_context) => {
                let same = |mine: &BTreeMap<_, _>, theirs: Option<&BTreeMap<_, _>>| {
                    theirs.map_or(mine.is_empty(), |theirs| mine == theirs)
                };
                same(&components[0], of_partition) && same(&components[1], of_context)
            }
            (None, ..) => false,
        }
    }

    /// How many bytes they take beside themselves.
    pub(crate) fn heap_bytes(&self) -> usize {
        let boxed = match &self.bytes {
            Bytes::Inline(_) => 0,
            Bytes::Boxed(bytes) => bytes.len(),
        };
        let components = self.components.iter().flat_map(|both| both.iter().flatten());
        boxed
            + components
                .map(|(name, value)| name.len() + value.len() + 64)
                .sum::<usize>()
    }
}

impl Scopes<'_> {
    /// Whether they are `joined`.
    #[inline]
    fn are(&self, joined: &[u8]) -> bool {
        let words = match self {
            Self::Joined(text) => return text.as_bytes() == joined,
            Self::Each(words) => words,
        };
        let mut rest = Some(joined);
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                rest = rest.and_then(|rest| rest.strip_prefix(b" "));
            }
            rest = rest.and_then(|rest| rest.strip_prefix(word.as_bytes()));
        }
        rest.is_some_and(<[u8]>::is_empty)
    }
}

impl Bytes {
    fn new(bytes: Vec<u8>) -> Self {
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(&bytes);
                Self::Inline(inline)
            }
            None => Self::Boxed(bytes.into()),
        }
    }

    #[inline]
    fn as_slice(&self, length: usize) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes.get(..length).unwrap_or_default(),
            Self::Boxed(bytes) => bytes,
        }
    }
}
