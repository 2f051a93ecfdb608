//! What happens in a cache that many share, as a stream of events: sign-ins, refreshes, sign-outs.
//!
//! The store's notification says only that a record changed. Whoever looks on opens the record and compares it with what was last seen
//! of it. That takes the key, so nobody learns more than the cache itself would tell; and the events hold no secret, so they
//! may be shown.

mod compare;
mod event;
mod reading;
mod snapshot;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use quick_cache::unsync::Cache;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use compare::Before;
pub use event::{AccountName, CacheChange, CacheEvent};
use reading::{after_removal, is_closed, listed, read};
use snapshot::{BytesOfSeen, Seen};

use super::{CacheError, Inner, TokenCache};
use crate::schema::PartitionKey;
use crate::seal::RecordKind;
use crate::store::{Store, StoreKey, Version, WatchEvent};
use crate::strategy::Coalescing;
use crate::time::Clock;

/// How much is remembered of what was seen, in bytes: some ten thousand accounts.
const MEMORY: u64 = 16 << 20;

/// What a record of an account takes, to size the index.
const USUAL_BYTES: u64 = 1024;

/// Between attempts to read a record while the store fails.
const PAUSE: Duration = Duration::from_secs(1);

/// The events of a cache, whoever causes them, from [`TokenCache::events`].
///
/// It remembers names, times and hashes of the records that it has seen, in about 16 MiB at the most. A change of a record that it has
/// not seen, or has forgotten, is told as well as the record itself can tell: one that was written for the first time is a sign-in, one
/// with a live spend marker is a refresh that has begun, others are [`CacheChange::Committed`]. With a
/// [baseline](Self::with_baseline) every first change is compared.
///
/// The stream ends with the cache: when its last clone is dropped.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use cache_core::cache::{CacheChange, TokenCache};
/// # use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
/// # use cache_core::store::MemoryStore;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let source = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
/// # let cache = TokenCache::builder(Arc::new(MemoryStore::new())).open_sealed(Namespace::default(), source).await?;
/// let mut events = cache.events()?.with_baseline().await?;
/// # let _ = cache.sealer().rotate().await?;
/// while let Some(event) = events.next().await {
///     match event.change {
///         CacheChange::SignedIn { account, client_id, .. } => println!("{} signed in to {client_id}", account.username),
///         CacheChange::Lost => println!("some events were missed"),
///         other => println!("{other:?}"),
///     }
/// #   break;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events {
    inner: Weak<Inner>,
    clock: Arc<dyn Clock>,
    hints: broadcast::Receiver<WatchEvent>,
    seen: Cache<StoreKey, Seen, BytesOfSeen>,
    /// What was noticed and not yet handed out.
    noticed: VecDeque<CacheEvent>,
    /// The records to look at. One leaves only when it was looked at: whoever drops [`next`](Self::next) loses nothing.
    pending: VecDeque<(StoreKey, Option<Version>)>,
    /// All records are to be listed: a gap may hide new ones.
    is_to_list: bool,
    /// Every record there is has been seen, so one that has not been is new.
    knows_all: bool,
    /// The store failed, and is asked again at this moment of the monotonic clock.
    retry_at: Option<Duration>,
    check: Option<Check>,
}

/// Asking the store from time to time whether it is there.
struct Check {
    interval: Duration,
    /// On the monotonic clock.
    next: Duration,
}

impl TokenCache {
    /// The events of this cache from now on: what happens in the store, in this process and in others.
    ///
    /// Hints of the store are what it lives by, so it is as prompt as the store's notification. What is not fetched by
    /// [`Events::next`] is kept for a while; who falls far behind gets [`CacheChange::Lost`].
    ///
    /// # Errors
    /// [`CacheError::Unsupported`] when the store has no change notification.
    pub fn events(&self) -> Result<Events, CacheError> {
        let inner = &self.inner;
        if inner.store.watch().is_none() {
            return Err(CacheError::Unsupported("change notification"));
        }
        let estimate = usize::try_from(MEMORY / USUAL_BYTES).unwrap_or(usize::MAX);
        Ok(Events {
            inner: Arc::downgrade(inner),
            clock: Arc::clone(&inner.clock),
            hints: inner.changes.subscribe(),
            seen: Cache::with_weighter(estimate, MEMORY, BytesOfSeen),
            noticed: VecDeque::new(),
            pending: VecDeque::new(),
            is_to_list: false,
            knows_all: false,
            retry_at: None,
            check: None,
        })
    }
}

