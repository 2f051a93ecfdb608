//! Gate 12: records that were damaged, cut or moved.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::cache::{CacheError, SignOutScope, TokenCache};
use cache_core::seal::{Incarnation, RecordKind, RecordMeta, SealError, Sealer};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use cache_core::strategy::Strategy;

use crate::gate::{Doing, Gate, GateError};
use crate::golden;
use crate::scene::{CLIENT, ReadError, User};
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 12,
    name: "damaged-records",
    title: "every single-bit flip, every truncation, and every pair swapped, of golden records and of those that a cache wrote",
    must: "each detected, with the error of the check that found it; 0 records deleted or changed",
    unit: "sets of records",
    full_size: 9,
    test_size: 9,
    batch: 1,
    limits: &[
        "A record without encryption is checked by a hash that whoever writes to the store can compute too: damage is found, an attacker is not.",
        "A record that was replaced by an earlier one of its own place is a matter of the gate `rollback`.",
    ],
    floors: &[],
    run,
};

fn run(_: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    for case in cases {
        runtime()?.block_on(async {
            match case {
                0 => sealed_golden_record(&mut tally).await,
                1 => unsealed_golden_record(&mut tally),
                2 => golden_ring(&mut tally).await,
                3 => records_of_every_kind(&mut tally).await,
                4 => swapped(&mut tally).await,
                5 => swapped_under_a_cache(&mut tally).await,
                6 => under_a_cache(RecordKind::User, &mut tally).await,
                7 => under_a_cache(RecordKind::Session, &mut tally).await,
                _ => under_a_cache(RecordKind::KeyRing, &mut tally).await,
            }
        })?;
    }
    Ok(tally)
}

/// Every record that differs from `good` in one bit, and every beginning of it, with a word for which.
fn damaged(good: &[u8]) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let flipped = (0..good.len() * 8).map(|bit| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        ("flips", bytes)
    });
    let cut = (0..good.len()).map(|length| ("cuts", good[..length].to_vec()));
    flipped.chain(cut)
}

/// Which of the errors it is: one for each check.
fn name(error: &SealError) -> String {
    let shown = format!("{error:?}");
    let end = shown.find(|c: char| !c.is_ascii_alphanumeric());
    shown[..end.unwrap_or(shown.len())].to_owned()
}

fn found(what: &str, error: &SealError, tally: &mut Tally) {
    tally.add(&format!("{what} found as {}", name(error)), 1);
}

/// What the checks of a sealed record find, each its own.
const CHECKS: [&str; 6] = [
    "NotSealed",
    "UnsupportedFormat",
    "UnknownKey",
    "WrongKey",
    "WrongLocation",
    "Tampered",
];

/// Opens every damaged `good` by `sealer`.
fn through_a_sealer(sealer: &Sealer, kind: RecordKind, key: &StoreKey, good: &[u8], tally: &mut Tally) {
    for (what, bytes) in damaged(good) {
        match sealer.open_record(kind, key, &bytes) {
            Ok(_) => tally.violation(format_args!("{kind:?}: one of the {what} was opened")),
            Err(error) => {
                tally.check(error.is_unreadable_record(), || {
                    format!("{kind:?}: {what}: {error}")
                });
                found(what, &error, tally);
            }
        }
    }
}

async fn sealed_golden_record(tally: &mut Tally) -> Result<(), GateError> {
    let sealer = golden::sealer().await?;
    let key = sealer.stored_key(RecordKind::User, b"alice");
    let good = golden::record();
    let opened = sealer.open_record(RecordKind::User, &key, &good);
    tally.check(opened.is_ok(), || "the golden record was not opened".to_owned());
    through_a_sealer(&sealer, RecordKind::User, &key, &good, tally);
    for check in CHECKS {
        let count = tally.count(&format!("flips found as {check}"));
        tally.check(count > 0, || {
            format!("no flip was found as {check}: a check is missing")
        });
    }
    Ok(())
}

fn unsealed_golden_record(tally: &mut Tally) -> Result<(), GateError> {
    let sealer = Sealer::plaintext(&golden::namespace());
    let key = sealer.stored_key(RecordKind::User, b"alice");
    let good = golden::unsealed_record();
    sealer
        .open_record(RecordKind::User, &key, &good)
        .doing("the unsealed golden record was not opened")?;
    through_a_sealer(&sealer, RecordKind::User, &key, &good, tally);
    Ok(())
}

async fn golden_ring(tally: &mut Tally) -> Result<(), GateError> {
    for (what, bytes) in damaged(&golden::ring()) {
        let store = golden::store_with_ring(&bytes).await?;
        let before = contents(&store).await?;
        match golden::open(store.clone()).await {
            Ok(_) => tally.violation(format_args!("a key ring: one of the {what} was opened")),
            Err(error) => found(&format!("{what} of a key ring"), &error, tally),
        }
        check_kept(&before, &store, "a key ring", tally).await?;
    }
    Ok(())
}

