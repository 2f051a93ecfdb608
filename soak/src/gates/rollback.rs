//! Gate 13: a store that goes back in time.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::cache::{CacheError, SignOutScope, TokenCache};
use cache_core::seal::{RollbackPolicy, SealError};
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::strategy::{MemoryTier, Strategy};
use cache_sqlite::{SqliteConfig, SqliteStore};
use rand::Rng;

use crate::gate::{Doing, Gate, GateError};
use crate::golden::{namespace, ring_key, snapshot};
use crate::scene::{CLIENT, ReadError, User, key_source};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 13,
    name: "rollback",
    title: "rollback of a record, of the key ring and of a whole SQLite store, under a process that saw the newer state and before one that starts",
    must: "refused, or a miss where the strategy says so, by who saw the newer state; what no process can notice is pinned, and no more than that",
    unit: "rollbacks",
    full_size: 1_600,
    test_size: 32,
    batch: 160,
    limits: &[
        "There is no anchor outside the store yet: a record, a key ring or a whole store that is put back before a process starts is not noticed by \
         it (pinned).",
        "A record of an earlier sign-in, at the last state that it had, is not noticed when it is put back after a sign-out (pinned).",
    ],
    floors: &[
        ("records refused", 0.1),
        ("records that were a miss", 0.1),
        ("key rings refused", 0.1),
    ],
    run,
};

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        for case in cases {
            runtime()?.block_on(roll_back(stage, case, &mut tally))?;
        }
        Ok(tally)
    })
}

const ALICE: User = User(1);
const BOB: User = User(2);

async fn roll_back(stage: &Stage, case: u64, tally: &mut Tally) -> Result<(), GateError> {
    let folder = stage.folder()?;
    let world = World::new(folder.path()).await?;
    match case % 8 {
        0 => world.record(case, RollbackPolicy::Refuse, tally).await?,
        1 => world.record(case, RollbackPolicy::MissAndReport, tally).await?,
        2 => world.signed_out(case, tally).await?,
        3 => world.ring(tally).await?,
        4 => world.whole_store(case, tally).await?,
        5 => world.record_before_a_start(case, tally).await?,
        6 => world.ring_before_a_start(case, tally).await?,
        _ => world.before_a_start(case, folder.path(), tally).await?,
    }
    world.attacker.close().await;
    world.store.close().await;
    Ok(())
}

/// A database, a process that uses it, and somebody else with access to it.
struct World {
    store: Arc<SqliteStore>,
    attacker: SqliteStore,
}

impl World {
    async fn new(folder: &Path) -> Result<Self, GateError> {
        let path = folder.join("cache.db");
        let open = || SqliteStore::open(SqliteConfig::new(&path));
        Ok(Self {
            store: Arc::new(open().await.doing("the database was not opened")?),
            attacker: open().await.doing("the database was not opened")?,
        })
    }

    /// A process that asks the store each time: what is in its memory did not go back.
    async fn process(&self, policy: RollbackPolicy) -> Result<TokenCache, GateError> {
        let memory = MemoryTier::bounded(1 << 20).max_staleness(Duration::ZERO);
        TokenCache::builder(self.store.clone())
            .strategy(Strategy::desktop_tool().memory_tier(memory).rollback(policy))
            .open_sealed(namespace(), key_source())
            .await
            .doing("the cache was not opened")
    }

    async fn contents(&self) -> Result<BTreeMap<String, Bytes>, GateError> {
        snapshot(&self.attacker).await.doing("the store was not read")
    }

    async fn put(&self, key: &str, payload: &Bytes) -> Result<(), GateError> {
        let key = StoreKey::new(key).doing("a key is none")?;
        let put = self
            .attacker
            .put(&key, payload.clone(), PutOptions::overwrite())
            .await;
        put.doing("a record was not put back")?;
        Ok(())
    }

