//! An encoded partition taken apart without a copy, for the form in which it is kept in memory.

use std::ops::Range;

use bincode::BorrowDecode;

use super::json::WireForeign;
use super::rows::{WireAccount, WireAppMetadata, WireIdToken, WireRefreshToken};
use super::state::{WireContext, WireTokenType};
use super::{NOT_CANONICAL, WireJson, WirePartition};
use crate::codec::binary::{self, LIMIT, Source, malformed};
use crate::codec::{CodecError, check_version};
use crate::schema::{Foreign, PartitionKey, TokenContext, TokenType};

/// The sections of an encoded partition.
pub(crate) struct WireParts<'a> {
    /// The canonical key of the partition.
    pub(crate) key: &'a [u8],
    pub(crate) tokens: Vec<WireToken<'a>>,
    /// Where the access tokens stand, their count included.
    pub(crate) tokens_at: Range<usize>,
    /// Texts of the other rows that are often those of an access token too, in the order in which they stand.
    pub(crate) names: Vec<&'a str>,
    /// Where what follows the rows begins.
    pub(crate) tail_at: usize,
}

/// An access token in an encoded partition.
pub(crate) struct WireToken<'a> {
    /// Home account ID, environment, client and realm.
    pub(crate) names: [&'a str; 4],
    pub(crate) target: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) cached_at: i64,
    pub(crate) expires_on: i64,
    pub(crate) extended_expires_on: Option<i64>,
    pub(crate) refresh_on: Option<i64>,
    /// Unless it is a bearer token of the plain context.
    pub(crate) kind: Option<Box<(TokenType, TokenContext)>>,
    /// What another program keeps on the row, and where it stands.
    pub(crate) foreign: Option<(Foreign, Range<usize>)>,
}

#[derive(BorrowDecode)]
struct WireIdentity<'a> {
    home_account_id: &'a str,
    environment: &'a str,
    client_id: &'a str,
    realm: &'a str,
    target: &'a str,
    token_type: WireTokenType<'a>,
    secret: &'a str,
    cached_at: i64,
    expires_on: i64,
    extended_expires_on: Option<i64>,
    refresh_on: Option<i64>,
    context: WireContext<'a>,
}

impl<'a> WireParts<'a> {
    /// Takes `bytes` of a record apart. Whatever decoding the whole would refuse is refused here too.
    pub(crate) fn of_record(bytes: &'a [u8], schema_version: u16) -> Result<Self, CodecError> {
        check_version(binary::NAME, schema_version, binary::BincodeCodec::SCHEMA_VERSION)?;
        Self::parse(bytes, Source::Store)
    }

    /// Takes apart what this process encoded.
    pub(crate) fn of_memory(bytes: &'a [u8]) -> Result<Self, CodecError> {
        Self::parse(bytes, Source::Memory)
    }

    /// Refuses a key that is not canonical.
    pub(crate) fn check_key(&self) -> Result<(), CodecError> {
        match PartitionKey::from_bytes(self.key) {
            Some(_) => Ok(()),
            None => Err(malformed(NOT_CANONICAL)),
        }
    }

