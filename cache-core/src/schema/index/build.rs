//! From an encoded partition to the form in which it is kept.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::packed::{Packed, push_number};
use super::{Extra, Group, IndexedPartition, Span, TokenHeader, count};
use crate::codec::{CodecError, WireParts, WireToken, unrepresentable};
use crate::schema::ScopesRef;
use crate::secret::{SecretBytes, SecretText};

/// How many names are looked through for one that is there already.
const MOST_NAMES: usize = 16;
/// The same for groups, the latest first.
const MOST_GROUPS: usize = 4;
/// A shorter name takes as many bytes to refer to.
const SHORTEST_NAME: usize = 8;

/// Builds the partition that `parts` of `bytes` are.
pub(super) fn build(bytes: &[u8], parts: WireParts<'_>) -> Result<IndexedPartition, CodecError> {
    let mut builder = Builder::of(bytes, parts.tokens)?;
    let rest = builder.pack(bytes, parts.tokens_at, &parts.names, parts.tail_at);
    Ok(builder.texts().with_rest(rest))
}

/// As [`build`], for the time being without the rest, which is all of `bytes`.
pub(super) fn build_texts(bytes: &[u8], parts: WireParts<'_>) -> Result<Texts, CodecError> {
    let mut builder = Builder::of(bytes, parts.tokens)?;
    for (extra, range) in builder.extras.iter_mut().zip(&builder.foreign) {
        extra.foreign = Span::of(range.clone());
    }
    Ok(builder.texts())
}

/// What is built of the access tokens.
pub(super) struct Texts {
    text: SecretText,
    tokens: Box<[TokenHeader]>,
    groups: Box<[Group]>,
    extras: Box<[Extra]>,
}

impl Texts {
    pub(super) fn with_rest(self, rest: Packed) -> IndexedPartition {
        IndexedPartition {
            text: self.text,
            tokens: self.tokens,
            groups: self.groups,
            extras: self.extras,
            rest,
            index: OnceLock::new(),
        }
    }
}

