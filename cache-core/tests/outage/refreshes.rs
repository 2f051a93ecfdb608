//! Refresh tokens and outages: none is sent without a marker that is stored.

use cache_core::cache::{AcquireOptions, Freshness, TokenSource};
use cache_core::store::error::{ErrorKind, Operation};
use cache_testkit::fault::Fault;

use crate::scene::*;
use crate::support::*;

#[tokio::test]
async fn no_refresh_token_is_sent_while_its_marker_cannot_be_stored() {
    for fault in [
        Fault::fail(ErrorKind::Unavailable),
        Fault::fail(ErrorKind::Timeout),
        Fault::lost_request(),
    ] {
        let scene = Scene::new();
        let cache = scene.cache(from_memory(2 * HOUR)).await;
        scene.sign_in(&cache).await;
        scene.clock.advance(HOUR);
        // It can be read, and not be written.
        scene
            .faults
            .inject(fault.clone().on(Operation::Put).at_key(is_user));
        let writing = ticking(&scene.clock);
        let error = scene.token(&cache).await.unwrap_err();
        assert!(error.is_storage(), "{fault:?}: {error:?}");
        assert_eq!(scene.issuer.redeemed(), 0, "{fault:?}");
        scene.faults.heal();
        // What could not be told to be without effect is taken back in the background.
        assert_eq!(cache.shutdown(MINUTE).await, 0);
        drop(writing);
        let recovered = scene.elsewhere().await;
        assert_eq!(
            scene.token(&recovered).await.unwrap().source(),
            TokenSource::Authority
        );
        assert_eq!((scene.issuer.redeemed(), scene.issuer.revoked_families()), (1, 0));
    }
}

#[tokio::test]
async fn a_token_that_is_valid_serves_although_its_refresh_fails_and_its_partition_was_being_written() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(2 * HOUR)).await;
    let signed_in = scene.sign_in(&cache).await;
    scene.clock.advance(HOUR - MINUTE);
    // The store can be read for one moment more.
    scene
        .faults
        .inject(Fault::fail(ErrorKind::Unavailable).on(Operation::Put));
    scene
        .faults
        .inject(Fault::fail(ErrorKind::Unavailable).at_key(is_user).after(6));
    let ticking = ticking(&scene.clock);
    let served = scene.token(&cache).await.unwrap();
    drop(ticking);
    assert!(served.token().secret == signed_in.token().secret);
    assert_eq!(scene.issuer.redeemed(), 0);
    scene.faults.heal();
    scene.down();
    let served = scene.token(&cache).await.unwrap();
    assert!(
        served.served_during_outage(),
        "nothing was removed, so memory keeps it"
    );
    let forced = AcquireOptions {
        freshness: Freshness::Forced { rejected: None },
        ..AcquireOptions::default()
    };
    assert_unavailable(scene.token_for(&cache, forced).await);
}

#[tokio::test]
async fn of_two_processes_the_one_with_an_outage_adopts_what_the_other_obtained() {
    let scene = Scene::quiet();
    let (cut_off, other) = (scene.cache(from_memory(2 * HOUR)).await, scene.elsewhere().await);
    scene.sign_in(&cut_off).await;
    scene.down();
    scene.clock.advance(HOUR - MINUTE);
    let refreshed = scene.token(&other).await.unwrap();
    assert_eq!(refreshed.source(), TokenSource::Authority);
    let old = scene.token(&cut_off).await.unwrap();
    assert!(old.served_during_outage() && old.token().secret != refreshed.token().secret);
    scene.clock.advance(MINUTE);
    assert_unavailable(scene.token(&cut_off).await);
    scene.up();
    let adopted = scene.token(&cut_off).await.unwrap();
    assert!(!adopted.served_during_outage() && adopted.token().secret == refreshed.token().secret);
    assert_eq!((scene.issuer.redeemed(), scene.issuer.revoked_families()), (1, 0));
}

#[tokio::test]
async fn a_reply_that_came_in_an_outage_is_stored_when_the_store_is_back() {
    let scene = Scene::new();
    let cache = scene.cache(from_memory(HOUR)).await;
    scene.sign_in(&cache).await;
    scene.clock.advance(HOUR);
    scene.issuer.close_gate();
    let (waiting, call) = (cache.clone(), scene.issuer.call("a"));
    let caller = tokio::spawn(async move {
        waiting
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
    });
    scene.issuer.arrived(1).await;
    scene.down();
    scene.issuer.open_gate();
    let _ticking = ticking(&scene.clock);
    settle().await;
    scene.faults.heal();
    let stored = caller.await.unwrap().unwrap();
    assert_eq!(stored.source(), TokenSource::Authority);
    let seen = scene.token(&scene.elsewhere().await).await.unwrap();
    assert!(seen.token().secret == stored.token().secret);
    assert_eq!((scene.issuer.redeemed(), scene.issuer.revoked_families()), (1, 0));
}
