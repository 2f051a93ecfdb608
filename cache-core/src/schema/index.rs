//! A decoded partition in few buffers, with an index, so that a lookup never scans a large one.
//!
//! Memory of a cached partition is its secrets and little else. The texts of its access tokens lie in one buffer, equal names once; a
//! token is a header of offsets into it. All other rows, which no lookup reads, stay encoded, without the names that the first
//! buffer has already. Both buffers are wiped when they are dropped. What serves one lookup and is not kept has them whole.

mod build;
mod freshness;
mod lookup;
mod packed;
mod postings;

use std::fmt;
use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

pub use freshness::{is_fresh, is_unexpired, is_within_extended_lifetime};

use self::packed::Packed;
use self::postings::TokenIndex;
use super::access_token_ref::ForeignRef;
use super::{AccessTokenRef, Partition, PartitionKey, ScopesRef, TokenContext, TokenType};
use crate::codec::{CodecError, WireParts, WireTail, decode_in_memory, encode_in_memory};
use crate::secret::{Secret, SecretBytes, SecretRef, SecretText};
use crate::time::{UnixMillis, UnixSeconds};

/// What most tokens are presented as, and asked for with.
static PLAIN: LazyLock<(TokenType, TokenContext)> = LazyLock::new(Default::default);

/// An immutable partition and the index of its access tokens.
pub struct IndexedPartition {
    /// The texts of the access tokens: names, scopes and secrets.
    text: SecretText,
    tokens: Box<[TokenHeader]>,
    groups: Box<[Group]>,
    extras: Box<[Extra]>,
    /// The rest of the partition, encoded.
    rest: Packed,
    /// Built by the first lookup among many tokens.
    index: OnceLock<Box<TokenIndex>>,
}

/// A part of a buffer: where it begins and how long it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn of(range: Range<usize>) -> Self {
        Self {
            start: count(range.start),
            length: count(range.len()),
        }
    }
}

/// A length or an offset: all are below 4 GiB, which was checked of the whole.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// What is an access token's own.
#[derive(Clone, Copy, Debug)]
struct TokenHeader {
    cached_at: i64,
    expires_on: i64,
    /// Meaningful if `has` says so.
    extended_expires_on: i64,
    refresh_on: i64,
    target: Span,
    secret: Span,
    group: u32,
    /// See [`ScopesRef::mask`]: of the scopes that were granted, and of those that were asked for.
    mask: u32,
    /// Of the extras, if `has` says so.
    extra: u32,
    has: u8,
}

impl TokenHeader {
    const EXTENDED: u8 = 1;
    const REFRESH: u8 = 2;
    const EXTRA: u8 = 4;
}

/// What tokens have in common that differ in their scopes.
#[derive(Debug)]
struct Group {
    /// Home account ID, environment, client and realm.
    names: [Span; 4],
    /// Unless they are bearer tokens of the plain context.
    kind: Option<Box<(TokenType, TokenContext)>>,
}

/// What few tokens have.
#[derive(Debug)]
struct Extra {
    requested: Option<Span>,
    /// In the rest: what another program keeps on the row.
    foreign: Span,
}

impl IndexedPartition {
    /// Indexes `partition`.
    ///
    /// # Errors
    /// [`CodecError`] when it is too large to be kept: beyond 4 GiB.
    pub fn new(partition: Partition) -> Result<Self, CodecError> {
        let bytes = encode_in_memory(&partition)?;
        drop(partition);
        Self::of_memory(&bytes)
    }

    /// Indexes what this process encoded with the binary codec.
    pub(crate) fn of_memory(bytes: &SecretBytes) -> Result<Self, CodecError> {
        build::build(bytes.expose(), WireParts::of_memory(bytes.expose())?)
    }

    /// Indexes what a record of the binary codec holds, if it is the partition whose canonical key is `key`.
    pub(crate) fn of_record(
        bytes: &SecretBytes,
        schema_version: u16,
        key: &[u8],
    ) -> Result<Option<Self>, CodecError> {
        let parts = WireParts::of_record(bytes.expose(), schema_version)?;
        if parts.key == key {
            return build::build(bytes.expose(), parts).map(Some);
        }
        // What decoding the rows would say.
        parts.check_key()?;
        Ok(None)
    }

    /// As [`of_record`](Self::of_record), of nearly twice the size and in less time: for one lookup, after which it is dropped.
    pub(crate) fn of_record_whole(
        bytes: SecretBytes,
        schema_version: u16,
        key: &[u8],
    ) -> Result<Option<Self>, CodecError> {
        let parts = WireParts::of_record(bytes.expose(), schema_version)?;
        if parts.key != key {
            parts.check_key()?;
            return Ok(None);
        }
        let tail = parts.tail_at..bytes.len();
        let texts = build::build_texts(bytes.expose(), parts)?;
        Ok(Some(texts.with_rest(Packed::of_whole(bytes, tail))))
    }

    /// Which partition it is.
    #[must_use]
    pub fn key(&self) -> PartitionKey {
        // A key that is not canonical was refused when the partition was built.
        PartitionKey::from_bytes(self.rest.key()).unwrap_or(PartitionKey::Residue)
    }

    /// All rows, decoded. This copies every one of them: a lookup needs only [`token`](Self::token).
    #[must_use]
    pub fn rows(&self) -> Partition {
        let mut rows = self.rows_without_tokens();
        rows.access_tokens = self.tokens().map(|token| token.to_owned()).collect();
        rows
    }

