//! Sign-ins, refreshes and sign-outs of users, and what becomes of records and of the store.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CacheError, SignOutScope};
use cache_core::random::OsRandom;
use cache_core::schema::{AuthorityIdentity, ScopeSet};
use cache_core::seal::{Namespace, RecordKind};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use futures_util::StreamExt;

use crate::support::*;
use crate::told::*;

const SIGNED_IN: &str = "alice@example.test signed in to client";

#[tokio::test]
async fn a_sign_in_a_refresh_and_a_sign_out_by_another_process_are_told_apart() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    world.sign_in().await;
    assert_eq!(told(&mut events).await, [SIGNED_IN]);

    world.clock.advance(HOUR);
    world.issuer.close_gate();
    let (acting, issuer) = (world.acting.clone(), Arc::clone(&world.issuer));
    let refresh = tokio::spawn(async move {
        let call = issuer.call("a b");
        acting.acquire(request("a"), Default::default(), call).await
    });
    world.issuer.arrived(1).await;
    assert_eq!(
        told(&mut events).await,
        ["alice@example.test of client refreshes"]
    );
    world.issuer.open_gate();
    refresh.await.unwrap().unwrap();
    assert_eq!(
        told(&mut events).await,
        ["alice@example.test of client has 2 scopes"]
    );

    world.sign_in().await;
    assert_eq!(told(&mut events).await, [format!("{SIGNED_IN} again")]);
    world
        .acting
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert_eq!(
        told(&mut events).await,
        ["alice@example.test signed out of client"]
    );
    world.sign_in().await;
    assert_eq!(told(&mut events).await, [SIGNED_IN]);
}

#[tokio::test]
async fn a_refresh_whose_marker_was_not_read_is_a_refresh_all_the_same() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    world.sign_in().await;
    assert_eq!(told(&mut events).await.len(), 1);
    world.clock.advance(HOUR);
    // Nobody looks until the reply is stored.
    world.refresh().await.unwrap();
    assert_eq!(
        told(&mut events).await,
        ["alice@example.test of client has 2 scopes"]
    );
}

#[tokio::test]
async fn what_becomes_of_a_refresh_that_brings_nothing_is_told() {
    for (mishap, expected) in [
        (Mishap::NotSent, "alice@example.test of client not sent"),
        (Mishap::Throttled, "alice@example.test of client not sent"),
        (
            Mishap::Interaction,
            "alice@example.test refused interaction_required false",
        ),
        (Mishap::LostReply, "alice@example.test of client unknown"),
    ] {
        let world = World::new().await;
        let mut events = world.looking.events().unwrap();
        world.sign_in().await;
        world.clock.advance(HOUR);
        assert_eq!(told(&mut events).await, [SIGNED_IN]);
        world.issuer.mishap(mishap);
        let faults = FaultStore::new(Arc::clone(&world.store), Arc::new(world.clock.clone()));
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        let acting = open(&faulty, &world.clock).await;
        // Held after the marker is there and before the outcome is, so that both are seen.
        let is_user = |key: &StoreKey| RecordKind::of(&Namespace::default(), key) == Some(RecordKind::User);
        let (fault, point) = Fault::pause_before();
        faults.inject(fault.on(Operation::Put).at_key(is_user).after(1).once());
        let call = world.issuer.call("a b");
        let refresh =
            tokio::spawn(async move { acting.acquire(request("a"), Default::default(), call).await });
        let started = told(&mut events).await;
        assert_eq!(started, ["alice@example.test of client refreshes"], "{mishap:?}");
        point.release();
        refresh.await.unwrap().unwrap_err();
        assert_eq!(told(&mut events).await, [expected], "{mishap:?}");
    }
}

#[tokio::test]
async fn a_dead_token_is_told_and_the_next_sign_in_is_one() {
    let world = World::new().await;
    world.sign_in().await;
    let mut events = world.looking.events().unwrap().with_baseline().await.unwrap();
    assert!(told(&mut events).await.is_empty(), "the baseline is no event");
    world.clock.advance(HOUR);
    // A token that somebody else sent already.
    world.refresh().await.unwrap();
    told(&mut events).await;
    world.clock.advance(HOUR);
    world.issuer.mishap(Mishap::LostReply);
    world.refresh().await.unwrap_err();
    assert_eq!(told(&mut events).await, ["alice@example.test of client unknown"]);
    world.sign_in().await;
    assert_eq!(told(&mut events).await, [format!("{SIGNED_IN} again")]);
}

