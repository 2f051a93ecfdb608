//! Sign-ins.

use crate::support::*;
use crate::world::*;
use cache_core::cache::{AcquireOptions, Freshness, SignOutScope};
use cache_core::store::error::Operation;
use cache_testkit::fault::Fault;

#[tokio::test]
async fn a_refresh_of_what_it_stored_is_not_undone() {
    let world = World::new().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let refreshed = async || world.refresh(&world.worker, request("a")).await.unwrap();
    let refreshed = world
        .store(&user(), Fault::lost_reply(), signing_in, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
}

#[tokio::test]
async fn a_refresh_that_made_its_token_a_familys_is_not_undone() {
    let world = World::new().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let refreshed = async || {
        world.issuer.grant_to_family("1");
        world.refresh(&world.worker, request("a")).await.unwrap()
    };
    let refreshed = world
        .store(&user(), Fault::lost_reply(), signing_in, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
    assert_eq!(refresh_tokens(&world.worker).await, 1, "and none that is spent");
}

#[tokio::test]
async fn a_refresh_that_is_under_way_keeps_its_marker() {
    let world = World::new().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    world.issuer.close_gate();
    #[expect(clippy::async_yields_async, reason = "it ends later")]
    let sent = async || {
        let refreshing = world.refresh(&world.worker, request("a"));
        world.issuer.arrived(1).await;
        refreshing
    };
    let refreshing = world.store(&user(), Fault::lost_reply(), signing_in, sent).await;
    let other = world.refresh(&world.front_end, request("a"));
    settle().await;
    assert_eq!(world.issuer.redeemed(), 1, "the other waits");
    world.issuer.open_gate();
    refreshing.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    world.go_on(&request("a")).await;
}

/// Where there was no sign-in before, a sign-in that was stored and ended cannot be told from one that was never stored.
#[tokio::test]
async fn a_sign_out_of_a_second_sign_in_is_not_undone() {
    let world = World::signed_in().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let signed_out = async || world.worker.sign_out(&user(), CLIENT, SignOutScope::Client).await;
    let signed_out = world
        .store(&user(), Fault::lost_reply(), signing_in, signed_out)
        .await;
    signed_out.unwrap();
    for cache in [&world.worker, &world.front_end] {
        assert!(cache.accounts().await.unwrap().accounts.is_empty());
    }
}

#[tokio::test]
async fn what_did_not_arrive_is_stored_in_place_of_the_sign_in_before() {
    let world = World::new().await;
    for _ in 0..2 {
        let granted = world.issuer.sign_in("a");
        let token = granted.refresh_token.clone().unwrap();
        let signing_in = world.sign_in(granted);
        world
            .store(&user(), Fault::lost_request(), signing_in, async || {})
            .await;
        world.go_on(&request("a")).await;
        let sent = world.issuer.sent();
        assert_eq!(sent[sent.len() - 3], token.expose());
    }
}

/// Whether it was stored and then refreshed, or not stored and the sign-in before it refreshed, nobody can tell. Either goes on.
#[tokio::test]
async fn of_two_sign_ins_the_one_that_was_refreshed_meanwhile_goes_on() {
    let world = World::signed_in().await;
    let signing_in = world.sign_in(world.issuer.sign_in("a"));
    let refreshed = async || world.refresh(&world.worker, request("a")).await.unwrap();
    let refreshed = world
        .store(&user(), Fault::lost_request(), signing_in, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
    assert_eq!(world.issuer.revoked_families(), 0);
}

/// Its first run met a sign-in, which was ended before it could write; the second met nothing.
#[tokio::test]
async fn what_a_run_met_that_was_not_stored_does_not_count() {
    let world = World::signed_in().await;
    let (pause, writing) = Fault::pause_before();
    let pause = pause.on(Operation::Put).at_key(is_user);
    world.faults.inject(pause.once());
    let lost = Fault::lost_request().on(Operation::Put).at_key(is_user);
    world.faults.inject(lost.after(1).once());
    let signing_in = tokio::spawn(world.sign_in(world.issuer.sign_in("a")));
    writing.reached().await;
    assert!(world.sign_out(CLIENT).await);
    let _ticking = ticking(&world.clock);
    writing.release();
    signing_in.await.unwrap().unwrap();
    world.go_on(&request("a")).await;
}

/// The other member's refresh has replaced the family's token, by which a first run that was not stored would have signed this one in.
#[tokio::test]
async fn a_member_is_signed_in_whose_family_was_refreshed_meanwhile() {
    for fault in [Fault::lost_request(), Fault::lost_reply()] {
        let world = World::new().await;
        world.issuer.grant_to_family("1");
        let granted = world.issuer.sign_in_as("other", "a");
        world.worker.sign_in(&user(), granted).await.unwrap();
        let signing_in = world.sign_in(world.issuer.sign_in("a"));
        let refreshed = async || {
            let options = AcquireOptions {
                freshness: Freshness::Forced { rejected: None },
                ..AcquireOptions::default()
            };
            let call = world.issuer.call_as("other", "a");
            let refreshed = world.worker.acquire(request_of("other", "a"), options, call);
            refreshed.await.unwrap();
        };
        world.store(&user(), fault, signing_in, refreshed).await;
        let accounts = world.worker.accounts().await.unwrap().accounts;
        assert_eq!(accounts[0].clients, [CLIENT, "other"]);
        assert_eq!(refresh_tokens(&world.worker).await, 1, "and none that is spent");
        world.go_on(&request("a")).await;
    }
}