    /// One record, under a process that saw a newer one.
    async fn record(&self, case: u64, policy: RollbackPolicy, tally: &mut Tally) -> Result<(), GateError> {
        let cache = self.process(policy).await?;
        let mut chance = chance(GATE.number, case);
        let (old, newest) = (chance.random_range(1..4), chance.random_range(4..7));
        let before = self.sign_in_until(&cache, old, newest).await?;
        let key = cache.stored_key(&ALICE.partition());
        self.put(key.as_str(), &before[key.as_str()]).await?;
        for _ in 0..2 {
            match (policy, ALICE.serial(&cache).await) {
                (RollbackPolicy::Refuse, Err(error)) if is_rolled_back(&error) => {
                    tally.add("records refused", 1)
                }
                (RollbackPolicy::MissAndReport, Ok(0)) => tally.add("records that were a miss", 1),
                (_, found) => tally.violation(format_args!(
                    "case {case}: {found:?} after {newest}, {old} put back"
                )),
            }
        }
        self.others_are_served(&cache, case, tally).await
    }

    /// The record of a sign-in that has ended: at an earlier state, and at its last.
    async fn signed_out(&self, case: u64, tally: &mut Tally) -> Result<(), GateError> {
        let cache = self.process(RollbackPolicy::Refuse).await?;
        let before = self.sign_in_until(&cache, 1, 3).await?;
        let last = self.contents().await?;
        let key = cache.stored_key(&ALICE.partition());
        let out = cache
            .sign_out(&ALICE.partition(), CLIENT, SignOutScope::Family)
            .await;
        out.doing("the sign-out failed")?;
        self.put(key.as_str(), &before[key.as_str()]).await?;
        match ALICE.serial(&cache).await {
            Err(error) if is_rolled_back(&error) => tally.add("records from before a sign-out refused", 1),
            found => tally.violation(format_args!("case {case}: {found:?} after the sign-out")),
        }
        self.put(key.as_str(), &last[key.as_str()]).await?;
        self.pinned(
            ALICE.serial(&cache).await,
            3,
            "limit: the last state of an ended sign-in, put back, served",
            case,
            tally,
        );
        Ok(())
    }

    /// The key ring, under a process that saw a newer one.
    async fn ring(&self, tally: &mut Tally) -> Result<(), GateError> {
        let cache = self.process(RollbackPolicy::Refuse).await?;
        let before = self.sign_in_until(&cache, 1, 2).await?;
        cache.sealer().rotate().await.doing("a key was not added")?;
        ALICE.sign_in(&cache, 3).await.doing("a sign-in failed")?;
        let ring = ring_key();
        self.put(ring.as_str(), &before[ring.as_str()]).await?;
        match cache.sealer().reload().await {
            Err(SealError::RingRolledBack { .. }) => tally.add("key rings refused", 1),
            found => tally.violation(format_args!("an older key ring: {found:?}")),
        }
        // It goes on with the ring that it has.
        let found = ALICE.serial(&cache).await;
        tally.check(matches!(found, Ok(3)), || format!("{found:?} by the newer ring"));
        Ok(())
    }

    /// All records at once, under a process that saw newer ones.
    async fn whole_store(&self, case: u64, tally: &mut Tally) -> Result<(), GateError> {
        let cache = self.process(RollbackPolicy::Refuse).await?;
        let before = self.sign_in_until(&cache, 2, 4).await?;
        BOB.sign_in(&cache, 2).await.doing("a sign-in failed")?;
        for (key, payload) in &before {
            self.put(key, payload).await?;
        }
        for user in [ALICE, BOB] {
            match user.serial(&cache).await {
                Err(error) if is_rolled_back(&error) => tally.add("records of a whole store refused", 1),
                found => tally.violation(format_args!(
                    "case {case}: {found:?} of a store that was put back"
                )),
            }
        }
        Ok(())
    }

    /// One record, before a process that has not seen a newer one.
    async fn record_before_a_start(&self, case: u64, tally: &mut Tally) -> Result<(), GateError> {
        let cache = self.process(RollbackPolicy::Refuse).await?;
        let before = self.sign_in_until(&cache, 2, 4).await?;
        let key = cache.stored_key(&ALICE.partition());
        self.put(key.as_str(), &before[key.as_str()]).await?;
        let started = self.process(RollbackPolicy::Refuse).await?;
        self.pinned(
            ALICE.serial(&started).await,
            2,
            "limit: a record put back before a process that starts, served",
            case,
            tally,
        );
        self.others_are_served(&started, case, tally).await
    }

