//! Vectors: what every provider of a suite must agree with, and records that must stay readable for ever.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod seal_support;

use std::sync::Arc;

use cache_core::seal::{
    AeadProvider, Incarnation, Namespace, RecordKind, RecordMeta, Sealer, SecretKey, Xaes256GcmProvider,
};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use seal_support::{FrozenRandom, StillClock, fixed, hex, ring_key, unhex};

const GOLDEN_RING: &str = include_str!("vectors/ring.hex");
const GOLDEN_RECORD: &str = include_str!("vectors/record.hex");
const GOLDEN_PLAINTEXT: &str = include_str!("vectors/plaintext.hex");
const PAYLOAD: &[u8] = b"golden payload";

/// The accumulated vectors are in the gate `vectors` of the package soak.
#[test]
fn xaes_agrees_with_the_vectors_of_its_specification() {
    // C2SP XAES-256-GCM, "Test vectors": one for each value of the most significant bit of L.
    for (key, aad, expected) in [
        (
            1,
            &b""[..],
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        ),
        (
            3,
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ] {
        let cipher = Xaes256GcmProvider.cipher(&SecretKey::from_bytes(&[key; 32]));
        let mut buffer = *b"XAES-256-GCM";
        let tag = cipher
            .encrypt(b"ABCDEFGHIJKLMNOPQRSTUVWX", aad, &mut buffer)
            .unwrap();
        assert_eq!(hex(&buffer) + &hex(&tag), expected);
        cipher
            .decrypt(b"ABCDEFGHIJKLMNOPQRSTUVWX", aad, &mut buffer, &tag)
            .unwrap();
        assert_eq!(&buffer, b"XAES-256-GCM");
    }
}

fn golden_meta() -> RecordMeta {
    RecordMeta {
        codec: 1,
        schema: 2,
        incarnation: Incarnation(*b"incarnation of a"),
        generation: 3,
    }
}

async fn open(store: Arc<MemoryStore>) -> Sealer {
    let namespace = Namespace::new("golden").unwrap();
    let random = Arc::new(FrozenRandom::new(1));
    Sealer::open(
        store,
        namespace,
        fixed(0x11),
        Arc::new(StillClock::default()),
        random,
    )
    .await
    .unwrap()
}

/// A cache in which the golden ring was found.
async fn golden() -> Sealer {
    let store = Arc::new(MemoryStore::new());
    let key = StoreKey::new("golden/keyring/ring").unwrap();
    store
        .put(&key, unhex(GOLDEN_RING).into(), PutOptions::create())
        .await
        .unwrap();
    open(store).await
}

#[tokio::test]
async fn golden_records_stay_readable() {
    let sealer = golden().await;
    let key = sealer.stored_key(RecordKind::User, b"alice");
    assert_eq!(
        key.as_str(),
        "golden/user/EYMTC7YxMbtV0RPCZkthCDvQBzNNnmtGkcedDiwevf4"
    );
    let opened = sealer
        .open_record(RecordKind::User, &key, &unhex(GOLDEN_RECORD))
        .unwrap();
    assert_eq!(opened.meta, golden_meta());
    assert_eq!(opened.payload.expose(), PAYLOAD);

    let plain = Sealer::plaintext(&Namespace::new("golden").unwrap());
    let key = plain.stored_key(RecordKind::User, b"alice");
    let opened = plain
        .open_record(RecordKind::User, &key, &unhex(GOLDEN_PLAINTEXT))
        .unwrap();
    assert_eq!(opened.meta, golden_meta());
    assert_eq!(opened.payload.expose(), PAYLOAD);
}

#[tokio::test]
async fn the_same_randomness_makes_the_golden_records() {
    let store = Arc::new(MemoryStore::new());
    let sealer = open(store.clone()).await;
    let ring = StoreKey::new("golden/keyring/ring").unwrap();
    assert_eq!(
        hex(&store.get(&ring).await.unwrap().unwrap().payload),
        GOLDEN_RING.trim()
    );
    let key = sealer.stored_key(RecordKind::User, b"alice");
    let record = sealer
        .seal(RecordKind::User, &key, golden_meta(), PAYLOAD)
        .unwrap();
    assert_eq!(hex(&record), GOLDEN_RECORD.trim());

    let plain = Sealer::plaintext(&Namespace::new("golden").unwrap());
    let key = plain.stored_key(RecordKind::User, b"alice");
    let record = plain
        .seal(RecordKind::User, &key, golden_meta(), PAYLOAD)
        .unwrap();
    assert_eq!(hex(&record), GOLDEN_PLAINTEXT.trim());
    assert_ne!(ring, ring_key());
}

/// Which error each bit of a sealed record leads to when it is flipped.
#[tokio::test]
async fn every_flipped_bit_of_the_golden_record_is_its_own_error() {
    let sealer = golden().await;
    let key = sealer.stored_key(RecordKind::User, b"alice");
    let golden = unhex(GOLDEN_RECORD);
    for bit in 0..golden.len() * 8 {
        let mut record = golden.clone();
        record[bit / 8] ^= 1 << (bit % 8);
        let error = sealer.open_record(RecordKind::User, &key, &record).unwrap_err();
        let right = match bit / 8 {
            0..4 => error.is_not_sealed(),
            4..6 => error.is_unsupported_format(),
            6..33 => error.is_tampered(),
            33..41 => error.is_unknown_key(),
            41..73 => error.is_wrong_key(),
            73..89 => error.is_wrong_location(),
            113..117 => error.is_wrong_length(),
            _ => error.is_tampered(),
        };
        assert!(right, "bit {bit}: {error}");
        assert!(error.is_unreadable_record());
    }
}

#[tokio::test]
async fn every_truncation_and_extension_of_the_golden_record_is_refused() {
    let sealer = golden().await;
    let key = sealer.stored_key(RecordKind::User, b"alice");
    let golden = unhex(GOLDEN_RECORD);
    for length in 0..golden.len() {
        let error = sealer
            .open_record(RecordKind::User, &key, &golden[..length])
            .unwrap_err();
        let right = if length < 4 {
            error.is_not_sealed()
        } else {
            error.is_wrong_length()
        };
        assert!(right, "length {length}: {error}");
    }
    for more in 1..64 {
        let mut record = golden.clone();
        record.resize(golden.len() + more, 0);
        assert!(
            sealer
                .open_record(RecordKind::User, &key, &record)
                .unwrap_err()
                .is_wrong_length()
        );
    }
}

#[tokio::test]
async fn every_flipped_bit_of_the_golden_ring_is_refused_and_the_ring_left_alone() {
    let golden = unhex(GOLDEN_RING);
    for bit in 0..golden.len() * 8 {
        let mut bytes = golden.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let store = Arc::new(MemoryStore::new());
        let key = StoreKey::new("golden/keyring/ring").unwrap();
        let version = store.put(&key, bytes.into(), PutOptions::create()).await.unwrap();
        let namespace = Namespace::new("golden").unwrap();
        let random = Arc::new(FrozenRandom::new(1));
        let clock = Arc::new(StillClock::default());
        let error = Sealer::open(store.clone(), namespace, fixed(0x11), clock, random)
            .await
            .unwrap_err();
        assert!(!error.to_string().is_empty(), "bit {bit}");
        assert_eq!(store.head(&key).await.unwrap(), Some(version));
    }
}
