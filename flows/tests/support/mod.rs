//! Small servers that misbehave on purpose, and a client whose replies are scripted.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::secret::SecretBytes;
use cache_core::time::{Clock, CoarseTime, SystemClock, UnixMillis};
use flows::http::{HttpClient, HttpError, HttpMethod, HttpRequest, HttpResponse};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a server does with one connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Reads the request and answers with these bytes, then closes.
    Answer(String),
    /// Closes before it reads anything.
    CloseAtOnce,
    /// Reads the request and closes without an answer.
    CloseUnanswered,
    /// Reads the request and never answers.
    Stall,
    /// Answers with these bytes and keeps the connection open, but serves nothing more on it.
    AnswerAndHold(String),
    /// Answers with this head, then body bytes for ever.
    Endless(String),
    /// Answers with these bytes, one every 20 milliseconds.
    Drip(String),
    /// Reads the request and closes its own direction only: it would still read.
    HalfClose,
}

impl Behaviour {
    pub fn json(status: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answer(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    pub async fn act<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S, seen: &Mutex<Vec<String>>) {
        if matches!(self, Self::CloseAtOnce) {
            return;
        }
        let request = read_request(&mut stream).await;
        seen.lock().unwrap().push(request);
        match self {
            Self::Answer(reply) => {
                let _ = stream.write_all(reply.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            Self::AnswerAndHold(reply) => {
                let _ = stream.write_all(reply.as_bytes()).await;
                std::future::pending().await
            }
            Self::Stall => std::future::pending().await,
            Self::Endless(head) => {
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[b' '; 16 * 1024]).await.is_ok() {}
            }
            Self::Drip(reply) => {
                for byte in reply.as_bytes() {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    SystemClock.sleep(Duration::from_millis(20)).await;
                }
            }
            Self::HalfClose => {
                let _ = stream.shutdown().await;
                std::future::pending().await
            }
            Self::CloseUnanswered | Self::CloseAtOnce => {}
        }
    }
}

/// A server on loopback that treats its connections as scripted, the last behaviour for ever.
pub struct Server {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn start(script: Vec<Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorded = seen.clone();
        tokio::spawn(async move {
            let mut script = VecDeque::from(script);
            while let Ok((stream, _)) = listener.accept().await {
                let behaviour = match script.len() {
                    1 => script[0].clone(),
                    _ => script.pop_front().unwrap(),
                };
                let seen = recorded.clone();
                tokio::spawn(async move { behaviour.act(stream, &seen).await });
            }
        });
        Self { port, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// Reads a head, and a body of the length that it announces.
async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// What a scripted client was asked.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: HttpMethod,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub form: String,
}

/// A client that answers from a script and records what it was asked.
#[derive(Debug, Default)]
pub struct ScriptedClient {
    replies: Mutex<VecDeque<Result<HttpResponse, HttpError>>>,
    sent: Mutex<Vec<Sent>>,
    delay: Duration,
}

impl ScriptedClient {
    /// A client each of whose replies takes `delay`.
    pub fn slow(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    pub fn reply(self, status: u16, body: &str) -> Self {
        self.push(status, body);
        self
    }

    pub fn push(&self, status: u16, body: &str) {
        self.push_with(status, &[], body);
    }

    pub fn push_with(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let response = HttpResponse {
            status,
            headers: headers.collect(),
            body: SecretBytes::new(body.as_bytes().to_vec()),
        };
        self.replies.lock().unwrap().push_back(Ok(response));
    }

    pub fn fail(self, error: HttpError) -> Self {
        self.push_error(error);
        self
    }

    pub fn push_error(&self, error: HttpError) {
        self.replies.lock().unwrap().push_back(Err(error));
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }
}

#[async_trait]
impl HttpClient for ScriptedClient {
    #[allow(clippy::disallowed_methods, reason = "the server's own slowness")]
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.sent.lock().unwrap().push(Sent {
            method: request.method,
            url: request.url.to_string(),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.expose().to_owned()))
                .collect(),
            form: request
                .form
                .as_ref()
                .map(|form| String::from_utf8(form.expose().to_vec()).unwrap())
                .unwrap_or_default(),
        });
        tokio::time::sleep(self.delay).await;
        self.replies
            .lock()
            .unwrap()
            .pop_front()
            .expect("an unscripted request")
    }
}

/// A clock that moves when it is told to, or when somebody sleeps on it.
#[derive(Debug)]
pub struct StepClock(Mutex<Duration>);

impl StepClock {
    pub fn at(seconds: u64) -> Self {
        Self(Mutex::new(Duration::from_secs(seconds)))
    }

    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

#[async_trait]
impl Clock for StepClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::default().saturating_add(*self.0.lock().unwrap())
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        tokio::task::yield_now().await;
    }
}
