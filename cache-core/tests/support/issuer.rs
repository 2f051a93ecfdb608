//! An issuer in memory that rotates refresh tokens strictly.

use super::*;

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

    /// From now on what it grants is for a whole family of clients.
    pub fn grant_to_family(&self, id: &str) {
        self.state.lock().unwrap().foci = Some(id.to_owned());
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

    /// The refresh tokens that the cache let go, in order.
    pub fn discarded(&self) -> Vec<String> {
        self.state.lock().unwrap().discarded.clone()
    }

    /// Whether `token` could be redeemed.
    pub fn is_live(&self, token: &Secret) -> bool {
        self.state.lock().unwrap().live.contains_key(token.expose())
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
        self.call_as(CLIENT, scopes)
    }

    pub fn call_as(self: &Arc<Self>, client: &str, scopes: &str) -> Arc<Call> {
        Arc::new(Call {
            client: client.to_owned(),
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
    client: String,
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
        let token = redemption.refresh_token.expose();
        let outcome = issuer
            .state
            .lock()
            .unwrap()
            .redeem(token, &self.client, &self.scopes, now);
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

    /// Revokes the whole family, as RFC 7009 section 2.1 has it.
    async fn discard(&self, refresh_token: Secret, _time_limit: Duration) {
        let mut state = self.issuer.state.lock().unwrap();
        state.discarded.push(refresh_token.expose().to_owned());
        if let Some(family) = state.live.get(refresh_token.expose()).copied() {
            state.live.retain(|_, live| *live != family);
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