#[derive(Default)]
struct Builder<'a> {
    pieces: Vec<Cow<'a, str>>,
    /// Of all pieces, in bytes.
    length: usize,
    /// The first names among the pieces, to meet them again.
    names: Vec<(&'a str, Span)>,
    tokens: Vec<TokenHeader>,
    groups: Vec<Group>,
    /// The names of the groups.
    group_names: Vec<[&'a str; 4]>,
    extras: Vec<Extra>,
    /// Where in the whole encoding the foreign fields of the extras stand.
    foreign: Vec<std::ops::Range<usize>>,
}

impl<'a> Builder<'a> {
    fn of(bytes: &[u8], tokens: Vec<WireToken<'a>>) -> Result<Self, CodecError> {
        // An offset may be a sum of all lengths.
        if u32::try_from(bytes.len().saturating_mul(2)).is_err() {
            return Err(unrepresentable("it is larger than 2 GiB"));
        }
        let mut builder = Self {
            pieces: Vec::with_capacity(4 + tokens.len() * 2),
            names: Vec::with_capacity(MOST_NAMES),
            tokens: Vec::with_capacity(tokens.len()),
            ..Self::default()
        };
        for token in tokens {
            builder.add(token);
        }
        Ok(builder)
    }

    fn texts(self) -> Texts {
        let mut text = String::with_capacity(self.length);
        self.pieces.iter().for_each(|piece| text.push_str(piece));
        Texts {
            text: SecretText::new(text),
            tokens: self.tokens.into(),
            groups: self.groups.into(),
            extras: self.extras.into(),
        }
    }

    fn add(&mut self, token: WireToken<'a>) {
        let group = self.group(token.names, token.kind);
        let target = self.name(token.target);
        let secret = self.push(Cow::Borrowed(token.secret));
        let mut header = TokenHeader {
            cached_at: token.cached_at,
            expires_on: token.expires_on,
            extended_expires_on: token.extended_expires_on.unwrap_or_default(),
            refresh_on: token.refresh_on.unwrap_or_default(),
            target,
            secret,
            group,
            mask: ScopesRef::new(token.target).mask(),
            extra: 0,
            has: u8::from(token.extended_expires_on.is_some()) * TokenHeader::EXTENDED
                + u8::from(token.refresh_on.is_some()) * TokenHeader::REFRESH,
        };
        if let Some((foreign, range)) = token.foreign {
            header.has |= TokenHeader::EXTRA;
            header.extra = count(self.extras.len());
            let requested = foreign.requested_scopes();
            let requested = requested.map(|requested| {
                // It answers a request for all of them.
                header.mask |= ScopesRef::new(requested).mask();
                self.push(Cow::Owned(requested.to_owned()))
            });
            self.extras.push(Extra {
                requested,
                foreign: Span::default(),
            });
            self.foreign.push(range);
        }
        self.tokens.push(header);
    }

    fn group(&mut self, names: [&'a str; 4], kind: Option<KindOfToken>) -> u32 {
        let known = self.groups.len();
        let latest = (known.saturating_sub(MOST_GROUPS)..known).rev();
        let mut latest =
            latest.filter(|index| self.group_names[*index] == names && self.groups[*index].kind == kind);
        if let Some(index) = latest.next() {
            return count(index);
        }
        let spans = names.map(|name| self.name(name));
        self.groups.push(Group { names: spans, kind });
        self.group_names.push(names);
        count(known)
    }

    /// Where `name` stands in the text, once.
    fn name(&mut self, name: &'a str) -> Span {
        if let Some(span) = self.find(name) {
            return span;
        }
        let span = self.push(Cow::Borrowed(name));
        if self.names.len() < MOST_NAMES {
            self.names.push((name, span));
        }
        span
    }

    fn find(&self, name: &str) -> Option<Span> {
        let mut names = self.names.iter();
        Some(names.find(|(known, _)| *known == name)?.1)
    }

    fn push(&mut self, piece: Cow<'a, str>) -> Span {
        let span = Span::of(self.length..self.length + piece.len());
        self.length += piece.len();
        self.pieces.push(piece);
        span
    }

    /// Everything but the access tokens, without the names that they have.
    fn pack(
        &mut self,
        bytes: &[u8],
        tokens_at: std::ops::Range<usize>,
        names: &[&str],
        tail_at: usize,
    ) -> Packed {
        // Of a home account ID, which is a user's and a tenant's ID, other rows have the halves.
        if let Some((home, span)) = self.names.first().copied()
            && let Some((user, tenant)) = home.split_once('.')
        {
            let behind = count(user.len() + 1);
            let halves = [(user, 0), (tenant, behind)].map(|(half, offset)| {
                let span = Span {
                    start: span.start + offset,
                    length: count(half.len()),
                };
                (half, span)
            });
            self.names.extend(halves);
        }
        let base = bytes.as_ptr().addr();
        let mut cuts = Vec::with_capacity(names.len());
        let mut list = Vec::with_capacity(names.len() * 5);
        let (mut saved, mut last_cut) = (0, 0);
        for name in names.iter().filter(|name| name.len() >= SHORTEST_NAME) {
            let Some(span) = self.find(name) else { continue };
            // The names were borrowed from these bytes.
            let at = name.as_ptr().addr() - base;
            let is_behind = at >= tokens_at.end;
            let packed_at = at - saved - if is_behind { tokens_at.len() - 1 } else { 0 };
            push_number(&mut list, count(packed_at - last_cut));
            push_number(&mut list, span.start);
            push_number(&mut list, span.length);
            last_cut = packed_at;
            saved += name.len();
            cuts.push((at, name.len()));
        }
        let foreign: usize = self.foreign.iter().map(ExactSizeIterator::len).sum();
        // Allocated in full: growing would leave a copy behind.
        let mut packed = Vec::with_capacity(bytes.len() - tokens_at.len() + 1 - saved + foreign + list.len());
        let behind = cuts.partition_point(|(at, _)| *at < tokens_at.start);
        let mut from = 0;
        for (at, length) in &cuts[..behind] {
            packed.extend_from_slice(&bytes[from..*at]);
            from = at + length;
        }
        packed.extend_from_slice(&bytes[from..tokens_at.start]);
        // There are no access tokens here.
        packed.push(0);
        from = tokens_at.end;
        for (at, length) in &cuts[behind..] {
            packed.extend_from_slice(&bytes[from..*at]);
            from = at + length;
        }
        packed.extend_from_slice(&bytes[from..tail_at]);
        let tail = Span::of(packed.len()..packed.len() + bytes.len() - tail_at);
        packed.extend_from_slice(&bytes[tail_at..]);
        for (extra, range) in self.extras.iter_mut().zip(&self.foreign) {
            extra.foreign = Span::of(packed.len()..packed.len() + range.len());
            packed.extend_from_slice(&bytes[range.clone()]);
        }
        let cuts_at = count(packed.len());
        packed.extend_from_slice(&list);
        Packed::new(SecretBytes::new(packed), tail, cuts_at)
    }
}

type KindOfToken = Box<(crate::schema::TokenType, crate::schema::TokenContext)>;
