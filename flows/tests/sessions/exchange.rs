//! What a token exchange must not take, from an issuer that answers anything.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cache_core::cache::CacheError;
use cache_core::random::OsRandom;
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::{MemoryStore, Store};
use cache_testkit::clock::ManualClock;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient};
use flows::error::ReplyError;
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use flows::request::token_exchange::{RequestedTokenType, SubjectTokenType};
use flows::{AuthenticationResult, Error, TokenSource};
use serde_json::{Value, json};

use crate::scene::cache_over;

const ISSUER: &str = "https://issuer.example";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// An issuer that answers token requests as it is told to.
#[derive(Debug, Default)]
struct Issuer {
    reply: Mutex<Value>,
    asked: Mutex<usize>,
}

#[async_trait]
impl HttpClient for Issuer {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let body = if request.url.path() == "/token" {
            *self.asked.lock().unwrap() += 1;
            self.reply.lock().unwrap().clone()
        } else {
            json!({
                "issuer": ISSUER,
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/keys"),
            })
        };
        Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: SecretBytes::new(body.to_string().into_bytes()),
        })
    }
}

struct Scene {
    issuer: Arc<Issuer>,
    client: ConfidentialClient,
    clock: ManualClock,
    store: Arc<dyn Store>,
}

impl Scene {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let issuer = Arc::new(Issuer::default());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
        let credential = ClientCredential::secret(Secret::new("secret"));
        let authority = Authority::detect(ISSUER).unwrap();
        let cache = cache_over(&store, &clock).await;
        let client = ConfidentialClient::builder("client", authority, credential, cache)
            .http(Arc::clone(&issuer) as Arc<dyn HttpClient>)
            .build()
            .unwrap();
        Self {
            issuer,
            client,
            clock,
            store,
        }
    }

    fn answers(&self, reply: Value) {
        *self.issuer.reply.lock().unwrap() = reply;
    }

    async fn exchange(&self, requested: Option<RequestedTokenType>) -> Result<AuthenticationResult, Error> {
        let subject = Secret::new("subject");
        let exchange = self
            .client
            .acquire_token_by_token_exchange(&subject, SubjectTokenType::Jwt);
        match requested {
            Some(requested) => exchange.requested_token_type(requested).await,
            None => exchange.await,
        }
    }
}

fn reply_error(error: &Error) -> ReplyError {
    let Error::Cache(CacheError::OutcomeUnknown(call)) = error else {
        panic!("{error:?}")
    };
    let source = std::error::Error::source(&**call).unwrap();
    match source.downcast_ref::<Error>().unwrap() {
        Error::Reply(reply) => reply.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reply_of_another_type_is_refused_and_nothing_is_kept() {
    let scene = Scene::new().await;
    let issued = |kind: &str| json!({"access_token": "t", "token_type": "Bearer", "expires_in": 60, "issued_token_type": kind});
    let refresh_token = "urn:ietf:params:oauth:token-type:refresh_token";
    for (requested, reply, expected) in [
        (
            None,
            json!({"access_token": "t", "token_type": "Bearer"}),
            ReplyError::Missing("issued_token_type"),
        ),
        (
            None,
            issued(refresh_token),
            ReplyError::IssuedTokenType(refresh_token.into()),
        ),
        (
            Some(RequestedTokenType::Jwt),
            issued(ACCESS_TOKEN),
            ReplyError::IssuedTokenType(ACCESS_TOKEN.into()),
        ),
        (
            None,
            json!({"access_token": "t", "token_type": "N_A", "issued_token_type": ACCESS_TOKEN}),
            ReplyError::TokenType("N_A".into()),
        ),
    ] {
        scene.answers(reply);
        let error = scene.exchange(requested).await.unwrap_err();
        assert_eq!(reply_error(&error), expected);
    }
    scene.answers(issued(ACCESS_TOKEN));
    let result = scene.exchange(None).await.unwrap();
    assert_eq!(
        result.metadata().source,
        TokenSource::Authority,
        "nothing was cached before"
    );
}

#[tokio::test]
async fn what_names_nobody_is_kept_no_longer_than_its_token_and_without_its_refresh_token() {
    let scene = Scene::new().await;
    scene.answers(json!({
        "access_token": "t",
        "token_type": "bearer",
        "expires_in": 600,
        "issued_token_type": ACCESS_TOKEN,
        "refresh_token": "r",
    }));
    let first = scene.exchange(None).await.unwrap();
    assert!(first.account().is_none());
    assert_eq!(
        scene.exchange(None).await.unwrap().metadata().source,
        TokenSource::Memory
    );
    assert_eq!(*scene.issuer.asked.lock().unwrap(), 1);
    let records = || async { scene.client.cache().inspect().await.unwrap().len() };
    let before = records().await;
    scene.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(records().await, before - 1);
    scene.exchange(None).await.unwrap();
    assert_eq!(
        *scene.issuer.asked.lock().unwrap(),
        2,
        "asked again, and nothing refreshed"
    );
    let _ = &scene.store;
}