impl Events {
    /// Reads every record once, so that already its first change can be compared. What happens while that goes on is not reported.
    ///
    /// It costs what [`TokenCache::accounts`] costs, and remembers as many records as there is room for.
    ///
    /// # Errors
    /// That the store failed. A record that cannot be opened is left out.
    ///
    /// # Cancellation safety
    /// Cancellation safe: the stream is gone.
    pub async fn with_baseline(mut self) -> Result<Self, CacheError> {
        let Some(inner) = self.inner.upgrade() else {
            return Ok(self);
        };
        for (key, version) in listed(&inner).await? {
            if self.is_full() {
                return Ok(self);
            }
            self.look(&inner, &key, Some(version)).await?;
        }
        self.knows_all = true;
        Ok(self)
    }

    /// Asks the store after each `interval` without an event whether it is there, so that
    /// [`CacheChange::StoreFailed`] comes also when nothing happens.
    #[must_use]
    pub fn with_checks(mut self, interval: Duration) -> Self {
        let next = self.clock.monotonic().saturating_add(interval);
        self.check = Some(Check { interval, next });
        self
    }

    /// The next event; `None` when the cache is gone or its store was closed.
    ///
    /// # Cancellation safety
    /// Cancellation safe: nothing is lost.
    pub async fn next(&mut self) -> Option<CacheEvent> {
        loop {
            if let Some(event) = self.noticed.pop_front() {
                return Some(event);
            }
            if let Some(moment) = self.retry_at {
                let left = moment.saturating_sub(self.clock.monotonic());
                self.clock.sleep(left).await;
            }
            // Not held while there is nothing to do: the cache ends when its owners let go.
            let inner = self.inner.upgrade()?;
            let worked = if self.retry_at.is_some() || self.is_to_list || !self.pending.is_empty() {
                self.work(&inner).await
            } else {
                drop(inner);
                match self.hint().await? {
                    Hint::Changed(key, version) => self.pending.push_back((key, version)),
                    Hint::Lost => self.lose(),
                    Hint::CheckIsDue => {
                        let inner = self.inner.upgrade()?;
                        let checked = self.check_store(&inner).await;
                        if !self.note_outcome(checked) {
                            return None;
                        }
                    }
                }
                continue;
            };
            if !self.note_outcome(worked) {
                return None;
            }
        }
    }

