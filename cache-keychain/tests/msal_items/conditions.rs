//! A Secret Service that is locked, not there, hangs, or is another one.

use std::time::Duration;

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store, StoreError};
use cache_core::time::{Clock, SystemClock};
use cache_keychain::{KeychainError, KeychainErrorKind, MsalSecretServiceConfig, MsalSecretServiceStore};
use cache_testkit::secret_service::SecretServiceSession;

use crate::item::{config, store_by_tool};
use crate::session::{ask, within, within_session};

const DEADLINE: Duration = Duration::from_millis(500);

/// Each operation's error, none of which took long.
async fn errors(store: &MsalSecretServiceStore) -> Vec<StoreError> {
    let started = SystemClock.monotonic();
    let record = store.record();
    let errors = vec![
        store.get(&record).await.unwrap_err(),
        store.head(&record).await.unwrap_err(),
        store
            .put(&record, "{\"given\":\"up\"}".into(), PutOptions::overwrite())
            .await
            .unwrap_err(),
    ];
    let took = SystemClock.monotonic() - started;
    assert!(took < Duration::from_secs(5), "{took:?}");
    errors
}

fn check(error: &StoreError, kind: ErrorKind, source: KeychainErrorKind, sentence: &str) {
    assert_eq!((error.kind(), error.retry()), (kind, Retry::Yes), "{error:?}");
    let cause = std::error::Error::source(error).unwrap();
    let cause = cause.downcast_ref::<KeychainError>().unwrap();
    assert_eq!(cause.kind(), source, "{error:?}");
    assert!(cause.to_string().contains(sentence), "{cause}");
}

fn bounded() -> MsalSecretServiceConfig {
    config().deadline(DEADLINE)
}

#[tokio::test]
async fn a_locked_keyring_is_an_error_until_it_is_unlocked() {
    within_session(
        "conditions::a_locked_keyring_is_an_error_until_it_is_unlocked",
        async {
            let store = MsalSecretServiceStore::open(bounded()).await.unwrap();
            // Neither an item that is there nor one that is to be made.
            for is_there in [false, true] {
                if is_there {
                    store_by_tool(&[], "{\"a\":1}");
                }
                ask("lock");
                let put = store
                    .put(&store.record(), "{\"b\":1}".into(), PutOptions::overwrite())
                    .await;
                check(
                    &put.unwrap_err(),
                    ErrorKind::Unavailable,
                    KeychainErrorKind::Locked,
                    "unlock",
                );
                if is_there {
                    for error in errors(&store).await {
                        check(
                            &error,
                            ErrorKind::Unavailable,
                            KeychainErrorKind::Locked,
                            "unlock",
                        );
                    }
                    let error = MsalSecretServiceStore::open(bounded()).await.unwrap_err();
                    check(
                        &error,
                        ErrorKind::Unavailable,
                        KeychainErrorKind::Locked,
                        "unlock",
                    );
                }
                ask("unlock");
            }
            assert_eq!(
                store.get(&store.record()).await.unwrap().unwrap().payload,
                "{\"a\":1}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up_and_what_was_given_up_is_not_made_later() {
    within_session(
        "conditions::a_service_that_hangs_is_given_up_and_what_was_given_up_is_not_made_later",
        async {
            store_by_tool(&[], "{\"a\":1}");
            let store = MsalSecretServiceStore::open(bounded()).await.unwrap();
            ask("pause");
            for error in errors(&store).await {
                check(
                    &error,
                    ErrorKind::Timeout,
                    KeychainErrorKind::TimedOut,
                    "did not answer",
                );
            }
            ask("resume");
            SystemClock.sleep(DEADLINE).await;
            assert_eq!(
                store.get(&store.record()).await.unwrap().unwrap().payload,
                "{\"a\":1}"
            );
            store
                .put(&store.record(), "{\"b\":1}".into(), PutOptions::overwrite())
                .await
                .unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn a_service_that_ended_is_absent_and_its_successor_is_found() {
    within_session(
        "conditions::a_service_that_ended_is_absent_and_its_successor_is_found",
        async {
            store_by_tool(&[], "{\"a\":1}");
            let store = MsalSecretServiceStore::open(bounded()).await.unwrap();
            ask("stop");
            for error in errors(&store).await {
                check(
                    &error,
                    ErrorKind::Unavailable,
                    KeychainErrorKind::Absent,
                    "keep the cache in a file",
                );
            }
            ask("start");
            assert_eq!(
                store.get(&store.record()).await.unwrap().unwrap().payload,
                "{\"a\":1}"
            );
            // Replaced without anybody having noticed: at the worst one call fails.
            ask("stop");
            ask("start");
            let first = store.get(&store.record()).await;
            if let Err(error) = &first {
                check(
                    error,
                    ErrorKind::Unavailable,
                    KeychainErrorKind::Disconnected,
                    "try again",
                );
            }
            assert_eq!(
                store.get(&store.record()).await.unwrap().unwrap().payload,
                "{\"a\":1}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn without_a_service_it_is_absent() {
    let session = async { SecretServiceSession::start_without_service().await.unwrap() };
    within(session, "conditions::without_a_service_it_is_absent", async {
        let error = MsalSecretServiceStore::open(bounded()).await.unwrap_err();
        check(
            &error,
            ErrorKind::Unavailable,
            KeychainErrorKind::Absent,
            "start one",
        );
    })
    .await;
}

#[tokio::test]
async fn without_a_bus_it_is_absent() {
    let session = async { SecretServiceSession::without_bus().unwrap() };
    within(session, "conditions::without_a_bus_it_is_absent", async {
        let error = MsalSecretServiceStore::open(bounded()).await.unwrap_err();
        check(
            &error,
            ErrorKind::Unavailable,
            KeychainErrorKind::Absent,
            "start one",
        );
    })
    .await;
}
