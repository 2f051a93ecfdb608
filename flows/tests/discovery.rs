//! Where metadata may come from, and how long it is used.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use flows::Error;
use flows::authority::{Authority, Discovery};
use flows::error::{DiscoveryErrorKind, ThrottledBecause};
use flows::http::{HttpError, HttpErrorKind};
use support::{ScriptedClient, StepClock};

const LIMIT: Duration = Duration::from_secs(1);
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn document(issuer: &str, host: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","token_endpoint":"https://{host}/token"}}"#)
}

fn discovery(http: ScriptedClient) -> (Arc<ScriptedClient>, Arc<StepClock>, Discovery) {
    let http = Arc::new(http);
    let clock = Arc::new(StepClock::at(1_000));
    (http.clone(), clock.clone(), Discovery::new(http, clock))
}

async fn refused(authority: &str, status: u16, body: &str) -> DiscoveryErrorKind {
    let (_, _, discovery) = discovery(ScriptedClient::default().reply(status, body));
    let authority = Authority::detect(authority).unwrap();
    match discovery.metadata(&authority, LIMIT).await.unwrap_err() {
        Error::Discovery(error) => error.kind().clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_kind_has_its_document_in_its_place() {
    for (authority, document_url, issuer) in [
        (
            "https://id.example/a",
            "https://id.example/a/.well-known/openid-configuration",
            "https://id.example/a".to_owned(),
        ),
        (
            "https://id.example/a/",
            "https://id.example/a/.well-known/openid-configuration",
            "https://id.example/a/".to_owned(),
        ),
        (
            "https://fs.example/adfs",
            "https://fs.example/adfs/.well-known/openid-configuration",
            "https://fs.example/adfs".to_owned(),
        ),
        (
            "https://login.microsoftonline.com/contoso.com",
            "https://login.microsoftonline.com/contoso.com/v2.0/.well-known/openid-configuration",
            format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        ),
        (
            "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_susi",
            "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_susi/v2.0/.well-known/openid-configuration",
            format!("https://contoso.b2clogin.com/{TENANT}/v2.0/"),
        ),
        (
            "https://contoso.ciamlogin.com",
            "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration",
            format!("https://{TENANT}.ciamlogin.com/{TENANT}/v2.0"),
        ),
    ] {
        let authority = Authority::detect(authority).unwrap();
        let body = document(&issuer, authority.environment());
        let (http, _, discovery) = discovery(ScriptedClient::default().reply(200, &body));
        let metadata = discovery.metadata(&authority, LIMIT).await.unwrap();
        assert_eq!(http.sent()[0].url, document_url);
        assert!(metadata.issuer.check(&issuer, Some(TENANT)).is_ok());
        assert!(
            metadata
                .issuer
                .check("https://evil.example", Some(TENANT))
                .is_err()
        );
    }
}

#[tokio::test]
async fn what_may_not_be_believed_is_refused() {
    let issuer = "https://id.example";
    let good = document(issuer, "id.example");
    assert_eq!(refused(issuer, 307, &good).await, DiscoveryErrorKind::Redirected);
    assert_eq!(refused(issuer, 404, &good).await, DiscoveryErrorKind::Status(404));
    assert_eq!(
        refused(issuer, 200, "<html>").await,
        DiscoveryErrorKind::Unreadable
    );
    assert_eq!(
        refused(issuer, 200, "{}").await,
        DiscoveryErrorKind::Missing("issuer")
    );
    let bare = r#"{"issuer":"https://id.example"}"#;
    assert_eq!(
        refused(issuer, 200, bare).await,
        DiscoveryErrorKind::Missing("token_endpoint")
    );
    let plain = r#"{"issuer":"https://id.example","token_endpoint":"http://id.example/token"}"#;
    assert_eq!(
        refused(issuer, 200, plain).await,
        DiscoveryErrorKind::Endpoint("token_endpoint")
    );
    let other = document("https://id.example/\u{1b}[2J", "id.example");
    let other = other.replace('\u{1b}', "\\u001b");
    assert_eq!(
        refused(issuer, 200, &other).await,
        DiscoveryErrorKind::Issuer("https://id.example/ [2J".to_owned())
    );
}

#[tokio::test]
async fn microsoft_clouds_are_not_asked() {
    let (http, _, discovery) = discovery(ScriptedClient::default());
    let authority = Authority::detect("https://login.microsoftonline.com/common").unwrap();
    discovery.metadata(&authority, LIMIT).await.unwrap();
    assert!(http.sent().is_empty());
}

#[tokio::test]
async fn a_document_is_kept_for_a_day_and_used_on_when_it_cannot_be_renewed() {
    let authority = Authority::detect("https://id.example").unwrap();
    let body = |token_host: &str| document("https://id.example", token_host);
    let (http, clock, discovery) = discovery(ScriptedClient::default().reply(200, &body("one.example")));
    let host = || async {
        let metadata = discovery.metadata(&authority, LIMIT).await.unwrap();
        metadata.token_endpoint.host_str().unwrap().to_owned()
    };
    assert_eq!(host().await, "one.example");
    clock.advance(Discovery::LIFETIME - Duration::from_secs(1));
    assert_eq!(host().await, "one.example");
    assert_eq!(http.sent().len(), 1);
    clock.advance(Duration::from_secs(1));
    http.push(503, "");
    assert_eq!(host().await, "one.example");
    assert_eq!(host().await, "one.example");
    assert_eq!(http.sent().len(), 2, "a failure is not asked about again at once");
    clock.advance(Discovery::SHORTEST_PAUSE);
    http.push(200, &body("two.example"));
    assert_eq!(host().await, "two.example");
    assert_eq!(http.sent().len(), 3);
}

#[tokio::test]
async fn failures_back_off_and_a_success_ends_that() {
    let authority = Authority::detect("https://id.example").unwrap();
    let url = "https://id.example".parse().unwrap();
    let lost = || HttpError::new(HttpErrorKind::OutcomeUnknown, &url, "lost");
    let (http, clock, discovery) = discovery(ScriptedClient::default());
    let mut asked = 0;
    for pause in [5, 10, 20, 40, 60, 60].map(Duration::from_secs) {
        http.push_error(lost());
        let first = discovery.metadata(&authority, LIMIT).await;
        assert!(matches!(first, Err(Error::Http(_))), "{first:?}");
        asked += 1;
        for before in [pause, Duration::from_millis(1)] {
            clock.advance(if before == pause {
                Duration::ZERO
            } else {
                pause - before
            });
            let Err(Error::Throttled(throttled)) = discovery.metadata(&authority, LIMIT).await else {
                panic!("it was asked again")
            };
            assert_eq!(throttled.retry_after(), before);
            assert_eq!(throttled.because(), ThrottledBecause::NoReply);
            assert_eq!(throttled.host(), "id.example");
        }
        clock.advance(Duration::from_millis(1));
        assert_eq!(http.sent().len(), asked);
    }
    http.push(200, &document("https://id.example", "id.example"));
    assert!(discovery.metadata(&authority, LIMIT).await.is_ok());
    assert!(discovery.metadata(&authority, LIMIT).await.is_ok());
    assert_eq!(http.sent().len(), asked + 1);
}

#[tokio::test]
async fn a_wait_that_the_authority_asks_for_is_kept_and_a_refused_document_stays_refused() {
    let authority = Authority::detect("https://id.example").unwrap();
    let (http, clock, discovery) = discovery(ScriptedClient::default());
    http.push_with(503, &[("retry-after", "600")], "");
    let unavailable = discovery.metadata(&authority, LIMIT).await;
    assert!(
        matches!(&unavailable, Err(Error::Discovery(error)) if *error.kind() == DiscoveryErrorKind::Status(503))
    );
    clock.advance(Duration::from_secs(599));
    let throttled = discovery.metadata(&authority, LIMIT).await;
    assert!(
        matches!(&throttled, Err(Error::Throttled(throttled)) if throttled.retry_after() == Duration::from_secs(1))
    );
    clock.advance(Duration::from_secs(1));
    http.push(200, &document("https://evil.example", "id.example"));
    for _ in 0..2 {
        let refused = discovery.metadata(&authority, LIMIT).await;
        assert!(
            matches!(refused, Err(Error::Discovery(error)) if matches!(error.kind(), DiscoveryErrorKind::Issuer(_)))
        );
    }
    assert_eq!(http.sent().len(), 2);
    let other = Authority::detect("https://other.example").unwrap();
    http.push(200, &document("https://other.example", "other.example"));
    assert!(
        discovery.metadata(&other, LIMIT).await.is_ok(),
        "another authority"
    );
}

async fn twenty_callers(http: ScriptedClient) -> (usize, usize) {
    let http = Arc::new(http);
    let discovery = Arc::new(Discovery::new(http.clone(), Arc::new(SystemClock)));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let discovery = discovery.clone();
            tokio::spawn(async move {
                let authority = Authority::detect("https://id.example").unwrap();
                discovery.metadata(&authority, LIMIT).await.is_ok()
            })
        })
        .collect();
    let mut served = 0;
    for caller in callers {
        served += usize::from(caller.await.unwrap());
    }
    (served, http.sent().len())
}

#[tokio::test(start_paused = true)]
async fn many_callers_make_one_request() {
    let good = document("https://id.example", "id.example");
    let http = ScriptedClient::slow(LIMIT / 2).reply(200, &good);
    assert_eq!(twenty_callers(http).await, (20, 1));
}

#[tokio::test(start_paused = true)]
async fn callers_do_not_queue_behind_a_dead_authority() {
    let mut http = ScriptedClient::slow(LIMIT * 2);
    for _ in 0..20 {
        http = http.reply(503, "");
    }
    let began = SystemClock.monotonic();
    let (served, sent) = twenty_callers(http).await;
    assert_eq!((served, sent), (0, 1));
    assert!(SystemClock.monotonic() - began < LIMIT * 3);
}