    /// The key ring, before a process that has not seen a newer one.
    async fn ring_before_a_start(&self, case: u64, tally: &mut Tally) -> Result<(), GateError> {
        let cache = self.process(RollbackPolicy::Refuse).await?;
        let before = self.sign_in_until(&cache, 1, 2).await?;
        cache.sealer().rotate().await.doing("a key was not added")?;
        ALICE.sign_in(&cache, 3).await.doing("a sign-in failed")?;
        let ring = ring_key();
        self.put(ring.as_str(), &before[ring.as_str()]).await?;
        let started = self.process(RollbackPolicy::Refuse).await?;
        tally.add(
            "limit: a key ring put back before a process that starts, opened",
            1,
        );
        // What is sealed under a key that the older ring has not is no miss, which a sign-in would overwrite.
        match ALICE.serial(&started).await {
            Err(ReadError::Cache(CacheError::Seal(error))) if error.is_unknown_key() => {
                tally.add(
                    "records under a newer key than those of the ring that was put back, refused",
                    1,
                );
            }
            found => tally.violation(format_args!("case {case}: {found:?} by an older key ring")),
        }
        self.others_are_served(&started, case, tally).await
    }

    /// The files of the database, while no process runs.
    async fn before_a_start(&self, case: u64, folder: &Path, tally: &mut Tally) -> Result<(), GateError> {
        let cache = self.process(RollbackPolicy::Refuse).await?;
        self.sign_in_until(&cache, 1, 2).await?;
        let copy = folder.join("copy");
        fs::create_dir(&copy).doing("a folder was not made")?;
        // A copy of a database and its log is whole as long as nobody writes.
        copy_files(folder, &copy)?;
        ALICE.sign_in(&cache, 5).await.doing("a sign-in failed")?;
        self.attacker.close().await;
        self.store.close().await;
        for name in files(folder)? {
            fs::remove_file(folder.join(name)).doing("a file was not removed")?;
        }
        copy_files(&copy, folder)?;
        let again = Self::new(folder).await?;
        let started = again.process(RollbackPolicy::Refuse).await?;
        self.pinned(
            ALICE.serial(&started).await,
            2,
            "limit: a whole store put back while no process runs, served",
            case,
            tally,
        );
        again.attacker.close().await;
        again.store.close().await;
        Ok(())
    }

    /// Signs Alice in `newest` times, and gives what the store held after the `old`th.
    async fn sign_in_until(
        &self,
        cache: &TokenCache,
        old: u64,
        newest: u64,
    ) -> Result<BTreeMap<String, Bytes>, GateError> {
        BOB.sign_in(cache, 1).await.doing("a sign-in failed")?;
        let mut before = BTreeMap::new();
        for serial in 1..=newest {
            ALICE.sign_in(cache, serial).await.doing("a sign-in failed")?;
            if serial == old {
                before = self.contents().await?;
            }
        }
        let found = ALICE.serial(cache).await.doing("a sign-in was not read")?;
        if found != newest {
            return Err(GateError::new(format!("sign-in {found} was read, not {newest}")));
        }
        Ok(before)
    }

    async fn others_are_served(
        &self,
        cache: &TokenCache,
        case: u64,
        tally: &mut Tally,
    ) -> Result<(), GateError> {
        let found = BOB.serial(cache).await;
        tally.check(matches!(found, Ok(1)), || {
            format!("case {case}: {found:?} of another user")
        });
        Ok(())
    }

    /// What is not promised. It is pinned, so that the documents are true: where this changes, they have to.
    fn pinned(
        &self,
        found: Result<u64, ReadError>,
        expected: u64,
        limit: &str,
        case: u64,
        tally: &mut Tally,
    ) {
        match found {
            Ok(found) if found == expected => tally.add(limit, 1),
            found => tally.violation(format_args!(
                "case {case}: {found:?}, so this is no longer true: {limit}"
            )),
        }
    }
}

fn is_rolled_back(error: &ReadError) -> bool {
    matches!(error, ReadError::Cache(CacheError::Seal(error)) if matches!(**error, SealError::RolledBack { .. }))
}

fn files(folder: &Path) -> Result<Vec<std::ffi::OsString>, GateError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).doing("a folder was not read")? {
        let entry = entry.doing("a folder was not read")?;
        if entry.path().is_file() {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

fn copy_files(from: &Path, to: &Path) -> Result<(), GateError> {
    for name in files(from)? {
        fs::copy(from.join(&name), to.join(&name)).doing("a file was not copied")?;
    }
    Ok(())
}
