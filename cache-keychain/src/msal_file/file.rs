//! The file as the store and its follower use it: reads that cost nothing where nothing changed, and writes under the lock.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use cache_core::random::{Random, jitter};
use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{Durability, StoreKey};
use cache_core::time::Clock;

use super::error::Failure;
use super::lock::{LockError, PeerLock};
use super::place::Place;
use super::reading::{self, Content, Memory, Reading, Stamp};
use super::watch::Announcer;
use super::writing::{Condition, Outcome, Staged, not_a_cache};

/// How often a file that somebody is writing is read without the lock, before it is read under the lock.
const UNLOCKED_READS: u32 = 16;

/// How often something is tried under the lock while a program that takes none is writing.
const LOCKED_TRIES: u32 = 16;

/// The file, with what is remembered of it.
#[derive(Debug)]
pub(super) struct CacheFile {
    pub(super) place: Place,
    pub(super) record: StoreKey,
    pub(super) lock: PeerLock,
    pub(super) memory: Memory,
    pub(super) announcer: Announcer,
    pub(super) watch_interval: Duration,
    pub(super) closed: AtomicBool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl CacheFile {
    /// What the file holds now. A look at its times suffices where it has been read since its last change.
    pub(super) async fn current(&self) -> Result<Content, Failure> {
        let Some(stamp) = Stamp::at(self.place.named())? else {
            return Ok(Content::Absent);
        };
        if let Some(content) = self.memory.recall(&stamp) {
            return Ok(content);
        }
        for _ in 0..UNLOCKED_READS {
            match self.read().await? {
                Reading::Unsettled { .. } | Reading::Moving => self.pause().await,
                settled => return Ok(settled.verdict().map_or(Content::Absent, |(_, content)| content)),
            }
        }
        self.current_locked().await
    }

    /// The same with the writers who take the lock kept out.
    async fn current_locked(&self) -> Result<Content, Failure> {
        let mut before = None;
        for _ in 0..LOCKED_TRIES {
            let place = self.place.clone();
            let began = self.clock.monotonic();
            let read = self
                .lock
                .with(move |_guard| reading::read(place.named(), None))
                .await;
            let reading = match read {
                Ok(reading) => reading?,
                // Who may not write beside the file cannot lock it either.
                Err(LockError::Io { source, .. }) if is_read_only(&source) => self.read().await?,
                Err(busy) => return Err(busy.into()),
            };
            let unsettled = match &reading {
                Reading::Unsettled { stamp, .. } => Some(*stamp),
                Reading::Moving => None,
                Reading::Missing | Reading::Settled(..) => {
                    return Ok(reading.verdict().map_or(Content::Absent, |(_, content)| content));
                }
            };
            // Not all programs take the lock. One that writes goes on; one that was killed does not.
            if unsettled.is_some()
                && unsettled == before
                && let Some((Some(stamp), content)) = reading.verdict()
            {
                self.memory.note(stamp, &content, began, self.clock.monotonic());
                return Ok(content);
            }
            before = unsettled;
            self.pause().await;
        }
        Err(self.being_written())
    }

    async fn read(&self) -> Result<Reading, Failure> {
        let (place, began) = (self.place.clone(), self.clock.monotonic());
        let reading = blocking(move || reading::read(place.named(), None)).await?;
        let ended = self.clock.monotonic();
        match &reading {
            Reading::Settled(stamp, content) => self.memory.note(*stamp, content, began, ended),
            Reading::Unsettled { stamp, .. } => self.memory.saw(*stamp, ended),
            Reading::Missing | Reading::Moving => {}
        }
        Ok(reading)
    }

    /// Replaces the file under the lock, where `condition` holds.
    pub(super) async fn replace(
        &self,
        content: Bytes,
        condition: Condition,
        durability: Durability,
    ) -> Result<Outcome, Failure> {
        // Most conflicts show without the lock, and without a file written in vain.
        let known = match self.current().await? {
            Content::Foreign => return Err(not_a_cache(self.place.named())),
            found => found.version(),
        };
        if let Some(outcome) = condition.decide(known) {
            return Ok(outcome);
        }
        let mut staged = self.stage(&content).await?;
        for _ in 0..LOCKED_TRIES {
            let (place, now) = (self.place.clone(), self.clock.now());
            let replaced = self
                .lock
                .with(move |guard| staged.replace(&place, known, condition, durability, now, guard));
            staged = match replaced.await?? {
                Outcome::Again(unchanged) => unchanged,
                Outcome::Swept => self.stage(&content).await?,
                outcome => {
                    if let Outcome::Replaced(version) = &outcome {
                        let is_there = matches!(condition, Condition::Put(_));
                        self.announcer.announce(is_there.then_some(*version));
                    }
                    return Ok(outcome);
                }
            };
            self.pause().await;
        }
        // Cut short for good, or by a program that takes no lock.
        match self.current().await? {
            Content::Foreign => Err(not_a_cache(self.place.named())),
            _ => Err(self.being_written()),
        }
    }

    async fn stage(&self, content: &Bytes) -> Result<Staged, Failure> {
        let (place, random, content) = (self.place.clone(), Arc::clone(&self.random), content.clone());
        blocking(move || Staged::new(&place, &content, &*random)).await
    }

    /// A few milliseconds, in which a program that writes comes to the end of it.
    async fn pause(&self) {
        let fraction = jitter(&*self.random).unwrap_or(0.5);
        let pause = Duration::from_micros(500 + (7_500.0 * fraction) as u64);
        self.clock.sleep(pause).await;
    }

    fn being_written(&self) -> Failure {
        let context = format!(
            "{} is being written all the time by a program that takes no lock; try again",
            self.place.named().display()
        );
        Failure::new(ErrorKind::Unavailable, context).with_retry(Retry::Yes)
    }
}

fn is_read_only(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Calls of the file system may take their time, on a disk that sleeps for instance.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Failure::aborted)?
}
