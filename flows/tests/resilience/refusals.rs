//! A silent acquisition whose refresh is told to wait: the token stays usable, and so does everything else.

use std::sync::Arc;

use cache_core::cache::{CacheError, CachedAccount, RefusedBecause, UnknownOutcomePolicy};
use cache_core::store::Store;
use cache_core::time::Clock;
use flows::Error;
use flows::client::PublicClient;
use flows::error::ThrottledBecause;
use std::time::Duration;

use crate::fleet::{DEADLINE, memory_store, process, sign_in};
use crate::issuer::{Issuer, Mood};
use crate::virtual_clock::VirtualClock;

struct Scene {
    clock: VirtualClock,
    issuer: Arc<Issuer>,
    store: Arc<dyn Store>,
    policy: Option<UnknownOutcomePolicy>,
}

impl Scene {
    fn new(policy: Option<UnknownOutcomePolicy>) -> Self {
        let clock = VirtualClock::new();
        Self {
            clock,
            issuer: Arc::new(Issuer::new(clock, policy.is_some())),
            store: memory_store(&clock),
            policy,
        }
    }

    fn process(&self) -> PublicClient {
        process(&self.store, &self.clock, &self.issuer, self.policy).0
    }

    async fn signed_in(&self) -> (PublicClient, CachedAccount) {
        let (client, cache) = process(&self.store, &self.clock, &self.issuer, self.policy);
        sign_in(&cache, "user").await;
        let account = client.accounts().await.unwrap().accounts.remove(0);
        (client, account)
    }

    fn refuses(&self, status: u16, retry_after: &str) {
        let mood = Mood::Refuses(status, Some(retry_after.to_owned()), String::new());
        self.issuer.mood(mood);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_told_to_wait_leaves_no_marker_and_is_held_back() {
    let scene = Scene::new(None);
    let (client, account) = scene.signed_in().await;
    let ask = |scope: &'static str| client.acquire_token_silent([scope]).account(&account);
    scene.refuses(429, "60");
    let Err(Error::Authority(refused)) = ask("b").await else {
        panic!("no refusal")
    };
    let asked = RefusedBecause::Throttled(Some(Duration::from_secs(60)));
    assert_eq!(refused.refusal().about, asked);
    let at = scene.clock.monotonic();

    // In this process the request is held back, without a word to the authority; what is cached serves.
    scene.issuer.mood(Mood::Answers);
    let Err(Error::Throttled(throttled)) = ask("b").await else {
        panic!("it was sent")
    };
    assert_eq!(throttled.because(), ThrottledBecause::TooManyRequests);
    assert_eq!(throttled.host(), "id.example");
    assert_eq!(ask("a").await.unwrap().access_token().expose(), "at-of-user");
    assert_eq!(scene.issuer.requests(), 1);
    // No marker is left: another scope's request gets the token at once, in this process as in any other.
    ask("c").await.unwrap();
    let other = scene.process();
    other.acquire_token_silent(["d"]).account(&account).await.unwrap();
    assert!(scene.clock.monotonic() - at < Duration::from_secs(5));

    scene.clock.sleep(Duration::from_secs(60)).await;
    ask("b").await.unwrap();
    assert_eq!((scene.issuer.requests(), scene.issuer.reused()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn the_one_resend_waits_for_retry_after_too_and_stays_one() {
    let scene = Scene::new(Some(UnknownOutcomePolicy::RetryOnce));
    let (client, account) = scene.signed_in().await;
    let ask = || client.acquire_token_silent(["b"]).account(&account);
    scene.refuses(503, "600");
    let first = ask().await;
    assert!(
        matches!(first, Err(Error::Cache(CacheError::OutcomeUnknown(_)))),
        "{first:?}"
    );
    scene.clock.sleep(2 * DEADLINE).await;
    for _ in 0..3 {
        let held_back = ask().await;
        assert!(matches!(held_back, Err(Error::Throttled(_))), "{held_back:?}");
    }
    assert_eq!(scene.issuer.requests(), 1);
    scene.clock.sleep(Duration::from_secs(600)).await;
    scene.issuer.mood(Mood::LosesReplies);
    ask().await.unwrap_err();
    scene.clock.sleep(2 * DEADLINE).await;
    assert!(matches!(ask().await, Err(Error::InteractionRequired(_))));
    assert_eq!(scene.issuer.requests(), 2);
}
