//! Tasks that read and write all the time, and judge what they read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::store::StoreKey;
use cache_core::time::{Clock, SystemClock};
use tokio::task::JoinHandle;

use super::Arrangement;
use super::clients::Clients;
use super::counter::{self, Counter};
use super::exchange::Exchange;
use super::score::{Score, Shared, open};
use super::session::{self, Session};
use super::witness::until;
use crate::gate::{Doing, GateError};
use crate::scene::User;
use crate::tally::Tally;

/// How many tasks count. They are enough that each of three parts of a Cluster has some of their counters.
const COUNTERS: usize = 8;

/// How many users sign in and out.
pub const USERS: u32 = 3;

/// Between two turns of a task, so that servers and tasks share two processors in peace.
const PAUSE: Duration = Duration::from_millis(10);

/// How long tasks may take to succeed again.
const LIMIT: Duration = Duration::from_secs(120);

/// Running tasks, each with a counter or a user of its own, to whom nobody else writes.
#[derive(Debug)]
pub struct Workload {
    arrangement: Arrangement,
    told: Told,
    counting: Vec<Shared<Score>>,
    signing: Vec<Shared<Score>>,
    tasks: Vec<JoinHandle<Result<(), GateError>>>,
    stop: Arc<AtomicBool>,
}

/// What the tasks were told so far.
#[derive(Clone, Debug)]
pub struct Told {
    /// The counters.
    pub counters: Vec<Shared<Counter>>,
    /// The users.
    pub sessions: Vec<Shared<Session>>,
}

impl Told {
    /// The key of one of the counters.
    #[must_use]
    pub fn name_of_counter(&self, number: u64) -> String {
        let number = usize::try_from(number).unwrap_or_default() % COUNTERS;
        open(&self.counters[number]).key().to_string()
    }
}

