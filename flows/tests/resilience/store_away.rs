//! A store that goes away in the middle of a request.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::Namespace;
use cache_core::store::Store;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::strategy::{MemoryTier, SealPolicy, Strategy};
use cache_testkit::fault::{Fault, FaultStore};
use flows::Error;
use flows::authority::Authority;
use flows::client::PublicClient;

use crate::fleet::{CLIENT, memory_store, sign_in};
use crate::issuer::{ISSUER, Issuer};
use crate::virtual_clock::VirtualClock;

/// Wherever it happens: whoever is told that the authority cannot be reached looks for the fault in the wrong place.
#[tokio::test(start_paused = true)]
async fn it_is_the_store_that_is_said_to_be_away() {
    let mut failed = 0;
    for reads in 0..12 {
        let clock = VirtualClock::new();
        let issuer = Arc::new(Issuer::new(clock, false));
        let faults = FaultStore::new(memory_store(&clock), Arc::new(clock));
        let store: Arc<dyn Store> = Arc::new(faults.clone());
        // Each look is one at the store.
        let strategy = Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed);
        let cache = TokenCache::builder(store)
            .clock(Arc::new(clock))
            .strategy(strategy.memory_tier(MemoryTier::off()))
            .open_plaintext(Namespace::default())
            .unwrap();
        let authority = Authority::detect(ISSUER).unwrap();
        let client = PublicClient::builder(CLIENT, authority, cache.clone());
        let client = client.http(issuer).build().unwrap();
        sign_in(&cache, "user").await;
        let account = client.accounts().await.unwrap().accounts.remove(0);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let away = Fault::fail(ErrorKind::Unavailable).on(Operation::Get);
        faults.inject(away.after(reads));
        match client.acquire_token_silent(["a"]).account(&account).await {
            Ok(_) => continue,
            Err(Error::Cache(error)) => assert!(error.is_store_unavailable(), "{reads}: {error:?}"),
            Err(error) => panic!("{reads}: {error:?}"),
        }
        failed += 1;
    }
    assert!(
        (3..12).contains(&failed),
        "{failed}: each read of a request, and no other"
    );
}
