//! Proof keys: made once, bound to the right refresh token whatever crashes, gone with the sign-out.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;

use cache_core::cache::{AcquireOptions, ProofKey, ProofKeyOwner, SignOutScope, TokenCache};
use cache_core::schema::AuthorityIdentity;
use cache_core::seal::{Namespace, RecordKind};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{Store, StoreKey};
use cache_testkit::fault::{Fault, FaultStore};
use futures_util::StreamExt;
use support::*;

fn owner() -> ProofKeyOwner {
    ProofKeyOwner {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        client_id: CLIENT.into(),
        home_account_id: Some("sub-1".into()),
    }
}

fn app() -> ProofKeyOwner {
    ProofKeyOwner {
        home_account_id: None,
        ..owner()
    }
}

fn key(id: &str) -> ProofKey {
    ProofKey {
        key_id: id.into(),
        material: SecretBytes::new(format!("canary-{id}").into_bytes()),
    }
}

fn is_key(key: &StoreKey) -> bool {
    RecordKind::of(&Namespace::default(), key) == Some(RecordKind::ProofKey)
}

async fn keys_in(store: &Arc<dyn Store>) -> usize {
    let mut found = 0;
    let mut keys = store.scan("");
    while let Some(entry) = keys.next().await {
        found += usize::from(is_key(&entry.unwrap().0));
    }
    found
}

/// A sign-in as a client makes it, with the key `id`.
async fn sign_in(cache: &TokenCache, issuer: &Issuer, id: &str) -> Secret {
    let response = issuer.sign_in("a");
    let token = response.refresh_token.clone().unwrap();
    cache
        .add_proof_key(&owner(), &key(id), Some(&token))
        .await
        .unwrap();
    cache.sign_in(&user(), response).await.unwrap();
    cache
        .add_proof_key(&owner(), &key(id), Some(&token))
        .await
        .unwrap();
    token
}

async fn current(cache: &TokenCache) -> Option<String> {
    cache.proof_key(&owner()).await.unwrap().map(|key| key.key_id)
}

#[tokio::test]
async fn processes_that_race_for_the_first_key_end_with_one() {
    for _ in 0..50 {
        let (clock, store) = parts();
        let caches = [open(&store, &clock).await, open(&store, &clock).await];
        let racing = caches.iter().enumerate().flat_map(|(number, cache)| {
            (0..4).map(move |task| {
                let (cache, fresh) = (cache.clone(), key(&format!("{number}-{task}")));
                tokio::spawn(async move { cache.proof_key_or(&app(), fresh).await.unwrap() })
            })
        });
        let mut seen = Vec::new();
        for task in racing.collect::<Vec<_>>() {
            seen.push(task.await.unwrap());
        }
        let stored = caches[0].proof_key(&app()).await.unwrap().unwrap();
        for found in seen {
            assert_eq!(
                (&found.key_id, &found.material),
                (&stored.key_id, &stored.material)
            );
        }
        assert_eq!(keys_in(&store).await, 1);
    }
}

#[tokio::test]
async fn a_sign_in_that_crashes_at_any_write_leaves_the_key_of_the_tokens_that_are_there() {
    let mut crashed = 0;
    for place in 0..2 {
        for number in 0..6 {
            let (clock, store) = parts();
            let healthy = open(&store, &clock).await;
            let issuer = Issuer::new(&clock);
            let old = sign_in(&healthy, &issuer, "old").await;
            let faults = FaultStore::new(Arc::clone(&store), Arc::new(clock.clone()));
            let faulty: Arc<dyn Store> = Arc::new(faults.clone());
            let crashing = open(&faulty, &clock).await;
            let fault = if place == 0 {
                Fault::crash_before()
            } else {
                Fault::crash_after()
            };
            faults.inject(fault.on(Operation::Put).after(number).once());
            let task = {
                let (cache, issuer) = (crashing.clone(), Arc::clone(&issuer));
                tokio::spawn(async move { sign_in(&cache, &issuer, "new").await })
            };
            settle().await;
            crashed += usize::from(faults.has_crashed());
            task.abort();
            // Another process: whichever refresh token is there, its own key is found.
            let other = open(&store, &clock).await;
            let at = format!("{place} {number}");
            let bound = current(&other).await.unwrap();
            let (sent, request) = (issuer.redeemed(), request("a"));
            clock.advance(std::time::Duration::from_secs(3600));
            other
                .acquire(request, AcquireOptions::default(), issuer.call("a"))
                .await
                .unwrap();
            let spent = Secret::new(issuer.sent()[sent].clone());
            let expected = if spent == old { "old" } else { "new" };
            assert_eq!(bound, expected, "{at}");
            let spending = other
                .spend_with_proof_key(&owner(), &spent)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(spending.key_id, expected, "{at}");
            // And so it stays for the successor of that token.
            assert_eq!(current(&other).await.as_deref(), Some(expected), "{at}");
        }
    }
    assert!(crashed >= 6, "only {crashed} points were reached");
}

