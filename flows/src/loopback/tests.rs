//! The listener over real connections: what it takes for an answer, and what it bears.

use std::sync::Arc;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::clock::ManualClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use url::Url;

use super::*;

struct Scene {
    port: u16,
    received: mpsc::Receiver<Received>,
    serving: JoinHandle<()>,
}

impl Scene {
    async fn new(uri: &str, mode: ResponseMode) -> Self {
        Self::with_clock(uri, mode, Arc::new(SystemClock)).await
    }

    async fn with_clock(uri: &str, mode: ResponseMode, clock: Arc<dyn Clock>) -> Self {
        let address = RedirectAddress::parse(uri).unwrap();
        let listener = RedirectListener::bind(address, mode).await.unwrap();
        let port = listener.port;
        let (inbox, received) = mpsc::channel(4);
        let serving = tokio::spawn(async move {
            listener.serve(&*clock, inbox).await;
        });
        Self {
            port,
            received,
            serving,
        }
    }

    async fn get(&self, target: &str) -> String {
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n",
            self.port
        ))
        .await
    }

    async fn post(&self, content_type: &str, body: &str) -> String {
        let (port, length) = (self.port, body.len());
        self.send(&format!(
            "POST /back HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn send(&self, request: &str) -> String {
        exchange(self.port, request).await
    }

    /// Sends a request and answers it, with what the owner heard and what the browser got.
    async fn answered(&mut self, target: &str, answer: impl FnOnce() -> Answer) -> (String, String) {
        let Self { port, received, .. } = self;
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        tokio::join!(heard(received, answer), exchange(*port, &request))
    }

    /// Nothing that was sent reached the owner.
    fn heard_nothing(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn exchange(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // A refusal may come, and the connection end, before all is written.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8(reply).unwrap()
}

async fn heard(received: &mut mpsc::Receiver<Received>, answer: impl FnOnce() -> Answer) -> String {
    let received = received.recv().await.unwrap();
    let parameters = received.parameters().expose().to_owned();
    received.reply(answer());
    parameters
}

fn status(reply: &str) -> &str {
    reply.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn other_hosts_paths_and_methods_are_refused_and_waiting_goes_on() {
    let mut scene = Scene::new("http://localhost/back", ResponseMode::Query).await;
    let port = scene.port;
    for (request, refused) in [
        (
            format!("GET /back?code=c HTTP/1.1\r\nHost: evil.test:{port}\r\n\r\n"),
            "403",
        ),
        (
            format!("GET /back?code=c HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
            "403",
        ),
        (
            "GET /back?code=c HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            "403",
        ),
        ("GET /back?code=c HTTP/1.1\r\n\r\n".to_owned(), "403"),
        (
            format!("GET /back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\nHost: evil.test\r\n\r\n"),
            "403",
        ),
        (
            format!("GET http://evil.test/back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            "403",
        ),
        (
            format!("GET /favicon.ico HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            "404",
        ),
        (
            format!("GET /back/?code=c HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            "404",
        ),
        (
            format!("POST /back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n\r\n"),
            "405",
        ),
        (
            format!("OPTIONS /back HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            "405",
        ),
    ] {
        let reply = scene.send(&request).await;
        assert_eq!(status(&reply), refused, "{request}");
        assert!(
            reply.contains("no-store") && reply.contains("content-security-policy"),
            "{reply}"
        );
        assert!(scene.heard_nothing(), "{request}");
    }
    assert!(scene.send("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));

    let answered = scene.answered("/back?code=c&state=s", || {
        Answer::Page(Pages::default().success())
    });
    let (parameters, reply) = answered.await;
    assert_eq!((&*parameters, status(&reply)), ("/?code=c&state=s", "200"));
}

#[tokio::test]
async fn the_page_is_kept_nowhere_and_does_not_show_the_code() {
    let mut scene = Scene::new("http://localhost/back", ResponseMode::Query).await;
    let success = || Answer::Page(Pages::default().success());
    let (_, reply) = scene
        .answered("/back?code=secret-code&state=secret-state", success)
        .await;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    for header in [
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'",
        "content-type: text/html; charset=utf-8",
        "connection: close",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert!(!reply.contains("secret-") && body.contains("You are signed in"));
    let go_on = || Answer::GoOn(Url::parse("https://id.example/authorize?a=b").unwrap());
    let (_, reply) = scene.answered("/back?code=secret-code", go_on).await;
    assert!(
        reply.starts_with("HTTP/1.1 303") && reply.contains("location: https://id.example/authorize?a=b")
    );
    assert!(reply.contains("referrer-policy: no-referrer"));
}

#[tokio::test]
async fn one_answer_is_accepted_and_later_ones_are_told_so() {
    let mut scene = Scene::new("http://localhost/back", ResponseMode::Query).await;
    let first = scene
        .answered("/back?code=1", || Answer::Page(Pages::default().success()))
        .await;
    assert_eq!(status(&first.1), "200");
    scene.received.close();
    let second = scene.get("/back?code=2").await;
    assert!(
        second.starts_with("HTTP/1.1 410") && second.contains("answered already"),
        "{second}"
    );
}

#[tokio::test]
async fn a_form_is_read_within_bounds() {
    let mut scene = Scene::new("http://localhost/back", ResponseMode::FormPost).await;
    assert_eq!(status(&scene.get("/back?code=c").await), "405");
    assert_eq!(status(&scene.post("application/json", "{}").await), "415");
    let form = "application/x-www-form-urlencoded";
    assert_eq!(status(&scene.post(form, &"a".repeat(65 * 1024)).await), "413");
    let endless = format!(
        "POST /back HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: {form}\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        scene.port,
        format!("1000\r\n{}\r\n", "a".repeat(4096)).repeat(20)
    );
    assert_eq!(status(&scene.send(&endless).await), "413");
    assert!(scene.heard_nothing());
    let (reply, parameters) = {
        let Scene { port, received, .. } = &mut scene;
        let body = "code=c&state=s";
        let request = format!(
            "POST /back HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: {form};charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        tokio::join!(
            exchange(*port, &request),
            heard(received, || Answer::Page(Page::late()))
        )
    };
    assert_eq!((status(&reply), &*parameters), ("410", "/?code=c&state=s"));
}

#[tokio::test]
async fn a_long_head_is_refused() {
    let mut scene = Scene::new("http://localhost/back", ResponseMode::Query).await;
    let long = scene.get(&format!("/back?code={}", "a".repeat(64 * 1024))).await;
    assert!(matches!(status(&long), "414" | "431" | "400" | ""), "{long}");
    let many = format!(
        "GET /back HTTP/1.1\r\nHost: localhost:{}\r\n{}\r\n",
        scene.port,
        "A: b\r\n".repeat(200)
    );
    assert_eq!(status(&scene.send(&many).await), "431");
    assert!(scene.heard_nothing());
}

#[tokio::test]
async fn idle_connections_keep_no_answer_waiting() {
    let clock = ManualClock::at(SystemClock.now());
    let mut scene = Scene::with_clock(
        "http://localhost/back",
        ResponseMode::Query,
        Arc::new(clock.clone()),
    )
    .await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
        // A part of a request is no request.
        stream.write_all(b"GET /back?code=").await.unwrap();
        idle.push(stream);
    }
    // No time passes: the answer takes the place of the oldest of them.
    let (parameters, reply) = scene
        .answered("/back?code=c", || Answer::Page(Pages::default().success()))
        .await;
    assert_eq!((status(&reply), &*parameters), ("200", "/?code=c"));
    let mut byte = [0];
    assert_eq!(
        idle[0].read(&mut byte).await.unwrap_or(0),
        0,
        "the oldest was closed"
    );
    // The others are when their time is over.
    clock.wait_for_sleepers(1).await;
    clock.advance(std::time::Duration::from_secs(11));
    assert_eq!(idle[39].read(&mut byte).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn an_answer_that_is_being_judged_is_not_closed_for_idle_connections() {
    let mut scene = Scene::new("http://localhost/back", ResponseMode::Query).await;
    let port = scene.port;
    let request = format!("GET /back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    let browser = tokio::spawn(async move { exchange(port, &request).await });
    let received = scene.received.recv().await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    // Served after all of those, so they have come in.
    assert_eq!(status(&scene.get("/other").await), "404");
    received.reply(Answer::Page(Pages::default().success()));
    assert_eq!(status(&browser.await.unwrap()), "200");
}

#[tokio::test]
async fn one_connection_brings_one_answer_however_many_it_sends_at_once() {
    let mut scene = Scene::new("http://localhost/back", ResponseMode::Query).await;
    let Scene { port, received, .. } = &mut scene;
    let one = |code: &str| format!("GET /back?code={code} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    let pipelined = one("1") + &one("2");
    let (parameters, replies) = tokio::join!(
        heard(received, || Answer::Page(Page::of_another_sign_in())),
        exchange(*port, &pipelined)
    );
    assert_eq!(parameters, "/?code=1");
    assert_eq!(replies.matches("HTTP/1.1 ").count(), 1, "{replies}");
    assert!(scene.heard_nothing());
}

#[tokio::test]
async fn both_loopback_addresses_lead_to_it_and_its_end_frees_them() {
    let address = RedirectAddress::parse("http://localhost/back").unwrap();
    let listener = RedirectListener::bind(address, ResponseMode::Query)
        .await
        .unwrap();
    let port = listener.port;
    assert_eq!(listener.redirect_uri(), format!("http://localhost:{port}/back"));
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok();
    assert_eq!(listener.sockets.len(), 1 + usize::from(has_ipv6));
    let taken = RedirectAddress::parse("http://localhost")
        .unwrap()
        .with_port(port);
    let refused = RedirectListener::bind(taken, ResponseMode::Query).await;
    assert!(matches!(refused, Err(InteractiveError::Listen { port: Some(found), .. }) if found == port));
    drop(listener);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
}

#[tokio::test]
async fn a_port_that_somebody_has_on_ipv6_is_not_used_for_localhost() {
    let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
        // Without IPv6, nobody can listen there.
        return;
    };
    let port = other.local_addr().unwrap().port();
    let named = RedirectAddress::parse("http://localhost")
        .unwrap()
        .with_port(port);
    let refused = RedirectListener::bind(named, ResponseMode::Query).await;
    assert!(matches!(refused, Err(InteractiveError::Listen { .. })));
    // The address itself says where the browser goes.
    let exact = RedirectAddress::parse("http://127.0.0.1")
        .unwrap()
        .with_port(port);
    assert!(RedirectListener::bind(exact, ResponseMode::Query).await.is_ok());
}
