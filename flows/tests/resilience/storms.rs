//! An authority under load, and a hundred tasks that will not let it alone: no request leaves too early.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use cache_core::random::Random;
use cache_core::schema::{Account, ScopeSet};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::time::Clock;
use cache_testkit::random::SeededRandom;
use flows::authority::{Authority, Metadata};
use flows::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use flows::request::{ClientIdentity, refresh_token};
use flows::{CorrelationId, Error, TokenEndpoint, Transport};

use crate::virtual_clock::VirtualClock;

const TASKS: usize = 100;
const ACCOUNTS: u64 = 4;
const SCOPES: u64 = 5;
const LIMIT: Duration = Duration::from_secs(30);
const HOURS: Duration = Duration::from_secs(2 * 3_600);

/// How replies come about: mostly failures of every kind, now and then a grant.
#[derive(Debug)]
struct Storm {
    clock: VirtualClock,
    random: Arc<SeededRandom>,
    /// By account and scope: what failures forbid, as (when the reply came, until when), and all arrivals.
    record: Mutex<HashMap<String, Record>>,
}

#[derive(Debug, Default)]
struct Record {
    forbidden: Vec<(Duration, Duration)>,
    arrived: usize,
    granted: usize,
    dates: usize,
}

fn draw(random: &SeededRandom, below: u64) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % below
}

impl Storm {
    fn arrives(&self, key: &str) {
        let now = self.clock.monotonic();
        let mut record = self.record.lock().unwrap();
        let record = record.entry(key.to_owned()).or_default();
        record.arrived += 1;
        for (noted, until) in &record.forbidden {
            // At the very moment of the reply nobody can have acted on it yet.
            assert!(
                now <= *noted || now >= *until,
                "{key}: sent at {now:?}, forbidden from {noted:?} until {until:?}"
            );
        }
    }

    fn forbids(&self, key: &str, wait: Duration) {
        let now = self.clock.monotonic();
        let mut record = self.record.lock().unwrap();
        record.get_mut(key).unwrap().forbidden.push((now, now + wait));
    }
}

#[async_trait]
impl HttpClient for Storm {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let form = String::from_utf8(request.form.as_ref().unwrap().expose().to_vec()).unwrap();
        let part = |name: &str| {
            let pair = form.split('&').find(|pair| pair.starts_with(name)).unwrap();
            pair.split_once('=').unwrap().1.to_owned()
        };
        let key = format!("{} {}", part("refresh_token"), part("scope"));
        let sent = self.clock.monotonic();
        self.arrives(&key);
        self.clock
            .sleep(Duration::from_millis(draw(&self.random, 8_000)))
            .await;
        let asked = 1 + draw(&self.random, 900);
        let reply = |status, retry_after: Option<String>| HttpResponse {
            status,
            headers: retry_after
                .map(|value| ("retry-after".to_owned(), value))
                .into_iter()
                .collect(),
            body: SecretBytes::new(br#"{"access_token":"a","expires_in":3600}"#.to_vec()),
        };
        let usual = Duration::from_secs(5);
        Ok(match draw(&self.random, 9) {
            0 | 1 => {
                let mut record = self.record.lock().unwrap();
                let record = record.get_mut(&key).unwrap();
                record.granted += 1;
                // Only an answer to a request that is younger than a failure says that it is over.
                record.forbidden.retain(|(noted, _)| sent <= *noted);
                reply(200, None)
            }
            2 => {
                self.forbids(&key, Duration::from_secs(asked));
                reply(429, Some(asked.to_string()))
            }
            3 => {
                let wall = Duration::from_millis(u64::try_from(self.clock.now().0).unwrap());
                let date = Duration::from_secs(wall.as_secs() + 1 + asked);
                self.forbids(&key, Duration::from_secs(asked));
                self.record.lock().unwrap().get_mut(&key).unwrap().dates += 1;
                reply(503, Some(httpdate::fmt_http_date(UNIX_EPOCH + date)))
            }
            4 => {
                self.forbids(&key, usual);
                reply(429, None)
            }
            5 => {
                self.forbids(&key, usual);
                reply(500, None)
            }
            6 => {
                self.forbids(&key, usual);
                reply(408, Some("nonsense".to_owned()))
            }
            7 => {
                self.forbids(&key, usual);
                return Err(HttpError::new(
                    HttpErrorKind::OutcomeUnknown,
                    &request.url,
                    "no reply",
                ));
            }
            _ => {
                self.forbids(&key, Duration::from_secs(1));
                return Err(HttpError::new(HttpErrorKind::NotSent, &request.url, "no network"));
            }
        })
    }
}

fn account(number: u64) -> Account {
    Account {
        home_account_id: format!("{number}.tenant"),
        environment: "login.microsoftonline.com".to_owned(),
        realm: "tenant".to_owned(),
        local_account_id: number.to_string(),
        username: String::new(),
        authority_type: "MSSTS".to_owned(),
        name: None,
        issuer: None,
        tenant_profiles: Vec::new(),
        foreign: None,
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_leaves_before_it_may_whatever_the_interleaving() {
    for seed in 0..2 {
        let clock = VirtualClock::new();
        let random = Arc::new(SeededRandom::new(seed));
        let storm = Arc::new(Storm {
            clock,
            random: Arc::clone(&random),
            record: Mutex::default(),
        });
        let transport = Arc::new(Transport::new(
            storm.clone(),
            Arc::new(clock),
            Arc::new(SeededRandom::new(seed)),
        ));
        let mut tasks = Vec::new();
        for _ in 0..TASKS {
            let (transport, random) = (Arc::clone(&transport), Arc::clone(&random));
            tasks.push(tokio::spawn(async move {
                let authority = Authority::detect(
                    "https://login.microsoftonline.com/22222222-aaaa-4bbb-8ccc-333333333333",
                )
                .unwrap();
                let metadata = Arc::new(Metadata::by_convention(&authority).unwrap());
                let client = ClientIdentity::public("client").unwrap();
                let endpoint = TokenEndpoint::new(transport, authority.clone(), metadata, client);
                let mut held_back = 0;
                while clock.monotonic() < HOURS {
                    let number = draw(&random, ACCOUNTS);
                    let token = Secret::new(format!("rt-{number}"));
                    let scope = format!("scope-{}", draw(&random, SCOPES));
                    let request = refresh_token::request(
                        &authority,
                        &token,
                        ScopeSet::parse(&scope),
                        account(number),
                        None,
                    );
                    let id = CorrelationId::random(&*random).unwrap();
                    if let Err(Error::Throttled(throttled)) = endpoint.send(request, id, LIMIT).await {
                        held_back += 1;
                        assert!(throttled.retry_after() <= Duration::from_secs(3_600));
                    }
                    // Impatient, and often at the same moment as others.
                    clock.sleep(Duration::from_secs(draw(&random, 20))).await;
                }
                held_back
            }));
        }
        let mut held_back = 0;
        for task in tasks {
            held_back += task.await.unwrap();
        }
        let record = storm.record.lock().unwrap();
        assert_eq!(record.len() as u64, ACCOUNTS * SCOPES);
        for (key, record) in record.iter() {
            assert!(
                record.arrived > 10 && record.granted > 0 && record.dates > 0,
                "{key}: {record:?}"
            );
        }
        assert!(held_back > 1_000, "{held_back}");
    }
}
