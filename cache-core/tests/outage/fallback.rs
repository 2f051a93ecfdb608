//! Serving from a fallback store.

use std::sync::Arc;

use cache_core::cache::{CacheError, DirectoryQuery, SignOutScope, TokenCache, TokenSource};
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, Sealer, SecretKey};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreExt, StoreKey};
use cache_core::strategy::{MemoryTier, OutagePolicy, RefreshPolicy, SealPolicy, Strategy};
use cache_core::time::Clock;
use cache_testkit::fault::{Fault, FaultStore};

use futures_util::FutureExt;

use crate::recorded::Recorded;
use crate::scene::*;
use crate::support::*;

/// A scene with a fallback store on the machine of whoever's store goes down.
struct Machine {
    scene: Scene,
    /// The fallback store, whose faults are the test's.
    local_faults: FaultStore,
    local: Arc<dyn Store>,
}

const AT_MOST: std::time::Duration = MINUTE.saturating_mul(40);

impl Machine {
    fn new() -> Self {
        Self::with(Scene::new())
    }

    fn with(scene: Scene) -> Self {
        let clock = Arc::new(scene.clock.clone());
        let inner = MemoryStore::with(clock.clone(), Arc::new(OsRandom));
        let local_faults = FaultStore::new(Arc::new(inner), clock);
        Self {
            local: Arc::new(local_faults.clone()),
            local_faults,
            scene,
        }
    }

    fn strategy(&self) -> Strategy {
        Strategy::web_front_end()
            .refresh(RefreshPolicy::OnDemand)
            .outage(OutagePolicy::Fallback {
                store: Arc::clone(&self.local),
                at_most: AT_MOST,
            })
    }

    /// A process of this machine.
    async fn process(&self) -> TokenCache {
        self.scene.cache(self.strategy()).await
    }

    /// A process that keeps nothing in memory, so that copies are all that it has.
    async fn forgetful(&self) -> TokenCache {
        self.scene
            .cache(self.strategy().memory_tier(MemoryTier::off()))
            .await
    }

    /// The copies of partitions in the fallback store.
    async fn copies(&self) -> Vec<StoreKey> {
        settle().await;
        let keys = self.local.collect_keys("fallback/").await.unwrap();
        keys.into_iter()
            .filter(|key| !key.as_str().contains("keyring"))
            .collect()
    }
}

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
async fn a_sign_out_takes_the_copy_along_whether_the_store_can_be_reached_or_not() {
    for in_outage in [false, true] {
        let machine = Machine::new();
        let scene = &machine.scene;
        let cache = machine.process().await;
        scene.sign_in(&cache).await;
        assert_eq!(machine.copies().await.len(), 1);
        if in_outage {
            scene.down();
        }
        let ticking = ticking(&scene.clock);
        let signed_out = cache.sign_out(&user(), CLIENT, SignOutScope::Client).await;
        drop(ticking);
        assert_eq!(signed_out.is_err(), in_outage);
        assert!(machine.copies().await.is_empty());
        if !in_outage {
            scene.down();
        }
        for process in [&cache, &machine.process().await] {
            assert_unavailable(scene.token(process).await);
        }
    }
}

#[tokio::test]
async fn a_sign_out_in_an_outage_whose_caller_goes_away_is_honoured_all_the_same() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    scene.down();
    let gone = cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .now_or_never();
    assert!(gone.is_none());
    let ticking = ticking(&scene.clock);
    settle().await;
    drop(ticking);
    assert!(machine.copies().await.is_empty());
    assert_unavailable(scene.token(&cache).await);
}

#[tokio::test]
async fn a_sign_out_whose_copy_cannot_be_removed_says_so_and_this_process_does_not_serve_it() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    machine.local_faults.inject(Fault::fail(ErrorKind::ReadOnly));
    let error = cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap_err();
    assert!(error.is_storage(), "{error:?}");
    // What hangs on the rows that the store does not have any more is done all the same.
    let listed = cache.directory().page(DirectoryQuery::new()).await.unwrap();
    assert!(listed.entries.is_empty());
    machine.local_faults.heal();
    assert_eq!(machine.copies().await.len(), 1);
    scene.down();
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    // Repeated, it finds nothing in the store and takes the copy away.
    assert!(
        !cache
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(machine.copies().await.is_empty());
}

#[tokio::test]
async fn a_sign_out_elsewhere_that_was_reported_takes_the_copy_along_and_nothing_brings_it_back() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let (cache, other) = (machine.process().await, scene.elsewhere().await);
    scene.sign_in(&cache).await;
    scene.down();
    assert!(
        other
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(machine.copies().await.is_empty());
    assert_unavailable(scene.token(&cache).await);
    scene.up();
    assert!(scene.token(&cache).await.unwrap_err().is_interaction_required());
    assert!(other.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn a_report_that_comes_while_an_earlier_one_is_dealt_with_is_not_taken_for_done() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let (one, two) = (machine.process().await, machine.process().await);
    let (pause, point) = Fault::pause_before();
    machine.local_faults.inject(pause.on(Operation::Head).once());
    // The other process learns of it, and looks whether the copy is of what was reported.
    scene.sign_in(&one).await;
    drop(one);
    let elsewhere = scene.elsewhere().await;
    elsewhere
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    settle().await;
    point.release();
    settle().await;
    scene.down();
    assert_unavailable(scene.token(&two).await);
    assert!(machine.copies().await.is_empty());
}

#[tokio::test]
async fn a_fallback_store_that_hangs_neither_piles_up_work_nor_holds_up_a_sign_out() {
    let machine = Machine::new();
    let scene = &machine.scene;
    let cache = machine.process().await;
    scene.sign_in(&cache).await;
    machine.copies().await;
    machine.local_faults.inject(Fault::delay(1000 * HOUR));
    for index in 0..20_000 {
        let key = StoreKey::new(format!("tokenkeep/user/{index}")).unwrap();
        let record = PutOptions::overwrite();
        scene.backend.put(&key, "another's".into(), record).await.unwrap();
        tokio::task::yield_now().await;
    }
    settle().await;
    let waiting = cache.shutdown(std::time::Duration::ZERO).await;
    assert!((1..=256).contains(&waiting), "{waiting}");

    let before = scene.clock.monotonic();
    let ticking = ticking(&scene.clock);
    let error = cache.sign_out(&user(), CLIENT, SignOutScope::Client).await;
    drop(ticking);
    assert!(matches!(error.unwrap_err(), CacheError::TimedOut));
    assert!(scene.clock.monotonic() - before < MINUTE);
    // More was reported than is remembered one by one, and none of it serves.
    machine.local_faults.heal();
    scene.down();
    assert_unavailable(scene.token(&cache).await);
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
