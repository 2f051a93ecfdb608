//! Comparing the whole directory with the partitions.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future};

use super::change::Change;
use super::keeping::listed_of;
use super::listing::{Met, Walk, is_of_the_record};
use super::queue::Task;
use crate::cache::{CacheError, Inner};
use crate::schema::PartitionKey;
use crate::seal::RecordKind;
use crate::store::{Durability, Store, StoreKey};

/// How many accounts are compared together.
const TOGETHER: usize = 64;
/// How old a page that nobody can reach must be: one that is younger may be part of a split that is under way.
const UNREACHED: Duration = Duration::from_secs(3600);

/// What [`Directory::rebuild`](super::Directory::rebuild) found and did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RebuildReport {
    /// How many accounts there are.
    pub accounts: u64,
    /// How many of them were missing from the directory, or listed with other clients or names than they have.
    pub entered: u64,
    /// How many entries were of accounts that are gone.
    pub removed: u64,
    /// How many pages were removed that a crash had left and nobody could reach.
    pub pages_removed: u64,
    /// Partitions and pages that cannot be opened. They are kept as they are; [`TokenCache::quarantine`](crate::cache::TokenCache::quarantine) moves
    /// them aside, and another rebuild then makes their pages anew.
    pub unreadable: Vec<(StoreKey, CacheError)>,
}

impl Inner {
    pub(crate) async fn rebuild_directory(self: &Arc<Self>) -> Result<RebuildReport, CacheError> {
        let mut report = RebuildReport::default();
        // Before the walk: a page that is made after it is not among these.
        let pages = self.keys_of(RecordKind::Directory).await?;
        self.enter_missing(&mut report).await?;
        let Some(reached) = self.remove_dangling(&mut report).await? else {
            // What lies beneath a page that cannot be read is not lost yet.
            return Ok(report);
        };
        for key in pages.into_iter().filter(|key| !reached.contains(key)) {
            self.remove_unreached(&key, &mut report).await?;
        }
        Ok(report)
    }

    async fn enter_missing(self: &Arc<Self>, report: &mut RebuildReport) -> Result<(), CacheError> {
        let keys = self.keys_of(RecordKind::User).await?;
        for keys in keys.chunks(TOGETHER) {
            let mut entering = Vec::new();
            for stored_key in keys {
                let known = self.rollback.before_read(stored_key);
                let Some(record) = self.store.get(stored_key).await? else {
                    continue;
                };
                let partition = match self.open(stored_key, &record, RecordKind::User, known).await {
                    Ok(loaded) => loaded.partition,
                    Err(error) if is_of_the_record(&error) => {
                        report.unreadable.push((stored_key.clone(), error));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let Some(listed) = listed_of(&partition, self.clock.now().to_seconds()) else {
                    continue;
                };
                report.accounts += 1;
                let key = partition.key;
                entering.push(async move {
                    let task = Task::Change(Change::Is(Some(listed)));
                    let entered = self.enter(&key, task, Durability::Relaxed).await;
                    match entered {
                        // It may have been signed out since it was read.
                        Ok(effect) if effect.is_changed => {
                            self.enter(&key, Task::Recheck, Durability::Relaxed).await?;
                            Ok(true)
                        }
                        Ok(_) => Ok(false),
                        Err(error) => Err(error),
                    }
                });
            }
            for entered in future::join_all(entering).await {
                match entered {
                    Ok(is_new) => report.entered += u64::from(is_new),
                    // The page is reported by the walk.
                    Err(error) if is_of_the_record(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Takes off whatever is gone, and gives the pages that can be reached; `None` where one of them cannot be read.
    async fn remove_dangling(
        self: &Arc<Self>,
        report: &mut RebuildReport,
    ) -> Result<Option<HashSet<StoreKey>>, CacheError> {
        let mut reached = HashSet::new();
        let mut is_whole = true;
        let mut walk = Walk::after(None);
        while let Some(met) = walk.next(self).await? {
            let (place, entries) = match met {
                Met::Inner(place) => (place, Vec::new()),
                Met::Leaf(place, entries) => (place, entries),
                Met::Unreadable(place, key, error) => {
                    is_whole = false;
                    report.unreadable.push((key, error));
                    (place, Vec::new())
                }
            };
            reached.insert(self.page_key(&place));
            for entry in entries {
                report.removed += u64::from(self.remove_if_gone(&entry.partition).await?);
            }
        }
        Ok(is_whole.then_some(reached))
    }

    async fn remove_if_gone(self: &Arc<Self>, key: &PartitionKey) -> Result<bool, CacheError> {
        match self.listed(key).await {
            Ok(Some(_)) => Ok(false),
            Ok(None) => {
                self.enter(key, Task::Recheck, Durability::Relaxed).await?;
                Ok(true)
            }
            // It was reported when the partitions were read.
            Err(error) if is_of_the_record(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn remove_unreached(&self, key: &StoreKey, report: &mut RebuildReport) -> Result<(), CacheError> {
        let Some(version) = self.store.head(key).await? else {
            return Ok(());
        };
        let page = match self.read_page_at(key).await {
            Ok(Some(read)) => read.page,
            Ok(None) => return Ok(()),
            Err(error) if is_of_the_record(&error) => {
                report.unreadable.push((key.clone(), error));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if self.clock.now().duration_since(page.created_at) < UNREACHED {
            return Ok(());
        }
        match self.store.delete(key, Some(version)).await {
            Ok(()) => report.pages_removed += 1,
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Collected first, because a scan may not be held open across writes.
    async fn keys_of(&self, kind: RecordKind) -> Result<Vec<StoreKey>, CacheError> {
        let prefix = format!("{}{}/", self.sealer.namespace().prefix(), kind.tag());
        let keys = self.store.scan(&prefix).map(|found| found.map(|found| found.0));
        Ok(keys.try_collect().await?)
    }
}
