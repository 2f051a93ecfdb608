//! What the cache enters by itself: sign-ins, sign-outs, and who must sign in again.

use cache_core::cache::{
    AcquireOptions, CacheError, DirectoryQuery, InteractionCause, SignOutScope, TokenCache,
};
use cache_core::store::Store;
use cache_core::store::error::ErrorKind;
use cache_core::strategy::Strategy;
use cache_testkit::fault::Fault;

use crate::scene::*;
use crate::support::*;

/// The only account that the issuer redeems for.
const ALICE: usize = 1;

async fn cause(cache: &TokenCache) -> Option<InteractionCause> {
    cache.directory().flush().await;
    let entry = entry(cache, ALICE).await.unwrap();
    Some(entry.client(CLIENT)?.needs_interaction.as_ref()?.because)
}

#[tokio::test]
async fn an_account_is_listed_at_its_sign_in_and_goes_with_its_last_client() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.cache, 1).await;
    let other = scene.granted("other", 1);
    scene.cache.sign_in(&account(1), other).await.unwrap();
    scene.sign_in(&scene.cache, 2).await;
    assert_eq!(listed(&scene.cache).await, [1, 2].into());
    assert!(sign_out(&scene.cache, 1).await);
    let left = entry(&scene.cache, 1).await.unwrap();
    assert_eq!(left.clients.len(), 1);
    assert_eq!(left.clients[0].client_id, "other");
    let scope = SignOutScope::Client;
    scene.cache.sign_out(&account(1), "other", scope).await.unwrap();
    assert_eq!(listed(&scene.cache).await, [2].into());
    assert!(scene.cache.forget_account(&account(2)).await.unwrap());
    assert!(listed(&scene.cache).await.is_empty());
    assert!(scene.pages().await.is_empty(), "nothing is left behind");
}

#[tokio::test]
async fn who_must_sign_in_again_is_noted_and_a_sign_in_clears_it() {
    let scene = Scene::new().await;
    let _ticking = ticking(&scene.clock);
    for (mishap, expected) in [
        (Mishap::Interaction, InteractionCause::RequestRefused),
        (Mishap::LostReply, InteractionCause::OutcomeUnknown),
    ] {
        scene.sign_in(&scene.cache, ALICE).await;
        assert_eq!(cause(&scene.cache).await, None);
        scene.clock.advance(HOUR);
        scene.issuer.mishap(mishap);
        assert!(scene.acquire(&scene.cache, ALICE).await.is_err());
        // That nobody knows the outcome is an error of its own first, and what stands from then on.
        assert!(
            scene
                .acquire(&scene.cache, ALICE)
                .await
                .unwrap_err()
                .is_interaction_required()
        );
        assert_eq!(cause(&scene.cache).await, Some(expected));
        let needy = DirectoryQuery::new().client_id(CLIENT).needs_interaction(true);
        assert_eq!(list(&scene.another().await, &needy).await, [ALICE].into());
    }
    scene.sign_in(&scene.cache, ALICE).await;
    assert_eq!(cause(&scene.cache).await, None);
}

#[tokio::test]
async fn a_refused_or_missing_refresh_token_is_noted() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.cache, ALICE).await;
    // Somebody redeems the token elsewhere, so that the authority refuses it here.
    let stolen = scene.granted(CLIENT, ALICE);
    let mut refused = stolen.clone();
    refused.refresh_token = Some(cache_core::secret::Secret::new("revoked"));
    scene.cache.sign_in(&account(ALICE), refused).await.unwrap();
    scene.clock.advance(HOUR);
    assert!(
        scene
            .acquire(&scene.cache, ALICE)
            .await
            .unwrap_err()
            .is_interaction_required()
    );
    assert_eq!(cause(&scene.cache).await, Some(InteractionCause::Refused));

    let mut without = scene.granted("other", 2);
    without.client_id = CLIENT.into();
    without.refresh_token = None;
    scene.cache.sign_in(&account(2), without).await.unwrap();
    scene.clock.advance(HOUR);
    assert!(scene.acquire(&scene.cache, 2).await.is_err());
    scene.cache.directory().flush().await;
    let entry = entry(&scene.cache, 2).await.unwrap();
    let needs = entry.client(CLIENT).unwrap().needs_interaction.as_ref().unwrap();
    assert_eq!(needs.because, InteractionCause::NoRefreshToken);
    assert!(entry.cached_account().silent_clients.is_empty());
}

