//! Each rule of `HttpClient`'s contract, against servers that try to break it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::secret::Secret;
use flows::http::{Form, HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, ReqwestClient};
use support::{Behaviour, Server};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const LIMIT: Duration = Duration::from_secs(20);

fn post(url: &str, limit: Duration) -> HttpRequest {
    let mut form = Form::new();
    form.push_secret("refresh_token", &Secret::new("canary-token"));
    HttpRequest::post(url.parse().unwrap(), form, limit)
        .header("authorization", Secret::new("Basic canary-header"))
}

async fn send(url: &str) -> Result<HttpResponse, HttpError> {
    ReqwestClient::new().unwrap().send(post(url, LIMIT)).await
}

/// The error and all of its causes, as a log would show them.
fn shown(error: &HttpError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

fn assert_unknown(result: Result<HttpResponse, HttpError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::OutcomeUnknown, "{error:?}");
    assert!(!shown(&error).contains("canary"), "{error:?}");
}

fn assert_not_sent(result: Result<HttpResponse, HttpError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::NotSent, "{error:?}");
    assert!(!shown(&error).contains("canary"), "{error:?}");
}

#[tokio::test]
async fn a_form_is_posted_once_and_the_reply_is_whole() {
    let server = Server::start(vec![Behaviour::json("200 OK", r#"{"a":1}"#)]).await;
    let response = send(&server.url("/token?p=1")).await.unwrap();
    assert_eq!(
        (response.status, response.body.expose()),
        (200, &br#"{"a":1}"#[..])
    );
    assert_eq!(response.header("content-type"), Some("application/json"));
    let seen = server.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("POST /token?p=1 HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("content-type: application/x-www-form-urlencoded\r\n"));
    assert!(seen[0].contains("user-agent: tokenkeep/"));
    assert!(seen[0].ends_with("\r\n\r\nrefresh_token=canary-token"));
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let target = Server::start(vec![Behaviour::json("200 OK", "{}")]).await;
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = target.url("/token");
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::start(vec![Behaviour::Answer(answer)]).await;
        let response = send(&server.url("/token")).await.unwrap();
        assert_eq!(response.status, status[..3].parse::<u16>().unwrap());
    }
    assert_eq!(target.requests(), 0, "the secret was reposted");
}

#[tokio::test]
async fn endless_and_oversized_replies_are_cut_off() {
    let too_long = HttpResponse::MAX_BODY + 1;
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {too_long}\r\n\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n".to_owned(),
    ] {
        let server = Server::start(vec![Behaviour::Endless(head)]).await;
        assert_unknown(send(&server.url("/token")).await);
    }
}

#[tokio::test]
async fn a_reply_of_exactly_the_limit_is_read() {
    let body = " ".repeat(HttpResponse::MAX_BODY);
    let server = Server::start(vec![Behaviour::json("200 OK", &body)]).await;
    let response = send(&server.url("/token")).await.unwrap();
    assert_eq!(response.body.len(), HttpResponse::MAX_BODY);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_outcome_unknown_and_nothing_is_resent() {
    for behaviour in [
        Behaviour::CloseAtOnce,
        Behaviour::CloseUnanswered,
        Behaviour::Answer("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"acc".to_owned()),
        Behaviour::Answer("not HTTP at all canary\r\n\r\n".to_owned()),
    ] {
        let server = Server::start(vec![behaviour, Behaviour::json("200 OK", "{}")]).await;
        assert_unknown(send(&server.url("/token-canary?code=canary")).await);
        assert!(server.requests() <= 1, "it was sent again");
    }
}

#[tokio::test]
async fn a_kept_connection_is_not_used_again() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}";
    let server = Server::start(vec![Behaviour::AnswerAndHold(answer.to_owned())]).await;
    let client = ReqwestClient::new().unwrap();
    for _ in 0..5 {
        client.send(post(&server.url("/"), LIMIT)).await.unwrap();
    }
    assert_eq!(server.requests(), 5);
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_time_limit() {
    let server = Server::start(vec![Behaviour::Stall]).await;
    let client = ReqwestClient::new().unwrap();
    let request = post(&server.url("/token?code=canary"), Duration::from_millis(200));
    assert_unknown(client.send(request).await);
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".to_owned();
    let server = Server::start(vec![Behaviour::AnswerAndHold(half)]).await;
    assert_unknown(
        client
            .send(post(&server.url("/"), Duration::from_millis(200)))
            .await,
    );
}

#[tokio::test]
async fn what_fails_before_the_request_was_certainly_not_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    assert_not_sent(send(&format!("http://127.0.0.1:{port}/canary?code=canary")).await);
    // A label of 64 characters is in no DNS, so nobody is asked.
    let nowhere = format!("https://{}.invalid/canary?code=canary", "a".repeat(64));
    assert_not_sent(send(&nowhere).await);
    let hasty = ReqwestClient::builder()
        .connect_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    // The TLS handshake is broken off, and never answered.
    for behaviour in [Behaviour::CloseAtOnce, Behaviour::Stall] {
        let server = Server::start(vec![behaviour]).await;
        let request = post(&format!("https://127.0.0.1:{}/", server.port), LIMIT);
        assert_not_sent(hasty.send(request).await);
    }
}

#[tokio::test]
async fn refused_urls_open_no_connection() {
    let server = Server::start(vec![Behaviour::json("200 OK", "{}")]).await;
    for url in [
        "http://login.example/token".to_owned(),
        format!("http://user:canary@127.0.0.1:{}/", server.port),
        format!("ftp://127.0.0.1:{}/", server.port),
    ] {
        assert_not_sent(send(&url).await);
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_header_cannot_be_split() {
    let server = Server::start(vec![Behaviour::json("200 OK", "{}")]).await;
    let request = post(&server.url("/"), LIMIT).header("x-test", Secret::new("canary\r\nx-evil: 1"));
    assert_not_sent(ReqwestClient::new().unwrap().send(request).await);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn certificates_are_checked_and_an_authority_can_be_added() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = tls_server(&own).await;
    let url = format!("https://localhost:{port}/token");
    assert_not_sent(send(&url).await);

    let trusting = ReqwestClient::builder()
        .ca_certificates(own.cert.pem())
        .build()
        .unwrap();
    let response = trusting.send(post(&url, LIMIT)).await.unwrap();
    assert_eq!(response.body.expose(), b"{}");
    // The certificate is for another name.
    let elsewhere = format!("https://127.0.0.1:{port}/token");
    assert_not_sent(trusting.send(post(&elsewhere, LIMIT)).await);
}

#[test]
fn a_ca_file_without_certificates_is_an_error() {
    for pem in [
        "",
        "canary",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    ] {
        let error = ReqwestClient::builder().ca_certificates(pem).build().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

async fn tls_server(own: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let seen = Mutex::new(Vec::new());
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                Behaviour::json("200 OK", "{}").act(stream, &seen).await;
            }
        }
    });
    port
}
