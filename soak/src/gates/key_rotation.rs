//! Gate 14: keys rotate under load.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::{KeyId, KeyState, Namespace, WRITER_WINDOW};
use cache_core::strategy::{MemoryTier, Strategy, TimeLimits};
use cache_core::time::Clock;
use cache_sqlite::{SqliteConfig, SqliteStore};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::child::{Child, Task, report};
use crate::gate::{Doing, Gate, GateError};
use crate::hurried_clock::HurriedClock;
use crate::scene::{User, key_source, openable_records};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 14,
    name: "key-rotation",
    title: "Keys rotate while 8 processes read and write under the rings that they have",
    must: "0 failed reads or writes, nothing lost, every old key retired at zero records",
    unit: "rotations",
    full_size: 20,
    test_size: 1,
    batch: 20,
    limits: &[
        "A minute of the rings' windows takes a second here, for all processes alike: clocks that differ are not tried.",
        "Over SQLite, without the memory tier: each read opens a record of the store.",
    ],
    floors: &[
        ("reads", 100.0),
        ("writes", 50.0),
        ("operations that began under an older ring", 8.0),
    ],
    run,
};

const PROCESSES: u32 = 8;
const USERS_EACH: u32 = 4;
const HURRY: u32 = 60;

/// One of the processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UsingKeys {
    folder: PathBuf,
    clock: HurriedClock,
    number: u32,
}

/// What it did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UsedKeys {
    reads: u64,
    writes: u64,
    /// Operations that began under another ring than they ended under.
    renewed: u64,
    failures: Vec<String>,
    /// The last sign-in that it knows of each user.
    serials: BTreeMap<u32, u64>,
}

impl UsingKeys {
    pub(crate) fn perform(self) -> Result<(), GateError> {
        runtime()?.block_on(async {
            let cache = open(&self.folder, self.clock).await?;
            let mut chance = chance(GATE.number, self.number.into());
            let mut used = UsedKeys::default();
            while !end_of(&self.folder).exists() {
                let ring = keys(&cache);
                if chance.random_bool(0.3) {
                    let own = self.number * USERS_EACH + chance.random_range(0..USERS_EACH);
                    used.write(own, &cache).await;
                } else {
                    // Also what others have just sealed, under a key that is not in the ring here.
                    let any = chance.random_range(0..PROCESSES * USERS_EACH);
                    used.read(any, any / USERS_EACH == self.number, &cache).await;
                }
                used.renewed += u64::from(keys(&cache) != ring);
                self.clock.sleep(Duration::from_millis(200)).await;
            }
            report(&used)
        })
    }
}

impl UsedKeys {
    async fn write(&mut self, user: u32, cache: &TokenCache) {
        self.writes += 1;
        let next = self.known(user) + 1;
        match User(user).sign_in(cache, next).await {
            Ok(()) => _ = self.serials.insert(user, next),
            Err(error) => self.failures.push(format!("user {user}, write: {error}")),
        }
    }

    async fn read(&mut self, user: u32, is_own: bool, cache: &TokenCache) {
        self.reads += 1;
        let known = self.known(user);
        match User(user).serial(cache).await {
            Ok(found) if found == known || (found > known && !is_own) => {
                self.serials.insert(user, found);
            }
            Ok(found) => self.failures.push(format!("user {user}: {found} after {known}")),
            Err(error) => self.failures.push(format!("user {user}, read: {error}")),
        }
    }

    fn known(&self, user: u32) -> u64 {
        self.serials.get(&user).copied().unwrap_or_default()
    }
}

/// The keys of the ring that a process has.
fn keys(cache: &TokenCache) -> Vec<(KeyId, KeyState)> {
    let keys = cache.sealer().keys();
    keys.iter().map(|key| (key.id, key.state)).collect()
}

/// Its being there ends the processes.
fn end_of(folder: &Path) -> PathBuf {
    folder.join("end")
}

/// Every read goes to the store, under whatever ring the process has.
async fn open(folder: &Path, clock: HurriedClock) -> Result<TokenCache, GateError> {
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let config = SqliteConfig::new(folder.join("cache.db")).clock(Arc::clone(&clock));
    let store = SqliteStore::open(config)
        .await
        .doing("could not open the database")?;
    let strategy = Strategy::desktop_tool()
        .memory_tier(MemoryTier::off())
        // By the hurried clock, while a busy machine is as slow as ever.
        .limits(TimeLimits {
            request: Duration::from_secs(300),
            commit: Duration::from_secs(300),
            acquire: Duration::from_secs(3600),
        });
    TokenCache::builder(Arc::new(store))
        .clock(clock)
        .strategy(strategy)
        .open_sealed(Namespace::default(), key_source())
        .await
        .doing("could not open the cache")
}

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let folder = stage.folder()?;
    let clock = HurriedClock::start(HURRY);
    let mut tally = Tally::default();
    runtime()?.block_on(async {
        let cache = open(folder.path(), clock).await?;
        let mut children = (0..PROCESSES)
            .map(|number| {
                stage.start(&Task::UseKeys(UsingKeys {
                    folder: folder.path().to_owned(),
                    clock,
                    number,
                }))
            })
            .collect::<Result<Vec<Child>, _>>()?;
        for _ in cases {
            clock.sleep(WRITER_WINDOW).await;
            rotate(&cache, clock, &mut tally).await?;
        }
        std::fs::write(end_of(folder.path()), "").doing("could not end the processes")?;
        let sealer = cache.sealer();
        let in_use = sealer
            .keys()
            .iter()
            .filter(|key| key.state != KeyState::Retired)
            .count();
        tally.check(in_use == 1, || format!("{in_use} keys are in use"));
        for (process, child) in (0..).zip(&mut children) {
            let used: UsedKeys = child.report()?;
            tally.add("reads", used.reads);
            tally.add("writes", used.writes);
            tally.add("operations that began under an older ring", used.renewed);
            for failure in used.failures {
                tally.violation(format_args!("process {process}: {failure}"));
            }
            for (user, last) in used.serials {
                let found = User(user).serial(&cache).await.doing("could not read")?;
                let is_own = user / USERS_EACH == process;
                tally.check(found == last || (found > last && !is_own), || {
                    format!("user {user}: {found} after {last}")
                });
            }
        }
        match openable_records(&cache).await {
            Ok(records) => tally.add("records opened in the end", records),
            Err(error) => tally.violation(error),
        }
        Ok(tally)
    })
}

/// Rotates, seals everything under the new key, and retires the old one as soon as that is allowed.
async fn rotate(cache: &TokenCache, clock: HurriedClock, tally: &mut Tally) -> Result<(), GateError> {
    let sealer = cache.sealer();
    let keys = sealer.keys();
    let old = keys
        .iter()
        .find(|key| key.state == KeyState::Primary)
        .ok_or_else(|| GateError::new("the ring has no primary key"))?;
    sealer.rotate().await.doing("could not rotate")?;
    clock.sleep(2 * WRITER_WINDOW + Duration::from_secs(1)).await;
    let mut sweeps = 1;
    while !sealer
        .reseal(u64::MAX)
        .await
        .doing("could not reseal")?
        .is_complete()
    {
        sweeps += 1;
    }
    match sealer.retire(old.id).await {
        Ok(()) => tally.add("keys retired", 1),
        Err(error) => tally.violation(format_args!("the old key is still in use: {error}")),
    }
    tally.at_most("sweeps until no record is under the old key", sweeps);
    Ok(())
}
