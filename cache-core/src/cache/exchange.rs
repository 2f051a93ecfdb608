//! Import and export of MSAL cache files.

use std::sync::Arc;

use super::commit::{Earlier, Verdict};
use super::new_epochs::NewEpochs;
use super::{CacheError, Inner};
use crate::codec::msal::{self, RowOrigin, UnreadRow};
use crate::schema::merge::{self, Met};
use crate::schema::{AuthorityIdentity, Partition};
use crate::seal::RecordKind;
use crate::secret::SecretBytes;
use crate::store::{Durability, StoreKey};

/// What an import brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Accounts in the file.
    pub accounts: usize,
    /// ID tokens in the file.
    pub id_tokens: usize,
    /// Access tokens in the file.
    pub access_tokens: usize,
    /// Refresh tokens in the file.
    pub refresh_tokens: usize,
    /// Rows of application metadata in the file.
    pub app_metadata: usize,
    /// How many partitions were written.
    pub partitions: usize,
    /// Rows that are kept for their owner but serve nobody, and why.
    pub unread: Vec<UnreadRow>,
}

/// A cache file and what is not in it.
#[derive(Debug)]
pub struct Export {
    /// The file: MSAL unified JSON, in clear.
    pub json: SecretBytes,
    /// Records that could not be read and are therefore missing. They are kept as they are.
    pub unreadable: Vec<(StoreKey, CacheError)>,
}

impl Inner {
    pub(crate) async fn import(
        self: &Arc<Self>,
        json: &[u8],
        identify: &(dyn Fn(&RowOrigin<'_>) -> AuthorityIdentity + Send + Sync),
    ) -> Result<ImportReport, CacheError> {
        let mut file = msal::read(json)?;
        file.clamp_future(self.clock.now().to_seconds());
        let mut report = ImportReport {
            accounts: file.accounts.len(),
            id_tokens: file.id_tokens.len(),
            access_tokens: file.access_tokens.len(),
            refresh_tokens: file.refresh_tokens.len(),
            app_metadata: file.app_metadata.len(),
            partitions: 0,
            unread: std::mem::take(&mut file.unread),
        };
        let partitions = msal::into_partitions(file, identify);
        report.partitions = partitions.len();
        for imported in partitions {
            let key = imported.key.clone();
            let mut epochs = NewEpochs::draw(&*self.random)?;
            let mut met = Met::default();
            self.commit_knowing(&key, Durability::Durable, move |existing, earlier| {
                let mut merged = existing.unwrap_or_else(|| Partition::new(imported.key.clone()));
                let mut imported = imported.clone();
                match earlier {
                    Earlier::NotStored => {
                        met = Met::default();
                        met.note_all(&merged);
                    }
                    // What an earlier run stored may have been refreshed, or signed out.
                    Earlier::MayBeStored => met.drop_outdated(&mut imported, &merged),
                }
                msal::merge_import(&mut merged, imported);
                epochs.begin_run();
                merge::add_epochs(&mut merged, |client_id| epochs.of(client_id));
                let verdict = if merged.is_empty() {
                    Verdict::Keep(None)
                } else {
                    Verdict::Store(merged)
                };
                (verdict, ())
            })
            .await?;
            self.relist(&key).await;
        }
        Ok(report)
    }

    pub(crate) async fn export(&self) -> Result<Export, CacheError> {
        let mut partitions = Vec::new();
        let mut unreadable = Vec::new();
        // Sessions stay: their keys are secrets of their callers and have no place in the file.
        for kind in [RecordKind::User, RecordKind::App, RecordKind::Residue] {
            self.for_each_partition(kind, |stored_key, result| match result {
                Ok(partition) => partitions.push(partition),
                Err(error) => unreadable.push((stored_key, error)),
            })
            .await?;
        }
        // The store lists records in the order of blinded names; the same cache should give the same file.
        partitions.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Export {
            json: msal::write(&msal::from_partitions(&partitions)),
            unreadable,
        })
    }
}
