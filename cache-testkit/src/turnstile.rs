//! The orders in which several programs can come to one store, one after another.
//!
//! Each program gets its own [`Door`] to the store, and waits there before every operation until it is its turn. Whose turn it is a
//! [`Schedule`] says; [`Orders`] goes through all schedules, and a seed gives one by chance. Between two turns everything runs until
//! nothing can go on, so the same schedule gives the same run: on a runtime of one thread and by a [`ManualClock`], which is moved when
//! everybody waits for time to pass.
//!
//! What happens between two operations of one program is never interrupted: what threads can do to each other in memory is a matter for other
//! tests.
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
//! use cache_testkit::clock::ManualClock;
//! use cache_testkit::turnstile::{Orders, Turnstile};
//!
//! let key = StoreKey::new("counter")?;
//! let (mut orders, mut lost) = (Orders::all(), 0);
//! while let Some(schedule) = orders.next() {
//!     let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//!     lost += runtime.block_on(async {
//!         let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
//!         let mut turnstile = Turnstile::new(&ManualClock::new(), schedule);
//!         for _ in 0..2 {
//!             let (store, key) = (turnstile.door().to(&store), key.clone());
//!             turnstile.add(async move {
//!                 // Nobody should count like this.
//!                 let count = store.get(&key).await.unwrap().map_or(0, |record| record.payload[0]);
//!                 store.put(&key, vec![count + 1].into(), PutOptions::overwrite()).await.unwrap();
//!             });
//!         }
//!         orders.ran(turnstile.run().await);
//!         usize::from(store.get(&key).await.unwrap().unwrap().payload[0] != 2)
//!     });
//! }
//! assert!(lost > 0, "some orders lose an increment");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::ManualClock;
use crate::random::SeededRandom;
use cache_core::random::Random;

/// How often everybody else runs before it is somebody's turn. What leads from one operation to the next is far shorter.
const ROUNDS: usize = 64;

/// By how much the clock is moved when everybody waits for time to pass.
const TICK: Duration = Duration::from_millis(20);

/// How often in a row: what then still waits, waits for something that does not come.
const TICKS: usize = 100_000;

/// Whose turn it is, each time that several wait.
#[derive(Debug)]
pub struct Schedule {
    /// The first turns; each is a place in the row of those who wait.
    given: Vec<usize>,
    /// Who is drawn after these; `None`: the first in the row.
    chance: Option<SeededRandom>,
    /// The turns that were taken, each with the length of the row.
    taken: Vec<(usize, usize)>,
}

impl Schedule {
    /// A schedule by chance, the same for the same seed.
    #[must_use]
    pub fn by_chance(seed: u64) -> Self {
        Self {
            given: Vec::new(),
            chance: Some(SeededRandom::new(seed)),
            taken: Vec::new(),
        }
    }

    fn given(given: Vec<usize>) -> Self {
        Self {
            given,
            chance: None,
            taken: Vec::new(),
        }
    }

    /// The place in a row of so many.
    fn turn(&mut self, waiting: usize) -> usize {
        let place = match (self.given.get(self.taken.len()), &self.chance) {
            (Some(&place), _) => place.min(waiting - 1),
            (None, Some(chance)) => {
                let mut bytes = [0; 8];
                // A seeded source does not fail.
                let _ = chance.fill(&mut bytes);
                (u64::from_le_bytes(bytes) % waiting as u64) as usize
            }
            (None, None) => 0,
        };
        self.taken.push((place, waiting));
        place
    }

    /// The turns that were taken: the places of those whose turn it was.
    #[must_use]
    pub fn turns(&self) -> Vec<usize> {
        self.taken.iter().map(|&(place, _)| place).collect()
    }
}

/// Every schedule, one after the other, each told by how the one before went.
#[derive(Debug)]
pub struct Orders {
    next: Option<Vec<usize>>,
    count: u64,
}

impl Orders {
    /// All of them: depth first.
    #[must_use]
    pub fn all() -> Self {
        Self {
            next: Some(Vec::new()),
            count: 0,
        }
    }

    /// The next schedule; `None` after the last. What was run by it is to be [told](Self::ran) before the next is asked for.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator cannot be told how it went"
    )]
    pub fn next(&mut self) -> Option<Schedule> {
        self.next.take().map(Schedule::given)
    }

    /// Says how the schedule went.
    pub fn ran(&mut self, schedule: Schedule) {
        self.count += 1;
        let mut taken = schedule.taken;
        // The last turn that could have been another's is that of the next in the row.
        while let Some((place, waiting)) = taken.pop() {
            if place + 1 < waiting {
                let mut next: Vec<_> = taken.iter().map(|&(place, _)| place).collect();
                next.push(place + 1);
                self.next = Some(next);
                return;
            }
        }
        self.next = None;
    }

    /// How many schedules were run.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Lets programs go on one at a time.
