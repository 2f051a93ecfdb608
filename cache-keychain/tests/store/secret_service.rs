//! A real GNOME Keyring.

use std::sync::Arc;
use std::time::Duration;

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::time::{Clock, SystemClock};
use cache_keychain::{Keychain, KeychainConfig, KeychainStore, KeychainStoreConfig};

use crate::real::{self, Real};
use crate::session::{ask, items, within_session};

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    within_session("secret_service::the_contract_holds", async {
        real::the_contract_holds("native", |_| {}).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_count_together() {
    within_session("secret_service::processes_count_together", async {
        real::processes_count_together(&Real::new("native")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_leave_whole_records() {
    within_session("secret_service::killed_processes_leave_whole_records", async {
        let place = Real::new("native");
        real::killed_processes_leave_whole_records(&place).await;
        let items = items();
        assert_eq!(items.len(), 1, "{items:?}");
        assert_eq!(items[0]["username"], "token-cache");
        assert_eq!(items[0]["service"], place.service);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_say_nothing_of_what_they_hold() {
    within_session("secret_service::items_say_nothing_of_what_they_hold", async {
        let store = Real::new("native").store(Arc::new(SystemClock)).await;
        let key = StoreKey::new("alice@contoso.example").unwrap();
        store
            .put(&key, vec![b'x'; 300 << 10].into(), PutOptions::create())
            .await
            .unwrap();
        let items = items();
        assert_eq!(items.len(), 3);
        assert!(!format!("{items:?}").contains("alice"), "{items:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_that_is_locked_hangs_or_is_gone_is_an_error_in_time() {
    within_session(
        "secret_service::a_keyring_that_is_locked_hangs_or_is_gone_is_an_error_in_time",
        async {
            let deadline = Duration::from_millis(500);
            let keychain = Keychain::native(KeychainConfig::new("tokenkeep-test").deadline(deadline));
            let store = KeychainStore::open(keychain, KeychainStoreConfig::new())
                .await
                .unwrap();
            let key = StoreKey::new("record").unwrap();
            let version = store
                .put(&key, "before".into(), PutOptions::create())
                .await
                .unwrap();
            for (begin, end, kind) in [
                ("lock", "unlock", ErrorKind::Unavailable),
                ("pause", "resume", ErrorKind::Timeout),
                ("stop", "start", ErrorKind::Unavailable),
            ] {
                ask(begin);
                let started = SystemClock.monotonic();
                let put = store.put(&key, "given up".into(), PutOptions::overwrite()).await;
                for error in [store.get(&key).await.unwrap_err(), put.unwrap_err()] {
                    assert_eq!(
                        (error.kind(), error.retry()),
                        (kind, Retry::Yes),
                        "{begin}: {error:?}"
                    );
                }
                let took = SystemClock.monotonic() - started;
                assert!(took < Duration::from_secs(5), "{begin}: {took:?}");
                ask(end);
                SystemClock.sleep(deadline).await;
                assert_eq!(store.head(&key).await.unwrap(), Some(version), "{begin}");
            }
        },
    )
    .await;
}
