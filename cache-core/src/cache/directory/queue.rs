//! What waits to be entered in the directory.
//!
//! One task works for the whole cache, on everything that has gathered since it last looked, so that sign-ins and uses that fall on one page
//! share one write. It runs only while there is something to do.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use quick_cache::unsync::Cache;
use tokio::sync::oneshot;

use super::change::{Change, Effect, Note};
use super::entry::{NeedsInteraction, Position};
use super::record::{Place, position_key};
use crate::cache::{CacheError, Inner};
use crate::schema::{PartitionKey, TokenRequest};
use crate::seal::RecordKind;
use crate::store::Durability;
use crate::strategy::UnknownOutcomePolicy;
use crate::strategy::spend::{Decision, decide};
use crate::time::with_deadline;

/// How many changes that nobody waits for may wait.
const MOST_WAITING: usize = 4096;
/// How many changes are made together.
const BATCH: usize = 256;
/// How many partitions are read at once.
const AT_ONCE: usize = 8;
/// How often the partition is looked at again, because somebody changes it meanwhile.
const ROUNDS: usize = 4;
/// Of how many accounts' clients it is remembered when they are due again, about 50 bytes each.
const MOST_REMEMBERED: usize = 16_384;
/// The pause after a failure, and between repeated findings of one kind.
pub(super) const SHORT_PAUSE: Duration = Duration::from_secs(60);

/// Something to enter.
pub(super) struct Job {
    pub(super) key: PartitionKey,
    pub(super) task: Task,
    pub(super) durability: Durability,
    /// Under which to note when it is due again.
    pub(super) reminder: Option<Reminder>,
    /// Who waits for it.
    pub(super) done: Option<oneshot::Sender<Result<Effect, CacheError>>>,
}

pub(super) enum Task {
    /// Make this change; where the entry is missing, first see what the partition says.
    Change(Change),
    /// See what the partition says, and enter that.
    Recheck,
    /// Only be waited for.
    Nothing,
    /// A request met what only the user can mend; enter that if the partition still says so.
    Failed {
        request: Arc<TokenRequest>,
        policy: UnknownOutcomePolicy,
        needs: NeedsInteraction,
    },
}

/// Which matter of which client a pause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reminder(u64);

/// The jobs that wait, and when the others are due again.
pub(crate) struct DirectoryQueue {
    waiting: Mutex<Waiting>,
    due: Mutex<Cache<Reminder, Duration>>,
    hasher: RandomState,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Whether a task is at it.
    is_worked_on: bool,
}

impl Default for DirectoryQueue {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            due: Mutex::new(Cache::new(MOST_REMEMBERED)),
            hasher: RandomState::new(),
        }
    }
}

impl DirectoryQueue {
    pub(super) fn reminder(&self, key: &PartitionKey, client_id: &str, matter: impl Hash) -> Reminder {
        Reminder(self.hasher.hash_one((key, client_id, matter)))
    }

