//! How a key ring goes on: rotation between processes, staleness and rollback.
//!
//! Two sealers over one store stand for two processes: they share nothing else.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cache_core::seal::{KeyState, RecordKind, RingError, SealError, WRITER_WINDOW};
use cache_core::store::MemoryStore;

use seal_support::{Scripted, World, meta, ring_key};

#[tokio::test]
async fn a_stale_reader_reloads_once_and_reads() {
    let world = World::new();
    let (stale, other) = (world.open().await, world.open().await);
    let old = world.write(&other, "old").await;
    let id = other.rotate().await.unwrap();
    let new = world.write(&other, "new").await;

    let record = world.record(&new).await.payload;
    assert!(
        stale
            .open_record(RecordKind::User, &new, &record)
            .unwrap_err()
            .is_unknown_key()
    );
    assert_eq!(world.read(&stale, &new).await.unwrap(), "new");
    assert_eq!(stale.keys(), other.keys());
    assert_eq!(
        world.read(&stale, &old).await.unwrap(),
        "old",
        "the old key still opens"
    );
    let record = stale.seal(RecordKind::User, &new, meta(2), b"x").unwrap();
    assert_eq!(
        stale.open_record(RecordKind::User, &new, &record).unwrap().key_id,
        Some(id)
    );
    assert_eq!(
        stale.stored_key(RecordKind::User, b"old"),
        old,
        "stored keys survive rotation"
    );
}

#[tokio::test]
async fn a_stale_writer_cannot_seal_under_a_retired_key() {
    let world = World::new();
    let (stale, other) = (world.open().await, world.open().await);
    let old = stale.keys()[0].id;
    other.rotate().await.unwrap();

    let key = stale.stored_key(RecordKind::User, b"alice");
    assert!(
        stale.seal(RecordKind::User, &key, meta(1), b"x").is_ok(),
        "within the window it does not know better"
    );
    let too_soon = other.retire(old).await.unwrap_err();
    assert!(
        matches!(too_soon, SealError::Ring(RingError::TooSoon { .. })),
        "so the key may not be retired yet"
    );

    world.clock.advance(WRITER_WINDOW);
    assert!(
        stale
            .seal(RecordKind::User, &key, meta(1), b"x")
            .unwrap_err()
            .is_stale_ring()
    );
    world.clock.advance(WRITER_WINDOW);
    other.retire(old).await.unwrap();

    assert!(
        stale
            .seal(RecordKind::User, &key, meta(1), b"x")
            .unwrap_err()
            .is_stale_ring()
    );
    stale.freshen().await.unwrap();
    let record = stale.seal(RecordKind::User, &key, meta(1), b"x").unwrap();
    assert_eq!(
        stale.open_record(RecordKind::User, &key, &record).unwrap().key_id,
        Some(other.keys()[1].id)
    );
    assert_eq!(stale.keys()[0].state, KeyState::Retired);
}

#[tokio::test]
async fn a_fresh_sealer_asks_the_store_twice_a_window() {
    let counted = Arc::new(Scripted::new());
    let world = World::over(counted.clone());
    let sealer = world.open().await;
    let heads = || counted.heads.load(Ordering::SeqCst);
    for _ in 0..1000 {
        sealer.freshen().await.unwrap();
    }
    assert_eq!(heads(), 0);
    for _ in 0..4 {
        world.clock.advance(WRITER_WINDOW / 2);
        for _ in 0..1000 {
            sealer.freshen().await.unwrap();
        }
    }
    assert_eq!(heads(), 4);
}

