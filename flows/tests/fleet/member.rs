//! One process of a fleet: it does what it is told until its standard input ends.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{CachedAccount, SignOutScope, TokenCache};
use cache_core::time::{Clock, SystemClock};
use flows::client::PublicClient;
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse, ReqwestClient};
use flows::{AuthenticationResult, Error};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::counter;
use crate::fleet::MARK;
use crate::setup::{Setup, fingerprint};

/// How long a member that was told to hold a reply back does so, to be stopped meanwhile.
const HOLD: Duration = Duration::from_millis(500);

/// Between two looks at whether an account is still served.
const LOOK: Duration = Duration::from_millis(1);

/// Runs until the leader closes the standard input, or is gone.
pub fn run(setup: Setup) {
    let (hand_over, mut orders) = mpsc::unbounded_channel::<Value>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = hand_over.send(serde_json::from_str(&line).unwrap());
        }
    });
    // One thread, as sixteen of these share a machine with the provider and the store.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let member = Arc::new(Member::new(setup).await);
        while let Some(order) = orders.recv().await {
            let member = Arc::clone(&member);
            tokio::spawn(async move {
                let number = order["number"].clone();
                let obeying = tokio::spawn(async move { member.obey(&order).await });
                // A member that fails is one that ends: its leader waits for no answer then.
                let Ok(mut answer) = obeying.await else {
                    std::process::exit(1)
                };
                answer["number"] = number;
                say(&answer);
            });
        }
        assert_eq!(member.cache.shutdown(Duration::from_secs(10)).await, 0);
    });
}

/// Tells the leader something.
fn say(said: &Value) {
    println!("{MARK}{said}");
}

struct Member {
    setup: Setup,
    cache: TokenCache,
    client: PublicClient,
    accounts: Mutex<Vec<CachedAccount>>,
    http: Arc<Holding>,
    stop: AtomicBool,
    looking: Mutex<Option<JoinHandle<Value>>>,
}

impl Member {
    async fn new(setup: Setup) -> Self {
        let cache = setup.cache().await;
        let http = Arc::new(Holding {
            inner: setup.http(),
            holds: AtomicBool::new(false),
        });
        let shared: Arc<dyn HttpClient> = http.clone();
        Self {
            client: setup.client(cache.clone(), shared),
            setup,
            cache,
            accounts: Mutex::default(),
            http,
            stop: AtomicBool::new(false),
            looking: Mutex::default(),
        }
    }

    async fn obey(self: &Arc<Self>, order: &Value) -> Value {
        match order["do"].as_str().unwrap() {
            "token" => self.token().await,
            "hold the reply" => {
                self.http.holds.store(true, Ordering::SeqCst);
                self.token().await
            }
            "refresh and hold the reply" => {
                self.http.holds.store(true, Ordering::SeqCst);
                let account = self.account(0).await;
                let refreshing = self.client.acquire_token_silent([&self.setup.scope]);
                let refreshed = refreshing.account(&account).force_refresh(true).await;
                refreshed.map_or_else(|error| refused(&error), |result| described(&result))
            }
            "live" => {
                self.live(usize::try_from(order["accounts"].as_u64().unwrap()).unwrap())
                    .await
            }
            "stop" => {
                self.stop.store(true, Ordering::SeqCst);
                json!({})
            }
            "look" => self.look().await,
            "looked" => self.looking.lock().await.take().unwrap().await.unwrap(),
            "sign out" => self.sign_out().await,
            "count" => counter::count(&self.cache, order).await,
            unknown => panic!("nobody knows how to {unknown}"),
        }
    }

    /// The account. They are listed once, as that opens every record: from then on whoever asks has it at hand.
    async fn account(&self, number: usize) -> CachedAccount {
        let name = format!("user-{number}");
        let is_meant =
            |account: &&CachedAccount| self.setup.ca_pem.is_some() || account.account.home_account_id == name;
        let mut accounts = self.accounts.lock().await;
        if accounts.is_empty() {
            *accounts = self.client.accounts().await.unwrap().accounts;
        }
        accounts.iter().find(is_meant).cloned().unwrap()
    }

