//! What is remembered of a record, to tell what its next change was: names, times and hashes.

use quick_cache::Weighter;

use super::event::AccountName;
use crate::schema::{AuthorityIdentity, Partition, PartitionKey, RefreshToken};
use crate::seal::{Incarnation, KeyId};
use crate::secret::Secret;
use crate::store::{StoreKey, Version};
use crate::time::{UnixMillis, UnixSeconds};

/// A record as it was seen last.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) version: Version,
    /// What was in it; `None` for records that are not looked into, or cannot be.
    pub(super) contents: Option<Contents>,
}

/// A partition as it was seen last.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) incarnation: Incarnation,
    pub(super) generation: u64,
    /// The key that it is sealed under.
    pub(super) key_id: Option<KeyId>,
    pub(super) rows: Rows,
}

/// The rows of a partition, without what is secret in them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) whose: Whose,
    /// The clients that have tokens or a sign-in.
    pub(super) clients: Vec<ClientRow>,
    pub(super) refresh_tokens: Vec<RefreshRow>,
    pub(super) access_tokens: Vec<AccessRow>,
}

/// Which partition it is. Not its key: that of a session is as good as the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    User(AccountName),
    App {
        client_id: String,
        authority: AuthorityIdentity,
        tenant: String,
    },
    Session {
        client_id: String,
        account: Option<AccountName>,
        /// The sign-in that it belongs to.
        anchor: Option<[u8; 16]>,
    },
    Residue,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientRow {
    pub(super) client_id: String,
    /// Its sign-in, if it has one.
    pub(super) epoch: Option<[u8; 16]>,
    pub(super) has_tokens: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefreshRow {
    pub(super) client_id: String,
    pub(super) hash: Hash,
    pub(super) marker: Option<Marker>,
    /// The newest.
    pub(super) refusal: Option<RefusalRow>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) attempt: [u8; 16],
    pub(super) deadline: UnixMillis,
    pub(super) outcome_unknown: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusalRow {
    pub(super) error: String,
    pub(super) suberror: Option<String>,
    pub(super) refused_at: UnixSeconds,
    pub(super) token_is_dead: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccessRow {
    pub(super) client_id: String,
    pub(super) hash: Hash,
    pub(super) scopes: usize,
    pub(super) cached_at: UnixSeconds,
    pub(super) expires_on: UnixSeconds,
}

/// The first half of a token's SHA-256.
pub(super) type Hash = [u8; 16];

impl Rows {
    /// What is remembered of `partition`.
    pub(super) fn of(partition: &Partition) -> Self {
        let access_tokens = partition.access_tokens.iter().map(|row| AccessRow {
            client_id: row.client_id.clone(),
            hash: hash_of(&row.secret),
            scopes: row.target.words().count(),
            cached_at: row.cached_at,
            expires_on: row.expires_on,
        });
        Self {
            whose: Whose::of(partition),
            clients: clients_of(partition),
            refresh_tokens: partition.refresh_tokens.iter().map(RefreshRow::of).collect(),
            access_tokens: access_tokens.collect(),
        }
    }

    /// A partition of the same user, application or session, with nothing in it.
    pub(super) fn empty(whose: Whose) -> Self {
        Self {
            whose,
            clients: Vec::new(),
            refresh_tokens: Vec::new(),
            access_tokens: Vec::new(),
        }
    }

    pub(super) fn client(&self, client_id: &str) -> Option<&ClientRow> {
        self.clients.iter().find(|row| row.client_id == client_id)
    }

    /// The account that the rows are of.
    pub(super) fn account(&self) -> Option<&AccountName> {
        match &self.whose {
            Whose::User(account) => Some(account),
            Whose::Session { account, .. } => account.as_ref(),
            Whose::App { .. } | Whose::Residue => None,
        }
    }

    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        let whose = match &self.whose {
            Whose::User(account) => account.bytes(),
            Whose::App {
                client_id, tenant, ..
            } => 64 + client_id.len() + tenant.len(),
            Whose::Session {
                client_id, account, ..
            } => client_id.len() + account.as_ref().map_or(0, AccountName::bytes),
            Whose::Residue => 0,
        };
        let clients = self.clients.iter().map(|row| 48 + row.client_id.len());
        let refresh_tokens = self.refresh_tokens.iter().map(|row| 192 + row.client_id.len());
        let access_tokens = self.access_tokens.iter().map(|row| 72 + row.client_id.len());
        whose + clients.chain(refresh_tokens).chain(access_tokens).sum::<usize>()
    }
}

impl Whose {
    fn of(partition: &Partition) -> Self {
        let account = partition.accounts.first().map(|row| AccountName {
            home_account_id: row.home_account_id.clone(),
            username: row.username.clone(),
            environment: row.environment.clone(),
        });
        match &partition.key {
            PartitionKey::User { home_account_id, .. } => {
                Self::User(account.unwrap_or_else(|| AccountName {
                    home_account_id: home_account_id.clone(),
                    username: String::new(),
                    environment: String::new(),
                }))
            }
            PartitionKey::App {
                client_id,
                authority,
                tenant,
                ..
            } => Self::App {
                client_id: client_id.clone(),
                authority: authority.clone(),
                tenant: tenant.clone(),
            },
            PartitionKey::Session { client_id, .. } => Self::Session {
                client_id: client_id.clone(),
                account,
                anchor: partition.anchor.as_ref().map(|anchor| anchor.epoch),
            },
            PartitionKey::Residue => Self::Residue,
        }
    }
}

impl RefreshRow {
    fn of(row: &RefreshToken) -> Self {
        Self {
            client_id: row.client_id.clone(),
            hash: hash_of(&row.secret),
            marker: row.spending.as_ref().map(|marker| Marker {
                attempt: marker.attempt,
                deadline: marker.deadline,
                outcome_unknown: marker.outcome_unknown,
            }),
            refusal: row.refusals.last().map(|refusal| RefusalRow {
                error: refusal.error.clone(),
                suberror: refusal.suberror.clone(),
                refused_at: refusal.refused_at,
                token_is_dead: refusal.request.is_none(),
            }),
        }
    }
}

/// Weighs what is remembered, so that it is bounded in bytes.
#[derive(Clone, Debug)]
pub(super) struct BytesOfSeen;

impl Weighter<StoreKey, Seen> for BytesOfSeen {
    fn weight(&self, key: &StoreKey, seen: &Seen) -> u64 {
        let rows = seen.contents.as_ref().map_or(0, |contents| contents.rows.bytes());
        (256 + key.as_str().len() + rows) as u64
    }
}

fn clients_of(partition: &Partition) -> Vec<ClientRow> {
    let refresh_tokens = partition.refresh_tokens.iter().map(|row| &row.client_id);
    let access_tokens = partition.access_tokens.iter().map(|row| &row.client_id);
    let id_tokens = partition.id_tokens.iter().map(|row| &row.client_id);
    let mut clients: Vec<ClientRow> = Vec::new();
    for client_id in refresh_tokens.chain(access_tokens).chain(id_tokens) {
        if clients.iter().all(|row| row.client_id != *client_id) {
            clients.push(ClientRow {
                client_id: client_id.clone(),
                epoch: None,
                has_tokens: true,
            });
        }
    }
    for known in &partition.epochs {
        match clients.iter_mut().find(|row| row.client_id == known.client_id) {
            Some(row) => row.epoch = Some(known.epoch),
            None => clients.push(ClientRow {
                client_id: known.client_id.clone(),
                epoch: Some(known.epoch),
                has_tokens: false,
            }),
        }
    }
    clients
}

fn hash_of(secret: &Secret) -> Hash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&secret.sha256()[..16]);
    hash
}
