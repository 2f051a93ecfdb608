//! A member that serves users by itself, for hours: a front end, which signs them in and out, or a worker, which acts for them.

pub mod diary;
mod front_end;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::cache::CachedAccount;
use cache_core::time::{Clock, SystemClock};
use flows::client::{ConfidentialClient, SessionId};
use flows::{AuthenticationResult, Error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use self::diary::{Book, Cause, Doing, Owner, now};
use super::Issuer;
use super::client::Client;
use super::http::Hand;
use super::introspection::introspect;
use super::orders::Token;
use crate::gate::{Doing as _, GateError};

/// How long whoever met an error waits before the next try.
const AGAIN: Duration = Duration::from_millis(300);

/// What a member serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serving {
    /// What it is to them.
    pub part: Part,
    /// The users, by their numbers.
    pub users: Vec<User>,
    /// Whether the issuer begins sessions that go on without the user.
    pub sessions: bool,
    /// Chooses moments.
    pub seed: u64,
}

/// What a member is to users.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Part {
    /// It signs them in and out.
    FrontEnd {
        /// The password of all.
        password: String,
        /// How long a user stays, at least and at most.
        stays: (Duration, Duration),
        /// How long a user stays away, at least; at most twice as long.
        away: Duration,
    },
    /// It acts for them.
    Worker,
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// The sign-in name.
    pub name: String,
    /// The home account ID.
    pub id: String,
}

/// What a member serves with.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) http: Arc<Hand>,
    pub(super) issuer: Issuer,
}

/// A member that serves.
pub(super) struct Server {
    serving: Serving,
    parts: Parts,
    pub(super) diary: Book,
    is_settled: AtomicBool,
    /// Of each owner, the last token that the issuer was asked about.
    known: Mutex<Vec<(Owner, String)>>,
}

/// What came of asking for a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Served,
    MustSignIn,
    Failed,
}

