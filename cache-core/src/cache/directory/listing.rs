//! Reading the directory.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::entry::{DirectoryEntry, Position};
use super::pages::ReadPage;
use super::query::{DirectoryCursor, DirectoryPage, DirectoryQuery};
use super::queue::{Job, Task};
use super::record::{Body, Page, Place};
use crate::cache::{CacheError, Inner};
use crate::schema::PartitionKey;
use crate::seal::SealError;
use crate::store::{Durability, StoreKey};

/// How many pages one call reads before it hands out what it has.
const MOST_PAGES: usize = 64;
/// How many partitions are compared at once.
const AT_ONCE: usize = 8;

/// A walk through the leaves in the order of the positions.
pub(super) struct Walk {
    /// What is left, the next last.
    left: Vec<Place>,
    after: Option<Position>,
}

/// What a walk met.
pub(super) enum Met {
    /// A leaf and its entries beyond where the walk began.
    Leaf(Place, Vec<DirectoryEntry>),
    Inner(Place),
    Unreadable(Place, StoreKey, CacheError),
}

impl Walk {
    /// Through everything after a position.
    pub(super) fn after(after: Option<Position>) -> Self {
        Self {
            left: vec![Place::ROOT],
            after,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    /// The next page, or `None` at the end.
    pub(super) async fn next(&mut self, inner: &Inner) -> Result<Option<Met>, CacheError> {
        while let Some(place) = self.left.pop() {
            if self.after.is_some_and(|after| place.last() <= after) {
                continue;
            }
            let body = match inner.read_page(&place).await {
                Ok(Some(ReadPage {
                    page: Page { body, .. },
                    ..
                })) => body,
                Ok(None) => continue,
                Err(error) if is_of_the_record(&error) => {
                    let key = inner.page_key(&place);
                    return Ok(Some(Met::Unreadable(place, key, error)));
                }
                Err(error) => return Err(error),
            };
            return Ok(Some(match body {
                Body::Inner(children) => {
                    let children = children.iter().enumerate().rev();
                    self.left
                        .extend(children.map(|(digit, id)| place.child(digit, *id)));
                    Met::Inner(place)
                }
                Body::Leaf(mut entries) => {
                    entries.retain(|entry| self.after.is_none_or(|after| entry.position > after));
                    Met::Leaf(place, entries)
                }
            }));
        }
        Ok(None)
    }
}

/// Whether the record is at fault, and other records may be read all the same.
pub(super) fn is_of_the_record(error: &CacheError) -> bool {
    match error {
        CacheError::Seal(error) => !matches!(**error, SealError::Store(_)),
        CacheError::Codec(_) | CacheError::WrongPartition { .. } | CacheError::UnknownCodec { .. } => true,
        _ => false,
    }
}

impl Inner {
    pub(super) async fn list_directory(
        self: &Arc<Self>,
        query: &DirectoryQuery,
    ) -> Result<DirectoryPage, CacheError> {
        let mut page = DirectoryPage::default();
        let now = self.clock.now().to_seconds();
        let mut walk = Walk::after(query.after.map(|cursor| cursor.0));
        let mut pages = 0;
        while let Some(met) = walk.next(self).await? {
            pages += 1;
            let end = match met {
                Met::Inner(_) => continue,
                Met::Unreadable(place, key, error) => {
                    page.unreadable.push((key, error));
                    place.last()
                }
                Met::Leaf(place, entries) => {
                    let mut matching = entries
                        .into_iter()
                        .filter(|entry| query.matches(entry, now))
                        .peekable();
                    let room = query.limit - page.entries.len();
                    page.entries.extend(matching.by_ref().take(room));
                    if matching.peek().is_some() {
                        page.next = page.entries.last().map(|entry| DirectoryCursor(entry.position));
                        break;
                    }
                    place.last()
                }
            };
            if (page.entries.len() >= query.limit || pages >= MOST_PAGES) && !walk.is_at_end() {
                page.next = Some(DirectoryCursor(end));
                break;
            }
        }
        if query.is_verified {
            page.entries = self.verified(page.entries).await?;
            page.entries.retain(|entry| query.matches(entry, now));
        }
        Ok(page)
    }

    pub(super) async fn directory_entry(
        &self,
        key: &PartitionKey,
    ) -> Result<Option<DirectoryEntry>, CacheError> {
        let position = self.position(key);
        let mut place = Place::ROOT;
        while let Some(read) = self.read_page(&place).await? {
            match read.page.body {
                Body::Inner(children) => {
                    let digit = position.digit(place.depth);
                    place = place.child(digit, children[digit]);
                }
                Body::Leaf(entries) => {
                    return Ok(entries.into_iter().find(|entry| entry.position == position));
                }
            }
        }
        Ok(None)
    }

    /// Those that are still there, with the clients that are; the others are taken off in the background.
    async fn verified(
        self: &Arc<Self>,
        entries: Vec<DirectoryEntry>,
    ) -> Result<Vec<DirectoryEntry>, CacheError> {
        let compared = stream::iter(entries).map(|mut entry| async move {
            let listed = match self.listed(&entry.partition).await {
                Ok(listed) => listed,
                // A partition that cannot be opened is there.
                Err(error) if is_of_the_record(&error) => return Ok(Some(entry)),
                Err(error) => return Err(error),
            };
            let before = entry.clients.len();
            let clients = listed.iter().flat_map(|listed| &listed.clients);
            let there: Vec<_> = clients.map(|client| client.0.as_str()).collect();
            entry
                .clients
                .retain(|client| there.contains(&client.client_id.as_str()));
            if entry.clients.len() < before {
                self.enter_later(Job {
                    key: entry.partition.clone(),
                    task: Task::Recheck,
                    durability: Durability::Relaxed,
                    reminder: None,
                    done: None,
                });
            }
            Ok(Some(entry).filter(|entry| !entry.clients.is_empty()))
        });
        let compared: Vec<Result<Option<_>, _>> = compared.buffered(AT_ONCE).collect().await;
        compared.into_iter().filter_map(Result::transpose).collect()
    }
}
