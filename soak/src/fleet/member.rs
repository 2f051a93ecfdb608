//! One process of a fleet: it does what it is told until its standard input ends.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::cache::{CachedAccount, SignOutScope, TokenCache};
use cache_core::time::{Clock, SystemClock};
use flows::http::HttpClient;
use flows::{AuthenticationResult, Error};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::client::Client;
use super::http::{Hand, micros};
use super::introspection::introspect;
use super::orders::{Answer, Asking, Numbered, Order, Outcome, Said, SignedOut, Token};
use super::serving::{Parts, Server, Serving};
use super::{Setup, counter};
use crate::child::tell;
use crate::gate::{Doing, GateError};

/// Between two looks at whether an account is still served.
const LOOK: Duration = Duration::from_millis(1);
/// How long whoever was refused waits until it asks again.
const REFUSED: Duration = Duration::from_millis(100);
/// How long what was begun may go on after the last order.
const SHUTDOWN: Duration = Duration::from_secs(10);

impl Setup {
    /// Does what it is told until the leader closes the standard input, or is gone.
    pub(crate) fn perform(self) -> Result<(), GateError> {
        let (hand_over, mut orders) = mpsc::unbounded_channel::<Numbered>();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let Ok(order) = serde_json::from_str(&line) else {
                    return;
                };
                if hand_over.send(order).is_err() {
                    return;
                }
            }
        });
        self.program.runtime()?.block_on(async {
            let member = Arc::new(Member::new(self).await?);
            while let Some(Numbered { number, order }) = orders.recv().await {
                let member = Arc::clone(&member);
                tokio::spawn(async move {
                    let obeying = tokio::spawn(async move { member.obey(order).await });
                    let answer = match obeying.await {
                        Ok(Ok(answer)) => Ok(answer),
                        Ok(Err(error)) => Err(format!("{error}: {:?}", std::error::Error::source(&error))),
                        Err(panicked) => Err(panicked.to_string()),
                    };
                    say(&Said::Answer { number, answer });
                });
            }
            match member.cache.shutdown(SHUTDOWN).await {
                0 => Ok(()),
                left => Err(GateError::new(format!(
                    "{left} refreshes were left after the last order"
                ))),
            }
        })
    }
}

/// Tells the leader something.
pub(super) fn say(said: &Said) {
    match serde_json::to_string(said) {
        Ok(said) => tell(said),
        Err(error) => tell(error),
    }
}

struct Member {
    setup: Setup,
    cache: TokenCache,
    client: Client,
    accounts: Mutex<HashMap<String, CachedAccount>>,
    http: Arc<Hand>,
    stop: AtomicBool,
    looking: Mutex<Option<JoinHandle<Answer>>>,
    server: Mutex<Option<Arc<Server>>>,
}

impl Member {
    async fn new(setup: Setup) -> Result<Self, GateError> {
        let cache = setup.cache().await?;
        let http = Arc::new(Hand::new(setup.http()?, &setup.issuer));
        let shared: Arc<dyn HttpClient> = http.clone();
        Ok(Self {
            client: setup.client(cache.clone(), shared)?,
            setup,
            cache,
            accounts: Mutex::default(),
            http,
            stop: AtomicBool::new(false),
            looking: Mutex::default(),
            server: Mutex::default(),
        })
    }

    async fn obey(self: &Arc<Self>, order: Order) -> Result<Answer, GateError> {
        match order {
            Order::Tokens(asking) => self.tokens(&asking).await,
            Order::Hold { replies, at_most } => {
                self.http.hold(replies, at_most);
                Ok(Answer::Done)
            }
            Order::Release => {
                self.http.release();
                Ok(Answer::Done)
            }
            Order::Live { accounts } => self.live(accounts).await,
            Order::Stop => {
                self.stop.store(true, Ordering::SeqCst);
                Ok(Answer::Done)
            }
            Order::Look { account } => self.look(&account).await,
            Order::Looked => {
                let looking = self.looking.lock().await.take();
                let looking = looking.ok_or_else(|| GateError::new("nobody was told to look"))?;
                looking.await.doing("the look ended")
            }
            Order::SignOut { accounts, after } => self.sign_out(&accounts, &after).await,
            Order::Serve(serving) => self.serve(serving).await,
            Order::Settle => {
                self.server().await?.settle();
                Ok(Answer::Done)
            }
            Order::Diary => Ok(Answer::Diary(self.server().await?.diary.take())),
            Order::Count(counting) => counter::count(&self.cache, counting).await.map(Answer::Counted),
        }
    }