const META: RecordMeta = RecordMeta {
    codec: 1,
    schema: 1,
    incarnation: Incarnation([7; 16]),
    generation: 5,
};

/// The kinds of which a sealer seals records. A ring is sealed by a key that no record is.
fn kinds() -> impl Iterator<Item = RecordKind> {
    RecordKind::ALL
        .into_iter()
        .filter(|kind| *kind != RecordKind::KeyRing)
}

/// Records of `names` of every kind, each with its place.
fn records(sealer: &Sealer, names: &[&[u8]]) -> Result<Vec<(RecordKind, StoreKey, Bytes)>, GateError> {
    let mut records = Vec::new();
    for kind in kinds() {
        for name in names {
            let key = sealer.stored_key(kind, name);
            let record = sealer
                .seal(kind, &key, META, name)
                .doing("a record was not sealed")?;
            records.push((kind, key, record));
        }
    }
    Ok(records)
}

async fn records_of_every_kind(tally: &mut Tally) -> Result<(), GateError> {
    let sealer = golden::sealer().await?;
    for (kind, key, good) in records(&sealer, &[b"alice"])? {
        through_a_sealer(&sealer, kind, &key, &good, tally);
    }
    Ok(())
}

/// Each record in the place of each other: of another name, of another kind, of another application.
async fn swapped(tally: &mut Tally) -> Result<(), GateError> {
    let here = golden::sealer().await?;
    let there = Sealer::plaintext(&golden::namespace());
    let mut places = records(&here, &[b"alice", b"bob"])?;
    let own = places.len();
    places.extend(records(&there, &[b"alice"])?);
    for (from, (_, _, record)) in places.iter().enumerate() {
        for (to, (kind, key, _)) in places[..own].iter().enumerate().filter(|(to, _)| *to != from) {
            match here.open_record(*kind, key, record) {
                Ok(_) => tally.violation(format_args!("record {from} was opened in the place of {to}")),
                Err(error) => found("swapped pairs", &error, tally),
            }
        }
    }
    Ok(())
}

/// Caches over one store, which start anew each time as another process would.
struct World {
    store: Arc<MemoryStore>,
    sealer: Sealer,
}

const ALICE: User = User(1);
const BOB: User = User(2);

impl World {
    async fn new() -> Result<Self, GateError> {
        let store = golden::store_with_ring(&golden::ring()).await?;
        let sealer = golden::open(store.clone())
            .await
            .doing("the golden ring was not opened")?;
        let world = Self { store, sealer };
        let cache = world.cache()?;
        for user in [ALICE, BOB] {
            user.sign_in(&cache, 1).await.doing("a sign-in failed")?;
            user.begin_session(&cache, 1)
                .await
                .doing("a session was not begun")?;
        }
        Ok(world)
    }

    /// A process that has not seen any record before.
    fn cache(&self) -> Result<TokenCache, GateError> {
        TokenCache::builder(self.store.clone())
            .strategy(Strategy::desktop_tool())
            .open_with(self.sealer.clone())
            .doing("a cache was not opened")
    }

    async fn payload(&self, key: &StoreKey) -> Result<Bytes, GateError> {
        let record = self.store.get(key).await.doing("a record was not read")?;
        Ok(record
            .ok_or_else(|| GateError::new("a record is not there"))?
            .payload)
    }

    async fn put(&self, key: &StoreKey, payload: impl Into<Bytes>) -> Result<(), GateError> {
        let put = self.store.put(key, payload.into(), PutOptions::overwrite()).await;
        put.doing("a record was not written")?;
        Ok(())
    }

    /// What a program does with Alice, whose record of this kind is damaged: each must fail, and none may change anything.
    async fn is_refused(&self, kind: RecordKind, what: &str, tally: &mut Tally) -> Result<(), GateError> {
        let before = contents(&self.store).await?;
        let cache = self.cache()?;
        let mut outcomes = Vec::new();
        if kind == RecordKind::Session {
            outcomes.push(("a look-up", ALICE.session_serial(&cache).await.map(drop)));
            let ended = cache.end_session(&ALICE.session()).await;
            outcomes.push(("the session's end", ended.map(drop).map_err(ReadError::from)));
        } else {
            let user = ALICE.partition();
            outcomes.push(("a look-up", ALICE.serial(&cache).await.map(drop)));
            outcomes.push((
                "a sign-in",
                ALICE.sign_in(&cache, 2).await.map_err(ReadError::from),
            ));
            let out = cache.sign_out(&user, CLIENT, SignOutScope::Family).await;
            outcomes.push(("a sign-out", out.map(drop).map_err(ReadError::from)));
            let forgotten = cache.forget_account(&user).await;
            outcomes.push(("forgetting", forgotten.map(drop).map_err(ReadError::from)));
        }
        for (operation, outcome) in outcomes {
            match outcome {
                Ok(()) => tally.violation(format_args!("{kind:?}: {what}: {operation} used it")),
                Err(ReadError::Cache(CacheError::Seal(error))) => {
                    found(&format!("{what} under a cache"), &error, tally)
                }
                Err(error) => tally.violation(format_args!("{kind:?}: {what}: {operation}: {error}")),
            }
        }
        check_kept(&before, &self.store, what, tally).await
    }
}