    /// Whether the matter is due, and if so puts it off by `pause`.
    pub(super) fn is_due(&self, reminder: Reminder, now: Duration, pause: Duration) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.get(&reminder).is_some_and(|due| now < *due) {
            return false;
        }
        due.insert(reminder, now.saturating_add(pause));
        true
    }

    /// Puts the matter off until `moment`, on the monotonic clock.
    fn put_off(&self, reminder: Reminder, moment: Duration) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.insert(reminder, moment);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn position(&self, key: &PartitionKey) -> Position {
        let hash = self.sealer.blinded(RecordKind::Directory, &position_key(key));
        let mut position = [0; 16];
        position.copy_from_slice(&hash[..16]);
        Position(position)
    }

    /// Enters it in the background, unless the cache is closing: nobody would wait for it.
    pub(super) fn enter_later(self: &Arc<Self>, job: Job) {
        let Some(_ticket) = self.tasks.admit() else { return };
        self.enqueue_job(job);
    }

    /// Enters it, and waits until that is done. Cancellation safe: it goes on.
    pub(super) async fn enter(
        self: &Arc<Self>,
        key: &PartitionKey,
        task: Task,
        durability: Durability,
    ) -> Result<Effect, CacheError> {
        let (done, outcome) = oneshot::channel();
        self.enqueue_job(Job {
            key: key.clone(),
            task,
            durability,
            reminder: None,
            done: Some(done),
        });
        outcome.await.map_err(|_| CacheError::TimedOut)?
    }

    /// Enters it in the background, after or during work that a shutdown waits for.
    pub(super) fn enqueue_job(self: &Arc<Self>, job: Job) {
        let mut waiting = self.directory.lock();
        if job.done.is_none() && waiting.jobs.len() >= MOST_WAITING {
            metrics::counter!("tokenkeep_directory_dropped_total").increment(1);
            return;
        }
        waiting.jobs.push_back(job);
        let was_worked_on = std::mem::replace(&mut waiting.is_worked_on, true);
        // Before the task: a runtime that is ending drops it at once, which takes the lock.
        drop(waiting);
        if !was_worked_on {
            let working = Working {
                inner: Arc::clone(self),
                is_done: false,
            };
            self.tasks.spawn(working.run());
        }
    }

    /// Waits until everything that waits now is entered.
    pub(super) async fn flush_directory(self: &Arc<Self>) {
        let (done, flushed) = oneshot::channel();
        {
            let waiting = self.directory.lock();
            if !waiting.is_worked_on {
                return;
            }
        }
        self.enqueue_job(Job {
            key: PartitionKey::Residue,
            task: Task::Nothing,
            durability: Durability::Relaxed,
            reminder: None,
            done: Some(done),
        });
        let _ = flushed.await;
    }

    async fn work_off(&self, jobs: Vec<Job>) {
        let (flushes, jobs): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|job| matches!(job.task, Task::Nothing));
        self.work_in_rounds(jobs).await;
        for job in flushes {
            self.finish(job, Ok(Effect::default()));
        }
    }

    async fn work_in_rounds(&self, jobs: Vec<Job>) {
        let mut jobs: Vec<_> = jobs.into_iter().map(|job| (job, false)).collect();
        for round in 1..=ROUNDS {
            let mut changes = Vec::with_capacity(jobs.len());
            for (job, is_rechecked) in &jobs {
                changes.push(self.changes_of(job, *is_rechecked).boxed());
            }
            let prepared: Vec<_> = stream::iter(changes).buffered(AT_ONCE).collect().await;
            let mut outcomes: Vec<Result<Effect, CacheError>> = Vec::with_capacity(jobs.len());
            let mut notes = Vec::new();
            for (owner, ((job, _), changes)) in jobs.iter().zip(prepared).enumerate() {
                let changes = match changes {
                    Ok(changes) => {
                        outcomes.push(Ok(Effect::default()));
                        changes
                    }
                    Err(error) => {
                        outcomes.push(Err(error));
                        continue;
                    }
                };
                let position = self.position(&job.key);
                notes.extend(changes.into_iter().map(|change| Note {
                    position,
                    key: job.key.clone(),
                    change,
                    durability: job.durability,
                    owner,
                    outcome: Self::untried(),
                }));
            }
            // Stable: the changes of one account stay in the order in which they came.
            notes.sort_by_key(|note| note.position);
            self.apply_notes(Place::ROOT, &mut notes).await;
            for note in notes {
                let outcome = &mut outcomes[note.owner];
                // Of several changes the last says whether there is an entry, and any whether the page was written.
                if let Ok(before) = outcome {
                    let is_changed = before.is_changed;
                    *outcome = note.outcome.map(|effect| Effect {
                        is_changed: effect.is_changed || is_changed,
                        ..effect
                    });
                }
            }
            let mut left = Vec::new();
            for ((job, is_rechecked), outcome) in jobs.into_iter().zip(outcomes) {
                let again = match (&job.task, &outcome) {
                    _ if round == ROUNDS => false,
                    // What was entered may have been overtaken by a sign-in or a sign-out that looked before it was.
                    (Task::Recheck, Ok(effect)) => effect.is_changed,
                    (_, Ok(effect)) => effect.is_missing && !is_rechecked,
                    (_, Err(_)) => false,
                };
                if again {
                    left.push((job, true));
                } else {
                    self.finish(job, outcome);
                }
            }
            if left.is_empty() {
                return;
            }
            jobs = left;
        }
    }

    /// The changes that the job comes to.
    async fn changes_of(&self, job: &Job, is_rechecked: bool) -> Result<Vec<Change>, CacheError> {
        let mut changes = Vec::new();
        if is_rechecked || matches!(job.task, Task::Recheck) {
            changes.push(Change::Is(self.listed(&job.key).await?));
        }
        match &job.task {
            Task::Recheck | Task::Nothing => {}
            Task::Change(change) => changes.push(change.clone()),
            Task::Failed {
                request,
                policy,
                needs,
            } => {
                let loaded = self.load(&job.key, &self.stored_key(&job.key)).await?;
                let now = self.clock.now();
                let decision = loaded.map(|loaded| decide(&loaded.partition, request, &[], *policy, now));
                // A sign-in may have mended it since.
                if !matches!(decision, None | Some(Decision::Spend(_) | Decision::Wait(_))) {
                    changes.push(Change::Needs {
                        client_id: request.client_id().to_owned(),
                        needs: needs.clone(),
                    });
                }
            }
        }
        Ok(changes)
    }

    fn finish(&self, job: Job, outcome: Result<Effect, CacheError>) {
        if let (Some(reminder), Task::Change(Change::Used { at, touch_every, .. })) =
            (job.reminder, &job.task)
            && let Ok(effect) = &outcome
            && let Some(last_used) = effect.last_used
        {
            // Another process may have noted a use not long ago: then this is due again when that has become old.
            let left = touch_every.saturating_sub(at.duration_since(last_used));
            self.directory
                .put_off(reminder, self.clock.monotonic().saturating_add(left));
        }
        let Err(error) = &outcome else {
            if let Some(done) = job.done {
                let _ = done.send(outcome);
            }
            return;
        };
        metrics::counter!("tokenkeep_directory_failures_total").increment(1);
        match job.done {
            Some(done) => {
                let _ = done.send(outcome);
            }
            None => {
                tracing::warn!(error = %error, "the directory of accounts could not be brought up to date")
            }
        }
        if let Some(reminder) = job.reminder {
            self.directory
                .put_off(reminder, self.clock.monotonic().saturating_add(SHORT_PAUSE));
        }
    }
}

/// The task that enters what waits until nothing does.
struct Working {
    inner: Arc<Inner>,
    is_done: bool,
}

impl Working {
    async fn run(mut self) {
        loop {
            let jobs: Vec<_> = {
                let mut waiting = self.inner.directory.lock();
                if waiting.jobs.is_empty() {
                    waiting.is_worked_on = false;
                    self.is_done = true;
                    return;
                }
                let count = waiting.jobs.len().min(BATCH);
                waiting.jobs.drain(..count).collect()
            };
            let limit = self.inner.strategy.limits.acquire;
            // A store that never answers must not hold up sign-ins for ever: those who wait learn that their job was dropped.
            if with_deadline(&*self.inner.clock, limit, self.inner.work_off(jobs))
                .await
                .is_none()
            {
                metrics::counter!("tokenkeep_directory_failures_total").increment(1);
                tracing::warn!(
                    "the store did not answer in time; the directory of accounts is not up to date"
                );
            }
        }
    }
}

impl Drop for Working {
    /// After a panic the next job must find a task, and nobody may wait for one that is gone.
    fn drop(&mut self) {
        if !self.is_done {
            let mut waiting = self.inner.directory.lock();
            waiting.is_worked_on = false;
            waiting.jobs.clear();
        }
    }
}