    /// The account. They are listed when one is not known, as that opens every record: from then on whoever asks has it at hand.
    async fn account(&self, id: &str) -> Result<CachedAccount, GateError> {
        let mut accounts = self.accounts.lock().await;
        if !accounts.contains_key(id) {
            let listed = self
                .client
                .accounts()
                .await
                .doing("could not list the accounts")?;
            let by_id = |account: CachedAccount| (account.account.home_account_id.clone(), account);
            accounts.extend(listed.accounts.into_iter().map(by_id));
        }
        let account = accounts.get(id).cloned();
        account.ok_or_else(|| GateError::new(format!("there is no account {id}")))
    }

    async fn acquire(&self, account: &CachedAccount, force: bool) -> Result<AuthenticationResult, Error> {
        let scope = &self.setup.issuer.scope;
        self.client.acquire(scope, account, force).await
    }

    async fn tokens(&self, asking: &Asking) -> Result<Answer, GateError> {
        let ask = async |(index, id): (usize, &String)| {
            let account = self.account(id).await?;
            pause(&asking.after, index).await;
            let result = match self.acquire(&account, asking.force).await {
                Ok(result) => result,
                Err(error) => return Ok(Outcome::of_error(&error)),
            };
            let mut token = Token::of(&result);
            if token.is_of_authority {
                token.after_reply = self.http.since_reply();
            }
            if asking.whose {
                token.subject = introspect(&self.setup.issuer, &self.http, &result).await?.subject;
            }
            Ok::<_, GateError>(Outcome::Token(token))
        };
        try_join_all(asking.accounts.iter().enumerate().map(ask))
            .await
            .map(Answer::Tokens)
    }

    async fn live(self: &Arc<Self>, accounts: Vec<String>) -> Result<Answer, GateError> {
        self.stop.store(false, Ordering::SeqCst);
        let live = async |id: String| {
            let living = tokio::spawn(Arc::clone(self).live_as(id));
            living.await.doing("a life ended")?
        };
        try_join_all(accounts.into_iter().map(live))
            .await
            .map(Answer::Lives)
    }

    async fn live_as(self: Arc<Self>, id: String) -> Result<Vec<Outcome>, GateError> {
        let (account, clock) = (self.account(&id).await?, SystemClock);
        let mut seen = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            let pause = match self.acquire(&account, false).await {
                Ok(result) => {
                    seen.push(Outcome::Token(Token::of(&result)));
                    result.expires_on().to_millis().duration_since(clock.now())
                }
                Err(error) => {
                    seen.push(Outcome::of_error(&error));
                    REFUSED
                }
            };
            clock.sleep(pause).await;
        }
        Ok(seen)
    }

    async fn look(self: &Arc<Self>, id: &str) -> Result<Answer, GateError> {
        let account = self.account(id).await?;
        loop {
            let served = self.acquire(&account, false).await;
            if Token::of(&served.doing("the account is not served")?).is_of_memory {
                break;
            }
        }
        let member = Arc::clone(self);
        let looking = tokio::spawn(async move {
            let clock = SystemClock;
            let mut last_served = Duration::ZERO;
            loop {
                let began = clock.monotonic();
                match member.acquire(&account, false).await {
                    Ok(_) => last_served = began,
                    Err(error) => {
                        return Answer::Looked {
                            refused: Outcome::of_error(&error),
                            refused_at: micros(clock.monotonic()),
                            last_served: micros(last_served),
                        };
                    }
                }
                clock.sleep(LOOK).await;
            }
        });
        *self.looking.lock().await = Some(looking);
        Ok(Answer::Done)
    }

    async fn serve(&self, serving: Serving) -> Result<Answer, GateError> {
        let parts = Parts {
            client: self.client.clone(),
            http: Arc::clone(&self.http),
            issuer: self.setup.issuer.clone(),
        };
        let server = Server::start(serving, parts);
        *self.server.lock().await = Some(server);
        Ok(Answer::Done)
    }

    async fn server(&self) -> Result<Arc<Server>, GateError> {
        let server = self.server.lock().await;
        let server = server.as_ref().map(Arc::clone);
        server.ok_or_else(|| GateError::new("nobody was told to serve"))
    }

    async fn sign_out(&self, accounts: &[String], after: &[Duration]) -> Result<Answer, GateError> {
        let sign_out = async |(index, id): (usize, &String)| {
            let account = self.account(id).await?;
            pause(after, index).await;
            let client = &self.setup.issuer.client_id;
            let signed_out = self
                .cache
                .sign_out(&account.partition, client, SignOutScope::Client)
                .await;
            Ok::<_, GateError>(SignedOut {
                found: signed_out.doing("could not sign out")?,
                at: micros(SystemClock.monotonic()),
            })
        };
        let ended = join_all(accounts.iter().enumerate().map(sign_out)).await;
        ended.into_iter().collect::<Result<_, _>>().map(Answer::SignedOut)
    }
}

/// Waits for the time that is meant for the one of this index.
async fn pause(after: &[Duration], index: usize) {
    if let Some(after) = after.get(index) {
        SystemClock.sleep(*after).await;
    }
}