#[tokio::test]
async fn a_record_that_was_not_seen_before_tells_what_it_can() {
    let world = World::new().await;
    world.sign_in().await;
    let mut events = world.looking.events().unwrap();
    world.sign_in().await;
    assert_eq!(told(&mut events).await, ["user committed"]);

    let mut events = world.looking.events().unwrap();
    world.clock.advance(HOUR);
    world.issuer.mishap(Mishap::LostReply);
    world.refresh().await.unwrap_err();
    assert_eq!(told(&mut events).await, ["alice@example.test of client unknown"]);

    let mut events = world.looking.events().unwrap();
    world.acting.forget_account(&user()).await.unwrap();
    assert_eq!(told(&mut events).await, ["user removed"]);
}

#[tokio::test]
async fn clients_are_signed_in_and_out_one_by_one_and_forgotten_together() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap().with_baseline().await.unwrap();
    world.sign_in().await;
    let other = world.issuer.sign_in_as("other", "a");
    world.acting.sign_in(&user(), other.clone()).await.unwrap();
    assert_eq!(
        told(&mut events).await,
        [SIGNED_IN, "alice@example.test signed in to other"],
        "seen as one commit, told as two sign-ins"
    );
    world
        .acting
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert_eq!(
        told(&mut events).await,
        ["alice@example.test signed out of client"]
    );
    world.sign_in().await;
    told(&mut events).await;
    world.acting.forget_account(&user()).await.unwrap();
    assert_eq!(
        told(&mut events).await,
        ["alice@example.test signed out of other+client"]
    );
}

#[tokio::test]
async fn an_application_s_token_names_its_tenant() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    let authority = AuthorityIdentity::of_issuer(ISSUER);
    let partition = world
        .acting
        .app_partition(CLIENT, &authority, "tenant-1", &ScopeSet::parse("a"));
    let request = cache_core::schema::TokenRequest::new(
        partition,
        cache_core::schema::AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        ScopeSet::parse("a"),
    );
    let call = world.issuer.call("a");
    world
        .acting
        .acquire_app(Arc::new(request), Default::default(), call)
        .await
        .unwrap();
    settle().await;
    assert_eq!(
        told(&mut events).await,
        ["application client in tenant-1 has 1 scopes"]
    );
}

