//! Gate 12: records that were damaged, cut or moved.

mod damage;
mod records;
mod world;

use std::ops::Range;

use bytes::Bytes;
use cache_core::seal::{Incarnation, RecordKind, RecordMeta, SealError, Sealer};
use cache_core::store::StoreKey;

use self::damage::{Checks, damaged, name, of_ring, of_sealed, of_unsealed};
use self::records::Subject;
use self::world::{check_kept, contents};
use crate::gate::{Doing, Gate, GateError};
use crate::golden;
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 12,
    name: "damaged-records",
    title: "every single-bit flip, every truncation, and every pair swapped, of golden records and of those that a cache wrote",
    must: "each detected, with the error of the check that its place in the record is for; 0 records deleted or changed",
    unit: "sets of records",
    full_size: 12,
    test_size: 12,
    batch: 1,
    limits: &[
        "A record without encryption is checked by a hash that whoever writes to the store can compute too: damage is found, an attacker is not.",
        "A record that was replaced by an earlier one of its own place is a matter of the gate `rollback`.",
        "Records that were moved aside, are on their way from another cache, or hold rows that nobody understands, are opened by a sealer alone; those of the other kinds by a cache too.",
    ],
    floors: &[
        ("flips found as Tampered", 100.0),
        ("cuts found as WrongLength", 50.0),
    ],
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
                5 => world::swapped(&mut tally).await,
                6 => world::damaged_records(Subject::User(records::ALICE), &mut tally).await,
                7 => world::damaged_records(Subject::Session(records::ALICE), &mut tally).await,
                8 => world::damaged_records(Subject::App, &mut tally).await,
                9 => world::damaged_records(Subject::ProofKey, &mut tally).await,
                10 => world::damaged_records(Subject::Directory, &mut tally).await,
                _ => world::damaged_records(Subject::Ring, &mut tally).await,
            }
        })?;
    }
    Ok(tally)
}

/// Counts an error, which must be one of `expected`.
fn found(what: &str, error: &SealError, expected: &[&str], which: impl std::fmt::Display, tally: &mut Tally) {
    let name = name(error);
    tally.check(expected.contains(&name.as_str()), || {
        format!("{what}: {which}: {name} instead of {expected:?}: {error}")
    });
    tally.add(&format!("{what} found as {name}"), 1);
}

/// Opens every damaged `good` by `sealer`.
fn through_a_sealer(
    sealer: &Sealer,
    kind: RecordKind,
    key: &StoreKey,
    good: &[u8],
    checks: Checks,
    tally: &mut Tally,
) {
    for (damage, bytes) in damaged(good) {
        match sealer.open_record(kind, key, &bytes) {
            Ok(_) => tally.violation(format_args!("{kind:?}: {damage}: it was opened")),
            Err(error) => {
                tally.check(error.is_unreadable_record(), || {
                    format!("{kind:?}: {damage}: a quarantine would not help against: {error}")
                });
                found(
                    damage.name(),
                    &error,
                    checks(damage),
                    format_args!("{kind:?}, {damage}"),
                    tally,
                );
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
    through_a_sealer(&sealer, RecordKind::User, &key, &good, of_sealed, tally);
    Ok(())
}

fn unsealed_golden_record(tally: &mut Tally) -> Result<(), GateError> {
    let sealer = Sealer::plaintext(&golden::namespace());
    let key = sealer.stored_key(RecordKind::User, b"alice");
    let good = golden::unsealed_record();
    sealer
        .open_record(RecordKind::User, &key, &good)
        .doing("the unsealed golden record was not opened")?;
    through_a_sealer(&sealer, RecordKind::User, &key, &good, of_unsealed, tally);
    Ok(())
}

async fn golden_ring(tally: &mut Tally) -> Result<(), GateError> {
    for (damage, bytes) in damaged(&golden::ring()) {
        let store = golden::store_with_ring(&bytes).await?;
        let before = contents(&store).await?;
        match golden::open(store.clone()).await {
            Ok(_) => tally.violation(format_args!("a key ring: {damage}: it was opened")),
            Err(error) => {
                let what = format!("{} of a key ring", damage.name());
                found(&what, &error, of_ring(damage), damage, tally);
            }
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
        through_a_sealer(&sealer, kind, &key, &good, of_sealed, tally);
    }
    Ok(())
}

/// Each record in the place of each other: of another name, of another kind, of another application, and the key ring's.
async fn swapped(tally: &mut Tally) -> Result<(), GateError> {
    let here = golden::sealer().await?;
    let there = Sealer::plaintext(&golden::namespace());
    let mut all: Vec<_> = records(&here, &[b"alice", b"bob"])?
        .into_iter()
        .map(|(kind, key, record)| (Some((kind, key)), record, "WrongLocation"))
        .collect();
    let foreign = records(&there, &[b"alice"])?.into_iter();
    all.extend(foreign.map(|(_, _, record)| (None, record, "PlaintextRecord")));
    all.push((None, golden::ring().into(), "NotSealed"));
    for (from, (_, record, error)) in all.iter().enumerate() {
        for (to, place) in all.iter().enumerate().filter(|(to, _)| *to != from) {
            let (Some((kind, key)), ..) = place else { continue };
            match here.open_record(*kind, key, record) {
                Ok(_) => tally.violation(format_args!("record {from} was opened in the place of {to}")),
                Err(found_as) => found(
                    "swapped pairs",
                    &found_as,
                    &[error],
                    format_args!("{from} in the place of {to}"),
                    tally,
                ),
            }
        }
    }
    for (from, (_, record, _)) in all[..all.len() - 1].iter().enumerate() {
        let store = golden::store_with_ring(record).await?;
        match golden::open(store).await {
            Ok(_) => tally.violation(format_args!("record {from} was opened for a key ring")),
            Err(error) => found("swapped pairs", &error, &["RingUnreadable"], from, tally),
        }
    }
    Ok(())
}
