//! Records: what opens, what does not, and with which error.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;

use cache_core::random::{Random, RandomError};
use cache_core::seal::{
    Namespace, RecordFormat, RecordKind, SEALED_HEADER_BYTES, SealError, Sealer, TAG_BYTES, peek_header,
};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use seal_support::{World, fixed, meta, ring_key};

#[tokio::test]
async fn a_record_comes_back_as_it_went() {
    let world = World::new();
    let sealer = world.open().await;
    assert!(sealer.is_sealed());
    assert_eq!(sealer.namespace().as_str(), "ns");
    let key = sealer.stored_key(RecordKind::App, b"logical");
    for length in [0, 1, 15, 16, 17, 4096, 100_000] {
        let payload = vec![0x5a; length];
        let record = sealer.seal(RecordKind::App, &key, meta(7), &payload).unwrap();
        assert_eq!(record.len(), SEALED_HEADER_BYTES + length + TAG_BYTES);
        let opened = sealer.open_record(RecordKind::App, &key, &record).unwrap();
        assert_eq!(opened.payload.expose(), payload);
        assert_eq!(opened.meta, meta(7));
        assert_eq!(opened.key_id, Some(sealer.keys()[0].id));
    }
}

#[tokio::test]
async fn the_store_sees_neither_payload_nor_logical_key() {
    let world = World::new();
    let sealer = world.open().await;
    let key = world.write(&sealer, "canary-of-alice").await;
    let record = world.record(&key).await;
    assert!(!key.as_str().contains("canary"));
    assert!(!record.payload.windows(6).any(|window| window == b"canary"));
    assert!(!format!("{sealer:?}").contains("canary"));
    let opened = sealer
        .open_record(RecordKind::User, &key, &record.payload)
        .unwrap();
    assert!(!format!("{opened:?}").contains("canary"));
}

#[tokio::test]
async fn every_pair_of_records_swapped_is_a_wrong_location() {
    let world = World::new();
    let sealer = world.open().await;
    let kinds = [
        RecordKind::User,
        RecordKind::App,
        RecordKind::Session,
        RecordKind::Residue,
    ];
    let mut records = Vec::new();
    for kind in kinds {
        for name in [&b"alice"[..], b"bob"] {
            let key = sealer.stored_key(kind, name);
            records.push((kind, key.clone(), sealer.seal(kind, &key, meta(1), name).unwrap()));
        }
    }
    for (index, (_, _, record)) in records.iter().enumerate() {
        for (place, (kind, key, _)) in records.iter().enumerate() {
            let opened = sealer.open_record(*kind, key, record);
            assert_eq!(opened.is_ok(), index == place);
            assert!(opened.is_ok() || opened.unwrap_err().is_wrong_location());
        }
    }
}

#[tokio::test]
async fn a_record_of_another_namespace_is_refused_even_under_the_same_ring() {
    let world = World::new();
    let here = world.open().await;
    let key = world.write(&here, "alice").await;
    let record = world.record(&key).await.payload;

    // Another application's cache, with a ring of its own.
    let there = world.open_in("other", fixed(1)).await.unwrap();
    let place = there.stored_key(RecordKind::User, b"alice");
    assert!(
        there
            .open_record(RecordKind::User, &place, &record)
            .unwrap_err()
            .is_unknown_key()
    );
    assert!(
        here.open_record(RecordKind::User, &place, &record)
            .unwrap_err()
            .is_wrong_location()
    );
    assert!(
        here.seal(RecordKind::User, &place, meta(1), b"")
            .unwrap_err()
            .is_wrong_location()
    );

    // The ring itself is bound to its namespace too.
    let ring = world.record(&ring_key()).await.payload;
    let moved = StoreKey::new("third/keyring/ring").unwrap();
    world.store.put(&moved, ring, PutOptions::create()).await.unwrap();
    let error = world.open_in("third", fixed(1)).await.unwrap_err();
    assert!(matches!(error, SealError::RingUnreadable { .. }));
}

