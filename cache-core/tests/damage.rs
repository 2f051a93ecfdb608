//! Damaged, moved and foreign records, as whoever uses the cache meets them: a clear error, and nothing lost.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failure here is a failed test"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::cache::{AcquireOptions, CacheError, SignOutScope, TokenCache};
use cache_core::codec::{BincodeCodec, Codec, CodecError};
use cache_core::random::OsRandom;
use cache_core::schema::{AuthorityIdentity, Partition, PartitionKey};
use cache_core::seal::{
    FixedKeySource, Incarnation, Namespace, Quarantine, RecordKind, RecordMeta, RollbackPolicy,
    SEALED_HEADER_BYTES, SealError, SecretKey,
};
use cache_core::store::{MemoryStore, PutOptions, Store};
use cache_core::strategy::{SealPolicy, Strategy};
use cache_testkit::clock::ManualClock;
use support::*;

const KEY_ID: std::ops::Range<usize> = 33..41;

struct World {
    clock: ManualClock,
    store: Arc<dyn Store>,
    issuer: Arc<Issuer>,
    cache: TokenCache,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
        let issuer = Issuer::new(&clock);
        let cache = open(&store, &clock).await;
        cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        Self {
            clock,
            store,
            issuer,
            cache,
        }
    }

    async fn bytes(&self) -> Bytes {
        let key = self.cache.stored_key(&user());
        self.store.get(&key).await.unwrap().unwrap().payload
    }

    async fn put(&self, bytes: impl Into<Bytes>) {
        let key = self.cache.stored_key(&user());
        self.store
            .put(&key, bytes.into(), PutOptions::overwrite())
            .await
            .unwrap();
    }

    /// A record for this cache's place that its own keys sealed.
    async fn seal(&self, codec: u8, schema: u16, payload: &[u8]) {
        let meta = RecordMeta {
            codec,
            schema,
            incarnation: Incarnation::random(&OsRandom).unwrap(),
            generation: 1,
        };
        let key = self.cache.stored_key(&user());
        self.put(
            self.cache
                .sealer()
                .seal(RecordKind::User, &key, meta, payload)
                .unwrap(),
        )
        .await;
    }

    /// Everything that the store holds, without versions.
    async fn contents(&self) -> Vec<(String, Bytes)> {
        use futures_util::StreamExt;
        let mut found = Vec::new();
        let mut keys = self.store.scan("");
        while let Some(item) = keys.next().await {
            let (key, _) = item.unwrap();
            let record = self.store.get(&key).await.unwrap().unwrap();
            found.push((key.to_string(), record.payload));
        }
        found
    }

    /// Does all that a program could do with the account, in a process that has not seen the record before and in one that has;
    /// each must fail as `is_expected` says, and the store must stay as it is.
    async fn is_refused(&self, what: &str, is_expected: impl Fn(&CacheError) -> bool) {
        let before = self.contents().await;
        for cache in [open(&self.store, &self.clock).await, self.cache.clone()] {
            let expect = |result: Result<(), CacheError>| {
                let Err(error) = result else {
                    panic!("{what}: it was used")
                };
                assert!(is_expected(&error), "{what}: {error:?}");
                assert!(error.is_storage(), "{what}");
            };
            let call = self.issuer.call("a");
            expect(
                cache
                    .acquire(request("a"), AcquireOptions::default(), call)
                    .await
                    .map(drop),
            );
            expect(cache.sign_in(&user(), self.issuer.sign_in("a")).await.map(drop));
            expect(
                cache
                    .sign_out(&user(), CLIENT, SignOutScope::Family)
                    .await
                    .map(drop),
            );
            expect(cache.forget_account(&user()).await.map(drop));
            let listing = cache.accounts().await.unwrap();
            assert!(listing.accounts.is_empty(), "{what}");
            assert_eq!(listing.unreadable.len(), 1, "{what}");
            expect(Err(listing.unreadable[0].1.clone()));
            let export = cache.export().await.unwrap();
            expect(Err(export.unreadable[0].1.clone()));
            let records = cache.inspect().await.unwrap();
            let record = records
                .into_iter()
                .find(|record| record.kind == Some(RecordKind::User));
            expect(record.unwrap().contents.unwrap().map(drop));
        }
        assert_eq!(self.contents().await, before, "{what}: the store was changed");
        assert_eq!(self.issuer.redeemed(), 0, "{what}");
    }

    /// Moves the record aside, signs in, and brings it back to where it fails as before.
    async fn is_recovered(&self, what: &str) {
        let damaged = self.bytes().await;
        let key = self.cache.stored_key(&user());
        let aside = self.cache.quarantine(&key).await.unwrap().unwrap();
        assert_eq!(
            self.store.get(&aside.key).await.unwrap().unwrap().payload,
            damaged,
            "{what}"
        );
        self.cache
            .sign_in(&user(), self.issuer.sign_in("a"))
            .await
            .unwrap();
        let call = self.issuer.call("a");
        self.cache
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap();
        let quarantine = Quarantine::new(
            Arc::clone(&self.store),
            self.cache.sealer().namespace().clone(),
            Arc::new(OsRandom),
        );
        assert!(
            quarantine.restore(&aside.key).await.is_err(),
            "{what}: the place is taken"
        );
        assert!(self.cache.forget_account(&user()).await.unwrap());
        assert_eq!(quarantine.restore(&aside.key).await.unwrap().unwrap(), key);
        assert_eq!(self.bytes().await, damaged, "{what}");
    }
}

