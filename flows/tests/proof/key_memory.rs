//! Which key an account has is looked up once, and found out anew when another process changed it.

use std::sync::Arc;

use cache_core::seal::{Namespace, RecordKind};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{StoreExt, StoreKey};
use cache_testkit::authority::{Config, Dpop, PUBLIC_CLIENT};
use cache_testkit::fault::{Fault, FaultStore};
use flows::client::PublicClient;
use flows::proof::DpopKey;
use flows::{Error, TokenSource};

use crate::scene::{Entra, only_account};

async fn bound(scene: &Entra) -> PublicClient {
    let client = scene.public(PUBLIC_CLIENT).await;
    client.dpop(DpopKey::software()).build().unwrap()
}

fn is_key(key: &StoreKey) -> bool {
    RecordKind::of(&Namespace::default(), key) == Some(RecordKind::ProofKey)
}

#[tokio::test]
async fn a_token_in_memory_is_served_without_a_look_at_its_key() {
    let mut scene = Entra::start(Config::default().dpop(Dpop::Offered)).await;
    let faults = FaultStore::new(Arc::clone(&scene.store), Arc::new(scene.clock.clone()));
    scene.store = Arc::new(faults.clone());
    scene.sign_in(&bound(&scene).await).await;
    let client = bound(&scene).await;
    let account = only_account(&client).await;
    let silent = || client.acquire_token_silent(["User.Read"]).account(&account);
    assert_ne!(silent().await.unwrap().metadata().source, TokenSource::Authority);
    faults.inject(
        Fault::fail(ErrorKind::Unavailable)
            .on(Operation::Get)
            .at_key(is_key),
    );
    faults.reset_counts();
    for _ in 0..3 {
        assert_eq!(silent().await.unwrap().metadata().source, TokenSource::Memory);
    }
    assert_eq!(faults.total(), 0);
}

#[tokio::test]
async fn an_account_that_another_process_signed_in_anew_is_served_its_new_token_and_spends_nothing() {
    let scene = Entra::start(Config::default().dpop(Dpop::Offered)).await;
    let (client, other) = (bound(&scene).await, bound(&scene).await);
    let first = scene.sign_in(&client).await;
    let account = only_account(&client).await;
    let second = scene.sign_in(&other).await;
    assert_ne!(first.token_type(), second.token_type());
    for _ in 0..2 {
        let served = client.acquire_token_silent(["User.Read"]).account(&account).await;
        assert_eq!(served.unwrap().access_token(), second.access_token());
    }
    assert_eq!(scene.refreshes(), 0);
}

#[tokio::test]
async fn asking_for_an_account_that_was_signed_out_leaves_no_key_behind() {
    let scene = Entra::start(Config::default().dpop(Dpop::Offered)).await;
    let client = bound(&scene).await;
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    client.remove_account(&account).await.unwrap();
    let error = client.acquire_token_silent(["User.Read"]).account(&account).await;
    assert!(matches!(error, Err(Error::InteractionRequired(_))), "{error:?}");
    assert!(!scene.store.collect_keys("").await.unwrap().iter().any(is_key));
}
