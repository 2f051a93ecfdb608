//! What is said of the application to authorities: nothing, unless it is asked for.

use std::sync::Arc;

use cache_core::secret::Secret;
use flows::Error;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient};

use crate::fleet;
use crate::support::ScriptedClient;
use crate::virtual_clock::VirtualClock;

const ENTRA: &str = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47";
const DOCUMENT: &str = r#"{"issuer":"https://id.example","token_endpoint":"https://id.example/token"}"#;
const GRANTED: &str = r#"{"access_token":"a","expires_in":3600}"#;

/// The names of the headers of one token request, and the values of those about the application.
async fn sent(authority: &str, telemetry: Option<(&str, &str)>) -> (Vec<String>, Vec<(String, String)>) {
    let mut http = ScriptedClient::default();
    if authority != ENTRA {
        http = http.reply(200, DOCUMENT);
    }
    let http = Arc::new(http.reply(200, GRANTED));
    let clock = VirtualClock::new();
    let cache = fleet::cache(&fleet::memory_store(&clock), &clock);
    let secret = ClientCredential::secret(Secret::new("s"));
    let authority = Authority::detect(authority).unwrap();
    let mut builder = ConfidentialClient::builder("client", authority, secret, cache).http(http.clone());
    if let Some((name, version)) = telemetry {
        builder = builder.telemetry(name, version);
    }
    let client = builder.build().unwrap();
    client.acquire_token_for_client(["api/.default"]).await.unwrap();
    let headers = http.sent().pop().unwrap().headers;
    let names = headers.iter().map(|(name, _)| name.clone()).collect();
    let about = headers
        .into_iter()
        .filter(|(name, _)| name.starts_with("x-"))
        .collect();
    (names, about)
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_application_is_sent_by_default() {
    let (names, _) = sent(ENTRA, None).await;
    assert_eq!(names, ["accept", "client-request-id", "return-client-request-id"]);
    let (names, _) = sent("https://id.example", None).await;
    assert_eq!(names, ["accept", "authorization"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_goes_to_microsoft_alone() {
    let (_, about) = sent(ENTRA, Some(("my tool", "1.0"))).await;
    let expected = [
        ("x-app-name", "my tool"),
        ("x-app-ver", "1.0"),
        ("x-client-sku", "tokenkeep"),
        ("x-client-ver", env!("CARGO_PKG_VERSION")),
        ("x-client-os", std::env::consts::OS),
    ];
    assert_eq!(
        about,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let (_, about) = sent("https://id.example", Some(("my tool", "1.0"))).await;
    assert_eq!(about, []);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_header_is_refused() {
    let clock = VirtualClock::new();
    let cache = fleet::cache(&fleet::memory_store(&clock), &clock);
    for (name, version) in [("", "1"), ("a", " "), ("a\r\nx-evil: 1", "1"), ("a", "é")] {
        let secret = ClientCredential::secret(Secret::new("s"));
        let authority = Authority::detect(ENTRA).unwrap();
        let built = ConfidentialClient::builder("client", authority, secret, cache.clone())
            .http(Arc::new(ScriptedClient::default()))
            .telemetry(name, version)
            .build();
        assert!(
            matches!(built, Err(Error::Configuration(_))),
            "{name:?} {version:?}"
        );
    }
}
