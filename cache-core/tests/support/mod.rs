//! An issuer in memory that rotates refresh tokens strictly, and what tests of the cache share.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test uses its part; a failure here is a failed test"
)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::cache::{
    AcquireOptions, AppTokenCall, AuthorityCall, AuthorityRefusal, CallError, CallOutcome, Redemption,
    RefusedBecause, TokenCache, UnknownOutcomePolicy,
};
use cache_core::random::OsRandom;
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenContext, TokenRequest,
    TokenResponse, TokenType,
};
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{
    Capabilities, MemoryStore, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch,
};
use cache_core::strategy::Strategy;
use cache_core::time::{Clock, UnixSeconds};
use cache_testkit::clock::ManualClock;
use futures_core::stream::BoxStream;
use tokio::sync::Semaphore;

pub const CLIENT: &str = "client";
pub const ISSUER: &str = "https://issuer.example";

/// A clock, and an empty store that goes by it.
pub fn parts() -> (ManualClock, Arc<dyn Store>) {
    let clock = ManualClock::new();
    let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
    (clock, Arc::new(store))
}

pub async fn open(store: &Arc<dyn Store>, clock: &ManualClock) -> TokenCache {
    open_with(store, clock, Strategy::desktop_tool()).await
}

pub async fn open_with(store: &Arc<dyn Store>, clock: &ManualClock, strategy: Strategy) -> TokenCache {
    TokenCache::builder(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .strategy(strategy)
        .open_sealed(
            Namespace::default(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
        )
        .await
        .unwrap()
}

pub fn user() -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: "sub-1".into(),
    }
}

pub fn request(scopes: &str) -> Arc<TokenRequest> {
    request_of(CLIENT, scopes)
}

pub fn request_of(client: &str, scopes: &str) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse(scopes);
    Arc::new(TokenRequest::new(
        user(),
        AuthorityKind::Oidc,
        client,
        "issuer.example",
        "",
        scopes,
    ))
}

pub fn retry_once() -> AcquireOptions {
    AcquireOptions {
        unknown_outcome: UnknownOutcomePolicy::RetryOnce,
        ..AcquireOptions::default()
    }
}

/// Moves the clock on whenever somebody sleeps, so that pauses end and deadlines come.
pub fn ticking(clock: &ManualClock) -> AbortOnDrop {
    let clock = clock.clone();
    AbortOnDrop(tokio::spawn(async move {
        loop {
            if clock.sleepers() > 0 {
                clock.advance(Duration::from_millis(20));
            }
            tokio::task::yield_now().await;
        }
    }))
}

pub struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets other tasks run until they have nothing to do.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A store that tells nobody of changes, and may take small records only.
#[derive(Debug)]
pub struct Quiet {
    pub inner: Arc<dyn Store>,
    pub max_value_bytes: usize,
}

impl Quiet {
    pub fn over(inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self {
            inner,
            max_value_bytes: usize::MAX,
        })
    }
}

#[async_trait]
impl Store for Quiet {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.inner.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.inner.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.inner.put(key, payload, options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.inner.delete(key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        self.inner.scan(prefix)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            watch: false,
            max_value_bytes: self
                .max_value_bytes
                .min(self.inner.capabilities().max_value_bytes),
            ..self.inner.capabilities()
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        None
    }
}

/// What happens to the next request, instead of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Mishap {
    /// It is executed and its reply is lost.
    LostReply,
    /// It never leaves.
    NotSent,
    /// The authority asks for the user.
    Interaction,
    /// Too many requests.
    Throttled,
    /// The caller's own code fails before it sends anything.
    Panic,
    /// The authority answers for somebody else.
    OtherAccount,
}

/// An issuer that revokes a family when one of its tokens is used twice.
pub struct Issuer {
    clock: ManualClock,
    state: Mutex<State>,
    /// While it has no permits, requests wait after they were executed and before they are answered.
    gate: Semaphore,
    arrived: tokio::sync::watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    next: usize,
    live: HashMap<String, usize>,
    spent: HashMap<String, usize>,
    revoked: HashSet<usize>,
    families: usize,
    redeemed: Vec<String>,
    mishaps: VecDeque<Mishap>,
    lifetime: i64,
    obtained: usize,
    reuse_is_safe: bool,
}

