//! Assertions that somebody else makes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::CallOutcome;
use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;
use cache_core::time::SystemClock;
use cache_testkit::authority::{CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, HOME_TENANT};
use flows::authority::Authority;
use flows::client::ClientCredential;
use flows::error::ClientAssertionError;
use flows::request::{
    AssertionRequest, ClientAssertionProvider, ClientIdentity, FederatedTokenFile, client_credentials,
};
use flows::{CorrelationId, Error, TokenEndpoint, TokenSource, Transport};

use crate::scene::{GRAPH, Scene, token};
use crate::support::ScriptedClient;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_renewed_is_read_again() {
    let scene = Scene::with_key().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let client = scene
        .client(ClientCredential::federated_token_file(FederatedTokenFile::new(
            &path,
        )))
        .await;

    let tokens = [scene.federated_token("1"), scene.federated_token("2")];
    for written in &tokens {
        std::fs::write(&path, format!("{written}\n")).unwrap();
        token(&client, true).await.unwrap();
    }
    assert_eq!(scene.sent("client_assertion"), tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_token_is_a_typed_error_and_nothing_is_sent() {
    let scene = Scene::with_key().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let client = scene
        .client(ClientCredential::federated_token_file(FederatedTokenFile::new(
            &path,
        )))
        .await;
    let why = async |content: Option<&[u8]>| {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = token(&client, false).await.unwrap_err();
        match error.client_assertion() {
            Some(ClientAssertionError::File { path, .. }) => ("file", path.clone()),
            Some(ClientAssertionError::EmptyFile { path }) => ("empty", path.clone()),
            Some(ClientAssertionError::TooLarge { path, .. }) => ("too large", path.clone()),
            Some(ClientAssertionError::NotOneToken { path }) => ("not one", path.clone()),
            other => panic!("{other:?} of {error:?}"),
        }
    };
    let named = |kind| (kind, path.clone());
    assert_eq!(why(None).await, named("file"));
    assert_eq!(why(Some(b" \n")).await, named("empty"));
    assert_eq!(why(Some(&[b'a'; 100_000])).await, named("too large"));
    assert_eq!(why(Some(b"two tokens")).await, named("not one"));
    assert_eq!(scene.asked(), 0);
    assert!(scene.is_cache_empty().await);
}

/// Fails as it is told to.
#[derive(Debug)]
enum Vault {
    Closed,
    Empty,
    Slow,
}

#[async_trait]
impl ClientAssertionProvider for Vault {
    async fn assertion(&self, request: &AssertionRequest<'_>) -> Result<Secret, ClientAssertionError> {
        assert_eq!(request.client_id, CONFIDENTIAL_CLIENT);
        assert!(request.token_endpoint.path().ends_with("/token"));
        match self {
            Self::Closed => Err(ClientAssertionError::provider("the vault is closed")),
            Self::Empty => Ok(Secret::default()),
            Self::Slow => std::future::pending().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_leaves_the_cache_as_it_was() {
    let scene = Scene::with_key().await;
    let good = scene
        .client(ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET)))
        .await;
    let held = token(&good, false).await.unwrap().access_token().to_secret();
    for (vault, expected) in [(Vault::Closed, "made"), (Vault::Empty, "empty")] {
        let client = scene.client(ClientCredential::assertion(Arc::new(vault))).await;
        let error = token(&client, true).await.unwrap_err();
        let cause = error.client_assertion().unwrap_or_else(|| panic!("{error:?}"));
        let found = match cause {
            ClientAssertionError::Provider(_) => "made",
            ClientAssertionError::Empty => "empty",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected);
        assert!(cause.to_string().contains(expected), "{cause}");
        assert_eq!(scene.asked(), 1, "nothing was sent");
        // The token that was there still is.
        let cached = token(&client, false).await.unwrap();
        assert_ne!(cached.metadata().source, TokenSource::Authority);
        assert_eq!(cached.access_token(), held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_has_the_time_of_the_request_and_no_more() {
    let authority = Authority::detect(&format!("https://login.microsoftonline.com/{HOME_TENANT}")).unwrap();
    let transport = Arc::new(Transport::new(
        Arc::new(ScriptedClient::default()),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    ));
    let limit = Duration::from_millis(50);
    let metadata = transport.discovery().metadata(&authority, limit).await.unwrap();
    let client = ClientIdentity::with_assertion(CONFIDENTIAL_CLIENT, Arc::new(Vault::Slow)).unwrap();
    let request = client_credentials::request(&authority, &client, ScopeSet::of(GRAPH)).unwrap();
    let endpoint = TokenEndpoint::new(transport, authority, metadata, client);
    let correlation_id = CorrelationId::random(&OsRandom).unwrap();
    let outcome = endpoint.redeem(request, correlation_id, limit).await;
    let CallOutcome::NotSent(error) = outcome else {
        panic!("{outcome:?}")
    };
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>());
    assert!(
        matches!(
            cause,
            Some(Error::ClientAssertion(ClientAssertionError::TimedOut))
        ),
        "{error:?}"
    );
}
