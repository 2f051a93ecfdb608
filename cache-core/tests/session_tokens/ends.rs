//! How a session ends, and what failures of the store leave of one.

use std::sync::Arc;

use crate::scene::*;
use crate::support::*;
use cache_core::cache::{AcquireOptions, CacheError, SignOutScope};
use cache_core::schema::PartitionKey;
use cache_core::store::Store;
use cache_core::store::error::Operation;
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::Fault;

#[tokio::test]
async fn a_sign_out_ends_what_assertions_brought_although_the_user_has_no_account_here() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    token(&caches[0], &authority, 1).await.unwrap();
    token(&caches[1], &authority, 1).await.unwrap();
    assert!(
        caches[1].accounts().await.unwrap().accounts.is_empty(),
        "a pure middle tier"
    );
    assert!(
        caches[1]
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    for cache in &caches {
        assert!(cache.session_account(&session(1)).await.unwrap().is_none());
    }
    assert!(
        store
            .get(&caches[0].stored_key(&session(1)))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(authority.asked(), 1);
}

#[tokio::test]
async fn a_record_is_forgotten_with_its_session_and_a_refresh_does_not_lengthen_it() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    let expiry = async |key: &PartitionKey| {
        let record = store.get(&cache.stored_key(key)).await.unwrap().unwrap();
        record.expires_at
    };
    // Without a refresh token nothing is left to use when the token has expired.
    token(&cache, &authority, 1).await.unwrap();
    assert_eq!(expiry(&session(1)).await, Some(clock.now().saturating_add(HOUR)));

    assert_eq!(
        expiry(&user()).await,
        expiry(&session(1)).await,
        "known by this session alone"
    );

    let end = clock.now().saturating_add(LONGEST);
    cache
        .begin_session(&user(), &session(2), authority.issuer.sign_in("a"), LONGEST)
        .await
        .unwrap();
    assert_eq!(expiry(&session(2)).await, Some(end));
    assert_eq!(expiry(&user()).await, Some(end));
    clock.advance(2 * HOUR);
    let call = authority.issuer.call("a");
    cache
        .acquire(request_in(session(2)), AcquireOptions::default(), call)
        .await
        .unwrap();
    assert_eq!(authority.issuer.redeemed(), 1);
    assert_eq!(expiry(&session(2)).await, Some(end));
    clock.advance(LONGEST);
    assert!(store.get(&cache.stored_key(&session(2))).await.unwrap().is_none());
}

#[tokio::test]
async fn ending_a_session_removes_it_and_its_link_and_leaves_the_others() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let caches = [open(&store, &clock).await, open(&store, &clock).await];
    for assertion in [1, 2] {
        token(&caches[0], &authority, assertion).await.unwrap();
    }
    assert!(caches[1].end_session(&session(1)).await.unwrap());
    token(&caches[0], &authority, 2).await.unwrap();
    assert_eq!(authority.asked(), 2, "the other goes on");
    assert!(caches[1].session_account(&session(1)).await.unwrap().is_none());
    assert!(caches[1].end_session(&session(2)).await.unwrap());
    let key = caches[0].stored_key(&user());
    assert!(
        store.get(&key).await.unwrap().is_none(),
        "nothing is left of the user"
    );
    let error = caches[0].end_session(&user()).await.unwrap_err();
    assert!(matches!(error, CacheError::Strategy(_)));
}

#[tokio::test]
async fn a_session_s_refresh_that_is_under_way_when_it_ends_is_discarded() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let (refreshing, other) = (open(&store, &clock).await, open(&store, &clock).await);
    let granted = authority.issuer.sign_in("a");
    refreshing
        .begin_session(&user(), &session(1), granted, LONGEST)
        .await
        .unwrap();
    clock.advance(HOUR);
    authority.issuer.close_gate();
    let refresh = {
        let (cache, call) = (refreshing.clone(), authority.issuer.call("a"));
        tokio::spawn(async move {
            cache
                .acquire(request_in(session(1)), AcquireOptions::default(), call)
                .await
        })
    };
    authority.issuer.arrived(1).await;
    assert!(other.end_session(&session(1)).await.unwrap());
    authority.issuer.open_gate();
    assert!(refresh.await.unwrap().unwrap_err().is_interaction_required());
    assert!(store.get(&other.stored_key(&session(1))).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_was_begun_anew_for_somebody_else_survives_the_first_user_s_sign_out() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    token(&cache, &authority, 1).await.unwrap();
    let mut response = authority.issuer.sign_in("a");
    response.account.as_mut().unwrap().home_account_id = "sub-2".into();
    let PartitionKey::User {
        authority: identity, ..
    } = user()
    else {
        unreachable!()
    };
    let second = PartitionKey::User {
        authority: identity,
        home_account_id: "sub-2".into(),
    };
    cache
        .begin_session(&second, &session(1), response, LONGEST)
        .await
        .unwrap();
    cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    let account = cache.session_account(&session(1)).await.unwrap().unwrap();
    assert_eq!(account.home_account_id, "sub-2");
    // And what the first user's assertion brings now is not put into the second one's session.
    let error = cache
        .acquire_session(
            request_in(session(1)),
            AcquireOptions {
                freshness: cache_core::cache::Freshness::Claims,
                ..AcquireOptions::default()
            },
            Arc::new(Ask(authority)),
            LONGEST,
        )
        .await;
    assert!(matches!(error, Err(CacheError::WrongAccount)), "{error:?}");
}

#[tokio::test]
async fn a_crash_between_the_listing_and_the_session_leaves_no_session_and_the_next_call_begins_it() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let (faults, inner) = beside_faults(&clock);
    let authority = Arc::new(Assertions::new(&clock));
    let dying = open(&(Arc::new(faults.clone()) as Arc<dyn Store>), &clock).await;
    let survivor = open(&inner, &clock).await;
    faults.inject(
        Fault::crash_before()
            .on(Operation::Put)
            .at_key(|key| key.as_str().contains("/session/")),
    );
    token(&dying, &authority, 1).await.unwrap_err();
    assert!(faults.has_crashed());
    assert!(
        inner.get(&survivor.stored_key(&user())).await.unwrap().is_some(),
        "listed"
    );
    assert!(survivor.session_account(&session(1)).await.unwrap().is_none());
    token(&survivor, &authority, 1).await.unwrap();
    assert!(
        survivor
            .sign_out(&user(), CLIENT, SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(
        inner
            .get(&survivor.stored_key(&session(1)))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn lost_acknowledgements_neither_double_a_session_nor_hide_its_end() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let (faults, inner) = beside_faults(&clock);
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&(Arc::new(faults.clone()) as Arc<dyn Store>), &clock).await;
    faults.inject(Fault::lost_reply().on(Operation::Put).times(2));
    let begun = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(authority.asked(), 1);
    let late = open(&inner, &clock).await;
    let seen = token(&late, &authority, 1).await.unwrap();
    assert_eq!(seen.token().secret, begun.token().secret);

    faults.inject(Fault::lost_reply().on(Operation::Delete).times(2));
    assert!(cache.end_session(&session(1)).await.unwrap());
    for key in [session(1), user()] {
        assert!(inner.get(&late.stored_key(&key)).await.unwrap().is_none());
    }
}