impl Issuer {
    pub fn new(clock: &ManualClock) -> Arc<Self> {
        let state = State {
            lifetime: 3600,
            ..State::default()
        };
        Arc::new(Self {
            clock: clock.clone(),
            state: Mutex::new(state),
            gate: Semaphore::new(1_000_000),
            arrived: tokio::sync::watch::Sender::new(0),
        })
    }

    pub fn lifetime(&self, seconds: i64) {
        self.state.lock().unwrap().lifetime = seconds;
    }

    /// From now on a refresh token may be used again and again, as Entra's may.
    pub fn allow_reuse(&self) {
        self.state.lock().unwrap().reuse_is_safe = true;
    }

    pub fn mishap(&self, mishap: Mishap) {
        self.state.lock().unwrap().mishaps.push_back(mishap);
    }

    /// From now on requests wait until [`open_gate`](Self::open_gate).
    pub fn close_gate(&self) {
        self.gate.forget_permits(1_000_000);
    }

    pub fn open_gate(&self) {
        self.gate.add_permits(1_000_000);
    }

    pub async fn arrived(&self, count: usize) {
        self.arrived
            .subscribe()
            .wait_for(|arrived| *arrived >= count)
            .await
            .unwrap();
    }

    /// How many refresh requests were executed.
    pub fn redeemed(&self) -> usize {
        self.state.lock().unwrap().redeemed.len()
    }

    /// The refresh tokens that were sent, in order.
    pub fn sent(&self) -> Vec<String> {
        self.state.lock().unwrap().redeemed.clone()
    }

    /// How many mishaps are still to come.
    pub fn mishaps(&self) -> usize {
        self.state.lock().unwrap().mishaps.len()
    }

    /// Whether a refresh token was sent more than once.
    pub fn sent_twice(&self) -> bool {
        let state = self.state.lock().unwrap();
        let distinct: HashSet<_> = state.redeemed.iter().collect();
        distinct.len() < state.redeemed.len()
    }

    pub fn obtained(&self) -> usize {
        self.state.lock().unwrap().obtained
    }

    pub fn revoked_families(&self) -> usize {
        self.state.lock().unwrap().revoked.len()
    }

    /// A first sign-in's reply.
    pub fn sign_in(&self, scopes: &str) -> TokenResponse {
        self.sign_in_as(CLIENT, scopes)
    }

    pub fn sign_in_as(&self, client: &str, scopes: &str) -> TokenResponse {
        let mut state = self.state.lock().unwrap();
        state.families += 1;
        let family = state.families;
        let refresh_token = state.issue(family);
        state.response(client, scopes, Some(refresh_token), self.clock.now().to_seconds())
    }

    /// The call that a client would make to refresh for `scopes`.
    pub fn call(self: &Arc<Self>, scopes: &str) -> Arc<Call> {
        Arc::new(Call {
            issuer: Arc::clone(self),
            scopes: scopes.to_owned(),
        })
    }
}

impl State {
    fn issue(&mut self, family: usize) -> String {
        self.next += 1;
        let token = format!("canary-refresh-{}", self.next);
        self.live.insert(token.clone(), family);
        token
    }

