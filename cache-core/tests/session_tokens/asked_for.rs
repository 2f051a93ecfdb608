//! Who presents an assertion, and what is asked for and kept.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::scene::*;
use crate::support::*;
use cache_core::cache::{AcquireOptions, CacheError, SignOutScope, TokenSource};
use cache_core::store::Store;
use cache_core::strategy::Strategy;

#[tokio::test]
async fn many_who_present_one_assertion_make_one_request_and_another_assertion_its_own() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open_with(&store, &clock, Strategy::web_front_end()).await;
    let tokens = futures_util::future::join_all((0..50).map(|_| token(&cache, &authority, 1))).await;
    let first = tokens[0].as_ref().unwrap().token().secret.to_secret();
    assert!(
        tokens
            .iter()
            .all(|token| token.as_ref().unwrap().token().secret == first)
    );
    assert_eq!(authority.asked(), 1);
    assert_eq!(tokens[0].as_ref().unwrap().source(), TokenSource::Authority);

    let other = token(&cache, &authority, 2).await.unwrap();
    assert_ne!(other.token().secret, first);
    let again = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(
        (again.token().secret.to_secret(), again.source()),
        (first, TokenSource::Memory)
    );
    assert_eq!(authority.asked(), 2);
    // The session's tokens are nobody else's: not the user's, and not found without the assertion.
    let error = cache
        .acquire(
            request("a"),
            AcquireOptions::default(),
            authority.issuer.call("a"),
        )
        .await;
    assert!(error.unwrap_err().is_interaction_required());
}

#[tokio::test]
async fn an_expired_token_is_asked_for_again_with_the_assertion_and_no_refresh_token_is_spent() {
    let (clock, store) = parts();
    let mut authority = Assertions::new(&clock);
    authority.refresh_token = true;
    let authority = Arc::new(authority);
    let cache = open(&store, &clock).await;
    let first = token(&cache, &authority, 1).await.unwrap();
    clock.advance(2 * HOUR);
    let second = token(&cache, &authority, 1).await.unwrap();
    assert_ne!(first.token().secret, second.token().secret);
    assert_eq!((authority.asked(), authority.issuer.redeemed()), (2, 0));
}

#[tokio::test]
async fn a_failed_request_leaves_a_valid_token_but_not_one_whose_user_signed_out_meanwhile() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    let first = token(&cache, &authority, 1).await.unwrap();
    // Within the margin: it is replaced if that is possible, and serves if it is not.
    clock.advance(HOUR - Duration::from_secs(60));
    authority.fails.store(true, Ordering::SeqCst);
    let still = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(still.token().secret, first.token().secret);

    authority.gate.forget_permits(1000);
    let waiting = {
        let (cache, authority) = (cache.clone(), Arc::clone(&authority));
        tokio::spawn(async move { token(&cache, &authority, 1).await })
    };
    settled(|| authority.asked() == 3).await;
    cache
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    authority.gate.add_permits(1000);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, CacheError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_token_that_was_asked_for_ahead_of_a_sign_out_is_discarded_after_it() {
    let (clock, store) = parts();
    let mut authority = Assertions::new(&clock);
    authority.refresh_in = Some(Duration::from_secs(600));
    let authority = Arc::new(authority);
    let (cache, other) = (
        open_with(&store, &clock, Strategy::web_front_end()).await,
        open(&store, &clock).await,
    );
    token(&cache, &authority, 1).await.unwrap();
    clock.advance(Duration::from_secs(3000));
    authority.gate.forget_permits(1000);
    let cached = token(&cache, &authority, 1).await.unwrap();
    assert_ne!(
        cached.source(),
        TokenSource::Authority,
        "the cached one serves meanwhile"
    );
    settled(|| authority.asked() == 2).await;
    other
        .sign_out(&user(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    authority.gate.add_permits(1000);
    cache.shutdown(HOUR).await;
    assert!(store.get(&cache.stored_key(&session(1))).await.unwrap().is_none());
    assert!(store.get(&cache.stored_key(&user())).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_was_asked_for_before_its_user_was_signed_out_does_not_begin_after_it() {
    for forgotten in [false, true] {
        let (clock, store) = parts();
        let authority = Arc::new(Assertions::new(&clock));
        let cache = open(&store, &clock).await;
        authority.gate.forget_permits(1000);
        let waiting = {
            let (cache, authority) = (cache.clone(), Arc::clone(&authority));
            tokio::spawn(async move { token(&cache, &authority, 1).await })
        };
        settled(|| authority.asked() == 1).await;
        // Nobody knows yet whose token it will be, so there is nothing to find.
        let found = if forgotten {
            cache.forget_account(&user()).await
        } else {
            cache.sign_out(&user(), CLIENT, SignOutScope::Client).await
        };
        assert!(!found.unwrap());
        cache
            .sign_out(&user(), "another", SignOutScope::Client)
            .await
            .unwrap();
        authority.gate.add_permits(1000);
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_interaction_required(), "{error:?}");
        for key in [user(), session(1)] {
            assert!(store.get(&cache.stored_key(&key)).await.unwrap().is_none());
        }
        // Whoever presents the assertion after that is not who was signed out.
        token(&cache, &authority, 1).await.unwrap();
        assert!(cache.session_account(&session(1)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_reply_that_names_nobody_is_kept_for_its_assertion_alone() {
    let (clock, store) = parts();
    let mut authority = Assertions::new(&clock);
    authority.account = None;
    let authority = Arc::new(authority);
    let cache = open(&store, &clock).await;
    let first = token(&cache, &authority, 1).await.unwrap();
    assert!(first.account().is_none());
    let again = token(&cache, &authority, 1).await.unwrap();
    assert_eq!(again.token().secret, first.token().secret);
    assert!(
        store.get(&cache.stored_key(&user())).await.unwrap().is_none(),
        "nobody is linked"
    );
    assert!(cache.session_account(&session(1)).await.unwrap().is_none());
    assert!(cache.end_session(&session(1)).await.unwrap());
    assert!(!cache.end_session(&session(1)).await.unwrap());
}

#[tokio::test]
async fn a_request_for_another_kind_of_partition_is_refused() {
    let (clock, store) = parts();
    let authority = Arc::new(Assertions::new(&clock));
    let cache = open(&store, &clock).await;
    let call = Arc::new(Ask(Arc::clone(&authority)));
    let error = cache
        .acquire_session(request("a"), AcquireOptions::default(), call, LONGEST)
        .await;
    assert!(matches!(error, Err(CacheError::Strategy(_))));
    assert_eq!(authority.asked(), 0);
}
