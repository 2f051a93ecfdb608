//! Pages in the store: read, changed by compare-and-swap, and split.
//!
//! A split writes the children first, under names that nobody knows, and then the parent that names them. A crash or a concurrent change between
//! the two leaves pages that nobody can reach, never a page that says something wrong.

use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::change::{Effect, Note};
use super::entry::DirectoryEntry;
use super::record::{Body, DEEPEST, FAN_OUT, MOST_BYTES, MOST_ENTRIES, Page, Place, SCHEMA, malformed};
use crate::cache::{CacheError, Inner};
use crate::codec::CodecError;
use crate::random::{jitter, random_bytes};
use crate::seal::{Freshness, Incarnation, RecordKind};
use crate::secret::SecretBytes;
use crate::store::error::Retry;
use crate::store::{Durability, PutMode, PutOptions, StoreError, StoreKey, Version};

/// How often a change of one page is tried before it is [`CacheError::Contended`].
const MAX_ATTEMPTS: u32 = 32;
const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// How many pages of one level are worked on at once.
const AT_ONCE: usize = 8;
/// What sealing adds to a page, and room for more in later formats.
const OVERHEAD: usize = 256;

/// A page as it was read.
pub(super) struct ReadPage {
    pub(super) page: Page,
    origin: Origin,
}

/// What the next write of a page replaces and continues.
#[derive(Clone, Copy)]
struct Origin {
    version: Version,
    /// `None` where it must begin anew.
    lineage: Option<(Incarnation, u64)>,
}

/// What became of the write of a page.
enum Written {
    Done,
    /// Somebody else was faster, and certainly nothing was written.
    Conflict,
    /// Perhaps it was written, or is yet to be.
    Unknown,
}

impl Inner {
    pub(super) fn page_key(&self, place: &Place) -> StoreKey {
        self.sealer
            .stored_key(RecordKind::Directory, &place.logical_key())
    }

    /// The page, or `None` where there is none, which is as good as an empty one.
    pub(super) async fn read_page(&self, place: &Place) -> Result<Option<ReadPage>, CacheError> {
        let stored_key = self.page_key(place);
        let read = self.read_page_at(&stored_key).await?;
        if read.as_ref().is_some_and(|read| read.page.place != *place) {
            return Err(CacheError::WrongPartition {
                key: stored_key.to_string(),
            });
        }
        Ok(read)
    }

    pub(super) async fn read_page_at(&self, stored_key: &StoreKey) -> Result<Option<ReadPage>, CacheError> {
        let mut before = None;
        loop {
            let known = self.rollback.before_read(stored_key);
            let Some(record) = self.store.get(stored_key).await? else {
                return Ok(None);
            };
            let opened = self
                .sealer
                .open_or_reload(RecordKind::Directory, stored_key, &record.payload)
                .await;
            let opened = match opened {
                // Between the read and the opening it may have been resealed and the key that it was under retired.
                Err(error) if error.is_unknown_key() && before != Some(record.version) => {
                    before = Some(record.version);
                    continue;
                }
                opened => opened?,
            };
            let meta = opened.meta;
            let freshness = self.rollback.check(stored_key, known, &meta)?;
            if meta.schema > SCHEMA {
                let (found, known) = (meta.schema, SCHEMA);
                return Err(CodecError::NewerSchema { found, known }.into());
            }
            let page = Page::decode(opened.payload.expose())?;
            if self.page_key(&page.place) != *stored_key {
                return Err(CacheError::WrongPartition {
                    key: stored_key.to_string(),
                });
            }
            let origin = Origin {
                version: record.version,
                // Where the policy lets an older page pass it does no harm: it hints at what was so.
                lineage: (freshness == Freshness::Fresh).then_some((meta.incarnation, meta.generation)),
            };
            return Ok(Some(ReadPage { page, origin }));
        }
    }