#[tokio::test]
async fn a_sign_out_takes_the_account_s_key_and_leaves_the_client_s() {
    let (clock, store) = parts();
    let cache = open(&store, &clock).await;
    let issuer = Issuer::new(&clock);
    cache.proof_key_or(&app(), key("app")).await.unwrap();
    for forget in [false, true] {
        sign_in(&cache, &issuer, "user").await;
        assert_eq!(keys_in(&store).await, 2);
        if forget {
            assert!(cache.forget_account(&user()).await.unwrap());
        } else {
            assert!(
                cache
                    .sign_out(&user(), CLIENT, SignOutScope::Client)
                    .await
                    .unwrap()
            );
        }
        assert_eq!(current(&cache).await, None);
        assert_eq!(cache.proof_key(&app()).await.unwrap().unwrap().key_id, "app");
        assert_eq!(keys_in(&store).await, 1);
    }
}

#[tokio::test]
async fn a_sign_out_that_is_overtaken_by_a_new_sign_in_leaves_it_its_key() {
    for (number, operation) in [Operation::Head, Operation::Delete, Operation::Get]
        .into_iter()
        .flat_map(|operation| (0..4).map(move |number| (number, operation)))
    {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let other = open(&store, &clock).await;
        sign_in(&other, &issuer, "old").await;
        let faults = FaultStore::new(Arc::clone(&store), Arc::new(clock.clone()));
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        let leaving = open(&faulty, &clock).await;
        let (pause, point) = Fault::pause_before();
        faults.inject(pause.on(operation).after(number).once());
        let sign_out = tokio::spawn(async move {
            leaving
                .sign_out(&user(), CLIENT, SignOutScope::Client)
                .await
                .unwrap()
        });
        settle().await;
        let was_held = !sign_out.is_finished();
        sign_in(&other, &issuer, "new").await;
        point.release();
        let _ticking = ticking(&clock);
        assert!(sign_out.await.unwrap());
        let signed_in = !other.accounts().await.unwrap().accounts.is_empty();
        let at = format!("{operation:?} {number} {was_held}");
        assert_eq!(current(&other).await.is_some(), signed_in, "{at}");
    }
}

#[tokio::test]
async fn keys_are_neither_exported_nor_shown_nor_lost_by_a_rotation_of_the_ring() {
    let (clock, store) = parts();
    let cache = open(&store, &clock).await;
    let issuer = Issuer::new(&clock);
    sign_in(&cache, &issuer, "user").await;
    let export = cache.export().await.unwrap();
    assert!(!String::from_utf8_lossy(export.json.expose()).contains("canary-user"));
    assert!(!format!("{:?}", cache.inspect().await.unwrap()).contains("canary"));
    let records = cache.inspect().await.unwrap();
    let record = records
        .iter()
        .find(|record| record.kind == Some(RecordKind::ProofKey))
        .unwrap();
    assert!(record.contents.is_none() && record.header.is_ok());
    let stored = store.get(&record.key).await.unwrap().unwrap();
    assert!(
        !String::from_utf8_lossy(&stored.payload).contains("canary"),
        "it is sealed"
    );
    assert!(cache.sealer().reseal(100).await.unwrap().is_complete());
    assert_eq!(current(&cache).await.as_deref(), Some("user"));
}

#[tokio::test]
async fn a_store_that_fails_makes_no_second_key() {
    let (clock, store) = parts();
    let faults = FaultStore::new(Arc::clone(&store), Arc::new(clock.clone()));
    let faulty: Arc<dyn Store> = Arc::new(faults.clone());
    let cache = open(&faulty, &clock).await;
    let _ticking = ticking(&clock);
    faults.inject(Fault::lost_reply().on(Operation::Put).at_key(is_key).once());
    let first = cache.proof_key_or(&app(), key("first")).await.unwrap();
    assert_eq!(first.key_id, "first");
    faults.inject(
        Fault::fail(ErrorKind::Unavailable)
            .on(Operation::Get)
            .at_key(is_key)
            .once(),
    );
    assert!(cache.proof_key_or(&app(), key("second")).await.is_err());
    assert_eq!(
        cache.proof_key_or(&app(), key("third")).await.unwrap().key_id,
        "first"
    );
}
