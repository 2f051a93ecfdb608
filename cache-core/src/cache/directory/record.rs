//! The pages of the directory and their bytes.
//!
//! A page covers the positions that begin with its prefix. While it is small it is a leaf and holds their entries; once it has
//! become an inner page, which is for good, its sixteen children do.

use bincode::{BorrowDecode, Encode};

use super::entry::{DirectoryClient, DirectoryEntry, InteractionCause, NeedsInteraction, Position};
use crate::codec::{CodecError, decode_binary, encode_binary};
use crate::schema::{Account, PartitionKey};
use crate::secret::SecretBytes;
use crate::time::{UnixMillis, UnixSeconds};

/// Which layout of the bytes this is.
pub(super) const SCHEMA: u16 = 1;
/// How many children an inner page has.
pub(super) const FAN_OUT: usize = 16;
/// How many entries a leaf has at most.
pub(super) const MOST_ENTRIES: usize = 64;
/// How long a leaf of several entries is at most, in bytes. Each sign-in writes one.
pub(super) const MOST_BYTES: usize = 32 << 10;
/// The depth at which positions have no digit left.
pub(super) const DEEPEST: u8 = 32;

/// Which page: its name, and the positions that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Random, new for each split, so that of two that race neither can touch the other's pages. Zero for the root.
    pub(super) id: [u8; 16],
    pub(super) depth: u8,
    pub(super) prefix: [u8; 16],
}

impl Place {
    pub(super) const ROOT: Self = Self {
        id: [0; 16],
        depth: 0,
        prefix: [0; 16],
    };

    /// Netstrings, so that no page and no account share an encoding.
    pub(super) fn logical_key(&self) -> Vec<u8> {
        [&b"4:page,16:"[..], &self.id, b","].concat()
    }

    pub(super) fn child(&self, digit: usize, id: [u8; 16]) -> Self {
        Self {
            id,
            depth: self.depth + 1,
            prefix: Position(self.prefix).with_digit(self.depth, digit, 0).0,
        }
    }

    /// The last position that the page covers.
    pub(super) fn last(&self) -> Position {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Position::LAST;
        };
        let prefix = Position(self.prefix);
        prefix.with_digit(depth, prefix.digit(depth), 0xff)
    }
}

/// The logical key that an account's position is made of.
pub(super) fn position_key(partition: &PartitionKey) -> Vec<u8> {
    let key = partition.to_bytes();
    [format!("5:entry,{}:", key.len()).as_bytes(), &key, b","].concat()
}

pub(super) struct Page {
    pub(super) place: Place,
    pub(super) created_at: UnixMillis,
    pub(super) body: Body,
}

pub(super) enum Body {
    /// In the order of their positions.
    Leaf(Vec<DirectoryEntry>),
    /// The names of the children.
    Inner(Box<[[u8; 16]; FAN_OUT]>),
}

impl Page {
    pub(super) fn encode(&self) -> Result<SecretBytes, CodecError> {
        let keys: Vec<_> = match &self.body {
            Body::Leaf(entries) => entries.iter().map(|entry| entry.partition.to_bytes()).collect(),
            Body::Inner(_) => Vec::new(),
        };
        let body = match &self.body {
            Body::Leaf(entries) => WireBody::Leaf(entries.iter().zip(&keys).map(WireEntry::new).collect()),
            Body::Inner(children) => WireBody::Inner(children.to_vec()),
        };
        encode_binary(&WirePage {
            id: self.place.id,
            depth: self.place.depth,
            prefix: self.place.prefix,
            created_at: self.created_at.0,
            body,
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let wire: WirePage<'_> = decode_binary(bytes)?;
        let deepest = DEEPEST - u8::from(matches!(wire.body, WireBody::Inner(_)));
        if wire.depth > deepest {
            return Err(malformed("a page lies deeper than positions have digits"));
        }
        let body = match wire.body {
            WireBody::Inner(children) => {
                let children = children.try_into().map(Box::new);
                Body::Inner(children.map_err(|_| malformed("an inner page has not sixteen children"))?)
            }
            WireBody::Leaf(entries) => {
                let entries: Option<Vec<_>> = entries.into_iter().map(WireEntry::into_entry).collect();
                let entries = entries.ok_or_else(|| malformed("an entry names no account"))?;
                if !entries.is_sorted_by(|a, b| a.position < b.position) {
                    return Err(malformed("the entries are not sorted"));
                }
                Body::Leaf(entries)
            }
        };
        Ok(Self {
            place: Place {
                id: wire.id,
                depth: wire.depth,
                prefix: wire.prefix,
            },
            created_at: UnixMillis(wire.created_at),
            body,
        })
    }
}

pub(super) fn malformed(reason: &str) -> CodecError {
    CodecError::Malformed {
        codec: "directory",
        reason: reason.to_owned(),
    }
}

/// Positional, and the field order is the format: any change is a new schema version.
#[derive(Encode, BorrowDecode)]
struct WirePage<'a> {
    id: [u8; 16],
    depth: u8,
    prefix: [u8; 16],
    created_at: i64,
    body: WireBody<'a>,
}

#[derive(Encode, BorrowDecode)]
enum WireBody<'a> {
    Leaf(Vec<WireEntry<'a>>),
    Inner(Vec<[u8; 16]>),
}

#[derive(Encode, BorrowDecode)]
struct WireEntry<'a> {
    position: [u8; 16],
    key: &'a [u8],
    home_account_id: &'a str,
    environment: &'a str,
    realm: &'a str,
    local_account_id: &'a str,
    username: &'a str,
    authority_type: &'a str,
    name: Option<&'a str>,
    issuer: Option<&'a str>,
    clients: Vec<WireClient<'a>>,
}

