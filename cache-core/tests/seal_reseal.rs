//! The sweep after a rotation, retirement, and quarantine.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::seal::{
    KeyId, KeyState, Namespace, Quarantine, RecordKind, RingError, SealError, Sealer, WRITER_WINDOW,
};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use cache_core::time::{Clock, SystemClock, UnixMillis};
use cache_testkit::fault::{Fault, FaultStore};
use seal_support::{Scripted, StillClock, World, fixed, meta, ring_key};

async fn written(world: &World, sealer: &Sealer, count: usize) -> Vec<StoreKey> {
    let mut keys = Vec::new();
    for number in 0..count {
        keys.push(world.write(sealer, &number.to_string()).await);
    }
    keys
}

fn quarantine(world: &World) -> Quarantine {
    Quarantine::new(
        world.store.clone(),
        Namespace::new("ns").unwrap(),
        world.random.clone(),
    )
}

fn primary(sealer: &Sealer) -> KeyId {
    sealer
        .keys()
        .into_iter()
        .find(|key| key.state == KeyState::Primary)
        .unwrap()
        .id
}

fn still_used(error: &SealError) -> Option<u64> {
    match error {
        SealError::Ring(RingError::StillUsed { records, .. }) => Some(*records),
        _ => None,
    }
}

#[tokio::test]
async fn a_rotation_ends_with_the_old_key_gone_and_every_record_readable() {
    let world = World::new();
    let sealer = world.open().await;
    let reader = world.open().await;
    let old = primary(&sealer);
    let keys = written(&world, &sealer, 25).await;
    let kept = world.record(&keys[0]).await.payload;
    let new = sealer.rotate().await.unwrap();
    world.clock.advance(WRITER_WINDOW * 2);
    assert_eq!(still_used(&sealer.retire(old).await.unwrap_err()), Some(25));

    let first = sealer.reseal(10).await.unwrap();
    assert_eq!((first.resealed, first.postponed, first.current), (10, 15, 0));
    assert_eq!((first.by_key[&new], first.by_key[&old]), (10, 15));
    assert!(!first.is_complete());
    assert_eq!(still_used(&sealer.retire(old).await.unwrap_err()), Some(15));

    let second = sealer.reseal(u64::MAX).await.unwrap();
    assert_eq!((second.resealed, second.current), (15, 10));
    assert!(second.is_complete());
    assert_eq!(second.by_key.into_iter().collect::<Vec<_>>(), [(new, 25)]);
    let third = sealer.reseal(u64::MAX).await.unwrap();
    assert_eq!(
        (third.resealed, third.current),
        (0, 25),
        "a sweep can be repeated"
    );

    sealer.retire(old).await.unwrap();
    let status = sealer.keys()[0];
    assert_eq!((status.id, status.state), (old, KeyState::Retired));
    assert_eq!(status.retired_at, Some(world.clock.now().to_seconds()));
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(world.read(&reader, key).await.unwrap(), number.to_string());
        assert_eq!(
            world.read(&world.open().await, key).await.unwrap(),
            number.to_string()
        );
    }
    // A copy of an old record is worthless, also to whoever has all that is left.
    for process in [&sealer, &world.open().await] {
        let opened = process.open_record(RecordKind::User, &keys[0], &kept);
        assert!(opened.unwrap_err().is_unknown_key());
    }
}

#[tokio::test]
async fn resealing_keeps_incarnation_and_expiry_and_counts_up() {
    let clock = Arc::new(StillClock::default());
    let random = Arc::new(seal_support::FrozenRandom::new(3));
    let world = World {
        store: Arc::new(MemoryStore::with(clock.clone(), random.clone())),
        clock,
        random,
    };
    let sealer = world.open().await;
    let key = sealer.stored_key(RecordKind::Session, b"session");
    let record = sealer
        .seal(RecordKind::Session, &key, meta(41), b"payload")
        .unwrap();
    let expiry = UnixMillis(world.clock.now().0 + 1_000_000);
    world
        .store
        .put(&key, record, PutOptions::create().expires_at(Some(expiry)))
        .await
        .unwrap();
    sealer.rotate().await.unwrap();
    assert_eq!(sealer.reseal(u64::MAX).await.unwrap().resealed, 1);
    let record = world.record(&key).await;
    assert_eq!(record.expires_at, Some(expiry));
    let opened = sealer
        .open_record(RecordKind::Session, &key, &record.payload)
        .unwrap();
    assert_eq!(opened.meta, meta(42));
    assert_eq!(opened.payload.expose(), b"payload");
}

