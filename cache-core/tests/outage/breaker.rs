//! The circuit breaker: around a store, and where a cache puts it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::seal::Namespace;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{
    CircuitBreaker, CircuitBreakerStore, CircuitState, PutOptions, Store, StoreExt, StoreKey,
};
use cache_core::strategy::{OutagePolicy, SealPolicy, Strategy, TimeLimits};
use cache_testkit::fault::{Fault, FaultStore};
use futures_util::{FutureExt, StreamExt};

use crate::recorded::Recorded;
use crate::scene::*;
use crate::support::*;

fn key() -> StoreKey {
    StoreKey::new("user/alice").unwrap()
}

/// Opens after two failures, for two seconds at the most.
fn guarded(scene: &Scene) -> CircuitBreakerStore<FaultStore> {
    let policy = CircuitBreaker {
        failures: NonZeroU32::new(2).unwrap(),
        open_for: 2 * SECOND,
    };
    let clock = Arc::new(scene.clock.clone());
    scene
        .faults
        .clone()
        .with_circuit_breaker("main", policy, clock, Arc::new(OsRandom))
}

#[test]
fn it_opens_refuses_probes_and_closes_and_all_of_it_is_counted() {
    Recorded::run(async |recorded| {
        let scene = Scene::new();
        let store = guarded(&scene);
        let state = || recorded.value("tokenkeep_store_circuit_state store=main") as u64;
        let entered = |to: &str| {
            recorded.value(&format!(
                "tokenkeep_store_circuit_transitions_total store=main to={to}"
            )) as u64
        };
        scene.down();
        for _ in 0..2 {
            assert_eq!((store.state(), state()), (CircuitState::Closed, 0));
            assert!(!store.get(&key()).await.unwrap_err().is_circuit_open());
        }
        assert_eq!((store.state(), state()), (CircuitState::Open, 2));
        assert_eq!(recorded.logged("the store does not answer"), 1);

        let asked = scene.faults.total();
        let refused = store
            .put(&key(), "x".into(), PutOptions::create())
            .await
            .unwrap_err();
        assert_eq!(
            (refused.kind(), refused.retry()),
            (ErrorKind::Unavailable, Retry::Yes)
        );
        assert!(refused.is_circuit_open() && !refused.is_outcome_unknown());
        assert!(store.head(&key()).await.unwrap_err().is_circuit_open());
        assert!(store.delete(&key(), None).await.unwrap_err().is_circuit_open());
        let scanned: Vec<_> = store.scan("").collect().await;
        assert!(matches!(&scanned[..], [Err(error)] if error.is_circuit_open()));
        assert_eq!(scene.faults.total(), asked, "nothing was sent");
        let rejected = "tokenkeep_store_circuit_rejected_total store=main operation=";
        for operation in ["put", "head", "delete", "scan"] {
            assert_eq!(
                recorded.value(&format!("{rejected}{operation}")) as u64,
                1,
                "{operation}"
            );
        }

        // The probe fails, and it is open again.
        scene.clock.advance(2 * SECOND);
        assert!(!store.get(&key()).await.unwrap_err().is_circuit_open());
        assert_eq!(
            (store.state(), entered("half_open"), entered("open")),
            (CircuitState::Open, 1, 2)
        );
        assert!(store.get(&key()).await.unwrap_err().is_circuit_open());

        scene.up();
        store.get(&key()).await.unwrap();
        assert_eq!(
            (store.state(), state(), entered("closed")),
            (CircuitState::Closed, 0, 1)
        );
        assert_eq!(recorded.logged("the store answers again"), 1);
        store.get(&key()).await.unwrap();
    });
}

#[tokio::test]
async fn one_probe_goes_and_the_others_are_refused_meanwhile() {
    let scene = Scene::new();
    let store = guarded(&scene);
    scene.faults.inject(Fault::fail(ErrorKind::Timeout).times(2));
    for _ in 0..2 {
        store.get(&key()).await.unwrap_err();
    }
    scene.clock.advance(2 * SECOND);
    let (pause, held) = Fault::pause_before();
    scene.faults.inject(pause.on(Operation::Get));
    let probe = tokio::spawn({
        let store = store.clone();
        async move { store.get(&key()).await }
    });
    held.reached().await;
    assert_eq!(store.state(), CircuitState::HalfOpen);
    assert!(store.head(&key()).await.unwrap_err().is_circuit_open());
    held.release();
    probe.await.unwrap().unwrap();
    assert_eq!(store.state(), CircuitState::Closed);
}

