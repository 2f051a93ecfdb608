//! The proxy does to each connection what its script says, and nothing to the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop"
)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock, with_deadline};
use cache_testkit::authority::{Config, FakeAuthority};
use cache_testkit::proxy::{Behaviour, Exchange, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(10);

/// A server that answers each line with itself, and reports each.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (report, reports) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let report = report.clone();
            tokio::spawn(async move {
                let mut line = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut line).await {
                    let _ = report.send(String::from_utf8(line[..length].to_vec()).unwrap());
                    let _ = stream.write_all(&line[..length]).await;
                }
            });
        }
    });
    (address, reports)
}

async fn scene(script: impl IntoIterator<Item = Behaviour>) -> (Proxy, mpsc::UnboundedReceiver<String>) {
    let (address, reports) = echo().await;
    let proxy = Proxy::start(address).await.unwrap();
    proxy.script(script);
    (proxy, reports)
}

async fn ask(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    // A connection that is reset at once may refuse it.
    let _ = stream.write_all(b"ping").await;
    stream
}

/// What arrives until the end of the stream.
async fn rest(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut read = Vec::new();
    let result = with_deadline(&SystemClock, LONG, stream.read_to_end(&mut read)).await;
    result
        .expect("the stream never ended")
        .map_err(|error| error.kind())?;
    Ok(read)
}

async fn arrives(stream: &mut TcpStream, limit: Duration) -> Option<[u8; 4]> {
    let mut reply = [0; 4];
    let read = with_deadline(&SystemClock, limit, stream.read_exact(&mut reply)).await?;
    read.ok().map(|_| reply)
}

#[tokio::test]
async fn a_lost_reply_is_one_that_the_authority_gave() {
    let (proxy, mut reports) = scene([Behaviour::DropReply { request_bytes: 4 }]).await;
    assert_eq!(rest(&mut ask(&proxy).await).await, Ok(Vec::new()));
    assert_eq!(reports.recv().await.unwrap(), "ping");
    // The script is over.
    assert_eq!(arrives(&mut ask(&proxy).await, LONG).await, Some(*b"ping"));
    let statistics = proxy.statistics();
    assert_eq!((statistics.connections, statistics.replies_lost), (2, 1));
    assert_eq!(
        (statistics.bytes_to_authority, statistics.bytes_to_client),
        (8, 4)
    );
}

#[tokio::test]
async fn what_comes_before_the_request_is_complete_passes() {
    let (proxy, _reports) = scene([Behaviour::DropReply { request_bytes: 5 }]).await;
    let mut stream = ask(&proxy).await;
    assert_eq!(arrives(&mut stream, LONG).await, Some(*b"ping"));
    stream.write_all(b"more").await.unwrap();
    assert_eq!(rest(&mut stream).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_reply_breaks_off_after_so_many_bytes() {
    let (proxy, _reports) = scene([Behaviour::CutReply { reply_bytes: 3 }]).await;
    assert_eq!(rest(&mut ask(&proxy).await).await, Ok(b"pin".to_vec()));
    assert_eq!(proxy.statistics().replies_lost, 1);
}

#[tokio::test]
async fn a_half_closed_connection_still_takes_what_the_client_sends() {
    let (proxy, mut reports) = scene([Behaviour::HalfClose { request_bytes: 4 }]).await;
    let mut stream = ask(&proxy).await;
    assert_eq!(rest(&mut stream).await, Ok(Vec::new()));
    stream.write_all(b"more").await.unwrap();
    assert_eq!(reports.recv().await.unwrap(), "ping");
    assert_eq!(reports.recv().await.unwrap(), "more");
}

#[tokio::test]
async fn connections_are_reset_before_and_after_the_request() {
    let (proxy, mut reports) = scene([Behaviour::Refuse, Behaviour::Reset { request_bytes: 4 }]).await;
    assert_eq!(
        rest(&mut ask(&proxy).await).await,
        Err(ErrorKind::ConnectionReset)
    );
    assert!(reports.try_recv().is_err(), "the authority was reached");
    assert_eq!(
        rest(&mut ask(&proxy).await).await,
        Err(ErrorKind::ConnectionReset)
    );
    assert_eq!(reports.recv().await.unwrap(), "ping");
}

#[tokio::test]
async fn a_stalled_connection_stays_open_and_silent() {
    let (proxy, mut reports) = scene([]).await;
    proxy.afterwards(Behaviour::Stall);
    for _ in 0..2 {
        assert_eq!(arrives(&mut ask(&proxy).await, SHORT).await, None);
    }
    assert!(reports.try_recv().is_err());
    assert_eq!(proxy.statistics().bytes_to_authority, 0);
}

#[tokio::test]
async fn a_delayed_reply_comes_late_and_whole() {
    let (proxy, _reports) = scene([Behaviour::Delay(SHORT)]).await;
    let began = SystemClock.monotonic();
    assert_eq!(arrives(&mut ask(&proxy).await, LONG).await, Some(*b"ping"));
    assert!(SystemClock.monotonic() - began >= SHORT);
}

#[tokio::test]
async fn a_pause_freezes_what_is_under_way_and_what_comes() {
    let (proxy, mut reports) = scene([]).await;
    let mut before = ask(&proxy).await;
    assert_eq!(arrives(&mut before, LONG).await, Some(*b"ping"));
    reports.recv().await.unwrap();
    proxy.pause();
    before.write_all(b"more").await.unwrap();
    let mut during = ask(&proxy).await;
    assert_eq!(arrives(&mut before, SHORT).await, None);
    assert_eq!(arrives(&mut during, SHORT).await, None);
    assert!(reports.try_recv().is_err(), "something passed");
    proxy.resume();
    assert_eq!(arrives(&mut before, LONG).await, Some(*b"more"));
    assert_eq!(arrives(&mut during, LONG).await, Some(*b"ping"));
}

#[tokio::test]
async fn the_end_of_the_proxy_is_the_end_of_its_connections() {
    let (proxy, _reports) = scene([Behaviour::Stall, Behaviour::Pass]).await;
    let mut connections = [ask(&proxy).await, ask(&proxy).await];
    assert_eq!(arrives(&mut connections[1], LONG).await, Some(*b"ping"));
    drop(proxy);
    for connection in &mut connections {
        // A reset where unread bytes were left behind, else an end.
        assert!(
            rest(connection).await.is_ok_and(|read| read.is_empty())
                || arrives(connection, SHORT).await.is_none()
        );
    }
}

#[tokio::test]
async fn tls_passes_through_and_its_replies_are_lost_alike() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let port = authority.base_url().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], port)))
        .await
        .unwrap();
    let client = || {
        let ca = reqwest::Certificate::from_pem(authority.ca_pem().unwrap().as_bytes()).unwrap();
        reqwest::Client::builder()
            .tls_certs_merge([ca])
            .no_proxy()
            .build()
            .unwrap()
    };
    let url = format!("https://{}/common/oauth2/v2.0/token", proxy.address());
    let form = format!("grant_type=unheard_of&padding={}", "x".repeat(16_000));
    let post = || client().post(&url).body(form.clone()).send();
    assert_eq!(post().await.unwrap().status(), 400);
    // Beyond any handshake, below the request.
    proxy.script([Behaviour::DropReply {
        request_bytes: 10_000,
    }]);
    let before = authority.requests().len();
    assert!(post().await.is_err());
    assert_eq!(authority.requests().len(), before + 1, "it was executed");
    assert_eq!(proxy.statistics().replies_lost, 1);
}