    fn response(
        &mut self,
        client: &str,
        scopes: &str,
        refresh_token: Option<String>,
        now: UnixSeconds,
    ) -> TokenResponse {
        self.next += 1;
        TokenResponse {
            client_id: client.into(),
            environment: "issuer.example".into(),
            realm: String::new(),
            scopes: ScopeSet::parse(scopes),
            token_type: TokenType::Bearer,
            access_token: Some(Secret::new(format!("canary-access-{}", self.next))),
            requested_at: now,
            expires_on: now.saturating_add(Duration::from_secs(self.lifetime.unsigned_abs())),
            extended_expires_on: None,
            refresh_on: None,
            refresh_token: refresh_token.map(Secret::new),
            refresh_token_expires_on: None,
            family_id: None,
            id_token: None,
            account: Some(Account {
                home_account_id: "sub-1".into(),
                environment: "issuer.example".into(),
                realm: String::new(),
                local_account_id: "sub-1".into(),
                username: "alice@example.test".into(),
                authority_type: "Generic".into(),
                name: None,
                issuer: Some(ISSUER.into()),
                tenant_profiles: Vec::new(),
                foreign: None,
            }),
            context: TokenContext::default(),
        }
    }

    fn redeem(&mut self, token: &str, scopes: &str, now: UnixSeconds) -> CallOutcome {
        self.redeemed.push(token.to_owned());
        let reused = self.spent.get(token).copied();
        if let (Some(family), true) = (reused, self.reuse_is_safe) {
            let successor = self.issue(family);
            return CallOutcome::Granted(Box::new(self.response(CLIENT, scopes, Some(successor), now)));
        }
        if let Some(family) = reused {
            self.revoked.insert(family);
            self.live.retain(|_, live| *live != family);
        }
        let Some(family) = self.live.remove(token) else {
            return CallOutcome::Refused(refusal("invalid_grant", RefusedBecause::Token));
        };
        self.spent.insert(token.to_owned(), family);
        let successor = self.issue(family);
        CallOutcome::Granted(Box::new(self.response(CLIENT, scopes, Some(successor), now)))
    }
}

pub fn refusal(error: &str, about: RefusedBecause) -> AuthorityRefusal {
    AuthorityRefusal {
        error: error.into(),
        suberror: None,
        claims: None,
        description: None,
        correlation_id: None,
        about,
    }
}

pub struct Call {
    issuer: Arc<Issuer>,
    scopes: String,
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        let issuer = &self.issuer;
        let now = issuer.clock.now().to_seconds();
        let mishap = issuer.state.lock().unwrap().mishaps.pop_front();
        assert!(!matches!(mishap, Some(Mishap::Panic)), "expected by the test");
        if let Some(Mishap::NotSent) = mishap {
            return CallOutcome::NotSent(CallError::new("no route"));
        }
        if let Some(Mishap::Interaction) = mishap {
            return CallOutcome::Refused(refusal("interaction_required", RefusedBecause::Interaction));
        }
        if let Some(Mishap::Throttled) = mishap {
            return CallOutcome::Refused(refusal(
                "temporarily_unavailable",
                RefusedBecause::Throttled(None),
            ));
        }
        let outcome =
            issuer
                .state
                .lock()
                .unwrap()
                .redeem(redemption.refresh_token.expose(), &self.scopes, now);
        issuer.arrived.send_modify(|count| *count += 1);
        let _permit = issuer.gate.acquire().await.unwrap();
        match mishap {
            Some(Mishap::LostReply) => CallOutcome::OutcomeUnknown(CallError::new("connection reset")),
            Some(Mishap::OtherAccount) => match outcome {
                CallOutcome::Granted(mut response) => {
                    response.account.as_mut().unwrap().home_account_id = "sub-2".into();
                    CallOutcome::Granted(response)
                }
                other => other,
            },
            _ => outcome,
        }
    }
}

#[async_trait]
impl AppTokenCall for Call {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        let issuer = &self.issuer;
        let now = issuer.clock.now().to_seconds();
        issuer.arrived.send_modify(|count| *count += 1);
        let _permit = issuer.gate.acquire().await.unwrap();
        let mut state = issuer.state.lock().unwrap();
        if let Some(Mishap::NotSent) = state.mishaps.pop_front() {
            return CallOutcome::NotSent(CallError::new("no route"));
        }
        state.obtained += 1;
        let mut response = state.response(CLIENT, &self.scopes, None, now);
        response.account = None;
        CallOutcome::Granted(Box::new(response))
    }
}