#[tokio::test]
async fn a_refresh_by_another_process_clears_what_was_noted() {
    let scene = Scene::new().await;
    let other = scene.another().await;
    scene.sign_in(&scene.cache, ALICE).await;
    let directory = scene.cache.directory();
    assert!(
        directory
            .mark_needs_interaction(&account(ALICE), CLIENT)
            .await
            .unwrap()
    );
    assert_eq!(cause(&scene.cache).await, Some(InteractionCause::Marked));
    scene.clock.advance(HOUR);
    scene.acquire(&other, ALICE).await.unwrap();
    assert_eq!(cause(&other).await, None);
}

#[tokio::test]
async fn the_refusal_of_one_request_stays_until_that_one_is_granted() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.cache, ALICE).await;
    scene.issuer.mishap(Mishap::Interaction);
    let options = AcquireOptions::default;
    let wide = || {
        scene
            .cache
            .acquire(request("b"), options(), scene.issuer.call("b"))
    };
    assert!(wide().await.unwrap_err().is_interaction_required());
    assert_eq!(cause(&scene.cache).await, Some(InteractionCause::RequestRefused));
    scene.clock.advance(HOUR);
    scene.acquire(&scene.cache, ALICE).await.unwrap();
    assert_eq!(cause(&scene.cache).await, Some(InteractionCause::RequestRefused));
}

#[tokio::test]
async fn what_no_longer_holds_is_not_noted() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.cache, ALICE).await;
    scene.clock.advance(HOUR);
    scene.issuer.mishap(Mishap::Interaction);
    let (fault, held) = Fault::pause_before();
    // The note is about to look at its page when the user signs in elsewhere.
    scene.faults.inject(fault.at_key(is_page).once());
    assert!(scene.acquire(&scene.cache, ALICE).await.is_err());
    settle().await;
    let other = scene.another().await;
    scene.sign_in(&other, ALICE).await;
    other.directory().flush().await;
    held.release();
    scene.cache.directory().flush().await;
    // Noted or not, the next refresh by whomever clears it.
    scene.clock.advance(HOUR);
    scene.acquire(&other, ALICE).await.unwrap();
    assert_eq!(cause(&other).await, None);
}

#[tokio::test]
async fn who_meets_an_account_that_is_gone_takes_it_off() {
    let scene = Scene::new().await;
    for number in 0..3 {
        scene.sign_in(&scene.cache, number).await;
    }
    let unaware = scene.without_directory().await;
    sign_out(&unaware, 0).await;
    sign_out(&unaware, 1).await;
    assert_eq!(listed(&scene.cache).await, [0, 1, 2].into(), "it is a hint");
    let error = scene.acquire(&scene.another().await, 0).await.unwrap_err();
    assert!(error.is_interaction_required());
    let verified = DirectoryQuery::new().verified();
    assert_eq!(list(&scene.cache, &verified).await, [2].into());
    settle().await;
    scene.cache.directory().flush().await;
    assert_eq!(listed(&scene.cache).await, [2].into());
}

