//! When a request is sent once more, in virtual time.

use std::time::Duration;

use cache_testkit::managed_identity::{Failure, Platform};
use flows::client::ManagedIdentityClient;
use flows::managed_identity::ManagedIdentityError;
use flows::{AuthenticationResult, Error};
use tokio::task::JoinHandle;

use crate::scene::{SYSTEM, Scene, VAULT, shown};

type Acquiring = JoinHandle<Result<AuthenticationResult, Error>>;

fn acquire(client: &ManagedIdentityClient) -> Acquiring {
    let client = client.clone();
    tokio::spawn(async move { client.acquire_token_for_managed_identity(VAULT).await })
}

/// Waits until the caller, the request and the pause sleep: the reply has come, and the retry waits.
async fn until_pausing(scene: &Scene) {
    scene.clock.wait_for_sleepers(3).await;
}

async fn is_repeated_after(failure: Failure, pause: Duration) {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    scene.endpoint.fail_next(failure.clone());
    let acquiring = acquire(&client);
    until_pausing(&scene).await;
    scene.clock.advance(pause - Duration::from_millis(1));
    tokio::task::yield_now().await;
    assert_eq!(scene.clock.sleepers(), 3, "{failure:?}: it still waits");
    assert_eq!(scene.endpoint.requests().len(), 1);
    scene.clock.advance(Duration::from_millis(1));
    let result = acquiring.await.unwrap().unwrap();
    assert!(result.access_token().expose().starts_with("canary-token-1"));
    assert_eq!(scene.endpoint.requests().len(), 2, "{failure:?}");
}

#[tokio::test]
async fn the_metadata_service_is_asked_once_more_after_a_second() {
    for status in [404, 429, 500, 503] {
        is_repeated_after(Failure::Status(status), Duration::from_secs(1)).await;
    }
    is_repeated_after(Failure::Close, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_service_that_is_being_replaced_gets_more_time() {
    is_repeated_after(Failure::Status(410), Duration::from_secs(10)).await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    is_repeated_after(Failure::RetryAfter(429, 7), Duration::from_secs(7)).await;
    is_repeated_after(Failure::RetryAfter(503, 20), Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_longer_wait_than_the_time_limit_is_not_begun() {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    // The limit of one request is 30 seconds.
    scene.endpoint.fail_next(Failure::RetryAfter(429, 30));
    let error = client
        .acquire_token_for_managed_identity(VAULT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Authority(_)), "{error:?}");
    assert_eq!(scene.endpoint.requests().len(), 1);
}

#[tokio::test]
async fn a_platform_that_says_not_now_is_left_alone_until_then() {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    scene.endpoint.fail_next(Failure::RetryAfter(429, 60));
    let refused = client.acquire_token_for_managed_identity(VAULT).await;
    assert!(matches!(refused, Err(Error::Authority(_))), "{refused:?}");
    scene.clock.advance(Duration::from_secs(59));
    let held_back = client.acquire_token_for_managed_identity(VAULT).await;
    let Err(Error::Throttled(throttled)) = held_back else {
        panic!("{held_back:?}")
    };
    assert_eq!(throttled.retry_after(), Duration::from_secs(1));
    assert_eq!(scene.endpoint.requests().len(), 1);
    scene.clock.advance(Duration::from_secs(1));
    client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    assert_eq!(scene.endpoint.requests().len(), 2);
}

#[tokio::test]
async fn nothing_is_sent_a_third_time() {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    for _ in 0..3 {
        scene.endpoint.fail_next(Failure::Status(503));
    }
    let acquiring = acquire(&client);
    until_pausing(&scene).await;
    scene.clock.advance(Duration::from_secs(1));
    let error = acquiring.await.unwrap().unwrap_err();
    assert!(shown(&error).contains("503"), "{}", shown(&error));
    assert_eq!(scene.endpoint.requests().len(), 2);
}

#[tokio::test]
async fn a_mistake_of_the_caller_is_not_repeated() {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    for status in [400, 401, 403] {
        scene.endpoint.fail_next(Failure::Status(status));
        let error = client
            .acquire_token_for_managed_identity(VAULT)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Authority(_)), "{error:?}");
    }
    assert_eq!(scene.endpoint.requests().len(), 3);
}

#[tokio::test]
async fn other_endpoints_are_asked_once() {
    for platform in [
        Platform::AppService,
        Platform::AzureMl,
        Platform::CloudShell,
        Platform::ServiceFabric,
    ] {
        let scene = Scene::new(platform).await;
        let client = scene.client(SYSTEM).await;
        scene.endpoint.fail_next(Failure::Status(503));
        client
            .acquire_token_for_managed_identity(VAULT)
            .await
            .unwrap_err();
        assert_eq!(scene.endpoint.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_failed_request_never_discards_a_token_that_is_still_valid() {
    let scene = Scene::new(Platform::AppService).await;
    let client = scene.client(SYSTEM).await;
    let first = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    // Within the margin before its end, so that another is asked for.
    scene.clock.advance(Duration::from_secs(3600 - 60));
    scene.endpoint.fail_next(Failure::Status(503));
    let second = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    assert_eq!(first.access_token(), second.access_token());
    assert_eq!(scene.endpoint.requests().len(), 2);
}

#[tokio::test]
async fn without_a_metadata_service_the_error_says_so_and_nothing_is_kept() {
    let scene = Scene::new(Platform::Imds).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let environment = scene.environment_with("AZURE_POD_IDENTITY_AUTHORITY_HOST", &nobody);
    let builder = scene.builder(SYSTEM).await.environment(environment);
    let client = builder.build().unwrap();
    let acquiring = acquire(&client);
    until_pausing(&scene).await;
    scene.clock.advance(Duration::from_secs(1));
    let error = acquiring.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::ManagedIdentity(ManagedIdentityError::NoMetadataService)
        ),
        "{error:?}"
    );
    assert!(scene.endpoint.requests().is_empty());
    // It is no verdict: with the service there, the next one asks.
    let client = scene.client(SYSTEM).await;
    client.acquire_token_for_managed_identity(VAULT).await.unwrap();
}
