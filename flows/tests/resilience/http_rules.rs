//! Rules of `HttpClient`'s contract about slow, broken and oversized replies, proxies and TLS. The others are in
//! `http_discipline.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{Config, FakeAuthority};
use flows::http::{Form, HttpClient, HttpErrorKind, HttpRequest, ReqwestClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Behaviour, Server};

const LIMIT: Duration = Duration::from_secs(20);

fn post(url: &str, limit: Duration) -> HttpRequest {
    let mut form = Form::new();
    form.push_secret("refresh_token", &Secret::new("canary-token"));
    HttpRequest::post(url.parse().unwrap(), form, limit)
}

async fn outcome(server: &Server, limit: Duration) -> HttpErrorKind {
    let client = ReqwestClient::new().unwrap();
    let error = client.send(post(&server.url("/token"), limit)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    error.kind()
}

#[tokio::test]
async fn a_reply_that_drips_ends_at_the_time_limit_head_or_body() {
    let head = format!("HTTP/1.1 200 OK\r\nx-slow: {}\r\n", "x".repeat(2_000));
    let body = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{}",
        " ".repeat(2_000)
    );
    for reply in [head, body] {
        let server = Server::start(vec![Behaviour::Drip(reply)]).await;
        let began = SystemClock.monotonic();
        let limit = Duration::from_millis(500);
        assert_eq!(outcome(&server, limit).await, HttpErrorKind::OutcomeUnknown);
        // Each byte comes well within any limit between two of them.
        assert!(SystemClock.monotonic() - began < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_half_closed_connection_is_no_reply_and_nothing_is_resent() {
    let server = Server::start(vec![Behaviour::HalfClose, Behaviour::json("200 OK", "{}")]).await;
    assert_eq!(outcome(&server, LIMIT).await, HttpErrorKind::OutcomeUnknown);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn lengths_and_chunks_that_lie_are_no_reply() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}garbage",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}",
    ] {
        let server = Server::start(vec![Behaviour::Answer(reply.to_owned())]).await;
        assert_eq!(
            outcome(&server, LIMIT).await,
            HttpErrorKind::OutcomeUnknown,
            "{reply}"
        );
        assert_eq!(server.requests(), 1, "{reply}");
    }
    let endless_head = format!("HTTP/1.1 200 OK\r\nx-endless: {}", "x".repeat(4 << 20));
    let server = Server::start(vec![Behaviour::Answer(endless_head)]).await;
    assert_eq!(outcome(&server, LIMIT).await, HttpErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn compressed_replies_are_neither_asked_for_nor_unpacked() {
    let packed = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 6\r\n\r\npacked";
    let server = Server::start(vec![Behaviour::Answer(packed.to_owned())]).await;
    let client = ReqwestClient::new().unwrap();
    let response = client.send(post(&server.url("/token"), LIMIT)).await.unwrap();
    assert_eq!(response.body.expose(), b"packed");
    let sent = server.seen.lock().unwrap()[0].to_ascii_lowercase();
    for header in ["accept-encoding", "cookie", "referer"] {
        assert!(!sent.contains(&format!("\r\n{header}:")), "{sent}");
    }
}

#[tokio::test]
async fn the_user_agent_is_the_one_that_was_set() {
    let server = Server::start(vec![Behaviour::json("200 OK", "{}")]).await;
    let client = ReqwestClient::builder()
        .user_agent("my-tool/1.0")
        .build()
        .unwrap();
    client.send(post(&server.url("/"), LIMIT)).await.unwrap();
    assert!(server.seen.lock().unwrap()[0].contains("user-agent: my-tool/1.0\r\n"));
    assert!(ReqwestClient::builder().user_agent("a\nb").build().is_err());
}

/// An HTTP proxy that leads every tunnel to one port, or refuses it, and records what it is told.
async fn tunnel(to: Option<u16>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:canary@{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let record = Arc::clone(&record);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                record.lock().unwrap().push(String::from_utf8(head).unwrap());
                let Some(port) = to else {
                    let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
                    return;
                };
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (url, told)
}

#[tokio::test]
async fn a_proxy_is_told_the_host_alone_and_loopback_goes_past_it() {
    let mut config = Config::default();
    config.host = "login.tokenkeep.test".to_owned();
    let fake = FakeAuthority::start(config).await.unwrap();
    let port = fake.base_url().rsplit(':').next().unwrap().parse().unwrap();
    let (proxy, told) = tunnel(Some(port)).await;
    let client = ReqwestClient::builder()
        .ca_certificates(fake.ca_pem().unwrap())
        .proxy(proxy)
        .build()
        .unwrap();
    let url = format!("{}/common/oauth2/v2.0/token", fake.base_url());
    assert_eq!(client.send(post(&url, LIMIT)).await.unwrap().status, 400);
    {
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with(&format!("CONNECT login.tokenkeep.test:{port} HTTP/1.1\r\n")),
            "{told:?}"
        );
        assert!(!told[0].contains("canary-token") && !told[0].contains("oauth2"));
    }
    let local = Server::start(vec![Behaviour::json("200 OK", "{}")]).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/", local.port);
        client.send(post(&url, LIMIT)).await.unwrap();
    }
    assert_eq!((local.requests(), told.lock().unwrap().len()), (2, 1));
}

#[tokio::test]
async fn a_tunnel_that_is_refused_means_that_nothing_was_sent() {
    let (proxy, told) = tunnel(None).await;
    let client = ReqwestClient::builder().proxy(proxy).build().unwrap();
    let request = post("https://login.tokenkeep.test/token", LIMIT);
    let error = client.send(request).await.unwrap_err();
    assert_eq!(
        (error.kind(), told.lock().unwrap().len()),
        (HttpErrorKind::NotSent, 1)
    );
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    let builder = ReqwestClient::builder().proxy("canary not a URL".to_owned());
    assert!(!format!("{builder:?}").contains("canary"));
    let error = builder.build().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

/// What a client offers is in the clear in its first message (RFC 8446 section 4.2.1).
#[tokio::test]
async fn nothing_older_than_tls_1_2_is_offered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let client = ReqwestClient::new().unwrap();
    let sending = client.send(post(&url, LIMIT));
    let reading = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut hello).await.unwrap();
        hello
    };
    let (error, hello) = tokio::join!(sending, reading);
    assert_eq!(error.unwrap_err().kind(), HttpErrorKind::NotSent);
    // The extension `supported_versions` (43) with two of them: TLS 1.3 and 1.2, in either order.
    let offers = |versions: [u8; 4]| {
        let mut extension = vec![0, 43, 0, 5, 4];
        extension.extend(versions);
        hello.windows(extension.len()).any(|window| window == extension)
    };
    assert!(offers([3, 4, 3, 3]) || offers([3, 3, 3, 4]));
}