#[tokio::test]
async fn a_closed_proxy_refuses_connections_and_reopens_at_its_address() {
    let (proxy, _reports) = scene([]).await;
    let mut before = ask(&proxy).await;
    assert_eq!(arrives(&mut before, LONG).await, Some(*b"ping"));
    proxy.close();
    let refused = async {
        while TcpStream::connect(proxy.address()).await.is_ok() {
            SystemClock.sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(with_deadline(&SystemClock, LONG, refused).await, Some(()));
    before.write_all(b"more").await.unwrap();
    assert_eq!(arrives(&mut before, LONG).await, Some(*b"more"));
    proxy.reopen();
    let reopened = async {
        while TcpStream::connect(proxy.address()).await.is_err() {
            SystemClock.sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(with_deadline(&SystemClock, LONG, reopened).await, Some(()));
    assert_eq!(arrives(&mut ask(&proxy).await, LONG).await, Some(*b"ping"));
}

#[tokio::test]
async fn exchanges_say_what_was_sent_and_whether_it_was_answered() {
    let (proxy, _reports) = scene([
        Behaviour::Pass,
        Behaviour::DropReply { request_bytes: 4 },
        Behaviour::CutReply { reply_bytes: 2 },
    ])
    .await;
    let mut unheard = ask(&proxy).await;
    assert_eq!(arrives(&mut unheard, LONG).await, Some(*b"ping"));
    proxy.keep_exchanges();
    let mut exchanges = Vec::new();
    for number in 1..=3 {
        let mut stream = ask(&proxy).await;
        // The echo ends when its client has said everything.
        if arrives(&mut stream, SHORT).await.is_some() {
            stream.shutdown().await.unwrap();
        }
        rest(&mut stream).await.unwrap();
        let kept = async {
            while exchanges.len() < number {
                exchanges.extend(proxy.take_exchanges());
                SystemClock.sleep(Duration::from_millis(1)).await;
            }
        };
        assert_eq!(with_deadline(&SystemClock, LONG, kept).await, Some(()));
    }
    let is_ping = |exchange: &Exchange| exchange.request.expose() == b"ping";
    assert!(exchanges.iter().all(is_ping));
    assert!(exchanges.iter().all(|exchange| exchange.began <= exchange.ended));
    let replied: Vec<_> = exchanges.iter().map(|exchange| exchange.is_replied).collect();
    assert_eq!(replied, [false, false, true]);
}