    /// The events as a stream.
    pub fn into_stream(self) -> BoxStream<'static, CacheEvent> {
        stream::unfold(self, |mut events| async move {
            let event = events.next().await?;
            Some((event, events))
        })
        .boxed()
    }

    async fn hint(&mut self) -> Option<Hint> {
        let clock = Arc::clone(&self.clock);
        let due = self
            .check
            .as_ref()
            .map(|check| check.next.saturating_sub(clock.monotonic()));
        let check = async {
            match due {
                Some(left) => clock.sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            hint = self.hints.recv() => match hint {
                Ok(WatchEvent::Changed(key, version)) => Some(Hint::Changed(key, version)),
                Ok(WatchEvent::Lost) | Err(RecvError::Lagged(_)) => Some(Hint::Lost),
                Err(RecvError::Closed) => None,
            },
            () = check => Some(Hint::CheckIsDue),
        }
    }

    /// Notices a gap: everything that was seen is to be looked at again.
    fn lose(&mut self) {
        self.notice(None, CacheChange::Lost);
        // Where not all is remembered, what is not need not be new.
        self.is_to_list = self.knows_all;
        let waiting: std::collections::HashSet<_> = self.pending.drain(..).map(|(key, _)| key).collect();
        let seen = self.seen.iter().map(|(key, _)| key.clone());
        let all: std::collections::HashSet<_> = seen.chain(waiting).collect();
        self.pending.extend(all.into_iter().map(|key| (key, None)));
    }

    /// Does one thing that is to be done.
    async fn work(&mut self, inner: &Arc<Inner>) -> Result<(), CacheError> {
        if self.is_to_list {
            let listed = listed(inner).await?;
            let unseen = listed
                .into_iter()
                .filter(|(key, _)| !self.seen.contains_key(key))
                .map(|(key, version)| (key, Some(version)));
            self.pending.extend(unseen);
            self.is_to_list = false;
            return Ok(());
        }
        let Some((key, hinted)) = self.pending.front().cloned() else {
            return self.check_store(inner).await;
        };
        let changes = self.look(inner, &key, hinted).await?;
        self.pending.pop_front();
        for change in changes {
            self.notice(Some(key.clone()), change);
        }
        Ok(())
    }

    async fn check_store(&mut self, inner: &Inner) -> Result<(), CacheError> {
        if let Some(check) = &mut self.check {
            check.next = self.clock.monotonic().saturating_add(check.interval);
        }
        inner
            .store
            .head(&inner.stored_key(&PartitionKey::Residue))
            .await?;
        Ok(())
    }

    /// Tells of a store that failed or is back. `false` when it was closed.
    fn note_outcome(&mut self, outcome: Result<(), CacheError>) -> bool {
        match outcome {
            Ok(()) if self.retry_at.take().is_some() => {
                // Before what was found in it.
                let event = self.event(None, CacheChange::StoreBack);
                self.noticed.push_front(event);
            }
            Ok(()) => {}
            Err(error) if is_closed(&error) => return false,
            Err(error) => {
                let retry_at = self.clock.monotonic().saturating_add(PAUSE);
                if self.retry_at.replace(retry_at).is_none() {
                    self.notice(None, CacheChange::StoreFailed { error });
                }
            }
        }
        true
    }

    /// Compares a record with what was seen of it, and remembers how it is now.
    async fn look(
        &mut self,
        inner: &Arc<Inner>,
        key: &StoreKey,
        hinted: Option<Version>,
    ) -> Result<Vec<CacheChange>, CacheError> {
        let namespace = inner.sealer.namespace();
        if !key.as_str().starts_with(&namespace.prefix()) {
            return Ok(Vec::new());
        }
        let kind = RecordKind::of(namespace, key);
        let is_known = |version: Option<Version>, seen: &Cache<StoreKey, Seen, BytesOfSeen>| {
            version.is_some() && seen.peek(key).map(|seen| seen.version) == version
        };
        if is_known(hinted, &self.seen) {
            return Ok(Vec::new());
        }
        let Some((record, opened)) = read(inner, key, kind).await? else {
            let before = self.seen.remove(key).map(|(_, seen)| seen);
            return Ok(after_removal(kind, before));
        };
        let version = record.version;
        if is_known(Some(version), &self.seen) {
            return Ok(Vec::new());
        }
        let (contents, changes) = match (opened, kind) {
            (Some(Ok(Some(contents))), Some(kind)) => {
                let before = match self.seen.get(key) {
                    Some(seen) => seen.contents.as_ref().map_or(Before::Unknown, Before::Seen),
                    None if self.knows_all => Before::Nothing,
                    None => Before::Unknown,
                };
                let marks = inner.strategy.coalescing == Coalescing::Fleet;
                let changes = compare::changes(before, &contents, kind, marks, self.clock.now());
                (Some(contents), changes)
            }
            (Some(Ok(None)), Some(kind)) => (None, vec![CacheChange::RolledBack { kind }]),
            (Some(Err(error)), Some(kind)) => (None, vec![CacheChange::Unreadable { kind, error }]),
            (_, Some(RecordKind::KeyRing)) => (None, vec![CacheChange::KeyRingChanged]),
            (_, Some(RecordKind::ProofKey)) => (None, vec![CacheChange::ProofKeysStored]),
            (_, Some(RecordKind::Quarantine)) => (None, vec![CacheChange::Quarantined]),
            (_, kind) => (None, vec![CacheChange::Committed { kind }]),
        };
        self.seen.insert(key.clone(), Seen { version, contents });
        self.knows_all &= !self.is_full();
        Ok(changes)
    }

    /// Whether what is remembered next may cost something that is remembered now.
    fn is_full(&self) -> bool {
        self.seen.weight().saturating_add(MEMORY / 16) > MEMORY
    }

    fn notice(&mut self, record: Option<StoreKey>, change: CacheChange) {
        let event = self.event(record, change);
        self.noticed.push_back(event);
    }

    fn event(&self, record: Option<StoreKey>, change: CacheChange) -> CacheEvent {
        CacheEvent {
            at: self.clock.now(),
            record,
            change,
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("seen", &self.seen.len())
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

enum Hint {
    Changed(StoreKey, Option<Version>),
    Lost,
    CheckIsDue,
}
