//! Serving from a fallback store.

use std::sync::Arc;

use cache_core::cache::{CacheError, SignOutScope, TokenCache, TokenSource};
use cache_core::seal::{FixedKeySource, Namespace, Sealer, SecretKey};
use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Store, StoreExt, StoreKey};
use cache_core::strategy::SealPolicy;
use cache_testkit::fault::Fault;

use crate::machine::*;
use crate::recorded::Recorded;
use crate::scene::*;
use crate::support::*;

#[test]
fn a_process_that_starts_in_an_outage_is_served_by_copies_and_recovers() {
    Recorded::run(async |recorded| {
        let machine = Machine::new();
        let scene = &machine.scene;
        let signed_in = scene.sign_in(&machine.process().await).await;
        assert_eq!(machine.copies().await.len(), 1);
        scene.down();
        let started = machine.process().await;
        assert_eq!(recorded.logged("opened by the copy of its key ring"), 1);
        let served = scene.token(&started).await.unwrap();
        assert!(served.served_during_outage());
        assert_eq!(served.source(), TokenSource::Store);
        assert!(served.token().secret == signed_in.token().secret);
        assert_eq!(served.account().unwrap().username, "alice@example.test");
        let counted = recorded.value("tokenkeep_served_during_outage_total from=fallback");
        assert_eq!(counted as u64, 1);

        scene.up();
        assert!(!scene.token(&started).await.unwrap().served_during_outage());
        // It opened by a copy of the ring, and writes once it has seen the ring itself.
        scene.sign_in(&started).await;
        assert!(scene.token(&scene.elsewhere().await).await.is_ok());
    });
}

