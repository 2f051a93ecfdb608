//! Ends without an answer: time, cancellation, no port, no browser.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::TokenCache;
use cache_core::seal::Namespace;
use cache_core::store::MemoryStore;
use cache_core::strategy::{SealPolicy, Strategy};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::Config;
use cache_testkit::clock::ManualClock;
use flows::Error;
use flows::authority::Authority;
use flows::browser::{Browser, BrowserError};
use flows::client::PublicClient;
use flows::error::InteractiveError;
use flows::request::authorization_code::Prompt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use url::Url;

use crate::scene::{Entra, redirect_uri};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_never_comes_back_is_waited_for_so_long_and_no_longer() {
    let clock = ManualClock::at(SystemClock.now());
    let entra = Entra::with_clock(Config::default(), Arc::new(clock.clone())).await;
    let (opened, is_open) = oneshot::channel();
    let limit = Duration::from_secs(300);
    let sign_in = entra
        .client
        .acquire_token_interactive(["User.Read"])
        .time_limit(limit)
        .on_url(|url| opened.send(redirect_uri(url)).unwrap());
    let (result, port) = tokio::join!(sign_in.into_future(), async {
        let port = port(&is_open.await.unwrap());
        clock.wait_for_sleepers(1).await;
        clock.advance(limit - Duration::from_secs(1));
        assert!(
            TcpListener::bind(("127.0.0.1", port)).await.is_err(),
            "it still listens"
        );
        clock.advance(Duration::from_secs(2));
        port
    });
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Interactive(InteractiveError::TimedOut(after)) if *after == limit));
    assert!(error.to_string().contains("within 300 seconds"), "{error}");
    TcpListener::bind(("127.0.0.1", port)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_sign_in_frees_its_port_at_once() {
    let entra = Entra::new(Config::default()).await;
    let (opened, is_open) = oneshot::channel();
    let mut sign_in = entra
        .client
        .acquire_token_interactive(["User.Read"])
        .on_url(|url| opened.send(redirect_uri(url)).unwrap())
        .into_future();
    let port = tokio::select! {
        ended = &mut sign_in => panic!("{ended:?}"),
        uri = is_open => port(&uri.unwrap()),
    };
    assert!(
        TcpListener::bind(("127.0.0.1", port)).await.is_err(),
        "it listens"
    );
    drop(sign_in);
    TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    if let Err(error) = TcpListener::bind(("::1", port)).await {
        assert_ne!(error.kind(), std::io::ErrorKind::AddrInUse);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_can_cancel() {
    let entra = Entra::new(Config::default()).await;
    let (opened, is_open) = oneshot::channel();
    let result = entra
        .client
        .acquire_token_interactive(["User.Read"])
        .cancel_on(async { is_open.await.unwrap() })
        .on_url(|_| opened.send(()).unwrap())
        .await;
    assert!(
        matches!(result, Err(Error::Interactive(InteractiveError::Cancelled))),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_can_cancel_while_the_authority_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", silent.local_addr().unwrap());
    let cache = TokenCache::builder(Arc::new(MemoryStore::new()))
        .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext(Namespace::default())
        .unwrap();
    let client = PublicClient::builder("client", Authority::detect(&issuer).unwrap(), cache)
        .build()
        .unwrap();
    let mut held = None;
    let result = client
        .acquire_token_interactive(["openid"])
        // It was asked for its metadata, and says nothing.
        .cancel_on(async {
            held = Some(silent.accept().await);
        })
        .on_url(|_| panic!("it must not get this far"))
        .await;
    assert!(
        matches!(result, Err(Error::Interactive(InteractiveError::Cancelled))),
        "{result:?}"
    );
    assert!(held.is_some_and(|accepted| accepted.is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let entra = Entra::new(Config::default()).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let acquire = entra.client.acquire_token_interactive(["User.Read"]).port(port);
    let error = acquire
        .on_url(|_| panic!("nobody would listen"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Interactive(InteractiveError::Listen { port: Some(found), .. }) if *found == port)
    );
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[derive(Debug)]
struct NoBrowser;

#[async_trait]
impl Browser for NoBrowser {
    async fn open(&self, url: &Url) -> Result<(), BrowserError> {
        Err(BrowserError::new(url, "this machine has no screen"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_browser_the_error_says_what_to_do_and_keeps_the_url_to_itself() {
    let entra = Entra::new(Config::default()).await;
    let acquire = entra
        .client
        .acquire_token_interactive(["User.Read"])
        .login_hint("ada@contoso.test");
    let error = acquire.browser(Arc::new(NoBrowser)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no screen; sign in by device code instead"),
        "{error}"
    );
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("http") && !shown.contains("ada"), "{shown}");
    let Error::Interactive(InteractiveError::Browser(error)) = error else {
        panic!("{error:?}")
    };
    assert!(error.url().as_str().contains("login_hint=ada"), "on request only");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anything_opens() {
    let entra = Entra::new(Config::default()).await;
    let acquire = || {
        let acquire = entra.client.acquire_token_interactive(["User.Read"]);
        acquire.on_url(|_| panic!("it must not get this far"))
    };
    for (refused, text) in [
        (acquire().prompt(Prompt::None), "acquire_token_by_browser_session"),
        (acquire().parameter("prompt", "none"), "`prompt`"),
        (
            acquire().parameter("response_mode", "fragment"),
            "`response_mode`",
        ),
        (
            acquire().parameter("code_challenge_method", "plain"),
            "`code_challenge_method`",
        ),
        (acquire().parameter("request_uri", "urn:x"), "`request_uri`"),
        (
            acquire().redirect_uri("https://app.contoso.test/callback"),
            "http://",
        ),
        (
            acquire().redirect_uri("http://app.contoso.test/callback"),
            "127.0.0.1",
        ),
    ] {
        let error = refused.await.unwrap_err();
        assert!(matches!(error, Error::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

fn port(uri: &str) -> u16 {
    Url::parse(uri).unwrap().port().unwrap()
}