    fn parse(bytes: &'a [u8], source: Source) -> Result<Self, CodecError> {
        let mut cursor = Cursor { bytes, at: 0, source };
        let key = cursor.next()?;
        let accounts: Vec<WireAccount<'a>> = cursor.next()?;
        let id_tokens: Vec<WireIdToken<'a>> = cursor.next()?;
        let start = cursor.at;
        let count = cursor.next::<u64>()?;
        let is_claimable = count <= (LIMIT / size_of::<WireIdentity<'_>>()) as u64;
        if source == Source::Store && !is_claimable {
            return Err(malformed("a length is beyond the limit of 64 MiB"));
        }
        // A token takes at least a byte for each field, so no forged count allocates more than its record's length allows.
        let most = (bytes.len() - cursor.at) / 13;
        let mut tokens = Vec::with_capacity(most.min(usize::try_from(count).unwrap_or(usize::MAX)));
        for _ in 0..count {
            tokens.push(cursor.token()?);
        }
        let tokens_at = start..cursor.at;
        let refresh_tokens: Vec<WireRefreshToken<'a>> = cursor.next()?;
        let app_metadata: Vec<WireAppMetadata<'a>> = cursor.next()?;
        let tail_at = cursor.at;
        let tail = WireTail(&bytes[tail_at..]);
        let has_residue = tail.check(source)?;
        let mut names = Vec::with_capacity(
            accounts.len() * 6 + id_tokens.len() * 4 + refresh_tokens.len() * 4 + app_metadata.len() * 2,
        );
        accounts.iter().for_each(|row| row.names(&mut names));
        id_tokens.iter().for_each(|row| row.names(&mut names));
        refresh_tokens.iter().for_each(|row| row.names(&mut names));
        app_metadata.iter().for_each(|row| row.names(&mut names));
        let has_json = has_residue
            || accounts.iter().any(WireAccount::has_foreign)
            || id_tokens.iter().any(WireIdToken::has_foreign)
            || refresh_tokens.iter().any(WireRefreshToken::has_foreign)
            || app_metadata.iter().any(WireAppMetadata::has_foreign);
        if has_json {
            let (whole, _) = binary::decode_prefix::<WirePartition<'_>>(bytes, source)?;
            whole.into_partition().map_err(malformed)?;
        }
        Ok(Self {
            key,
            tokens,
            tokens_at,
            names,
            tail_at,
        })
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    source: Source,
}

impl<'a> Cursor<'a> {
    fn next<T: BorrowDecode<'a, ()>>(&mut self) -> Result<T, CodecError> {
        let (value, read) = binary::decode_prefix(&self.bytes[self.at..], self.source)?;
        self.at += read;
        Ok(value)
    }

    fn token(&mut self) -> Result<WireToken<'a>, CodecError> {
        let row: WireIdentity<'a> = self.next()?;
        let start = self.at;
        let foreign: Option<WireForeign<'a>> = self.next()?;
        let foreign = WireForeign::into_foreign(foreign).map_err(malformed)?;
        let (token_type, context) = (row.token_type.into(), row.context);
        let is_plain = token_type == TokenType::Bearer && context.is_plain();
        let kind = if is_plain {
            None
        } else {
            Some(Box::new((token_type, context.try_into().map_err(malformed)?)))
        };
        Ok(WireToken {
            names: [row.home_account_id, row.environment, row.client_id, row.realm],
            target: row.target,
            secret: row.secret,
            cached_at: row.cached_at,
            expires_on: row.expires_on,
            extended_expires_on: row.extended_expires_on,
            refresh_on: row.refresh_on,
            kind,
            foreign: foreign.map(|foreign| (*foreign, start..self.at)),
        })
    }
}

/// What another program keeps on an access token, where `bytes` are its encoding.
pub(crate) fn decode_foreign(bytes: &[u8]) -> Result<Option<Box<Foreign>>, CodecError> {
    let (foreign, _) = binary::decode_prefix::<Option<WireForeign<'_>>>(bytes, Source::Memory)?;
    WireForeign::into_foreign(foreign).map_err(malformed)
}

/// The sections behind the rows, read in place.
#[derive(Clone, Copy)]
pub(crate) struct WireTail<'a>(pub(crate) &'a [u8]);

impl<'a> WireTail<'a> {
    /// The current sign-in of each client.
    pub(crate) fn epochs(self) -> impl Iterator<Item = (&'a str, [u8; 16])> {
        List::of(self.0)
    }

    /// The sessions' keys, and when each ends.
    pub(crate) fn sessions(self) -> impl Iterator<Item = (&'a [u8], i64)> {
        List::of(List::<(&str, [u8; 16])>::of(self.0).rest())
    }

    /// The user and the sign-in that a session belongs to.
    pub(crate) fn anchor(self) -> Option<(&'a [u8], [u8; 16])> {
        let sessions = List::<(&str, [u8; 16])>::of(self.0).rest();
        let rest = List::<(&[u8], i64)>::of(sessions).rest();
        binary::decode_prefix(rest, Source::Memory).ok()?.0
    }

    /// Whether there is any residue; an error unless all bytes are used.
    fn check(self, source: Source) -> Result<bool, CodecError> {
        let mut cursor = Cursor {
            bytes: self.0,
            at: 0,
            source,
        };
        // Allocates nothing for the counts of an empty list.
        let _: Vec<(&str, [u8; 16])> = cursor.next()?;
        let _: Vec<(&[u8], i64)> = cursor.next()?;
        let _: Option<(&[u8], [u8; 16])> = cursor.next()?;
        let residue: Vec<(&str, WireJson<'_>)> = cursor.next()?;
        if cursor.at != self.0.len() {
            return Err(malformed("bytes follow the partition"));
        }
        Ok(!residue.is_empty())
    }
}

/// A list that was found to be readable.
struct List<'a, T> {
    left: u64,
    bytes: &'a [u8],
    element: std::marker::PhantomData<T>,
}

impl<'a, T: BorrowDecode<'a, ()>> List<'a, T> {
    fn of(bytes: &'a [u8]) -> Self {
        let (left, read) = binary::decode_prefix(bytes, Source::Memory).unwrap_or((0, 0));
        Self {
            left,
            bytes: &bytes[read..],
            element: std::marker::PhantomData,
        }
    }

    /// What follows the list.
    fn rest(mut self) -> &'a [u8] {
        while self.next().is_some() {}
        self.bytes
    }
}

impl<'a, T: BorrowDecode<'a, ()>> Iterator for List<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        let (value, read) = binary::decode_prefix(self.bytes, Source::Memory).ok()?;
        self.bytes = &self.bytes[read..];
        Some(value)
    }
}
