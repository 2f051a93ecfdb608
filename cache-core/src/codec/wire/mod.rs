//! The layout of codec 1: positional structs whose field order *is* the format.
//!
//! Schema version 1 is frozen. A change of any struct here, be it a renamed variant or a moved field, is a new
//! schema version with structs of its own; the golden vectors in `tests/golden` notice. The structs borrow in
//! both directions, so secrets are copied once, straight into their wiping types.

mod json;
mod parts;
mod rows;
mod state;

pub(crate) use parts::{WireParts, WireTail, WireToken, decode_foreign};
pub(super) use rows::{WireAccessToken, WireAccount, WireAppMetadata, WireIdToken, WireRefreshToken};

use std::collections::BTreeMap;

use bincode::{BorrowDecode, Encode};

use self::json::WireJson;
use crate::schema::{ClientEpoch, Partition, PartitionKey, SessionAnchor, SessionLink};
use crate::time::UnixMillis;

/// What is wrong with a wire struct that has the right layout; it never shows a value.
pub(super) type Reason = &'static str;

const NOT_CANONICAL: Reason = "the partition key is not canonical";

/// A whole partition.
#[derive(Encode, BorrowDecode)]
pub(super) struct WirePartition<'a> {
    key: &'a [u8],
    accounts: Vec<WireAccount<'a>>,
    id_tokens: Vec<WireIdToken<'a>>,
    access_tokens: Vec<WireAccessToken<'a>>,
    refresh_tokens: Vec<WireRefreshToken<'a>>,
    app_metadata: Vec<WireAppMetadata<'a>>,
    epochs: Vec<(&'a str, [u8; 16])>,
    sessions: Vec<(&'a [u8], i64)>,
    anchor: Option<(&'a [u8], [u8; 16])>,
    residue: Vec<(&'a str, WireJson<'a>)>,
}

impl<'a> WirePartition<'a> {
    /// A view of `partition`, whose canonical key is `key`.
    pub(super) fn new(key: &'a [u8], partition: &'a Partition) -> Self {
        Self {
            key,
            accounts: partition.accounts.iter().map(Into::into).collect(),
            id_tokens: partition.id_tokens.iter().map(Into::into).collect(),
            access_tokens: partition.access_tokens.iter().map(Into::into).collect(),
            refresh_tokens: partition.refresh_tokens.iter().map(Into::into).collect(),
            app_metadata: partition.app_metadata.iter().map(Into::into).collect(),
            epochs: partition
                .epochs
                .iter()
                .map(|epoch| (epoch.client_id.as_str(), epoch.epoch))
                .collect(),
            sessions: partition
                .sessions
                .iter()
                .map(|link| (link.key.as_slice(), link.expires_at.0))
                .collect(),
            anchor: partition
                .anchor
                .as_ref()
                .map(|anchor| (anchor.user.as_slice(), anchor.epoch)),
            residue: partition
                .residue
                .iter()
                .map(|(section, rows)| (section.as_str(), rows.into()))
                .collect(),
        }
    }

    pub(super) fn into_partition(self) -> Result<Partition, Reason> {
        let key = PartitionKey::from_bytes(self.key).ok_or(NOT_CANONICAL)?;
        Ok(Partition {
            key,
            accounts: rows(self.accounts)?,
            id_tokens: rows(self.id_tokens)?,
            access_tokens: rows(self.access_tokens)?,
            refresh_tokens: rows(self.refresh_tokens)?,
            app_metadata: rows(self.app_metadata)?,
            epochs: self
                .epochs
                .into_iter()
                .map(|(client_id, epoch)| ClientEpoch {
                    client_id: client_id.to_owned(),
                    epoch,
                })
                .collect(),
            sessions: self
                .sessions
                .into_iter()
                .map(|(key, expires_at)| SessionLink {
                    key: key.to_owned(),
                    expires_at: UnixMillis(expires_at),
                })
                .collect(),
            anchor: self.anchor.map(|(user, epoch)| SessionAnchor {
                user: user.to_owned(),
                epoch,
            }),
            residue: map(self.residue, TryInto::try_into)?,
        })
    }
}

fn rows<W: TryInto<R, Error = Reason>, R>(rows: Vec<W>) -> Result<Vec<R>, Reason> {
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A map from its sorted entries. Any other order would be a second encoding of the same partition.
fn map<V, T>(
    entries: Vec<(&str, V)>,
    value: impl Fn(V) -> Result<T, Reason>,
) -> Result<BTreeMap<String, T>, Reason> {
    if !entries.is_sorted_by(|a, b| a.0 < b.0) {
        return Err("the entries of a map are not sorted");
    }
    entries
        .into_iter()
        .map(|(name, entry)| Ok((name.to_owned(), value(entry)?)))
        .collect()
}