pub struct Turnstile {
    row: Arc<Mutex<Row>>,
    clock: ManualClock,
    schedule: Schedule,
    programs: Vec<BoxFuture<'static, ()>>,
}

/// Those who wait for their turn: first those of the first door.
#[derive(Debug, Default)]
struct Row {
    doors: usize,
    waiting: Vec<(usize, oneshot::Sender<()>)>,
    /// Whether turns are taken: not before the programs run, nor after.
    is_closed: bool,
}

impl Turnstile {
    /// One whose turns the schedule says.
    #[must_use]
    pub fn new(clock: &ManualClock, schedule: Schedule) -> Self {
        Self {
            row: Arc::default(),
            clock: clock.clone(),
            schedule,
            programs: Vec::new(),
        }
    }

    /// A door for one program.
    #[must_use]
    pub fn door(&self) -> Door {
        let mut row = lock(&self.row);
        row.doors += 1;
        Door {
            number: row.doors,
            row: Arc::clone(&self.row),
        }
    }

    /// A program, which begins with [`run`](Self::run).
    pub fn add(&mut self, program: impl Future<Output = ()> + Send + 'static) {
        self.programs.push(Box::pin(program));
    }

    /// Runs all programs to their end, and gives the schedule as it went. Before and after it the doors are open.
    ///
    /// # Panics
    ///
    /// When a program panicked, or waits for what does not come.
    #[expect(clippy::panic, reason = "this is for tests, which have failed then")]
    pub async fn run(mut self) -> Schedule {
        lock(&self.row).is_closed = true;
        let programs: Vec<_> = self.programs.drain(..).map(tokio::spawn).collect();
        let mut ticks = 0;
        loop {
            for _ in 0..ROUNDS {
                tokio::task::yield_now().await;
            }
            if programs.iter().all(JoinHandle::is_finished) {
                break;
            }
            if self.let_one_through() {
                ticks = 0;
                continue;
            }
            ticks += 1;
            assert!(ticks < TICKS, "everybody waits: {:?}", self.schedule.turns());
            self.clock.advance(TICK);
        }
        lock(&self.row).open();
        for program in programs {
            if let Err(error) = program.await {
                panic!("a program ended: {error}; turns {:?}", self.schedule.turns());
            }
        }
        self.schedule
    }

    fn let_one_through(&mut self) -> bool {
        let mut row = lock(&self.row);
        // Those who gave up are not in the row any more.
        row.waiting.retain(|(_, turn)| !turn.is_closed());
        if row.waiting.is_empty() {
            return false;
        }
        row.waiting.sort_by_key(|&(door, _)| door);
        let place = self.schedule.turn(row.waiting.len());
        let (_, turn) = row.waiting.remove(place);
        // It went away in this moment.
        let _ = turn.send(());
        true
    }
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turnstile")
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

impl Row {
    /// Nobody waits any more.
    fn open(&mut self) {
        self.is_closed = false;
        self.waiting.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where one program waits for its turn.
#[derive(Clone, Debug)]
pub struct Door {
    number: usize,
    row: Arc<Mutex<Row>>,
}

impl Door {
    /// The store, each operation of which takes its turn at this door.
    #[must_use]
    pub fn to(&self, store: &Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Behind {
            door: self.clone(),
            store: Arc::clone(store),
        })
    }

    /// Waits for a turn: what comes before anything else that others may come in between.
    pub async fn turn(&self) {
        let turn = {
            let mut row = lock(&self.row);
            if !row.is_closed {
                return;
            }
            let (sender, turn) = oneshot::channel();
            row.waiting.push((self.number, sender));
            turn
        };
        // Without a sender the turnstile is open.
        let _ = turn.await;
    }
}

/// A store behind a door.
#[derive(Debug)]
struct Behind {
    door: Door,
    store: Arc<dyn Store>,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Behind {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.door.turn().await;
        self.store.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.door.turn().await;
        self.store.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.door.turn().await;
        self.store.put(key, payload, options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.door.turn().await;
        self.store.delete(key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let listed = futures_util::stream::once(async move {
            self.door.turn().await;
            self.store.scan(prefix)
        });
        listed.flatten().boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.store.watch()
    }
}
