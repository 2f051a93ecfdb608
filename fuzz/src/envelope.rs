//! Records: what lies in a store.

use std::sync::{Arc, LazyLock};

use cache_core::seal::{Namespace, RecordKind, Sealer, peek_header};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};

use crate::scene::{GOLDEN_RING, Scene, block_on, golden_key_source, unhex};
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "envelope",
    title: "records: header, sealed, unsealed, key ring",
    run,
    seeds,
    max_len: 512,
};

const RECORD: &str = include_str!("../../cache-core/tests/vectors/record.hex");
const PLAINTEXT: &str = include_str!("../../cache-core/tests/vectors/plaintext.hex");

const KINDS: [RecordKind; 3] = [RecordKind::User, RecordKind::App, RecordKind::Session];

/// Sealers of the golden ring with places for records, and what may be opened by them.
struct World {
    sealed: Sealer,
    places: Vec<(RecordKind, StoreKey)>,
    unsealed: Sealer,
    unsealed_place: StoreKey,
    golden: Vec<u8>,
    ring: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let ring = unhex(GOLDEN_RING);
    let sealed = block_on(opened(ring.clone())).expect("the golden ring is one");
    let unsealed = Sealer::plaintext(&namespace());
    World {
        places: KINDS.map(|kind| (kind, sealed.stored_key(kind, b"alice"))).into(),
        unsealed_place: unsealed.stored_key(RecordKind::User, b"alice"),
        sealed,
        unsealed,
        golden: unhex(RECORD),
        ring,
    }
});

fn namespace() -> Namespace {
    Namespace::new("golden").expect("a namespace")
}

async fn opened(ring: Vec<u8>) -> Result<Sealer, cache_core::seal::SealError> {
    let scene = Scene::new();
    let key = StoreKey::new("golden/keyring/ring").expect("a key");
    let store: Arc<MemoryStore> = scene.store.clone();
    store.put(&key, ring.into(), PutOptions::create()).await?;
    let (clock, random) = (scene.clock(), Arc::clone(&scene.random));
    Sealer::open(store, namespace(), golden_key_source(), clock, random).await
}

/// Opens the bytes as whatever they may be.
///
/// # Panics
/// When one is opened that was not sealed here, or its header is shown wrongly.
pub fn run(data: &[u8]) -> Outcome {
    let world = &*WORLD;
    let mut is_taken = false;
    if let Ok(shown) = peek_header(data) {
        assert_eq!(shown.record_bytes, data.len());
        assert!(shown.payload_bytes < data.len());
    }
    for (kind, key) in &world.places {
        if let Ok(opened) = world.sealed.open_record(*kind, key, data) {
            assert!(*kind == RecordKind::User && data == world.golden, "forged");
            assert_eq!(opened.payload.expose(), b"golden payload");
            is_taken = true;
        }
    }
    let key = &world.unsealed_place;
    if let Ok(opened) = world.unsealed.open_record(RecordKind::User, key, data) {
        // Anybody can write an unsealed record; it must be this one then, wholly.
        assert!(data.ends_with(opened.payload.expose()));
        let again = world
            .unsealed
            .seal(RecordKind::User, key, opened.meta, opened.payload.expose());
        assert_eq!(again.expect("it was opened"), data);
        is_taken = true;
    }
    if data.starts_with(b"TKKR") {
        let is_golden = data == world.ring;
        let sealer = block_on(opened(data.to_vec()));
        assert_eq!(sealer.is_ok(), is_golden, "a forged ring was opened");
        is_taken |= is_golden;
    }
    Outcome::taken(is_taken)
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = [GOLDEN_RING, RECORD, PLAINTEXT].map(unhex).into();
    let world = &*WORLD;
    for kind in KINDS {
        let key = world.sealed.stored_key(kind, b"bob");
        let meta = cache_core::seal::RecordMeta {
            codec: 1,
            schema: 1,
            incarnation: cache_core::seal::Incarnation([3; 16]),
            generation: 9,
        };
        seeds.extend(
            world
                .sealed
                .seal(kind, &key, meta, b"payload")
                .map(|record| record.to_vec()),
        );
    }
    seeds
}
