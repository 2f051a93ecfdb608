//! Partitions: the unit that is sealed, stored and swapped.

use std::collections::BTreeMap;
use std::fmt;

use super::{AccessToken, Account, AppMetadata, AuthorityIdentity, AuthorityKind, IdToken, RefreshToken};
use crate::seal::RecordKind;
use crate::secret::SecretJson;
use crate::time::UnixMillis;

/// Which partition a row lives in: the logical name, before it is blinded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartitionKey {
    /// Everything of one user at one authority, of every client and tenant.
    User {
        /// The authority that knows the account.
        authority: AuthorityIdentity,
        /// The account within it.
        home_account_id: String,
    },
    /// Tokens of an application acting for itself.
    App {
        /// The client.
        client_id: String,
        /// The authority.
        authority: AuthorityIdentity,
        /// The tenant; empty for issuers without tenants.
        tenant: String,
        /// The resource, where partitioning is by resource.
        resource: Option<String>,
        /// Extra components that the caller wants in the cache key.
        components: BTreeMap<String, String>,
    },
    /// Tokens of one session: on behalf of a user, or of a web session.
    Session {
        /// The client.
        client_id: String,
        /// The authority.
        authority: AuthorityIdentity,
        /// Which session.
        key: SessionKey,
    },
    /// Sections and rows of an imported cache that belong to no account and no client that we understand.
    Residue,
}

/// What names a session. The kinds never collide.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKey {
    /// SHA-256 of the incoming assertion.
    AssertionHash([u8; 32]),
    /// A key that the caller chose: 128 random bits or more.
    CallerKey(String),
    /// A web session's identifier.
    WebSession(String),
}

impl fmt::Debug for SessionKey {
    /// The key of a session is as good as the session, so only its kind is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

impl SessionKey {
    fn tag(&self) -> &'static str {
        match self {
            Self::AssertionHash(_) => "assertion-hash",
            Self::CallerKey(_) => "caller-key",
            Self::WebSession(_) => "web-session",
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::AssertionHash(hash) => hash,
            Self::CallerKey(key) | Self::WebSession(key) => key.as_bytes(),
        }
    }

    fn from_parts(tag: &str, bytes: &[u8]) -> Option<Self> {
        let text = || std::str::from_utf8(bytes).ok().map(str::to_owned);
        match tag {
            "assertion-hash" => bytes.try_into().ok().map(Self::AssertionHash),
            "caller-key" => text().map(Self::CallerKey),
            "web-session" => text().map(Self::WebSession),
            _ => None,
        }
    }
}

impl PartitionKey {
    /// The kind of record that holds the partition.
    #[must_use]
    pub fn record_kind(&self) -> RecordKind {
        match self {
            Self::User { .. } => RecordKind::User,
            Self::App { .. } => RecordKind::App,
            Self::Session { .. } => RecordKind::Session,
            Self::Residue => RecordKind::Residue,
        }
    }

    /// The authority that issued what is in the partition; `None` for the residue.
    #[must_use]
    pub fn authority(&self) -> Option<&AuthorityIdentity> {
        match self {
            Self::User { authority, .. } | Self::App { authority, .. } | Self::Session { authority, .. } => {
                Some(authority)
            }
            Self::Residue => None,
        }
    }

    /// The canonical bytes of the key: a sequence of netstrings, so that no two keys share an encoding whatever
    /// characters an issuer puts into a subject.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let mut part = |bytes: &[u8]| {
            out.extend_from_slice(bytes.len().to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(bytes);
            out.push(b',');
        };
        match self {
            Self::User {
                authority,
                home_account_id,
            } => {
                part(b"user");
                part(authority.kind().tag().as_bytes());
                part(authority.id().as_bytes());
                part(home_account_id.as_bytes());
            }
            Self::App {
                client_id,
                authority,
                tenant,
                resource,
                components,
            } => {
                part(b"app");
                part(authority.kind().tag().as_bytes());
                part(authority.id().as_bytes());
                part(client_id.as_bytes());
                part(tenant.as_bytes());
                part(if resource.is_some() { b"resource" } else { b"" });
                part(resource.as_deref().unwrap_or_default().as_bytes());
                for (name, value) in components {
                    part(name.as_bytes());
                    part(value.as_bytes());
                }
            }
            Self::Session {
                client_id,
                authority,
                key,
            } => {
                part(b"session");
                part(authority.kind().tag().as_bytes());
                part(authority.id().as_bytes());
                part(client_id.as_bytes());
                part(key.tag().as_bytes());
                part(key.bytes());
            }
            Self::Residue => part(b"residue"),
        }
        out
    }

    /// The key with these canonical bytes; `None` when they are not canonical.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let parts = netstrings(bytes)?;
        let text = |index: usize| {
            parts
                .get(index)
                .and_then(|part| std::str::from_utf8(part).ok())
                .map(str::to_owned)
        };
        let authority = || {
            Some(AuthorityIdentity::from_parts(
                AuthorityKind::from_tag(&text(1)?)?,
                text(2)?,
            ))
        };
        let key = match *parts.first()? {
            b"user" => Self::User {
                authority: authority()?,
                home_account_id: text(3)?,
            },
            b"app" => {
                let mut components = BTreeMap::new();
                let mut index = 7;
                while index < parts.len() {
                    components.insert(text(index)?, text(index + 1)?);
                    index += 2;
                }
                let resource = if text(5)?.is_empty() { None } else { Some(text(6)?) };
                Self::App {
                    authority: authority()?,
                    client_id: text(3)?,
                    tenant: text(4)?,
                    resource,
                    components,
                }
            }
            b"session" => Self::Session {
                authority: authority()?,
                client_id: text(3)?,
                key: SessionKey::from_parts(&text(4)?, parts.get(5)?)?,
            },
            b"residue" => Self::Residue,
            _ => return None,
        };
        // Only the canonical form names a partition: a second spelling would be a second record.
        (key.to_bytes() == bytes).then_some(key)
    }
}