#[tokio::test]
async fn a_sign_in_between_a_sign_out_and_its_entry_stays_listed() {
    // The sign-out has found the account gone, and is held before it writes that into the directory.
    for is_put in [false, true] {
        let scene = Scene::new().await;
        let other = scene.another().await;
        scene.sign_in(&scene.cache, 1).await;
        scene.sign_in(&scene.cache, 2).await;
        scene.cache.directory().flush().await;
        let (fault, held) = Fault::pause_before();
        let operation = if is_put {
            cache_core::store::error::Operation::Put
        } else {
            cache_core::store::error::Operation::Get
        };
        scene.faults.inject(fault.on(operation).at_key(is_page).once());
        let cache = scene.cache.clone();
        let leaving = tokio::spawn(async move { sign_out(&cache, 1).await });
        settle().await;
        assert!(!leaving.is_finished());
        let _ticking = ticking(&scene.clock);
        scene.sign_in(&other, 1).await;
        other.directory().flush().await;
        held.release();
        assert!(leaving.await.unwrap());
        scene.cache.directory().flush().await;
        assert_eq!(listed(&other).await, [1, 2].into(), "{is_put}");
    }
}

#[tokio::test]
async fn a_directory_that_is_off_writes_nothing() {
    let scene = Scene::with(Strategy::desktop_tool()).await;
    scene.sign_in(&scene.cache, ALICE).await;
    scene.clock.advance(HOUR);
    scene.acquire(&scene.cache, ALICE).await.unwrap();
    scene.acquire(&scene.cache, 2).await.unwrap_err();
    sign_out(&scene.cache, ALICE).await;
    settle().await;
    assert!(scene.pages().await.is_empty());
    for (strategy, is_on) in [
        (Strategy::web_front_end(), true),
        (Strategy::background_worker(), true),
        (Strategy::high_volume_daemon(), false),
    ] {
        let scene = Scene::with(strategy).await;
        scene.sign_in(&scene.cache, 1).await;
        assert_eq!(!scene.pages().await.is_empty(), is_on);
    }
}

#[tokio::test]
async fn nothing_that_concerns_tokens_fails_with_the_directory() {
    let scene = Scene::new().await;
    let _ticking = ticking(&scene.clock);
    let broken = Fault::fail(ErrorKind::PermissionDenied).at_key(is_page);
    scene.faults.inject(broken);
    scene.sign_in(&scene.cache, ALICE).await;
    scene.clock.advance(HOUR);
    scene.acquire(&scene.cache, ALICE).await.unwrap();
    let marked = scene
        .cache
        .directory()
        .mark_needs_interaction(&account(ALICE), CLIENT)
        .await;
    assert!(matches!(marked, Err(CacheError::Store(_))));
    assert!(scene.cache.directory().page(DirectoryQuery::new()).await.is_err());
    scene.faults.heal();
    assert!(listed(&scene.cache).await.is_empty());
    // The next refresh finds that it is missing.
    scene.clock.advance(HOUR);
    scene.acquire(&scene.cache, ALICE).await.unwrap();
    scene.cache.directory().flush().await;
    assert_eq!(listed(&scene.cache).await, [ALICE].into());
    scene
        .faults
        .inject(Fault::fail(ErrorKind::PermissionDenied).at_key(is_page));
    assert!(sign_out(&scene.cache, ALICE).await, "the sign-out succeeded");
    assert!(
        scene
            .store
            .get(&scene.cache.stored_key(&account(ALICE)))
            .await
            .unwrap()
            .is_none()
    );
    scene.faults.heal();
    assert_eq!(listed(&scene.cache).await, [ALICE].into());
    sign_out(&scene.cache, ALICE).await;
    assert!(
        listed(&scene.cache).await.is_empty(),
        "a second sign-out mends it"
    );
}

#[tokio::test]
async fn a_plaintext_cache_has_one_too() {
    use cache_core::seal::Namespace;
    use cache_core::strategy::SealPolicy;

    let (clock, store) = parts();
    let strategy = Strategy::background_worker().seal(SealPolicy::PlaintextAllowed);
    let open = || {
        let builder =
            TokenCache::builder(std::sync::Arc::clone(&store)).clock(std::sync::Arc::new(clock.clone()));
        builder
            .strategy(strategy.clone())
            .open_plaintext(Namespace::default())
            .unwrap()
    };
    let scene = Scene::new().await;
    let cache = open();
    for number in 0..100 {
        scene.sign_in(&cache, number).await;
    }
    assert_eq!(listed(&open()).await, (0..100).collect());
}