#[tokio::test]
async fn records_that_cannot_be_opened_are_counted_and_left_alone() {
    let world = World::new();
    let sealer = world.open().await;
    let old = primary(&sealer);
    let keys = written(&world, &sealer, 4).await;
    let mut damaged = world.record(&keys[0]).await.payload.to_vec();
    damaged[115] ^= 1;
    world.replace(&keys[0], damaged.clone()).await;
    world.replace(&keys[1], b"not a record".to_vec()).await;
    let foreign = StoreKey::new("ns/something/else").unwrap();
    world
        .replace(&foreign, world.record(&keys[2]).await.payload.to_vec())
        .await;
    sealer.rotate().await.unwrap();

    let report = sealer.reseal(u64::MAX).await.unwrap();
    assert_eq!((report.resealed, report.unreadable), (2, 3));
    assert_eq!(
        report.by_key[&old], 2,
        "the damaged one and the misplaced one name the old key"
    );
    assert_eq!(world.record(&keys[0]).await.payload, damaged);
    assert_eq!(world.record(&keys[1]).await.payload, &b"not a record"[..]);

    world.clock.advance(WRITER_WINDOW * 2);
    assert_eq!(still_used(&sealer.retire(old).await.unwrap_err()), Some(2));
    world.store.delete(&foreign, None).await.unwrap();
    assert_eq!(still_used(&sealer.retire(old).await.unwrap_err()), Some(1));
    let moved = quarantine(&world).put_aside(&keys[0]).await.unwrap().unwrap();
    sealer.retire(old).await.unwrap();
    assert_eq!(
        world.record(&moved.key).await.payload,
        damaged,
        "set aside, not deleted"
    );
}

