//! An issuer that grants tokens for assertions, and callers that present them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::*;
use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, Acquired, AppTokenCall, CacheError, CallError, CallOutcome, TokenCache,
};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_testkit::clock::ManualClock;
use tokio::sync::Semaphore;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// An authority that answers whoever presents an assertion.
pub(crate) struct Assertions {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) asked: AtomicUsize,
    pub(crate) gate: Semaphore,
    pub(crate) account: Option<&'static str>,
    pub(crate) refresh_token: bool,
    pub(crate) refresh_in: Option<Duration>,
    pub(crate) fails: std::sync::atomic::AtomicBool,
}

impl Assertions {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self {
            issuer: Issuer::new(clock),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(1000),
            account: Some("sub-1"),
            refresh_token: false,
            refresh_in: None,
            fails: false.into(),
        }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub(crate) struct Ask(pub(crate) Arc<Assertions>);

#[async_trait]
impl AppTokenCall for Ask {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        let Self(authority) = self;
        authority.asked.fetch_add(1, Ordering::SeqCst);
        let _permit = authority.gate.acquire().await.unwrap();
        if authority.fails.load(Ordering::SeqCst) {
            return CallOutcome::NotSent(CallError::new("no route"));
        }
        let mut response = authority.issuer.sign_in("a");
        match (&mut response.account, authority.account) {
            (Some(account), Some(id)) => account.home_account_id = id.into(),
            (account, _) => *account = None,
        }
        if !authority.refresh_token {
            response.refresh_token = None;
        }
        response.refresh_on = authority
            .refresh_in
            .map(|wait| response.requested_at.saturating_add(wait));
        CallOutcome::Granted(Box::new(response))
    }
}

pub(crate) fn session(assertion: u8) -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::AssertionHash([assertion; 32]),
    }
}

pub(crate) fn request_in(partition: PartitionKey) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse("a");
    let kind = AuthorityKind::Oidc;
    Arc::new(TokenRequest::new(
        partition,
        kind,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    ))
}

pub(crate) async fn token(
    cache: &TokenCache,
    authority: &Arc<Assertions>,
    assertion: u8,
) -> Result<Acquired, CacheError> {
    let call = Arc::new(Ask(Arc::clone(authority)));
    cache
        .acquire_session(
            request_in(session(assertion)),
            AcquireOptions::default(),
            call,
            LONGEST,
        )
        .await
}

pub(crate) async fn settled(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come to pass");
}