    /// Makes the changes, which are in the order of their positions and all lie within `place`, and notes what became of each.
    pub(super) fn apply_notes<'a>(&'a self, place: Place, notes: &'a mut [Note]) -> BoxFuture<'a, ()> {
        async move {
            let children = match self.change_leaf(&place, notes).await {
                Ok(None) => return,
                Ok(Some(children)) => children,
                Err(error) => {
                    for note in notes {
                        note.outcome = Err(error.clone());
                    }
                    return;
                }
            };
            let mut groups = Vec::new();
            let mut rest = notes;
            while let Some(first) = rest.first() {
                let digit = first.position.digit(place.depth);
                let is_here = |note: &&Note| note.position.digit(place.depth) == digit;
                let length = rest.iter().take_while(is_here).count();
                let (group, tail) = rest.split_at_mut(length);
                groups.push(self.apply_notes(place.child(digit, children[digit]), group));
                rest = tail;
            }
            let at_once = if place.depth == 0 { AT_ONCE } else { 1 };
            stream::iter(groups)
                .buffer_unordered(at_once)
                .collect::<()>()
                .await;
        }
        .boxed()
    }

    /// Makes the changes if the page is a leaf; gives the names of its children if it is not.
    async fn change_leaf(
        &self,
        place: &Place,
        notes: &mut [Note],
    ) -> Result<Option<Box<[[u8; 16]; FAN_OUT]>>, CacheError> {
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                self.pause(attempt).await?;
            }
            let read = match self.read_page(place).await {
                // An open circuit refuses whatever is tried before it closes.
                Err(CacheError::Store(error))
                    if error.retry() != Retry::No
                        && !error.is_circuit_open()
                        && attempt + 1 < MAX_ATTEMPTS =>
                {
                    continue;
                }
                read => read?,
            };
            let (mut entries, created_at, origin) = match read {
                Some(ReadPage { page, origin }) => match page.body {
                    Body::Inner(children) => return Ok(Some(children)),
                    Body::Leaf(entries) => (entries, page.created_at, Some(origin)),
                },
                None => (Vec::new(), self.clock.now(), None),
            };
            let mut is_changed = false;
            let mut durability = Durability::Relaxed;
            for note in &mut *notes {
                let effect = note.apply(&mut entries);
                if effect.is_changed {
                    is_changed = true;
                    if note.durability == Durability::Durable {
                        durability = Durability::Durable;
                    }
                }
                note.outcome = Ok(effect);
            }
            if !is_changed {
                return Ok(None);
            }
            let page = Page {
                place: *place,
                created_at,
                body: Body::Leaf(entries),
            };
            if self.replace_leaf(page, origin, durability).await? {
                return Ok(None);
            }
        }
        metrics::counter!("tokenkeep_directory_contended_total").increment(1);
        Err(CacheError::Contended {
            attempts: MAX_ATTEMPTS,
        })
    }

    /// Writes a leaf, or what it is split into, in place of what was read. `false` when the page must be read again.
    async fn replace_leaf(
        &self,
        page: Page,
        origin: Option<Origin>,
        durability: Durability,
    ) -> Result<bool, CacheError> {
        let stored_key = self.page_key(&page.place);
        if matches!(&page.body, Body::Leaf(entries) if entries.is_empty()) {
            let Some(origin) = origin else { return Ok(true) };
            return match self.store.delete(&stored_key, Some(origin.version)).await {
                Ok(()) => Ok(true),
                Err(error) if again(&error) => Ok(false),
                Err(error) => Err(error.into()),
            };
        }
        let mut pages = Vec::new();
        self.arrange(page, &mut pages)?;
        // The page itself is the last: its children come before it.
        let Some((_, own)) = pages.pop() else {
            return Ok(true);
        };
        let mut children = Vec::with_capacity(pages.len());
        let mut outcome = Ok(Written::Done);
        for (place, bytes) in pages {
            let key = self.page_key(&place);
            outcome = self.write_page(&key, &bytes, None, durability).await;
            if !matches!(outcome, Ok(Written::Done)) {
                break;
            }
            children.push(key);
        }
        if matches!(outcome, Ok(Written::Done)) {
            outcome = self.write_page(&stored_key, &own, origin, durability).await;
            if matches!(outcome, Ok(Written::Done)) {
                metrics::counter!("tokenkeep_directory_writes_total").increment(1);
                if !children.is_empty() {
                    metrics::counter!("tokenkeep_directory_splits_total").increment(1);
                }
                return Ok(true);
            }
        }
        // Where the parent may yet be written they stay: at worst nobody can reach them, and a rebuild takes them away.
        if !matches!(outcome, Ok(Written::Unknown)) {
            for key in children {
                let _ = self.store.delete(&key, None).await;
            }
        }
        outcome.map(|_| false)
    }

    /// Encodes a leaf, or the pages that it must be split into, children before their parents.
    fn arrange(&self, page: Page, pages: &mut Vec<(Place, SecretBytes)>) -> Result<(), CacheError> {
        let Body::Leaf(entries) = &page.body else {
            return Err(malformed("an inner page cannot be split").into());
        };
        let (count, bytes) = (entries.len(), page.encode()?);
        let most = self.store.capabilities().max_value_bytes.saturating_sub(OVERHEAD);
        let fits = count <= MOST_ENTRIES && bytes.len() <= most.min(MOST_BYTES);
        if fits || count <= 1 || page.place.depth >= DEEPEST {
            pages.push((page.place, bytes));
            return Ok(());
        }
        let Page {
            place,
            created_at,
            body,
        } = page;
        let Body::Leaf(entries) = body else { return Ok(()) };
        let mut names = Box::new([[0; 16]; FAN_OUT]);
        for name in &mut *names {
            *name = random_bytes(&*self.random)?;
        }
        let mut leaves: [Vec<DirectoryEntry>; FAN_OUT] = Default::default();
        for entry in entries {
            leaves[entry.position.digit(place.depth)].push(entry);
        }
        for (digit, entries) in leaves.into_iter().enumerate() {
            if entries.is_empty() {
                continue;
            }
            let child = Page {
                place: place.child(digit, names[digit]),
                created_at: self.clock.now(),
                body: Body::Leaf(entries),
            };
            self.arrange(child, pages)?;
        }
        let parent = Page {
            place,
            created_at,
            body: Body::Inner(names),
        };
        pages.push((place, parent.encode()?));
        Ok(())
    }

    async fn write_page(
        &self,
        stored_key: &StoreKey,
        plaintext: &SecretBytes,
        origin: Option<Origin>,
        durability: Durability,
    ) -> Result<Written, CacheError> {
        let meta = self.successor(origin.and_then(|origin| origin.lineage), 0, SCHEMA)?;
        let payload = self
            .seal_fitting(RecordKind::Directory, stored_key, meta, plaintext.expose())
            .await?;
        let options = PutOptions {
            mode: origin.map_or(PutMode::Create, |origin| PutMode::Update(origin.version)),
            // Its entries outlive each other, and each goes with its account.
            expires_at: None,
            durability,
        };
        match self.store.put(stored_key, payload.clone(), options).await {
            Ok(_) => {}
            Err(error) if error.is_outcome_unknown() => match self.store.get(stored_key).await {
                // A nonce never repeats, so these bytes can only be ours.
                Ok(Some(record)) if record.payload == payload => {}
                _ => return Ok(Written::Unknown),
            },
            Err(error) if again(&error) => return Ok(Written::Conflict),
            Err(error) => return Err(error.into()),
        }
        self.rollback.record(stored_key, &meta);
        Ok(Written::Done)
    }

    async fn pause(&self, attempt: u32) -> Result<(), CacheError> {
        let longest =
            LONGEST_PAUSE.min(std::time::Duration::from_millis(1) * 2_u32.saturating_pow(attempt.min(10)));
        self.clock.sleep(longest.mul_f64(jitter(&*self.random)?)).await;
        Ok(())
    }

    /// What a note says whose change has not been tried.
    pub(super) fn untried() -> Result<Effect, CacheError> {
        Err(CacheError::TimedOut)
    }
}

fn again(error: &StoreError) -> bool {
    error.is_conflict() || error.retry() != Retry::No
}
