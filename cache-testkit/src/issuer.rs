//! An issuer in memory that rotates refresh tokens strictly, for tests without a network.
//!
//! It grants, counts and revokes as a strict OpenID provider does (RFC 9700 section 4.14.2), by the clock of the test, and it can be held up and
//! made to fail at the moments that matter. What it grants goes into a cache by [`sign_in`](Issuer::sign_in) and
//! [`call`](Issuer::call):
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::cache::{AcquireOptions, TokenCache};
//! use cache_core::seal::Namespace;
//! use cache_core::store::MemoryStore;
//! use cache_core::strategy::{SealPolicy, Strategy};
//! use cache_testkit::clock::ManualClock;
//! use cache_testkit::issuer::{Issuer, request, user};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let clock = ManualClock::new();
//! let issuer = Issuer::new(&clock);
//! let cache = TokenCache::builder(Arc::new(MemoryStore::new()))
//!     .clock(Arc::new(clock.clone()))
//!     .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
//!     .open_plaintext(Namespace::default())?;
//! cache.sign_in(&user(), issuer.sign_in("mail")).await?;
//!
//! clock.advance(std::time::Duration::from_secs(3600));
//! cache.acquire(request("mail"), AcquireOptions::default(), issuer.call("mail")).await?;
//! assert_eq!((issuer.redeemed(), issuer.revoked_families()), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod call;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::cache::{AuthorityRefusal, CallOutcome, RefusedBecause};
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenContext, TokenRequest,
    TokenResponse, TokenType,
};
use cache_core::secret::Secret;
use cache_core::time::{Clock, UnixSeconds};
use tokio::sync::Semaphore;

pub use self::call::Call;
use crate::clock::ManualClock;

/// The client that asks, unless another is named.
pub const CLIENT: &str = "client";
/// Who it is.
pub const ISSUER: &str = "https://issuer.example";

/// The partition of its one user.
#[must_use]
pub fn user() -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: "sub-1".into(),
    }
}

/// A request for `scopes` of its user.
#[must_use]
pub fn request(scopes: &str) -> Arc<TokenRequest> {
    request_of(CLIENT, scopes)
}

/// The same, of another client.
#[must_use]
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
    discarded: Vec<String>,
    mishaps: VecDeque<Mishap>,
    lifetime: i64,
    obtained: usize,
    reuse_is_safe: bool,
    foci: Option<String>,
}

impl Issuer {
    /// An issuer by this clock, whose access tokens live for an hour.
    #[must_use]
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

    /// From now on its access tokens live for so many seconds.
    pub fn lifetime(&self, seconds: i64) {
        self.state().lifetime = seconds;
    }

    /// From now on a refresh token may be used again and again, as Entra's may.
    pub fn allow_reuse(&self) {
        self.state().reuse_is_safe = true;
    }

    /// From now on what it grants is for a whole family of clients.
    pub fn grant_to_family(&self, id: &str) {
        self.state().foci = Some(id.to_owned());
    }

    /// The next request that nothing else is to happen to meets this.
    pub fn mishap(&self, mishap: Mishap) {
        self.state().mishaps.push_back(mishap);
    }

    /// From now on requests wait until [`open_gate`](Self::open_gate).
    pub fn close_gate(&self) {
        self.gate.forget_permits(1_000_000);
    }

    /// Answers what waits, and no longer holds requests up.
    pub fn open_gate(&self) {
        self.gate.add_permits(1_000_000);
    }

    /// Waits until so many requests were executed, answered or not.
    pub async fn arrived(&self, count: usize) {
        // The sender lives as long as `self`, so this ends only when it is so.
        let _ = self
            .arrived
            .subscribe()
            .wait_for(|arrived| *arrived >= count)
            .await;
    }

    /// How many refresh requests were executed.
    #[must_use]
    pub fn redeemed(&self) -> usize {
        self.state().redeemed.len()
    }

    /// The refresh tokens that were sent, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<String> {
        self.state().redeemed.clone()
    }

    /// The refresh tokens that the cache let go, in order.
    #[must_use]
    pub fn discarded(&self) -> Vec<String> {
        self.state().discarded.clone()
    }

    /// Whether `token` could be redeemed.
    #[must_use]
    pub fn is_live(&self, token: &Secret) -> bool {
        self.state().live.contains_key(token.expose())
    }

    /// How many refresh tokens could be redeemed.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state().live.len()
    }

    /// How many mishaps are still to come.
    #[must_use]
    pub fn mishaps(&self) -> usize {
        self.state().mishaps.len()
    }

    /// Whether a refresh token was sent more than once.
    #[must_use]
    pub fn sent_twice(&self) -> bool {
        let state = self.state();
        let distinct: HashSet<_> = state.redeemed.iter().collect();
        distinct.len() < state.redeemed.len()
    }

    /// How many tokens of the application itself were granted.
    #[must_use]
    pub fn obtained(&self) -> usize {
        self.state().obtained
    }

    /// How many sign-ins ended because a refresh token came twice.
    #[must_use]
    pub fn revoked_families(&self) -> usize {
        self.state().revoked.len()
    }

    /// A first sign-in's reply.
    #[must_use]
    pub fn sign_in(&self, scopes: &str) -> TokenResponse {
        self.sign_in_as(CLIENT, scopes)
    }

    /// The same, of another client.
    #[must_use]
    pub fn sign_in_as(&self, client: &str, scopes: &str) -> TokenResponse {
        let mut state = self.state();
        state.families += 1;
        let family = state.families;
        let refresh_token = state.issue(family);
        state.response(client, scopes, Some(refresh_token), self.clock.now().to_seconds())
    }

    /// The call that a client would make to refresh for `scopes`.
    #[must_use]
    pub fn call(self: &Arc<Self>, scopes: &str) -> Arc<Call> {
        self.call_as(CLIENT, scopes)
    }

    /// The same, of another client.
    #[must_use]
    pub fn call_as(self: &Arc<Self>, client: &str, scopes: &str) -> Arc<Call> {
        Arc::new(Call {
            client: client.to_owned(),
            issuer: Arc::clone(self),
            scopes: scopes.to_owned(),
        })
    }
}

impl Issuer {
    fn state(&self) -> MutexGuard<'_, State> {
        // A call that panics on purpose leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
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
            requested_scopes: ScopeSet::parse(scopes),
            token_type: TokenType::Bearer,
            access_token: Some(Secret::new(format!("canary-access-{}", self.next))),
            requested_at: now,
            expires_on: now.saturating_add(Duration::from_secs(self.lifetime.unsigned_abs())),
            extended_expires_on: None,
            refresh_on: None,
            refresh_token: refresh_token.map(Secret::new),
            refresh_token_expires_on: None,
            family_id: self.foci.clone(),
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

    fn redeem(&mut self, token: &str, client: &str, scopes: &str, now: UnixSeconds) -> CallOutcome {
        self.redeemed.push(token.to_owned());
        let reused = self.spent.get(token).copied();
        if let (Some(family), true) = (reused, self.reuse_is_safe) {
            let successor = self.issue(family);
            return CallOutcome::Granted(Box::new(self.response(client, scopes, Some(successor), now)));
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
        CallOutcome::Granted(Box::new(self.response(client, scopes, Some(successor), now)))
    }
}

/// A refusal with this error code.
#[must_use]
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
