//! Imports, and what is written together with them.

use std::sync::Arc;

use crate::support::*;
use crate::world::*;
use cache_core::cache::CacheError;
use cache_core::codec::msal::RowOrigin;
use cache_core::schema::{AuthorityIdentity, PartitionKey};
use cache_core::store::error::Operation;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::Fault;

#[tokio::test]
async fn a_refresh_of_what_was_imported_is_not_undone() {
    let world = World::new().await;
    let elsewhere = open(&parts().1, &world.clock).await;
    let granted = world.issuer.sign_in("a");
    elsewhere.sign_in(&user(), granted).await.unwrap();
    let file = elsewhere.export().await.unwrap().json;
    let cache = world.front_end.clone();
    let importing = async move {
        let identify = |_: &RowOrigin<'_>| AuthorityIdentity::of_issuer(ISSUER);
        cache.import(file.expose(), &identify).await
    };
    let refreshed = async || world.refresh(&world.worker, request("a")).await.unwrap();
    let refreshed = world
        .store(&user(), Fault::lost_reply(), importing, refreshed)
        .await;
    refreshed.unwrap();
    world.go_on(&request("a")).await;
}

/// A sign-in and an import are one write at first, and two where they no longer fit into one record together.
#[tokio::test]
async fn a_refresh_is_not_undone_where_a_write_of_many_is_made_one_by_one() {
    let world = World::new().await;
    let small = quiet_and_small(Arc::new(world.faults.clone()), 12_000);
    let front_end = open(&small, &world.clock).await;
    let identify = |_: &RowOrigin<'_>| AuthorityIdentity::of_issuer(ISSUER);
    let stored_key = front_end.stored_key(&user());
    let is_its = move |key: &cache_core::store::StoreKey| *key == stored_key;
    let (held, first) = Fault::pause_before();
    let (pause, look) = Fault::pause_before();
    let held = held.on(Operation::Get).at_key(is_its.clone()).once();
    world.faults.inject(held);

    // Those that wait while one is under way are written together.
    let importing = |client: &'static str, length: usize| {
        let (cache, file) = (front_end.clone(), file_with(client, length));
        tokio::spawn(async move { cache.import(&file, &identify).await })
    };
    let under_way = importing("first", 10);
    first.reached().await;
    let large = importing("large", 6_000);
    settle().await;
    let (cache, granted) = (front_end.clone(), world.issuer.sign_in("a"));
    let signing_in = tokio::spawn(async move { cache.sign_in(&user(), granted).await });
    settle().await;
    // After the write that is under way.
    let lost = Fault::lost_reply().on(Operation::Put).at_key(is_its.clone());
    world.faults.inject(lost.after(1).once());
    let look_again = pause.on(Operation::Get).at_key(is_its).after(1).once();
    world.faults.inject(look_again);
    first.release();
    look.reached().await;
    under_way.await.unwrap().unwrap();
    world.refresh(&world.worker, request("a")).await.unwrap().unwrap();
    assert!(world.sign_out("large").await, "both were stored");
    let file = file_with("in its place", 6_000);
    world.worker.import(&file, &identify).await.unwrap();
    look.release();
    let _ticking = ticking(&world.clock);
    signing_in.await.unwrap().unwrap();
    let refused = large.await.unwrap().unwrap_err();
    assert!(
        matches!(refused, CacheError::PartitionTooLarge { .. }),
        "{refused}"
    );
    world.refresh(&front_end, request("a")).await.unwrap().unwrap();
    world.go_on(&request("a")).await;
}

/// A cache file with an access token of `length` bytes for the user.
fn file_with(client: &str, length: usize) -> Vec<u8> {
    let PartitionKey::User { home_account_id, .. } = user() else {
        unreachable!("it is a user's");
    };
    let now = ManualClock::START.to_seconds().0;
    let token = serde_json::json!({
        "credential_type": "AccessToken", "home_account_id": home_account_id, "environment": "issuer.example",
        "client_id": client, "realm": "", "target": "s", "secret": "s".repeat(length),
        "cached_at": now.to_string(), "expires_on": (now + 3600).to_string(),
    });
    let file = serde_json::json!({ "AccessToken": { client: token } });
    file.to_string().into_bytes()
}