#[tokio::test]
async fn a_probe_that_nobody_waits_for_leaves_the_turn_to_the_next() {
    let scene = Scene::new();
    let store = guarded(&scene);
    scene.faults.inject(Fault::fail(ErrorKind::Timeout).times(2));
    for _ in 0..2 {
        store.get(&key()).await.unwrap_err();
    }
    scene.clock.advance(2 * SECOND);
    let (pause, _held) = Fault::pause_before();
    scene.faults.inject(pause.on(Operation::Get));
    assert!(store.get(&key()).now_or_never().is_none());
    store.head(&key()).await.unwrap();
    assert_eq!(store.state(), CircuitState::Closed);
}

#[tokio::test]
async fn any_answer_closes_it_and_refusals_never_open_it() {
    let scene = Scene::new();
    let store = guarded(&scene);
    for kind in [ErrorKind::Conflict, ErrorKind::Full, ErrorKind::PermissionDenied] {
        scene.faults.inject(Fault::fail(kind).times(5));
        for _ in 0..5 {
            assert_eq!(store.get(&key()).await.unwrap_err().kind(), kind);
        }
        assert_eq!(store.state(), CircuitState::Closed);
        scene.faults.heal();
    }
    scene.faults.inject(Fault::fail(ErrorKind::Timeout).times(2));
    scene.faults.inject(Fault::fail(ErrorKind::Full).after(2).once());
    for _ in 0..2 {
        store.get(&key()).await.unwrap_err();
    }
    assert_eq!(store.state(), CircuitState::Open);
    scene.clock.advance(2 * SECOND);
    assert_eq!(store.get(&key()).await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(store.state(), CircuitState::Closed);
}

#[tokio::test]
async fn its_watch_is_the_store_s_own_and_goes_on_while_it_is_open() {
    let scene = Scene::new();
    let store = guarded(&scene);
    let mut events = store.watch().unwrap().subscribe();
    scene.down();
    for _ in 0..2 {
        store.get(&key()).await.unwrap_err();
    }
    let options = PutOptions::create();
    scene.backend.put(&key(), "x".into(), options).await.unwrap();
    assert!(events.next().await.is_some());
}

#[tokio::test]
async fn a_cache_leaves_a_store_alone_that_is_down_and_recovers_by_itself() {
    let scene = Scene::new();
    let cache = scene
        .cache(Strategy::web_front_end().outage(OutagePolicy::Fail))
        .await;
    scene.sign_in(&cache).await;
    scene.clock.advance(STALE);
    scene.down();
    for _ in 0..5 {
        assert_unavailable(scene.token(&cache).await);
    }
    let asked = scene.faults.total();
    for _ in 0..20 {
        assert_unavailable(scene.token(&cache).await);
    }
    // Also writes end at once, without the attempts that they would make otherwise.
    let error = cache
        .sign_in(&user(), scene.issuer.sign_in("a"))
        .await
        .unwrap_err();
    assert!(error.is_store_unavailable());
    assert_eq!(scene.faults.total(), asked);
    scene.up();
    assert!(scene.token(&cache).await.is_ok());
}

#[tokio::test]
async fn a_circuit_that_could_cost_a_refreshed_token_is_refused() {
    let scene = Scene::new();
    let limits = TimeLimits {
        commit: Duration::from_secs(3),
        ..TimeLimits::default()
    };
    let strategy = Strategy::web_front_end()
        .limits(limits)
        .seal(SealPolicy::PlaintextAllowed);
    let refused = TokenCache::builder(Arc::clone(&scene.store))
        .strategy(strategy.clone())
        .open_plaintext(Namespace::default())
        .unwrap_err();
    assert!(
        refused.to_string().contains("a circuit that stays open"),
        "{refused}"
    );
    TokenCache::builder(Arc::clone(&scene.store))
        .strategy(strategy.circuit_breaker(None))
        .open_plaintext(Namespace::default())
        .unwrap();
}
