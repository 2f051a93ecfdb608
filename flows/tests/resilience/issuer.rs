//! An OpenID provider in virtual time, which keeps its own record of every refresh token that it is sent.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::secret::SecretBytes;
use cache_core::time::Clock;
use flows::http::{HttpClient, HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse};

use crate::virtual_clock::VirtualClock;

pub const ISSUER: &str = "https://id.example";

/// How long a request takes.
const LATENCY: Duration = Duration::from_millis(300);

/// What becomes of the next refreshes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    Answers,
    /// Executes the request, and the reply is lost.
    LosesReplies,
    /// Says no with this status, `Retry-After` and body, and executes nothing.
    Refuses(u16, Option<String>, String),
}

#[derive(Debug)]
pub struct Issuer {
    clock: VirtualClock,
    /// Whether a token that was used may be used again.
    allows_reuse: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    sent: HashMap<String, Vec<Duration>>,
    spent: HashSet<String>,
    reused: usize,
    issued: usize,
}

impl Issuer {
    pub fn new(clock: VirtualClock, allows_reuse: bool) -> Self {
        Self {
            clock,
            allows_reuse,
            state: Mutex::new(State {
                mood: Mood::Answers,
                sent: HashMap::new(),
                spent: HashSet::new(),
                reused: 0,
                issued: 0,
            }),
        }
    }

    pub fn mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// When each refresh token was sent.
    pub fn sent(&self) -> HashMap<String, Vec<Duration>> {
        self.state.lock().unwrap().sent.clone()
    }

    /// How many requests carried a refresh token.
    pub fn requests(&self) -> usize {
        self.sent().values().map(Vec::len).sum()
    }

    /// How often a spent token was used again although that revokes the session.
    pub fn reused(&self) -> usize {
        self.state.lock().unwrap().reused
    }

    /// Begins a request; what its reply will be, `None` for a lost one.
    fn execute(&self, form: &str) -> Option<(u16, Option<String>, String)> {
        let pairs: HashMap<_, _> = form.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let (token, scope) = (pairs["refresh_token"], pairs["scope"]);
        let mut state = self.state.lock().unwrap();
        let at = self.clock.monotonic();
        state.sent.entry(token.to_owned()).or_default().push(at);
        if let Mood::Refuses(status, retry_after, body) = &state.mood {
            return Some((*status, retry_after.clone(), body.clone()));
        }
        if !self.allows_reuse && !state.spent.insert(token.to_owned()) {
            state.reused += 1;
            return Some((400, None, r#"{"error":"invalid_grant"}"#.to_owned()));
        }
        if state.mood == Mood::LosesReplies {
            return None;
        }
        state.issued += 1;
        let number = state.issued;
        let body = format!(
            r#"{{"access_token":"at-{number}","refresh_token":"{token}-{number}","expires_in":3600,"scope":"{scope}"}}"#
        );
        Some((200, None, body))
    }
}

#[async_trait]
impl HttpClient for Issuer {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.clock.sleep(LATENCY / 2).await;
        let reply = match request.method {
            HttpMethod::Get => Some((
                200,
                None,
                format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"{ISSUER}/token"}}"#),
            )),
            HttpMethod::Post => {
                let form = request.form.as_ref().unwrap();
                self.execute(std::str::from_utf8(form.expose()).unwrap())
            }
        };
        self.clock.sleep(LATENCY / 2).await;
        let Some((status, retry_after, body)) = reply else {
            return Err(HttpError::new(
                HttpErrorKind::OutcomeUnknown,
                &request.url,
                "the connection broke",
            ));
        };
        Ok(HttpResponse {
            status,
            headers: retry_after
                .map(|value| ("retry-after".to_owned(), value))
                .into_iter()
                .collect(),
            body: SecretBytes::new(body.into_bytes()),
        })
    }
}