#[tokio::test]
async fn a_plaintext_record_in_a_sealed_cache_is_its_own_error() {
    let world = World::new();
    let sealer = world.open().await;
    let plain = Sealer::plaintext(&Namespace::new("ns").unwrap());
    assert!(!plain.is_sealed());
    assert_eq!(plain.namespace().as_str(), "ns.plaintext");
    let plain_key = plain.stored_key(RecordKind::User, b"alice");
    let record = plain
        .seal(RecordKind::User, &plain_key, meta(1), b"forged")
        .unwrap();
    assert_eq!(
        plain
            .open_record(RecordKind::User, &plain_key, &record)
            .unwrap()
            .payload
            .expose(),
        b"forged"
    );

    let key = sealer.stored_key(RecordKind::User, b"alice");
    assert!(
        sealer
            .open_record(RecordKind::User, &key, &record)
            .unwrap_err()
            .is_plaintext_record()
    );
    assert!(
        sealer
            .open_or_reload(RecordKind::User, &plain_key, &record)
            .await
            .unwrap_err()
            .is_plaintext_record()
    );
    let error = sealer.open_record(RecordKind::User, &key, b"TKSR").unwrap_err();
    assert!(error.is_wrong_length(), "{error}");
    for bytes in [&b""[..], b"{}", &[0; 500]] {
        assert!(
            sealer
                .open_record(RecordKind::User, &key, bytes)
                .unwrap_err()
                .is_not_sealed()
        );
    }

    let sealed = sealer.seal(RecordKind::User, &key, meta(1), b"secret").unwrap();
    let error = plain
        .open_record(RecordKind::User, &plain_key, &sealed)
        .unwrap_err();
    assert!(matches!(error, SealError::SealedRecord { .. }));
}

#[tokio::test]
async fn a_plaintext_cache_notices_accidents_and_manages_no_keys() {
    let plain = Sealer::plaintext(&Namespace::new("ns").unwrap());
    let key = plain.stored_key(RecordKind::User, b"alice");
    let record = plain.seal(RecordKind::User, &key, meta(1), b"payload").unwrap();
    for bit in 0..record.len() * 8 {
        let mut changed = record.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            plain.open_record(RecordKind::User, &key, &changed).is_err(),
            "bit {bit}"
        );
    }
    for length in 0..record.len() {
        assert!(
            plain
                .open_record(RecordKind::User, &key, &record[..length])
                .is_err()
        );
    }
    let elsewhere = plain.stored_key(RecordKind::User, b"bob");
    assert!(
        plain
            .open_record(RecordKind::User, &elsewhere, &record)
            .unwrap_err()
            .is_wrong_location()
    );
    assert!(matches!(plain.rotate().await, Err(SealError::NoKeys { .. })));
    assert!(plain.keys().is_empty());
    assert_eq!(plain.ring_key(), None);
    plain.freshen().await.unwrap();
    plain.reload().await.unwrap();
    let (world, namespace) = (World::new(), plain.namespace().clone());
    let opened = Sealer::open(world.store, namespace, fixed(1), world.clock, world.random).await;
    assert!(
        matches!(opened, Err(SealError::PlaintextNamespace { .. })),
        "sealed and unsealed never share"
    );
}

#[tokio::test]
async fn a_record_of_an_unknown_key_stays_an_error_after_one_reload() {
    let world = World::new();
    let sealer = world.open().await;
    let elsewhere = World::seeded(8, Arc::new(MemoryStore::new()));
    let stranger = elsewhere.open().await;
    let key = elsewhere.write(&stranger, "alice").await;
    let record = elsewhere.record(&key).await.payload;
    assert!(
        sealer
            .open_or_reload(RecordKind::User, &key, &record)
            .await
            .unwrap_err()
            .is_unknown_key()
    );
}

#[tokio::test]
async fn codec_and_schema_are_checked_last() {
    let world = World::new();
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let record = world.record(&key).await.payload;
    let opened = sealer.open_record(RecordKind::User, &key, &record).unwrap();
    opened.check_payload_format(&key, 1, 1).unwrap();
    opened.check_payload_format(&key, 1, 2).unwrap();
    assert!(
        opened
            .check_payload_format(&key, 1, 0)
            .unwrap_err()
            .is_unsupported_format()
    );
    assert!(
        opened
            .check_payload_format(&key, 2, 1)
            .unwrap_err()
            .is_unsupported_format()
    );
}

#[tokio::test]
async fn each_seal_draws_one_nonce_and_no_nonce_recurs() {
    let world = World::new();
    let sealer = world.open().await;
    let key = sealer.stored_key(RecordKind::User, b"alice");
    world.random.take_draws();
    let mut nonces = HashSet::new();
    for _ in 0..1000 {
        let record = sealer.seal(RecordKind::User, &key, meta(1), b"same").unwrap();
        assert!(nonces.insert(record[89..113].to_vec()));
    }
    assert_eq!(world.random.take_draws(), vec![24; 1000]);
    let record = sealer.seal(RecordKind::User, &key, meta(1), b"same").unwrap();
    world.random.take_draws();
    sealer.open_record(RecordKind::User, &key, &record).unwrap();
    assert!(world.random.take_draws().is_empty(), "opening draws nothing");
}