#[derive(Encode, BorrowDecode)]
struct WireClient<'a> {
    client_id: &'a str,
    last_used: i64,
    needs_interaction: Option<(u8, i64, Option<[u8; 16]>)>,
}

impl<'a> WireEntry<'a> {
    fn new((entry, key): (&'a DirectoryEntry, &'a Vec<u8>)) -> Self {
        let account = &entry.account;
        Self {
            position: entry.position.0,
            key,
            home_account_id: &account.home_account_id,
            environment: &account.environment,
            realm: &account.realm,
            local_account_id: &account.local_account_id,
            username: &account.username,
            authority_type: &account.authority_type,
            name: account.name.as_deref(),
            issuer: account.issuer.as_deref(),
            clients: entry.clients.iter().map(WireClient::new).collect(),
        }
    }

    fn into_entry(self) -> Option<DirectoryEntry> {
        let partition = PartitionKey::from_bytes(self.key)?;
        let account = Account {
            home_account_id: self.home_account_id.to_owned(),
            environment: self.environment.to_owned(),
            realm: self.realm.to_owned(),
            local_account_id: self.local_account_id.to_owned(),
            username: self.username.to_owned(),
            authority_type: self.authority_type.to_owned(),
            name: self.name.map(str::to_owned),
            issuer: self.issuer.map(str::to_owned),
            tenant_profiles: Vec::new(),
            foreign: None,
        };
        let mut entry = DirectoryEntry::new(Position(self.position), partition, &account);
        entry.clients = self.clients.into_iter().map(WireClient::into_client).collect();
        Some(entry)
    }
}

impl<'a> WireClient<'a> {
    fn new(client: &'a DirectoryClient) -> Self {
        let needs = client.needs_interaction.as_ref();
        Self {
            client_id: &client.client_id,
            last_used: client.last_used.0,
            needs_interaction: needs.map(|needs| (code(needs.because), needs.since.0, needs.request)),
        }
    }

    fn into_client(self) -> DirectoryClient {
        DirectoryClient {
            client_id: self.client_id.to_owned(),
            last_used: UnixSeconds(self.last_used),
            needs_interaction: self
                .needs_interaction
                .map(|(because, since, request)| NeedsInteraction {
                    because: cause(because),
                    since: UnixSeconds(since),
                    request,
                }),
        }
    }
}

fn code(because: InteractionCause) -> u8 {
    match because {
        InteractionCause::Marked => 0,
        InteractionCause::Refused => 1,
        InteractionCause::RequestRefused => 2,
        InteractionCause::OutcomeUnknown => 3,
        InteractionCause::NoRefreshToken => 4,
    }
}

/// A code of a later version still says that the user is needed.
fn cause(code: u8) -> InteractionCause {
    match code {
        1 => InteractionCause::Refused,
        2 => InteractionCause::RequestRefused,
        3 => InteractionCause::OutcomeUnknown,
        4 => InteractionCause::NoRefreshToken,
        _ => InteractionCause::Marked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::AuthorityIdentity;

    fn entry(number: u8) -> DirectoryEntry {
        let partition = PartitionKey::User {
            authority: AuthorityIdentity::of_issuer("https://issuer.example"),
            home_account_id: number.to_string(),
        };
        let account = Account {
            home_account_id: number.to_string(),
            environment: "issuer.example".into(),
            realm: String::new(),
            local_account_id: number.to_string(),
            username: "alice".into(),
            authority_type: "Generic".into(),
            name: Some("Alice".into()),
            issuer: None,
            tenant_profiles: Vec::new(),
            foreign: None,
        };
        let mut entry = DirectoryEntry::new(Position([number; 16]), partition, &account);
        entry.add("client".into(), UnixSeconds(7));
        entry.clients[0].needs_interaction = Some(NeedsInteraction {
            because: InteractionCause::RequestRefused,
            since: UnixSeconds(9),
            request: Some([3; 16]),
        });
        entry
    }

    fn page(entries: Vec<DirectoryEntry>) -> Page {
        Page {
            place: Place::ROOT.child(3, [9; 16]),
            created_at: UnixMillis(5),
            body: Body::Leaf(entries),
        }
    }

    #[test]
    fn pages_come_back_as_they_were() {
        let bytes = page(vec![entry(1), entry(2)]).encode().unwrap();
        let read = Page::decode(bytes.expose()).unwrap();
        assert_eq!(read.place, Place::ROOT.child(3, [9; 16]));
        let Body::Leaf(entries) = read.body else {
            panic!("a leaf");
        };
        assert_eq!(entries, [entry(1), entry(2)]);
        for length in 0..bytes.len() {
            assert!(Page::decode(&bytes.expose()[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn entries_stand_in_one_order_and_once() {
        for entries in [vec![entry(2), entry(1)], vec![entry(1), entry(1)]] {
            let bytes = page(entries).encode().unwrap();
            let error = Page::decode(bytes.expose()).err().unwrap();
            assert!(error.to_string().contains("not sorted"));
        }
    }

    #[test]
    fn the_last_position_of_a_page_is_its_own() {
        assert_eq!(Place::ROOT.last(), Position::LAST);
        let child = Place::ROOT.child(0xa, [1; 16]);
        assert_eq!(child.last().0[..2], [0xaf, 0xff]);
        assert_eq!(child.child(0, [2; 16]).last().0[..2], [0xa0, 0xff]);
    }
}