/// Every damage of one of Alice's records, as a program meets it.
async fn under_a_cache(kind: RecordKind, tally: &mut Tally) -> Result<(), GateError> {
    let world = World::new().await?;
    if kind == RecordKind::KeyRing {
        return ring_under_a_cache(&world, tally).await;
    }
    let key = match kind {
        RecordKind::Session => world.cache()?.stored_key(&ALICE.session()),
        _ => world.cache()?.stored_key(&ALICE.partition()),
    };
    let good = world.payload(&key).await?;
    for (what, bytes) in damaged(&good) {
        world.put(&key, bytes).await?;
        world.is_refused(kind, what, tally).await?;
    }
    world.put(&key, good).await?;
    check_whole(&world, tally).await
}

/// Every damage of the ring of a cache with records, as a program that starts meets it.
async fn ring_under_a_cache(world: &World, tally: &mut Tally) -> Result<(), GateError> {
    let key = golden::ring_key();
    let good = world.payload(&key).await?;
    for (what, bytes) in damaged(&good) {
        world.put(&key, bytes).await?;
        let before = contents(&world.store).await?;
        let opened = TokenCache::builder(world.store.clone())
            .open_sealed(golden::namespace(), golden::key_source())
            .await;
        match opened {
            Err(CacheError::Seal(error)) => {
                found(&format!("{what} of a key ring under a cache"), &error, tally)
            }
            Err(error) => tally.violation(format_args!("a key ring: {what}: {error}")),
            Ok(_) => tally.violation(format_args!("a key ring: one of the {what} was used")),
        }
        check_kept(&before, &world.store, what, tally).await?;
    }
    world.put(&key, good).await?;
    check_whole(world, tally).await
}

/// Every two records of a store, each in the other's place.
async fn swapped_under_a_cache(tally: &mut Tally) -> Result<(), GateError> {
    let world = World::new().await?;
    let all = contents(&world.store).await?;
    let own = [
        world.cache()?.stored_key(&ALICE.partition()),
        world.cache()?.stored_key(&ALICE.session()),
    ];
    for (one, one_payload) in &all {
        for (other, other_payload) in all.iter().filter(|(other, _)| *other > one) {
            let (one, other) = (key_of(one)?, key_of(other)?);
            if [&one, &other].contains(&&golden::ring_key()) {
                continue;
            }
            world.put(&one, other_payload.clone()).await?;
            world.put(&other, one_payload.clone()).await?;
            tally.add("pairs swapped in a store", 1);
            for (kind, key) in [RecordKind::User, RecordKind::Session].into_iter().zip(&own) {
                if [&one, &other].contains(&key) {
                    world.is_refused(kind, "swapped pairs", tally).await?;
                }
            }
            world.put(&one, one_payload.clone()).await?;
            world.put(&other, other_payload.clone()).await?;
        }
    }
    check_whole(&world, tally).await
}

fn key_of(text: &str) -> Result<StoreKey, GateError> {
    StoreKey::new(text).doing("a key is none")
}

/// With the good record back, everything is as it was.
async fn check_whole(world: &World, tally: &mut Tally) -> Result<(), GateError> {
    let cache = world.cache()?;
    for user in [ALICE, BOB] {
        let found = [
            user.serial(&cache).await.ok(),
            user.session_serial(&cache).await.ok(),
        ];
        tally.check(found == [Some(1); 2], || {
            format!("{user:?}: {found:?} after the damage was undone")
        });
    }
    Ok(())
}

/// Everything that a store holds, without versions.
async fn contents(store: &MemoryStore) -> Result<BTreeMap<String, Bytes>, GateError> {
    let snapshot = golden::snapshot(store).await;
    snapshot.doing("the store was not read")
}

async fn check_kept(
    before: &BTreeMap<String, Bytes>,
    store: &MemoryStore,
    what: &str,
    tally: &mut Tally,
) -> Result<(), GateError> {
    let after = contents(store).await?;
    tally.add("stores that were compared", 1);
    tally.check(after == *before, || {
        format!("{what}: a record was changed or deleted")
    });
    Ok(())
}