impl Server {
    pub(super) fn start(serving: Serving, parts: Parts) -> Arc<Self> {
        let server = Arc::new(Self {
            serving,
            parts,
            diary: Book::default(),
            is_settled: AtomicBool::new(false),
            known: Mutex::default(),
        });
        let watching = Arc::clone(&server);
        // A panic in a task that the cache started reaches no caller.
        std::panic::set_hook(Box::new(move |panic| watching.diary.violation(panic)));
        for user in 0..server.serving.users.len() {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                match &server.serving.part {
                    Part::FrontEnd {
                        password,
                        stays,
                        away,
                    } => front_end::attend(&server, user, password, *stays, *away).await,
                    Part::Worker => worker::act_for(&server, user).await,
                }
            });
        }
        let server_itself = Arc::clone(&server);
        tokio::spawn(async move { worker::act_for_itself(&server_itself).await });
        server
    }

    /// From now on nobody is signed out.
    pub(super) fn settle(&self) {
        self.is_settled.store(true, Ordering::SeqCst);
    }

    fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::SeqCst)
    }

    fn chance(&self, of: usize) -> StdRng {
        StdRng::seed_from_u64(self.serving.seed.wrapping_mul(1_000).wrapping_add(of as u64))
    }

    fn client(&self) -> Result<&ConfidentialClient, GateError> {
        let client = self.parts.client.confidential();
        client.ok_or_else(|| GateError::new("only a client with a secret serves"))
    }

    fn session(&self, user: usize) -> Result<SessionId, GateError> {
        let id = &self.serving.users[user].id;
        SessionId::with_expected_account(format!("job-{user}"), id).doing("not the name of a session")
    }

    /// The account of a user, once the cache has it.
    async fn account(&self, user: usize) -> CachedAccount {
        loop {
            if let Ok(listing) = self.parts.client.accounts().await {
                let mut accounts = listing.accounts.into_iter();
                let id = &self.serving.users[user].id;
                if let Some(account) = accounts.find(|account| account.account.home_account_id == *id) {
                    return account;
                }
            }
            SystemClock.sleep(AGAIN).await;
        }
    }

    async fn user_token(&self, user: usize, account: &CachedAccount, force: bool) -> Asked {
        let (began, wall) = (now(), SystemClock.now().0);
        let scope = &self.parts.issuer.scope;
        let asked = self.parts.client.acquire(scope, account, force).await;
        self.write(Owner::User(user), asked, began, wall).await
    }

    async fn session_token(&self, user: usize) -> Result<Asked, GateError> {
        let (client, id) = (self.client()?, self.session(user)?);
        let (began, wall) = (now(), SystemClock.now().0);
        let scope = [&self.parts.issuer.scope];
        let asked = client.acquire_token_in_long_running_session(&id, scope).await;
        Ok(self.write(Owner::Session(user), asked, began, wall).await)
    }

    async fn application_token(&self) -> Result<Asked, GateError> {
        let client = self.client()?;
        let (began, wall) = (now(), SystemClock.now().0);
        let asked = client.acquire_token_for_client([&self.parts.issuer.scope]).await;
        Ok(self.write(Owner::Application, asked, began, wall).await)
    }

    /// Writes down what a call that began then was told.
    async fn write(
        &self,
        owner: Owner,
        asked: Result<AuthenticationResult, Error>,
        began: u64,
        wall: i64,
    ) -> Asked {
        let result = match asked {
            Ok(result) => result,
            Err(error) => {
                let cause = Cause::of(&error);
                let must_sign_in = matches!(cause, Cause::SpentUnknown | Cause::MustSignIn(_));
                self.diary.failed(owner, Doing::Asking, cause, began);
                return if must_sign_in {
                    Asked::MustSignIn
                } else {
                    Asked::Failed
                };
            }
        };
        let (token, metadata) = (Token::of(&result), result.metadata());
        self.diary
            .served(owner, &token, began, metadata.served_during_outage);
        self.diary.add(&format!("tokens out of {}", source(&token)));
        // Whoever is stopped after the cache has looked at the clock is served late, so the call's beginning counts.
        if result.expires_on().to_millis().0 <= wall {
            self.diary
                .violation(format_args!("{owner:?} was served a token that had expired"));
        }
        if self.is_new(owner, &token.fingerprint) {
            self.ask_whose(owner, &result).await;
        }
        Asked::Served
    }

    fn is_new(&self, owner: Owner, fingerprint: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, last)) if last == fingerprint => false,
            Some((_, last)) => {
                fingerprint.clone_into(last);
                true
            }
            None => {
                known.push((owner, fingerprint.to_owned()));
                true
            }
        }
    }

    /// Asks the issuer whose a token is.
    async fn ask_whose(&self, owner: Owner, result: &AuthenticationResult) {
        let began = now();
        let Ok(said) = introspect(&self.parts.issuer, &self.parts.http, result).await else {
            return self.diary.add("questions that the issuer did not answer");
        };
        // It has expired meanwhile, or will before the issuer has looked.
        let is_old = result.expires_on().0 <= SystemClock.now().to_seconds().0 + 1;
        match (&said.client, said.subject.as_deref()) {
            (None, _) if is_old => {}
            (None, _) => self
                .diary
                .failed(owner, Doing::Introspecting, Cause::Inactive, began),
            (Some(client), subject) => {
                self.diary.add("tokens whose owner the issuer was asked");
                let is_right = match owner {
                    Owner::User(user) | Owner::Session(user) => {
                        subject == Some(self.serving.users[user].id.as_str())
                    }
                    Owner::Application => {
                        subject.is_none_or(|subject| self.serving.users.iter().all(|user| user.id != subject))
                    }
                };
                if !is_right || *client != self.parts.issuer.client_id {
                    self.diary.violation(format_args!(
                        "{owner:?} was served a token of {subject:?} for {client}"
                    ));
                }
            }
        }
    }
}

fn source(token: &Token) -> &'static str {
    match (token.is_of_memory, token.is_of_authority) {
        (true, _) => "memory",
        (_, true) => "the issuer",
        _ => "the store",
    }
}

/// Waits for a time between these.
async fn pause(chance: &mut StdRng, (least, most): (Duration, Duration)) {
    let pause = least + most.saturating_sub(least).mul_f64(chance.random());
    SystemClock.sleep(pause).await;
}