    /// As [`rows`](Self::rows), but for the access tokens.
    #[expect(
        clippy::expect_used,
        reason = "the bytes were decoded once before they were kept"
    )]
    pub(crate) fn rows_without_tokens(&self) -> Partition {
        let mut rows = if let Some(bytes) = self.rest.whole() {
            decode_in_memory(bytes).expect("they decode again")
        } else {
            decode_in_memory(self.rest.unpack(&self.text).expose()).expect("they decode again")
        };
        rows.access_tokens = Vec::new();
        rows
    }

    /// How many access tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no access token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The access token with this index.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn token(&self, index: u32) -> AccessTokenRef<'_> {
        self.view(&self.tokens[index as usize])
    }

    /// The access tokens, in the order of their indices.
    pub fn tokens(&self) -> impl Iterator<Item = AccessTokenRef<'_>> {
        self.tokens.iter().map(|header| self.view(header))
    }

    /// The index of the access token that is `secret`.
    #[must_use]
    pub fn position(&self, secret: &Secret) -> Option<u32> {
        (0..)
            .zip(&self.tokens)
            .find_map(|(index, header)| (self.secret(header) == *secret).then_some(index))
    }

    /// For a session: the key of the user partition that it belongs to, and the sign-in.
    #[must_use]
    pub fn anchor(&self) -> Option<(&[u8], [u8; 16])> {
        self.tail().anchor()
    }

    /// The current sign-in of a client.
    #[must_use]
    pub fn epoch(&self, client_id: &str) -> Option<[u8; 16]> {
        let mut epochs = self.tail().epochs();
        Some(epochs.find(|(client, _)| *client == client_id)?.1)
    }

    /// The keys of the sessions that were made for this account, and when each ends.
    pub fn sessions(&self) -> impl Iterator<Item = (&[u8], UnixMillis)> {
        self.tail().sessions().map(|(key, ends)| (key, UnixMillis(ends)))
    }

    /// How many bytes of memory the partition takes, with what the allocator and the index of many tokens add, for the bound of the
    /// memory tier.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        /// What an allocation takes beyond what was asked for, on average.
        const ALLOCATION: usize = 16;
        /// The counts of an `Arc`.
        const SHARED: usize = 16;
        let buffers = [
            self.text.expose().len(),
            self.rest.bytes(),
            size_of_val(&*self.tokens),
            size_of_val(&*self.groups),
            size_of_val(&*self.extras),
            SHARED + size_of::<Self>(),
        ];
        let kinds = self.groups.iter().filter_map(|group| group.kind.as_deref());
        let kinds = kinds.map(|(_, context)| {
            let texts: usize = context
                .components
                .iter()
                .map(|(a, b)| a.len() + b.len() + 96)
                .sum();
            size_of::<(TokenType, TokenContext)>() + 128 + texts
        });
        buffers
            .into_iter()
            .filter(|bytes| *bytes > 0)
            .map(|bytes| bytes + ALLOCATION)
            .sum::<usize>()
            + kinds.sum::<usize>()
            + TokenIndex::estimated_bytes(self)
    }

    fn tail(&self) -> WireTail<'_> {
        WireTail(self.rest.tail())
    }

    fn text(&self, span: Span) -> &str {
        &self.text.expose()[span.start as usize..(span.start + span.length) as usize]
    }

    fn secret(&self, header: &TokenHeader) -> SecretRef<'_> {
        SecretRef::new(self.text(header.secret))
    }

    fn target(&self, header: &TokenHeader) -> ScopesRef<'_> {
        ScopesRef::new(self.text(header.target))
    }

    fn extra(&self, header: &TokenHeader) -> Option<&Extra> {
        (header.has & TokenHeader::EXTRA != 0).then(|| &self.extras[header.extra as usize])
    }

    fn kind(group: &Group) -> &(TokenType, TokenContext) {
        group.kind.as_deref().unwrap_or_else(|| &*PLAIN)
    }

    fn view(&self, header: &TokenHeader) -> AccessTokenRef<'_> {
        let group = &self.groups[header.group as usize];
        let extra = self.extra(header);
        let (token_type, context) = Self::kind(group);
        let [home_account_id, environment, client_id, realm] = group.names;
        let time = |flag: u8, time: i64| (header.has & flag != 0).then_some(UnixSeconds(time));
        AccessTokenRef {
            home_account_id: self.text(home_account_id),
            environment: self.text(environment),
            client_id: self.text(client_id),
            realm: self.text(realm),
            target: self.target(header),
            token_type,
            secret: self.secret(header),
            cached_at: UnixSeconds(header.cached_at),
            expires_on: UnixSeconds(header.expires_on),
            extended_expires_on: time(TokenHeader::EXTENDED, header.extended_expires_on),
            refresh_on: time(TokenHeader::REFRESH, header.refresh_on),
            context,
            requested: extra.and_then(|extra| Some(self.text(extra.requested?))),
            foreign: extra.map_or(ForeignRef::None, |extra| {
                ForeignRef::Encoded(self.rest.part(extra.foreign))
            }),
        }
    }
}

impl fmt::Debug for IndexedPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedPartition")
            .field("tokens", &self.tokens.len())
            .field("bytes", &self.approximate_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
