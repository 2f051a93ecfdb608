//! Two processes, of which one does not always hear from the store.

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use cache_core::cache::{AcquireOptions, Acquired, CacheError, Freshness, SignOutScope, TokenCache};
use cache_core::schema::{PartitionKey, TokenRequest, TokenResponse};
use cache_core::secret::Secret;
use cache_core::store::Store;
use cache_core::store::error::Operation;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use tokio::task::JoinHandle;

pub const HOUR: Duration = Duration::from_secs(3600);

pub type Answer = Result<Acquired, CacheError>;

/// A process that signs users in, over a store that it does not always hear from, and another one.
pub struct World {
    pub clock: ManualClock,
    pub issuer: Arc<Issuer>,
    pub store: Arc<dyn Store>,
    pub faults: FaultStore,
    pub front_end: TokenCache,
    pub worker: TokenCache,
}

impl World {
    pub async fn new() -> Self {
        let clock = ManualClock::new();
        let (faults, store) = beside_faults(&clock);
        let faulty: Arc<dyn Store> = Arc::new(faults.clone());
        Self {
            issuer: Issuer::new(&clock),
            front_end: open(&faulty, &clock).await,
            worker: open(&store, &clock).await,
            clock,
            store,
            faults,
        }
    }

    /// With a user who is signed in.
    pub async fn signed_in() -> Self {
        let world = Self::new().await;
        let granted = world.issuer.sign_in("a");
        world.worker.sign_in(&user(), granted).await.unwrap();
        world
    }

    /// Has the front end store what was granted. Its write of the record of `key` meets the `fault`, and before it looks what became of
    /// that, others do as `meanwhile` says.
    pub async fn store<R: Send + 'static, T>(
        &self,
        key: &PartitionKey,
        fault: Fault,
        storing: impl Future<Output = Result<R, CacheError>> + Send + 'static,
        meanwhile: impl AsyncFnOnce() -> T,
    ) -> T {
        let stored_key = self.front_end.stored_key(key);
        let is_its = move |key: &cache_core::store::StoreKey| *key == stored_key;
        self.faults
            .inject(fault.on(Operation::Put).at_key(is_its.clone()).once());
        // The first look comes before the write.
        let (pause, look) = Fault::pause_before();
        self.faults
            .inject(pause.on(Operation::Get).at_key(is_its).after(1).once());
        let storing = tokio::spawn(storing);
        look.reached().await;
        let done = meanwhile().await;
        look.release();
        let _ticking = ticking(&self.clock);
        storing.await.unwrap().unwrap();
        done
    }

    pub fn sign_in(&self, granted: TokenResponse) -> impl Future<Output = Answer> + Send + 'static {
        let cache = self.front_end.clone();
        let token = granted.access_token.clone().unwrap();
        async move {
            let answer = cache.sign_in(&user(), granted).await;
            answer.inspect(|answer| assert_has(answer, &token))
        }
    }

    pub async fn sign_out(&self, client_id: &str) -> bool {
        let user = user();
        let signed_out = self.worker.sign_out(&user, client_id, SignOutScope::Client);
        signed_out.await.unwrap()
    }

    pub fn begin(
        &self,
        session: &PartitionKey,
        granted: TokenResponse,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let (cache, session) = (self.front_end.clone(), session.clone());
        let token = granted.access_token.clone().unwrap();
        async move {
            let answer = cache.begin_session(&user(), &session, granted, HOUR).await;
            answer.inspect(|answer| assert_has(answer, &token))
        }
    }

    /// Has an access token refreshed that is still good.
    pub fn refresh(&self, cache: &TokenCache, request: Arc<TokenRequest>) -> JoinHandle<Answer> {
        let options = AcquireOptions {
            freshness: Freshness::Forced { rejected: None },
            ..AcquireOptions::default()
        };
        let (cache, call) = (cache.clone(), self.issuer.call("a"));
        tokio::spawn(async move { cache.acquire(request, options, call).await })
    }

    /// Each refreshes, and the issuer gets no token twice.
    pub async fn go_on(&self, request: &Arc<TokenRequest>) {
        for cache in [&self.worker, &self.front_end, &self.worker] {
            self.refresh(cache, Arc::clone(request)).await.unwrap().unwrap();
        }
        assert!(!self.issuer.sent_twice());
    }
}

/// How many refresh tokens the user's record has.
pub async fn refresh_tokens(cache: &TokenCache) -> usize {
    let export = cache.export().await.unwrap();
    let file: serde_json::Value = serde_json::from_slice(export.json.expose()).unwrap();
    file["RefreshToken"].as_object().unwrap().len()
}

/// What was granted is its caller's, whatever became of it in the cache.
fn assert_has(answer: &Acquired, token: &Secret) {
    assert_eq!(answer.token().secret.expose(), token.expose());
}