fn sealed(is: impl Fn(&SealError) -> bool) -> impl Fn(&CacheError) -> bool {
    move |error| matches!(error, CacheError::Seal(error) if is(error))
}

fn flipped(bytes: &Bytes, at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[tokio::test]
async fn a_flipped_bit_is_found_wherever_it_is() {
    let world = World::new().await;
    let good = world.bytes().await;
    for at in 0..good.len() {
        world.put(flipped(&good, at)).await;
        let call = world.issuer.call("a");
        let cache = open(&world.store, &world.clock).await;
        let error = cache
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap_err();
        assert!(
            sealed(SealError::is_unreadable_record)(&error),
            "byte {at}: {error:?}"
        );
    }
    world.put(flipped(&good, good.len() - 1)).await;
    world
        .is_refused("a flipped bit", sealed(SealError::is_tampered))
        .await;
    world.is_recovered("a flipped bit").await;
}

#[tokio::test]
async fn a_record_that_was_cut_is_found_wherever_that_was() {
    let world = World::new().await;
    let good = world.bytes().await;
    for length in 0..good.len() {
        world.put(good.slice(..length)).await;
        let call = world.issuer.call("a");
        let cache = open(&world.store, &world.clock).await;
        let error = cache
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap_err();
        assert!(
            sealed(SealError::is_unreadable_record)(&error),
            "{length} bytes: {error:?}"
        );
    }
    world.put(good.slice(..SEALED_HEADER_BYTES / 2)).await;
    world
        .is_refused("a header cut short", sealed(SealError::is_wrong_length))
        .await;
    world.put(good.slice(..good.len() - 1)).await;
    world
        .is_refused("a payload cut short", sealed(SealError::is_wrong_length))
        .await;
    world.is_recovered("a payload cut short").await;
}

#[tokio::test]
async fn a_record_of_another_account_is_not_used() {
    let world = World::new().await;
    let other = PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: "sub-2".into(),
    };
    let mut response = world.issuer.sign_in("a");
    response.account.as_mut().unwrap().home_account_id = "sub-2".into();
    let wrong = world.cache.sign_in(&user(), response.clone()).await.unwrap_err();
    assert!(matches!(wrong, CacheError::WrongAccount), "{wrong:?}");
    world.cache.sign_in(&other, response).await.unwrap();
    let moved = world
        .store
        .get(&world.cache.stored_key(&other))
        .await
        .unwrap()
        .unwrap();
    world.cache.forget_account(&other).await.unwrap();
    world.put(moved.payload).await;
    world
        .is_refused("a moved record", sealed(SealError::is_wrong_location))
        .await;
    world.is_recovered("a moved record").await;
}

#[tokio::test]
async fn a_partition_of_another_account_is_not_used_although_it_is_sealed_for_this_place() {
    let world = World::new().await;
    let other = PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: "sub-2".into(),
    };
    let payload = BincodeCodec.encode(&Partition::new(other)).unwrap();
    world
        .seal(BincodeCodec.id(), BincodeCodec.schema_version(), payload.expose())
        .await;
    let is_expected = |error: &CacheError| matches!(error, CacheError::WrongPartition { .. });
    world.is_refused("another's partition", is_expected).await;
    world.is_recovered("another's partition").await;
}