#[tokio::test]
async fn keys_reseals_and_quarantine_are_told() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    world.sign_in().await;
    told(&mut events).await;
    world.acting.sealer().rotate().await.unwrap();
    assert_eq!(told(&mut events).await, ["KeyRingChanged"]);
    world.acting.sealer().reseal(u64::MAX).await.unwrap();
    assert_eq!(told(&mut events).await, ["user resealed"]);
    let key = world.acting.stored_key(&user());
    world.acting.quarantine(&key).await.unwrap();
    let mut seen = told(&mut events).await;
    seen.sort();
    assert_eq!(seen, ["Quarantined", "alice@example.test signed out of client"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_opened_is_told_once_and_others_go_on() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap();
    let foreign = StoreKey::new("tokenkeep/user/forged").unwrap();
    world
        .store
        .put(&foreign, "forged".into(), PutOptions::overwrite())
        .await
        .unwrap();
    let elsewhere = StoreKey::new("another-program/user/1").unwrap();
    world
        .store
        .put(&elsewhere, "x".into(), PutOptions::overwrite())
        .await
        .unwrap();
    let odd = StoreKey::new("tokenkeep/newer-kind/1").unwrap();
    world
        .store
        .put(&odd, "x".into(), PutOptions::overwrite())
        .await
        .unwrap();
    world.sign_in().await;
    let events = all(&mut events).await;
    let seen: Vec<_> = events.iter().map(words).collect();
    assert!(seen[0].starts_with("user unreadable: "), "{seen:?}");
    assert_eq!(seen[1..], ["? committed", SIGNED_IN]);
    assert_eq!(events[0].record.as_ref(), Some(&foreign));
}

#[tokio::test]
async fn after_a_gap_what_changed_in_it_is_told() {
    let world = World::new().await;
    let mut events = world.looking.events().unwrap().with_baseline().await.unwrap();
    world.sign_in().await;
    told(&mut events).await;
    world
        .acting
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    let noise = StoreKey::new("tokenkeep/newer-kind/1").unwrap();
    for _ in 0..600 {
        world
            .store
            .put(&noise, "x".into(), PutOptions::overwrite())
            .await
            .unwrap();
    }
    let seen = told(&mut events).await;
    assert_eq!(seen[0], "Lost", "{seen:?}");
    assert!(
        seen.contains(&"alice@example.test signed out of client".to_owned()),
        "{seen:?}"
    );
    assert!(seen.contains(&"? committed".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn after_a_gap_records_that_are_not_remembered_are_not_taken_for_changed() {
    let world = World::new().await;
    let put = async |index: usize| {
        let key = StoreKey::new(format!("tokenkeep/proof-key/{index}")).unwrap();
        let options = PutOptions::overwrite();
        world.store.put(&key, "x".into(), options).await.unwrap();
    };
    // More than is remembered.
    for index in 0..70_000 {
        put(index).await;
    }
    let mut events = world.looking.events().unwrap().with_baseline().await.unwrap();
    for _ in 0..600 {
        put(0).await;
    }
    let seen = told(&mut events).await;
    assert_eq!(seen[0], "Lost");
    assert!(seen.len() <= 2, "{}", seen.len());
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_nothing_is_lost() {
    let world = World::new().await;
    let faults = FaultStore::new(Arc::clone(&world.store), Arc::new(world.clock.clone()));
    let faulty: Arc<dyn Store> = Arc::new(faults.clone());
    let looking = open(&faulty, &world.clock).await;
    let interval = Duration::from_secs(5);
    let mut events = looking.events().unwrap().with_checks(interval);
    faults.inject(Fault::fail(ErrorKind::Unavailable).on(Operation::Get));
    world.sign_in().await;
    let seen = told(&mut events).await;
    assert_eq!(seen, ["failed: the store of the token cache failed"]);
    world.clock.advance(Duration::from_secs(1));
    assert!(told(&mut events).await.is_empty(), "it is said once");
    faults.heal();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(told(&mut events).await, ["StoreBack", SIGNED_IN]);

    // Also where nothing happens.
    faults.inject(Fault::fail(ErrorKind::Unavailable).on(Operation::Head));
    assert!(told(&mut events).await.is_empty());
    world.clock.advance(interval);
    assert_eq!(told(&mut events).await.len(), 1);
    faults.heal();
    world.clock.advance(interval);
    assert_eq!(told(&mut events).await, ["StoreBack"]);
    faults.inject(Fault::fail(ErrorKind::Closed).on(Operation::Head));
    world.clock.advance(interval);
    assert!(events.next().await.is_none(), "a closed store tells nothing more");
}

#[tokio::test]
async fn whoever_stops_waiting_misses_nothing() {
    let world = World::new().await;
    let faults = FaultStore::new(Arc::clone(&world.store), Arc::new(world.clock.clone()));
    let faulty: Arc<dyn Store> = Arc::new(faults.clone());
    let looking = open(&faulty, &world.clock).await;
    let mut events = looking.events().unwrap();
    let (fault, point) = Fault::pause_after();
    faults.inject(fault.on(Operation::Get).once());
    world.sign_in().await;
    // Dropped while the record is being read.
    assert!(told(&mut events).await.is_empty());
    point.release();
    assert_eq!(told(&mut events).await, [SIGNED_IN]);
}

#[tokio::test]
async fn the_stream_ends_with_the_cache_and_needs_a_store_that_notifies() {
    let world = World::new().await;
    let events = world.looking.events().unwrap();
    let World { looking, clock, .. } = world;
    drop(looking);
    settle().await;
    assert_eq!(events.into_stream().count().await, 0);

    let quiet = quiet(Arc::new(MemoryStore::with(
        Arc::new(clock.clone()),
        Arc::new(OsRandom),
    )));
    let cache = open(&quiet, &ManualClock::new()).await;
    let error = cache.events().unwrap_err();
    assert!(matches!(error, CacheError::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("change notification"));
}