#[tokio::test]
async fn a_pending_key_can_be_given_up_at_once_and_a_primary_never() {
    let world = World::new();
    let sealer = world.open().await;
    let pending = sealer.add_key().await.unwrap();
    sealer.retire(pending).await.unwrap();
    let error = sealer.retire(primary(&sealer)).await.unwrap_err();
    assert!(matches!(error, SealError::Ring(RingError::WrongState { .. })));
    let error = sealer.promote(pending).await.unwrap_err();
    assert!(matches!(error, SealError::Ring(RingError::WrongState { .. })));
    let error = sealer.retire(KeyId::from_bytes([0; 8])).await.unwrap_err();
    assert!(matches!(error, SealError::Ring(RingError::NoSuchKey(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeps_and_rotations_under_load_fail_no_read_and_lose_no_write() {
    let world = World::new();
    let manager = world.open().await;
    let keys = written(&world, &manager, 20).await;
    let mut readers = Vec::new();
    for number in 0..3 {
        let (world, keys, sealer) = (world.clone(), keys.clone(), world.open().await);
        readers.push(tokio::spawn(async move {
            for round in 0..200_usize {
                let key = &keys[(round + number) % keys.len()];
                let record = world.record(key).await;
                let opened = sealer
                    .open_or_reload(RecordKind::User, key, &record.payload)
                    .await
                    .unwrap();
                // Load, count up, compare and swap: as a commit does.
                sealer.freshen().await.unwrap();
                let next = meta(opened.meta.generation + 1);
                let sealed = sealer
                    .seal(RecordKind::User, key, next, opened.payload.expose())
                    .unwrap();
                let put = world
                    .store
                    .put(key, sealed, PutOptions::update(record.version))
                    .await;
                assert!(put.is_ok() || put.unwrap_err().is_conflict());
                tokio::task::yield_now().await;
            }
        }));
    }
    for _ in 0..20 {
        manager.rotate().await.unwrap();
        while !manager.reseal(u64::MAX).await.unwrap().is_complete() {}
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let report = manager.reseal(u64::MAX).await.unwrap();
    assert_eq!((report.unreadable, report.current + report.resealed), (0, 20));
    assert_eq!(report.by_key.len(), 1, "old keys reach zero");
    world.clock.advance(WRITER_WINDOW * 2);
    for key in manager
        .keys()
        .into_iter()
        .filter(|key| key.state == KeyState::ReadOnly)
    {
        manager.retire(key.id).await.unwrap();
    }
    for key in &keys {
        world.read(&world.open().await, key).await.unwrap();
    }
}

#[tokio::test]
async fn quarantine_frees_the_place_and_restores_it() {
    let world = World::new();
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let before = world.record(&key).await.payload;
    let aside = quarantine(&world);
    let moved = aside.put_aside(&key).await.unwrap().unwrap();
    assert_eq!(moved.original, key);
    assert!(moved.key.as_str().starts_with("ns/quarantine/user/"));
    assert!(world.store.get(&key).await.unwrap().is_none());
    assert_eq!(world.record(&moved.key).await.payload, before);
    assert_eq!(aside.list().await.unwrap(), std::slice::from_ref(&moved));
    let error = sealer.open_record(RecordKind::User, &key, b"").unwrap_err();
    assert!(error.is_not_sealed());
    let error = sealer
        .open_record(RecordKind::Quarantine, &moved.key, &before)
        .unwrap_err();
    assert!(error.is_wrong_location(), "it opens only where it belongs");

    // The place is taken again meanwhile: the new record stays.
    world.write(&sealer, "alice").await;
    assert!(matches!(aside.restore(&moved.key).await, Err(SealError::Store(error)) if error.is_conflict()));
    assert_eq!(aside.list().await.unwrap().len(), 1);
    world.store.delete(&key, None).await.unwrap();
    assert_eq!(aside.restore(&moved.key).await.unwrap(), Some(key.clone()));
    assert_eq!(world.read(&sealer, &key).await.unwrap(), "alice");
    assert!(aside.list().await.unwrap().is_empty());
    assert_eq!(aside.restore(&moved.key).await.unwrap(), None);
    let absent = sealer.stored_key(RecordKind::User, b"nobody");
    assert_eq!(aside.put_aside(&absent).await.unwrap(), None);
}

#[tokio::test]
async fn quarantine_touches_its_namespace_only() {
    let world = World::new();
    world.open().await;
    let aside = quarantine(&world);
    for key in [
        "other/user/x",
        "ns/unknown/x",
        "ns/quarantine/user/x/0123456789abcdef",
    ] {
        let key = StoreKey::new(key).unwrap();
        world.replace(&key, vec![1]).await;
        assert!(aside.put_aside(&key).await.unwrap_err().is_wrong_location());
    }
    for key in [
        "ns/user/x",
        "ns/quarantine/user/x",
        "ns/quarantine/quarantine/x/0123456789abcdef",
    ] {
        assert!(
            aside
                .restore(&StoreKey::new(key).unwrap())
                .await
                .unwrap_err()
                .is_wrong_location()
        );
    }
}

#[tokio::test]
async fn a_lost_key_does_not_bar_starting_anew() {
    let world = World::new();
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    assert!(world.open_with(fixed(2)).await.unwrap_err().is_wrong_key_source());

    let moved = quarantine(&world).put_all_aside().await.unwrap();
    assert_eq!(moved.len(), 2);
    assert_eq!(moved[1].original, ring_key(), "the ring goes last");
    let anew = world.open_with(fixed(2)).await.unwrap();
    let fresh = world.write(&anew, "alice").await;
    assert_ne!(fresh, key, "another location key");
    assert_eq!(world.read(&anew, &fresh).await.unwrap(), "alice");

    // The lost key is found: the old cache comes back once the new one is put aside.
    let aside = quarantine(&world);
    aside.put_all_aside().await.unwrap();
    for record in moved {
        aside.restore(&record.key).await.unwrap();
    }
    assert_eq!(world.read(&world.open().await, &key).await.unwrap(), "alice");
}

#[tokio::test]
async fn quarantined_records_follow_a_rotation() {
    let world = World::new();
    let sealer = world.open().await;
    let old = primary(&sealer);
    let key = world.write(&sealer, "alice").await;
    let aside = quarantine(&world);
    let moved = aside.put_aside(&key).await.unwrap().unwrap();
    sealer.rotate().await.unwrap();
    world.clock.advance(WRITER_WINDOW * 2 + Duration::from_secs(1));
    assert_eq!(still_used(&sealer.retire(old).await.unwrap_err()), Some(1));
    assert_eq!(sealer.reseal(u64::MAX).await.unwrap().resealed, 1);
    sealer.retire(old).await.unwrap();
    aside.restore(&moved.key).await.unwrap();
    assert_eq!(world.read(&sealer, &key).await.unwrap(), "alice");
}

#[tokio::test]
async fn a_sweep_never_overwrites_what_somebody_else_wrote() {
    let store = Arc::new(Scripted::new());
    let world = World::over(store.clone());
    let sealer = world.open().await;
    let old = primary(&sealer);
    let key = world.write(&sealer, "alice").await;
    sealer.rotate().await.unwrap();
    // Another process that has not noticed the rotation commits between the sweep's read and its write.
    let newer = world.record(&key).await.payload;
    *store.interloper.lock().unwrap() = Some((key.clone(), newer.clone()));
    let report = sealer.reseal(u64::MAX).await.unwrap();
    assert_eq!(
        (report.resealed, report.conflicts, report.by_key[&old]),
        (0, 1, 1)
    );
    assert!(!report.is_complete());
    assert_eq!(world.record(&key).await.payload, newer);
    assert_eq!(sealer.reseal(u64::MAX).await.unwrap().resealed, 1);
}

#[tokio::test]
async fn a_sweep_that_cannot_write_says_so() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    let world = World::over(Arc::new(faults.clone()));
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    sealer.rotate().await.unwrap();
    faults.inject(Fault::fail(ErrorKind::Full).on(Operation::Put).once());
    let error = sealer.reseal(u64::MAX).await.unwrap_err();
    assert!(matches!(error, SealError::Store(_)), "{error}");
    assert_eq!(sealer.reseal(u64::MAX).await.unwrap().resealed, 1);
    assert_eq!(world.read(&sealer, &key).await.unwrap(), "alice");
}

#[tokio::test]
async fn conflicts_count_against_the_limit_of_a_sweep() {
    let store = Arc::new(Scripted::new());
    let world = World::over(store.clone());
    let sealer = world.open().await;
    let keys = written(&world, &sealer, 3).await;
    sealer.rotate().await.unwrap();
    // Whichever record comes first may have been written or not.
    store.lose_next_reply.store(true, Ordering::SeqCst);
    let report = sealer.reseal(1).await.unwrap();
    assert_eq!((report.resealed, report.conflicts, report.postponed), (0, 1, 2));
    for key in keys {
        world.read(&sealer, &key).await.unwrap();
    }
}

#[tokio::test]
async fn quarantine_keeps_its_copy_when_the_removal_may_have_been_made() {
    let store = Arc::new(Scripted::new());
    let world = World::over(store.clone());
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let aside = quarantine(&world);
    store.lose_next_removal.store(true, Ordering::SeqCst);
    let error = aside.put_aside(&key).await.unwrap_err();
    assert!(matches!(error, SealError::Store(_)), "{error}");
    let [copy] = &aside.list().await.unwrap()[..] else {
        panic!("there is no copy");
    };
    assert_eq!(aside.restore(&copy.key).await.unwrap(), Some(key.clone()));
    assert_eq!(world.read(&sealer, &key).await.unwrap(), "alice");
}

#[tokio::test]
async fn quarantine_never_removes_what_somebody_else_wrote() {
    let store = Arc::new(Scripted::new());
    let world = World::over(store.clone());
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let newer = world.record(&key).await.payload;
    *store.interloper.lock().unwrap() = Some((key.clone(), newer.clone()));
    let aside = quarantine(&world);
    let error = aside.put_aside(&key).await.unwrap_err();
    assert!(matches!(error, SealError::Contended { .. }));
    assert_eq!(world.record(&key).await.payload, newer);
    assert!(aside.list().await.unwrap().is_empty(), "the copy is not kept");
}

#[tokio::test]
async fn a_sweep_whose_reply_was_lost_is_settled_by_the_next() {
    let store = Arc::new(Scripted::new());
    let world = World::over(store.clone());
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    sealer.rotate().await.unwrap();
    store.lose_next_reply.store(true, Ordering::SeqCst);
    let report = sealer.reseal(u64::MAX).await.unwrap();
    assert_eq!((report.resealed, report.conflicts), (0, 1));
    let report = sealer.reseal(u64::MAX).await.unwrap();
    assert_eq!((report.resealed, report.current), (0, 1));
    assert_eq!(world.read(&sealer, &key).await.unwrap(), "alice");
}