pub(crate) fn netstrings(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let colon = bytes.iter().take(11).position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
        let rest = &bytes[colon + 1..];
        if rest.len() <= length || rest[length] != b',' {
            return None;
        }
        parts.push(&rest[..length]);
        bytes = &rest[length + 1..];
    }
    Some(parts)
}

/// The rows of one partition.
///
/// Rows are kept as they are: an imported cache may hold duplicates, and only a commit or a repair collapses them.
#[derive(Clone, PartialEq, Eq)]
pub struct Partition {
    /// Which partition it is; checked against the record's name after it was opened.
    pub key: PartitionKey,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// ID tokens.
    pub id_tokens: Vec<IdToken>,
    /// Access tokens.
    pub access_tokens: Vec<AccessToken>,
    /// Refresh tokens.
    pub refresh_tokens: Vec<RefreshToken>,
    /// Application metadata.
    pub app_metadata: Vec<AppMetadata>,
    /// The sign-in that each client's rows belong to. It is random at each first sign-in and gone at sign-out, so
    /// a session that was made under an older one can tell.
    pub epochs: Vec<ClientEpoch>,
    /// The sessions that were made for this account.
    pub sessions: Vec<SessionLink>,
    /// For a session: the sign-in that it belongs to.
    pub anchor: Option<SessionAnchor>,
    /// Rows that we do not understand, by section and name.
    pub residue: BTreeMap<String, SecretJson>,
}

impl Partition {
    /// An empty partition.
    #[must_use]
    pub fn new(key: PartitionKey) -> Self {
        Self {
            key,
            accounts: Vec::new(),
            id_tokens: Vec::new(),
            access_tokens: Vec::new(),
            refresh_tokens: Vec::new(),
            app_metadata: Vec::new(),
            epochs: Vec::new(),
            sessions: Vec::new(),
            anchor: None,
            residue: BTreeMap::new(),
        }
    }

    /// Whether it lists sessions and holds nothing else that would be missed.
    pub(crate) fn has_only_sessions(&self) -> bool {
        !self.sessions.is_empty()
            && self.accounts.is_empty()
            && self.id_tokens.is_empty()
            && self.access_tokens.is_empty()
            && self.refresh_tokens.is_empty()
            && self.residue.is_empty()
    }

    /// Whether nothing is left that would be missed if the record were deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
            && self.id_tokens.is_empty()
            && self.access_tokens.is_empty()
            && self.refresh_tokens.is_empty()
            && self.sessions.is_empty()
            && self.residue.is_empty()
            // Elsewhere it says nothing without the rows of its client; in the residue it is a row that somebody imported.
            && (self.key != PartitionKey::Residue || self.app_metadata.is_empty())
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("kind", &self.key.record_kind())
            .field("accounts", &self.accounts.len())
            .field("id_tokens", &self.id_tokens.len())
            .field("access_tokens", &self.access_tokens.len())
            .field("refresh_tokens", &self.refresh_tokens.len())
            .finish_non_exhaustive()
    }
}

/// The current sign-in of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientEpoch {
    /// The client.
    pub client_id: String,
    /// 128 random bits, new at each first sign-in.
    pub epoch: [u8; 16],
}

/// A session that acts for the account of a user partition.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionLink {
    /// The canonical bytes of the session's [`PartitionKey`].
    pub key: Vec<u8>,
    /// When the link, and the session, may be forgotten.
    pub expires_at: UnixMillis,
}

/// The sign-in that a session belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionAnchor {
    /// The canonical bytes of the user's [`PartitionKey`].
    pub user: Vec<u8>,
    /// The epoch of the client there when the session was made.
    pub epoch: [u8; 16],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_never_collide() {
        let authority = AuthorityIdentity::of_issuer("https://a.example/x,y:z");
        let user = |id: &str| PartitionKey::User {
            authority: authority.clone(),
            home_account_id: id.into(),
        };
        let app = |resource: Option<&str>| PartitionKey::App {
            client_id: "c".into(),
            authority: authority.clone(),
            tenant: String::new(),
            resource: resource.map(str::to_owned),
            components: [("a".to_owned(), "1".to_owned())].into(),
        };
        let session = |key| PartitionKey::Session {
            client_id: "c".into(),
            authority: authority.clone(),
            key,
        };
        let keys = [
            user("1:a,"),
            user("1:a"),
            app(None),
            app(Some("")),
            app(Some("r")),
            session(SessionKey::CallerKey("k".into())),
            session(SessionKey::WebSession("k".into())),
            session(SessionKey::AssertionHash([7; 32])),
            PartitionKey::Residue,
        ];
        for (index, key) in keys.iter().enumerate() {
            let bytes = key.to_bytes();
            assert_eq!(PartitionKey::from_bytes(&bytes).as_ref(), Some(key));
            assert!(keys[..index].iter().all(|other| other.to_bytes() != bytes));
        }
        assert_eq!(PartitionKey::from_bytes(b"4:user,"), None);
        assert_eq!(PartitionKey::from_bytes(b"07:residue,"), None);
        assert_eq!(PartitionKey::from_bytes(b"99999999999:residue,"), None);
    }
}