    async fn acquire(&self, account: &CachedAccount) -> Result<AuthenticationResult, Error> {
        self.client
            .acquire_token_silent([&self.setup.scope])
            .account(account)
            .await
    }

    async fn token(&self) -> Value {
        let account = self.account(0).await;
        match self.acquire(&account).await {
            Ok(result) => described(&result),
            Err(error) => refused(&error),
        }
    }

    /// Asks for the token of each account at the moment when it expires, again and again, until it is told to stop.
    async fn live(self: &Arc<Self>, accounts: usize) -> Value {
        let lives: Vec<_> = (0..accounts)
            .map(|number| tokio::spawn(Arc::clone(self).live_as(number)))
            .collect();
        let mut seen = Vec::new();
        for life in lives {
            seen.push(life.await.unwrap());
        }
        json!({ "seen": seen })
    }

    async fn live_as(self: Arc<Self>, number: usize) -> Value {
        let (account, clock) = (self.account(number).await, SystemClock);
        let mut seen = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            let pause = match self.acquire(&account).await {
                Ok(result) => {
                    seen.push(described(&result));
                    result.expires_on().to_millis().duration_since(clock.now())
                }
                Err(error) => {
                    seen.push(refused(&error));
                    Duration::from_millis(100)
                }
            };
            clock.sleep(pause).await;
        }
        seen.into()
    }

    /// Begins to look whether the account is served, again and again, until it is not. Answers once it has been, from memory.
    async fn look(self: &Arc<Self>) -> Value {
        let account = self.account(0).await;
        loop {
            let served = self.acquire(&account).await.map(|result| described(&result));
            match served {
                Ok(served) if served["source"] == "memory" => break,
                Ok(_) => {}
                Err(error) => return refused(&error),
            }
        }
        let member = Arc::clone(self);
        let looking = tokio::spawn(async move {
            let clock = SystemClock;
            let mut last_served = Duration::ZERO;
            loop {
                let began = clock.monotonic();
                match member.acquire(&account).await {
                    Ok(_) => last_served = began,
                    Err(error) => {
                        let mut answer = refused(&error);
                        answer["refused_at"] = micros(clock.monotonic());
                        answer["last_served"] = micros(last_served);
                        return answer;
                    }
                }
                clock.sleep(LOOK).await;
            }
        });
        *self.looking.lock().await = Some(looking);
        json!({})
    }

    async fn sign_out(&self) -> Value {
        let account = self.account(0).await;
        let scope = SignOutScope::Client;
        let signed_out = self
            .cache
            .sign_out(&account.partition, &self.setup.client_id, scope)
            .await;
        json!({ "found": signed_out.unwrap(), "at": micros(SystemClock.monotonic()) })
    }
}

fn described(result: &AuthenticationResult) -> Value {
    json!({
        "token": fingerprint(result),
        "expires_on": result.expires_on().0,
        "source": result.metadata().source.to_string(),
    })
}

fn refused(error: &Error) -> Value {
    match error {
        Error::InteractionRequired(required) => {
            json!({ "error": "interaction required", "because": format!("{:?}", required.classification()) })
        }
        error => json!({ "error": format!("{error:?}") }),
    }
}

/// On a clock that all processes of a machine share.
fn micros(time: Duration) -> Value {
    u64::try_from(time.as_micros()).unwrap().into()
}

/// Holds the reply to one refresh in its hands for a while, if it was told to, and says so.
#[derive(Debug)]
struct Holding {
    inner: ReqwestClient,
    holds: AtomicBool,
}

#[async_trait]
impl HttpClient for Holding {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let form = request
            .form
            .as_ref()
            .map(|form| form.expose())
            .unwrap_or_default();
        let is_refresh = form.starts_with(b"grant_type=refresh_token&");
        let reply = self.inner.send(request).await;
        if is_refresh && self.holds.swap(false, Ordering::SeqCst) {
            let until = SystemClock.monotonic() + HOLD;
            say(&json!({ "event": "reply in hand" }));
            // Whoever is stopped before the pause begins must not begin it after waking: the reply would then come too late even for
            // the request's own time limit.
            SystemClock
                .sleep(until.saturating_sub(SystemClock.monotonic()))
                .await;
        }
        reply
    }
}