/// Has no bytes to give after the ring was made.
#[derive(Debug)]
struct Dry(std::sync::atomic::AtomicUsize);

impl Random for Dry {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        use std::sync::atomic::Ordering::SeqCst;
        if self.0.fetch_sub(1, SeqCst) == 0 {
            self.0.store(0, SeqCst);
            return Err(RandomError::new("dry"));
        }
        buffer.fill(u8::try_from(self.0.load(SeqCst)).unwrap());
        Ok(())
    }
}

#[tokio::test]
async fn nothing_is_sealed_without_randomness() {
    // Ring ID, location key, key ID, key and the ring's nonce.
    for draws in 0..5 {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let random = Arc::new(Dry(draws.into()));
        let world = World::over(store.clone());
        let namespace = Namespace::new("ns").unwrap();
        let opened = Sealer::open(store.clone(), namespace, fixed(1), world.clock.clone(), random).await;
        assert!(matches!(opened, Err(SealError::Random(_))), "{draws}");
        assert!(store.get(&ring_key()).await.unwrap().is_none());
    }
    let random = Arc::new(Dry(5.into()));
    let world = World::new();
    let namespace = Namespace::new("ns").unwrap();
    let sealer = Sealer::open(
        world.store.clone(),
        namespace,
        fixed(1),
        world.clock.clone(),
        random,
    )
    .await
    .unwrap();
    let key = sealer.stored_key(RecordKind::User, b"alice");
    let error = sealer
        .seal(RecordKind::User, &key, meta(1), b"payload")
        .unwrap_err();
    assert!(matches!(error, SealError::Random(_)));
    assert!(error.source().is_some());
    assert!(
        !error.to_string().contains("dry"),
        "the cause is in the chain only"
    );
}

#[tokio::test]
async fn a_header_can_be_shown_without_a_key() {
    let world = World::new();
    let sealer = world.open().await;
    let key = world.write(&sealer, "alice").await;
    let shown = peek_header(&world.record(&key).await.payload).unwrap();
    assert_eq!(shown.format, RecordFormat::Sealed);
    assert_eq!(
        (shown.codec, shown.schema, shown.generation),
        (Some(1), Some(1), 1)
    );
    assert_eq!(shown.key_id, Some(sealer.keys()[0].id));
    assert_eq!((shown.payload_bytes, shown.record_bytes), (5, 117 + 5 + 16));
    assert_eq!(
        (shown.suite, shown.incarnation),
        (Some(1), Some(meta(1).incarnation))
    );

    let ring = peek_header(&world.record(&ring_key()).await.payload).unwrap();
    assert_eq!(ring.format, RecordFormat::KeyRing);
    assert_eq!(ring.key_source.as_deref(), Some("fixed"));
    assert_eq!((ring.generation, ring.suite), (1, Some(1)));
    assert_eq!(ring.payload_bytes, 38 + 73, "a head and one key");

    let plain = Sealer::plaintext(sealer.namespace());
    let key = plain.stored_key(RecordKind::User, b"alice");
    let record = plain.seal(RecordKind::User, &key, meta(4), b"payload").unwrap();
    let shown = peek_header(&record).unwrap();
    assert_eq!(shown.format, RecordFormat::Plaintext);
    assert_eq!(
        (shown.generation, shown.payload_bytes, shown.key_id),
        (4, 7, None)
    );
    assert_eq!((shown.codec, shown.schema), (Some(1), Some(1)));
    assert_eq!(
        (shown.suite, shown.incarnation),
        (None, Some(meta(4).incarnation))
    );
    assert!(peek_header(b"something else").is_err());
    assert!(peek_header(b"TKSR").is_err());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(magic in 0..4_usize, version in 0..3_u8, rest in proptest::collection::vec(0..=255_u8, 0..400)) {
        let magic = [&b"TKSR"[..], b"TKPT", b"TKKR", b"else"][magic];
        let bytes = [magic, &[version, 1], &rest].concat();
        if let Ok(shown) = peek_header(&bytes) {
            proptest::prop_assert_eq!(shown.record_bytes, bytes.len());
            proptest::prop_assert!(shown.payload_bytes < bytes.len());
        }
        let plain = Sealer::plaintext(&Namespace::new("ns").unwrap());
        let key = plain.stored_key(RecordKind::User, b"alice");
        proptest::prop_assert!(plain.open_record(RecordKind::User, &key, &bytes).is_err());
    }
}