#[tokio::test]
async fn a_record_under_a_pending_key_proves_a_promotion() {
    let world = World::new();
    let (stale, other) = (world.open().await, world.open().await);
    let id = other.add_key().await.unwrap();
    stale.reload().await.unwrap();
    assert_eq!(stale.keys()[1].state, KeyState::Pending);
    other.promote(id).await.unwrap();
    let key = world.write(&other, "alice").await;

    let record = world.record(&key).await.payload;
    assert!(stale.open_record(RecordKind::User, &key, &record).is_ok());
    assert!(
        stale
            .seal(RecordKind::User, &key, meta(2), b"x")
            .unwrap_err()
            .is_stale_ring()
    );
    assert_eq!(world.read(&stale, &key).await.unwrap(), "alice");
    assert_eq!(stale.keys()[1].state, KeyState::Primary);
    assert!(stale.seal(RecordKind::User, &key, meta(2), b"x").is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_rotations_lose_no_key_and_no_record() {
    let world = World::new();
    let sealers = [world.open().await, world.open().await, world.open().await];
    let mut tasks = Vec::new();
    for (number, sealer) in sealers.iter().cloned().enumerate() {
        let world = world.clone();
        tasks.push(tokio::spawn(async move {
            let mut written = Vec::new();
            for round in 0..5 {
                sealer.rotate().await.unwrap();
                written.push(world.write(&sealer, &format!("{number}-{round}")).await);
            }
            written
        }));
    }
    let mut keys = Vec::new();
    for task in tasks {
        keys.extend(task.await.unwrap());
    }
    for sealer in &sealers {
        for key in &keys {
            world.read(sealer, key).await.unwrap();
        }
        sealer.reload().await.unwrap();
        assert_eq!(sealer.keys().len(), 16);
        assert_eq!(
            sealer
                .keys()
                .iter()
                .filter(|key| key.state == KeyState::Primary)
                .count(),
            1
        );
        assert_eq!(sealer.ring_generation(), 16);
    }
}

#[tokio::test]
async fn a_ring_that_went_back_is_refused_within_a_process() {
    let world = World::new();
    let sealer = world.open().await;
    let before = world.record(&ring_key()).await.payload.to_vec();
    sealer.rotate().await.unwrap();
    let key = world.write(&sealer, "alice").await;
    let after = world.record(&ring_key()).await.payload.to_vec();

    world.replace(&ring_key(), before).await;
    let error = sealer.reload().await.unwrap_err();
    assert!(
        matches!(error, SealError::RingRolledBack { seen: 2, found: 1 }),
        "{error}"
    );
    assert!(error.is_rolled_back());
    assert!(
        sealer.rotate().await.unwrap_err().is_rolled_back(),
        "nothing is built on an old ring"
    );
    assert_eq!(world.read(&sealer, &key).await.unwrap(), "alice");
    world.clock.advance(WRITER_WINDOW);
    assert!(sealer.freshen().await.unwrap_err().is_rolled_back());
    assert!(
        sealer
            .seal(RecordKind::User, &key, meta(2), b"x")
            .unwrap_err()
            .is_stale_ring()
    );

    world.replace(&ring_key(), after).await;
    sealer.freshen().await.unwrap();
    assert!(sealer.seal(RecordKind::User, &key, meta(2), b"x").is_ok());
}

#[tokio::test]
async fn another_ring_under_the_same_key_is_refused_within_a_process() {
    let world = World::new();
    let sealer = world.open().await;
    let elsewhere = World::seeded(8, Arc::new(MemoryStore::new()));
    elsewhere.open().await.rotate().await.unwrap();
    world
        .replace(&ring_key(), elsewhere.record(&ring_key()).await.payload.to_vec())
        .await;
    assert!(sealer.reload().await.unwrap_err().is_rolled_back());
}

/// Two halves of a store that was split each rotated the ring, and one of them lost.
#[tokio::test]
async fn a_ring_of_the_same_generation_that_went_another_way_is_refused_within_a_process() {
    let here = World::new();
    let sealer = here.open().await;
    let elsewhere = World::seeded(8, Arc::new(MemoryStore::new()));
    let shared = here.record(&ring_key()).await.payload.to_vec();
    elsewhere.replace(&ring_key(), shared).await;
    elsewhere.open().await.rotate().await.unwrap();
    sealer.rotate().await.unwrap();
    let key = here.write(&sealer, "alice").await;

    let other = elsewhere.record(&ring_key()).await.payload.to_vec();
    here.replace(&ring_key(), other).await;
    let error = sealer.reload().await.unwrap_err();
    assert!(
        matches!(error, SealError::RingRolledBack { seen: 2, found: 2 }),
        "{error}"
    );
    assert_eq!(here.read(&sealer, &key).await.unwrap(), "alice");
}

#[tokio::test]
async fn a_change_whose_reply_was_lost_is_made_once() {
    let store = Arc::new(Scripted::new());
    let world = World::over(store.clone());

    store.lose_next_reply.store(true, Ordering::SeqCst);
    let sealer = world.open().await;
    assert_eq!(
        sealer.ring_generation(),
        1,
        "the ring whose reply was lost is the ring"
    );

    store.lose_next_reply.store(true, Ordering::SeqCst);
    let id = sealer.rotate().await.unwrap();
    assert_eq!(sealer.keys().len(), 2);
    assert_eq!(sealer.keys()[1].id, id);
    assert_eq!(world.open().await.keys(), sealer.keys());

    store.lose_next_request.store(true, Ordering::SeqCst);
    let error = sealer.rotate().await.unwrap_err();
    assert!(matches!(error, SealError::Store(error) if error.is_outcome_unknown()));
    sealer.reload().await.unwrap();
    assert_eq!(sealer.keys().len(), 2);
}