impl Workload {
    /// Starts the tasks. `name` is theirs alone, and so are as many users from `first_user` as there are.
    ///
    /// # Errors
    ///
    /// When the name makes no key.
    pub fn start(
        arrangement: Arrangement,
        clients: &Clients,
        exchange: &Arc<Exchange>,
        name: &str,
        first_user: u32,
    ) -> Result<Self, GateError> {
        let counter = |number| {
            let key = StoreKey::new(format!("{name}/{number}")).doing("a key")?;
            Ok(Arc::new(Mutex::new(Counter::new(key))))
        };
        let session = |number| Arc::new(Mutex::new(Session::new(User(first_user + number))));
        let score = || Arc::new(Mutex::new(Score::new(arrangement.promise)));
        let mut workload = Self {
            arrangement,
            told: Told {
                counters: (0..COUNTERS).map(counter).collect::<Result<_, GateError>>()?,
                sessions: (0..USERS).map(session).collect(),
            },
            counting: (0..COUNTERS).map(|_| score()).collect(),
            signing: (0..USERS).map(|_| score()).collect(),
            tasks: Vec::new(),
            stop: Arc::default(),
        };
        for (counter, score) in workload.told.counters.iter().zip(&workload.counting) {
            let (counter, score) = (Arc::clone(counter), Arc::clone(score));
            let (clients, exchange, stop) =
                (clients.clone(), Arc::clone(exchange), Arc::clone(&workload.stop));
            let writer = exchange.join();
            workload.tasks.push(tokio::spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::SeqCst) {
                    let [one, other] = clients.in_turn(turn);
                    counter::increment(&*one.store, &*other.store, &counter, &score).await;
                    exchange.turn(&*other.store, writer, &score).await?;
                    turn += 1;
                    SystemClock.sleep(PAUSE).await;
                }
                Ok(())
            }));
        }
        for (session, score) in workload.told.sessions.iter().zip(&workload.signing) {
            let (session, score) = (Arc::clone(session), Arc::clone(score));
            let (clients, stop) = (clients.clone(), Arc::clone(&workload.stop));
            workload.tasks.push(tokio::spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::SeqCst) {
                    let [one, _] = clients.in_turn(turn);
                    let both = clients.both().map(|client| &client.cache);
                    session::turn(&one.cache, both, &session, &score).await;
                    turn += 1;
                    SystemClock.sleep(PAUSE).await;
                }
                Ok(())
            }));
        }
        Ok(workload)
    }

    /// What the tasks were told so far.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Waits until every task has been acknowledged `times` more writes than now.
    ///
    /// # Errors
    ///
    /// When one is not for two minutes, or has ended.
    pub async fn until_all_write(&self, times: u64) -> Result<(), GateError> {
        self.until_all(times, |score| score.successes, "write").await
    }

    /// Waits until every task has been answered `times` more reads than now.
    ///
    /// # Errors
    ///
    /// When one is not for two minutes, or has ended.
    pub async fn until_all_read(&self, times: u64) -> Result<(), GateError> {
        self.until_all(times, |score| score.reads, "read").await
    }

    async fn until_all(&self, times: u64, of: fn(&Score) -> u64, what: &str) -> Result<(), GateError> {
        let values = || self.each(|score| of(score));
        let wanted: Vec<_> = values().iter().map(|value| value + times).collect();
        let began = SystemClock.monotonic();
        while values().iter().zip(&wanted).any(|(value, wanted)| value < wanted) {
            if self.tasks.iter().any(JoinHandle::is_finished) {
                return Err(GateError::new("a task ended"));
            }
            if SystemClock.monotonic() - began > LIMIT {
                let behind = self.each(|score| format!("{score:?}")).into_iter();
                let behind = behind.zip(values().into_iter().zip(&wanted));
                let first = behind
                    .filter(|(_, (value, wanted))| value < *wanted)
                    .map(|(score, _)| score)
                    .next();
                return Err(GateError::new(format!(
                    "not every task could {what} again: {first:?}"
                )));
            }
            SystemClock.sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What `of` says of each task's score.
    pub fn each<T>(&self, of: impl Fn(&mut Score) -> T) -> Vec<T> {
        let scores = self.counting.iter().chain(&self.signing);
        scores.map(|score| of(&mut open(score))).collect()
    }

    /// The longest that any task was without an acknowledged write, and without a read, since this was last asked.
    #[must_use]
    pub fn take_longest_gaps(&self) -> (Duration, Duration) {
        let gaps = self.each(Score::take_gaps);
        let longest = gaps.into_iter().reduce(|(a, b), (c, d)| (a.max(c), b.max(d)));
        longest.unwrap_or_default()
    }

    /// How many acknowledged writes are gone, as far as they were read again.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.each(|score| score.lost).iter().sum()
    }

    /// Ends the tasks.
    ///
    /// # Errors
    ///
    /// When one of them ended by itself.
    pub async fn stop(&mut self) -> Result<(), GateError> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.doing("a task ended")??;
        }
        Ok(())
    }

    /// Ends the tasks, and has `clients` take a last look at what is stored.
    ///
    /// # Errors
    ///
    /// When a task ended by itself, or something cannot be read.
    pub async fn end(&mut self, clients: &Clients) -> Result<(), GateError> {
        self.stop().await?;
        for client in clients.both() {
            for (counter, score) in self.told.counters.iter().zip(&self.counting) {
                until(async || counter::look(&*client.store, counter, score).await).await?;
            }
            for (session, score) in self.told.sessions.iter().zip(&self.signing) {
                until(async || session::look(&client.cache, session, score).await).await?;
            }
        }
        Ok(())
    }

    /// Tells of all that was written and read.
    pub fn tell(&self, tally: &mut Tally) {
        for score in &self.counting {
            open(score).tell(self.arrangement, "increments", tally);
        }
        for score in &self.signing {
            open(score).tell(self.arrangement, "sign-ins and sign-outs", tally);
        }
    }
}

impl Drop for Workload {
    /// Ends the tasks, also when nobody waits for them.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