#[tokio::test]
async fn an_unsealed_record_is_not_used() {
    let world = World::new().await;
    let unsealed = TokenCache::builder(Arc::new(MemoryStore::new()))
        .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext(Namespace::default())
        .unwrap();
    unsealed
        .sign_in(&user(), world.issuer.sign_in("a"))
        .await
        .unwrap();
    let record = unsealed
        .store()
        .get(&unsealed.stored_key(&user()))
        .await
        .unwrap()
        .unwrap();
    world.put(record.payload).await;
    world
        .is_refused("an unsealed record", sealed(SealError::is_plaintext_record))
        .await;
    world.is_recovered("an unsealed record").await;
}

#[tokio::test]
async fn a_record_of_another_ring_is_not_used() {
    let world = World::new().await;
    let good = world.bytes().await;
    let foreign = TokenCache::builder(Arc::new(MemoryStore::new()))
        .open_sealed(
            Namespace::default(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[8; 32]))),
        )
        .await
        .unwrap();
    foreign.sign_in(&user(), world.issuer.sign_in("a")).await.unwrap();
    let record = foreign
        .store()
        .get(&foreign.stored_key(&user()))
        .await
        .unwrap()
        .unwrap();
    world.put(record.payload.clone()).await;
    world
        .is_refused("an unknown key", sealed(SealError::is_unknown_key))
        .await;
    world.is_recovered("an unknown key").await;

    let mut claims_our_key = record.payload.to_vec();
    claims_our_key[KEY_ID].copy_from_slice(&good[KEY_ID]);
    world.put(claims_our_key).await;
    world
        .is_refused("a wrong key", sealed(SealError::is_wrong_key))
        .await;
    world.is_recovered("a wrong key").await;
}

#[tokio::test]
async fn a_record_of_a_newer_program_is_neither_used_nor_overwritten() {
    let world = World::new().await;
    let payload = BincodeCodec.encode(&Partition::new(user())).unwrap();
    let newer = BincodeCodec.schema_version() + 1;
    world.seal(BincodeCodec.id(), newer, payload.expose()).await;
    let is_newer = |error: &CacheError| matches!(error, CacheError::Codec(error) if matches!(**error, CodecError::NewerSchema { .. }));
    world.is_refused("a newer schema", is_newer).await;
    world.is_recovered("a newer schema").await;

    world.seal(200, 1, payload.expose()).await;
    let is_unknown = |error: &CacheError| matches!(error, CacheError::UnknownCodec { codec: 200, .. });
    world.is_refused("an unknown codec", is_unknown).await;
    world.is_recovered("an unknown codec").await;
}

#[tokio::test]
async fn a_record_that_went_back_is_refused_or_missing_and_its_tokens_are_never_spent() {
    let world = World::new().await;
    let old = world.bytes().await;
    world.clock.advance(Duration::from_secs(3600));
    let lenient = TokenCache::builder(Arc::clone(&world.store))
        .clock(Arc::new(world.clock.clone()))
        .strategy(Strategy::desktop_tool().rollback(RollbackPolicy::MissAndReport))
        .open_with(world.cache.sealer().clone())
        .unwrap();
    for cache in [&world.cache, &lenient] {
        let call = world.issuer.call("a");
        cache
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap();
    }
    world.put(old).await;
    settle().await;
    for _ in 0..2 {
        let call = world.issuer.call("a");
        let error = world
            .cache
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap_err();
        assert!(sealed(SealError::is_rolled_back)(&error), "{error:?}");
        let call = world.issuer.call("a");
        let error = lenient
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap_err();
        assert!(error.is_interaction_required(), "{error:?}");
    }
    assert_eq!((world.issuer.redeemed(), world.issuer.revoked_families()), (1, 0));
    // A sign-out takes it away, so that a process that starts later does not find it either.
    assert!(
        lenient
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(
        world
            .store
            .get(&world.cache.stored_key(&user()))
            .await
            .unwrap()
            .is_none()
    );
    lenient.sign_in(&user(), world.issuer.sign_in("a")).await.unwrap();
    let call = world.issuer.call("a");
    world
        .cache
        .acquire(request("a"), AcquireOptions::default(), call)
        .await
        .unwrap();
}