#[tokio::test]
async fn without_a_copy_of_the_ring_a_cache_does_not_open_in_an_outage() {
    let machine = Machine::new();
    machine.scene.down();
    let opened = TokenCache::builder(Arc::clone(&machine.scene.store))
        .clock(Arc::new(machine.scene.clock.clone()))
        .strategy(machine.strategy())
        .open_sealed(
            Namespace::default(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
        )
        .await;
    assert!(opened.unwrap_err().is_store_unavailable());
}

#[tokio::test]
async fn a_fallback_needs_the_key_source() {
    let machine = Machine::new();
    let error = TokenCache::builder(Arc::clone(&machine.scene.store))
        .strategy(machine.strategy().seal(SealPolicy::PlaintextAllowed))
        .open_with(Sealer::plaintext(&Namespace::default()))
        .unwrap_err();
    assert!(matches!(error, CacheError::Strategy(_)), "{error:?}");
}

#[tokio::test]
async fn a_copy_has_no_refresh_token_and_nobody_refreshes_by_one() {
    let machine = Machine::new();
    let scene = &machine.scene;
    // Unsealed, to see what is in it.
    let cache = TokenCache::builder(Arc::clone(&scene.store))
        .clock(Arc::new(scene.clock.clone()))
        .strategy(machine.strategy().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext(Namespace::default())
        .unwrap();
    scene.sign_in(&cache).await;
    let has = async |store: &Arc<dyn Store>, secret: &[u8]| {
        for key in store.collect_keys("").await.unwrap() {
            let record = store.get(&key).await.unwrap().unwrap();
            if record.payload.windows(secret.len()).any(|part| part == secret) {
                return true;
            }
        }
        false
    };
    assert!(has(&scene.backend, b"canary-refresh").await);
    assert!(has(&machine.local, b"canary-access").await);
    assert!(!has(&machine.local, b"canary-refresh").await);

    let sealed = machine.forgetful().await;
    scene.sign_in(&sealed).await;
    assert!(scene.token(&sealed).await.is_ok());
    settle().await;
    scene.down();
    scene.clock.advance(MINUTE);
    assert!(scene.token(&sealed).await.unwrap().served_during_outage());
    scene.clock.advance(HOUR);
    assert_unavailable(scene.token(&sealed).await);
    assert_eq!(scene.issuer.redeemed(), 0);
}

#[tokio::test]
async fn a_copy_serves_no_longer_than_memory_would_and_is_renewed_while_the_store_answers() {
    let machine = Machine::with(Scene::quiet());
    let scene = &machine.scene;
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    // The store confirms it again, so the copy is made anew.
    scene.clock.advance(AT_MOST / 4);
    assert_eq!(scene.token(&cache).await.unwrap().source(), TokenSource::Store);
    settle().await;
    scene.down();
    let started = machine.process().await;
    scene.clock.advance(AT_MOST + STALE - SECOND);
    assert!(scene.token(&started).await.unwrap().served_during_outage());
    scene.clock.advance(SECOND);
    assert_unavailable(scene.token(&started).await);
}

#[tokio::test]
async fn a_copy_that_somebody_puts_back_does_not_serve_longer() {
    let machine = Machine::with(Scene::quiet());
    let scene = &machine.scene;
    scene.sign_in(&machine.process().await).await;
    let key = machine.copies().await.remove(0);
    let kept = machine.local.get(&key).await.unwrap().unwrap();
    scene.down();
    scene.clock.advance(AT_MOST + STALE);
    // Without the expiry, which nothing authenticates.
    let options = PutOptions::overwrite();
    machine.local.put(&key, kept.payload, options).await.unwrap();
    assert_unavailable(scene.token(&machine.process().await).await);
}

#[tokio::test]
async fn processes_of_one_machine_leave_each_other_the_latest_copies() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let (one, two) = (machine.process().await, machine.process().await);
    scene.sign_in(&one).await;
    assert!(scene.token(&two).await.is_ok());
    scene.clock.advance(HOUR);
    let refreshed = scene.token(&one).await.unwrap();
    settle().await;
    scene.down();
    let started = machine.process().await;
    let served = scene.token(&started).await.unwrap();
    assert!(served.token().secret == refreshed.token().secret);
}

#[tokio::test]
async fn what_copies_serve_is_never_written_to_the_store() {
    let machine = Machine::with(Scene::quiet());
    let scene = &machine.scene;
    scene.sign_in(&machine.process().await).await;
    settle().await;
    scene.down();
    let started = machine.process().await;
    scene
        .elsewhere()
        .await
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert!(scene.token(&started).await.unwrap().served_during_outage());
    scene.up();
    assert!(scene.token(&started).await.unwrap_err().is_interaction_required());
    assert_eq!(started.shutdown(SECOND).await, 0);
    assert!(
        scene
            .elsewhere()
            .await
            .accounts()
            .await
            .unwrap()
            .accounts
            .is_empty()
    );
    assert!(
        machine.copies().await.is_empty(),
        "the store said that it is gone"
    );
}

#[tokio::test]
async fn an_application_s_token_that_was_obtained_in_an_outage_serves_the_next_process() {
    let machine = Machine::new();
    let scene = &machine.scene;
    drop(machine.process().await);
    scene.down();
    let first = machine.process().await;
    let obtained = scene.app_token(&first, "api").await.unwrap();
    assert_eq!(obtained.source(), TokenSource::Authority);
    settle().await;
    let served = scene.app_token(&machine.process().await, "api").await.unwrap();
    assert!(served.served_during_outage() && served.token().secret == obtained.token().secret);
    assert_eq!(scene.issuer.obtained(), 1);
}

#[test]
fn a_fallback_that_fails_costs_what_it_would_have_served_and_no_more() {
    Recorded::run(async |recorded| {
        let machine = Machine::new();
        let scene = &machine.scene;
        let cache = machine.forgetful().await;
        machine.local_faults.inject(Fault::fail(ErrorKind::Other));
        scene.sign_in(&cache).await;
        assert!(scene.token(&cache).await.is_ok());
        settle().await;
        assert!(recorded.value("tokenkeep_fallback_failed_total operation=write") >= 2.0);
        scene.down();
        assert_unavailable(scene.token(&cache).await);
        assert_eq!(
            recorded.value("tokenkeep_fallback_failed_total operation=read") as u64,
            1
        );
        assert_eq!(recorded.logged("the fallback store failed"), 1);
        scene.up();
        machine.local_faults.heal();
        assert!(scene.token(&cache).await.is_ok());
        settle().await;
        scene.down();
        assert!(scene.token(&cache).await.unwrap().served_during_outage());
    });
}

#[tokio::test]
async fn a_rotated_key_ring_is_kept_as_well() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let cache = machine.process().await;
    cache.sealer().rotate().await.unwrap();
    scene.sign_in(&cache).await;
    let key = cache.sealer().ring_key().unwrap();
    let kept = StoreKey::new(format!("fallback-ring/{key}")).unwrap();
    let [kept, own] = [
        machine.local.get(&kept).await.unwrap().unwrap(),
        scene.backend.get(&key).await.unwrap().unwrap(),
    ];
    assert_eq!(kept.payload, own.payload);
}

#[tokio::test]
async fn copies_of_before_a_change_of_the_key_source_are_thrown_away_and_made_anew() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let source = |byte| Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[byte; 32])));
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    cache.sealer().rewrap(source(8)).await.unwrap();
    let open = async |byte| {
        TokenCache::builder(Arc::clone(&scene.store))
            .clock(Arc::new(scene.clock.clone()))
            .strategy(machine.strategy())
            .open_sealed(Namespace::default(), source(byte))
            .await
    };
    assert!(
        open(7).await.is_err(),
        "a source that does not open the cache throws nothing away"
    );
    assert_eq!(machine.copies().await.len(), 1);
    let rewrapped = open(8).await.unwrap();
    assert!(machine.copies().await.is_empty());
    assert!(scene.token(&rewrapped).await.is_ok());
    settle().await;
    scene.down();
    let started = open(8).await.unwrap();
    assert!(scene.token(&started).await.unwrap().served_during_outage());
}
