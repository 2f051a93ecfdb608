//! What is in the store, for people who look after it. Never a secret.

use std::sync::Arc;

use futures_util::StreamExt;

use super::{CacheError, Inner};
use crate::schema::Partition;
use crate::seal::{FormatError, HeaderInfo, RecordKind, peek_header};
use crate::store::error::ErrorKind;
use crate::store::{Store, StoreKey, Version};
use crate::time::{UnixMillis, UnixSeconds};

/// A record of the cache's namespace.
#[derive(Debug)]
pub struct RecordInfo {
    /// Its name in the store.
    pub key: StoreKey,
    /// What the name says that it holds; `None` for a name that is not one of ours.
    pub kind: Option<RecordKind>,
    /// Its version.
    pub version: Version,
    /// When the store forgets it.
    pub expires_at: Option<UnixMillis>,
    /// Its length, in bytes; 0 where the store itself cannot read it.
    pub bytes: usize,
    /// What its header claims; nothing of it is authenticated.
    pub header: Result<HeaderInfo, FormatError>,
    /// What is in it, for partitions.
    pub contents: Option<Result<Contents, CacheError>>,
}

/// What is in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// User names of its accounts. Personal data: show them only when asked to.
    pub usernames: Vec<String>,
    /// The hosts that issued its rows.
    pub environments: Vec<String>,
    /// How many accounts.
    pub accounts: usize,
    /// How many ID tokens.
    pub id_tokens: usize,
    /// How many access tokens.
    pub access_tokens: usize,
    /// How many refresh tokens.
    pub refresh_tokens: usize,
    /// How many rows of application metadata.
    pub app_metadata: usize,
    /// How many rows are kept for other programs without being understood.
    pub residue: usize,
    /// When its longest-lived access token expires.
    pub access_tokens_expire_on: Option<UnixSeconds>,
    /// How many refresh tokens are being spent, or were with an unknown outcome.
    pub spending: usize,
    /// How many refresh tokens the authority has refused for good.
    pub refused: usize,
}

impl Inner {
    pub(crate) async fn inspect(self: &Arc<Self>) -> Result<Vec<RecordInfo>, CacheError> {
        let namespace = self.sealer.namespace().clone();
        let prefix = namespace.prefix();
        let mut found = Vec::new();
        let mut keys = self.store.scan(&prefix);
        while let Some(item) = keys.next().await {
            let (key, version) = item?;
            let known = self.rollback.before_read(&key);
            let kind = RecordKind::of(&namespace, &key);
            let record = match self.store.get(&key).await {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    found.push(RecordInfo {
                        kind,
                        version,
                        expires_at: None,
                        bytes: 0,
                        header: Err(FormatError::NoMagic),
                        contents: Some(Err(error.into())),
                        key,
                    });
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let contents = match kind {
                Some(
                    kind @ (RecordKind::User | RecordKind::App | RecordKind::Session | RecordKind::Residue),
                ) => {
                    let opened = self.open(&key, &record, kind, known).await;
                    Some(opened.map(|loaded| Contents::of(&loaded.partition)))
                }
                _ => None,
            };
            found.push(RecordInfo {
                kind,
                version: record.version,
                expires_at: record.expires_at,
                bytes: record.payload.len(),
                header: peek_header(&record.payload),
                contents,
                key,
            });
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }
}

impl Contents {
    fn of(partition: &Partition) -> Self {
        let mut environments: Vec<_> = partition
            .accounts
            .iter()
            .map(|row| &row.environment)
            .chain(partition.access_tokens.iter().map(|row| &row.environment))
            .chain(partition.refresh_tokens.iter().map(|row| &row.environment))
            .cloned()
            .collect();
        environments.sort_unstable();
        environments.dedup();
        Self {
            usernames: partition
                .accounts
                .iter()
                .map(|row| row.username.clone())
                .collect(),
            environments,
            accounts: partition.accounts.len(),
            id_tokens: partition.id_tokens.len(),
            access_tokens: partition.access_tokens.len(),
            refresh_tokens: partition.refresh_tokens.len(),
            app_metadata: partition.app_metadata.len(),
            residue: partition.residue.values().map(|rows| rows.expose().len()).sum(),
            access_tokens_expire_on: partition.access_tokens.iter().map(|row| row.expires_on).max(),
            spending: partition
                .refresh_tokens
                .iter()
                .filter(|row| row.spending.is_some())
                .count(),
            refused: partition
                .refresh_tokens
                .iter()
                .filter(|row| row.is_dead())
                .count(),
        }
    }
}
