//! A thousand replies that are lost after the refresh token was sent, in virtual time: who sends again, and when.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{CacheError, CachedAccount, UnknownOutcomePolicy};
use cache_core::time::Clock;
use flows::client::PublicClient;
use flows::{AuthenticationResult, Error, InteractionClassification};

use crate::fleet::{DEADLINE, memory_store, process, sign_in};
use crate::issuer::{Issuer, Mood};
use crate::virtual_clock::VirtualClock;

const USERS: usize = 1_000;
const PROCESSES: usize = 3;
const CROWD: usize = 50;

struct Scene {
    clock: VirtualClock,
    issuer: Arc<Issuer>,
    fleet: Vec<PublicClient>,
    accounts: Vec<CachedAccount>,
}

impl Scene {
    async fn new(users: usize, policy: Option<UnknownOutcomePolicy>) -> Self {
        let clock = VirtualClock::new();
        let allows_reuse = policy == Some(UnknownOutcomePolicy::RetryOnce);
        let issuer = Arc::new(Issuer::new(clock, allows_reuse));
        let store = memory_store(&clock);
        let mut fleet = Vec::new();
        for number in 0..PROCESSES {
            let (client, cache) = process(&store, &clock, &issuer, policy);
            if number == 0 {
                for user in 0..users {
                    sign_in(&cache, &format!("user-{user}")).await;
                }
            }
            fleet.push(client);
        }
        let accounts = fleet[0].accounts().await.unwrap().accounts;
        assert_eq!(accounts.len(), users);
        Self {
            clock,
            issuer,
            fleet,
            accounts,
        }
    }

    /// All processes ask for a token of every account, two tasks each, all at once; a crowd of accounts at a time, because
    /// each waiter looks at every change of the store.
    async fn everybody_asks(&self, scope: &'static str) -> Vec<Vec<Result<AuthenticationResult, Error>>> {
        self.ask(scope, 2 * PROCESSES).await
    }

    async fn ask(
        &self,
        scope: &'static str,
        callers: usize,
    ) -> Vec<Vec<Result<AuthenticationResult, Error>>> {
        let mut results = Vec::new();
        for crowd in self.accounts.chunks(CROWD) {
            let ask = |account: &CachedAccount, number: usize| {
                let (client, account) = (self.fleet[number % PROCESSES].clone(), account.clone());
                tokio::spawn(async move { client.acquire_token_silent([scope]).account(&account).await })
            };
            let tasks: Vec<Vec<_>> = crowd
                .iter()
                .map(|account| (0..callers).map(|number| ask(account, number)).collect())
                .collect();
            for of_account in tasks {
                let mut ended = Vec::new();
                for task in of_account {
                    ended.push(task.await.unwrap());
                }
                results.push(ended);
            }
        }
        results
    }

    /// Whoever asks for the scope of the cached token is served it.
    async fn valid_tokens_are_served(&self) {
        for (number, account) in self.accounts.iter().enumerate() {
            let client = &self.fleet[number % PROCESSES];
            let served = client.acquire_token_silent(["a"]).account(account).await.unwrap();
            let user = &account.account.home_account_id;
            assert_eq!(served.access_token().expose(), format!("at-of-{user}"));
        }
    }
}

fn is_unknown(result: &Result<AuthenticationResult, Error>) -> bool {
    matches!(result, Err(Error::Cache(CacheError::OutcomeUnknown(_))))
}

fn asks_for_the_user(result: &Result<AuthenticationResult, Error>) -> bool {
    matches!(result, Err(Error::InteractionRequired(required))
        if required.classification() == InteractionClassification::OutcomeUnknown)
}

#[tokio::test(start_paused = true)]
async fn a_rotating_issuer_is_never_sent_a_token_again() {
    let scene = Scene::new(USERS, None).await;
    scene.issuer.mood(Mood::LosesReplies);
    let results = scene.everybody_asks("b").await;
    for of_account in &results {
        // The one who sent it, and who waited for them in the same process, are told that nobody knows.
        assert!(of_account.iter().any(is_unknown), "{of_account:?}");
        for result in of_account {
            assert!(is_unknown(result) || asks_for_the_user(result), "{result:?}");
        }
    }
    assert_eq!(scene.issuer.requests(), USERS);
    scene.valid_tokens_are_served().await;
    // The issuer is well again, and time passes: nobody is tempted.
    scene.issuer.mood(Mood::Answers);
    for _ in 0..3 {
        scene.clock.sleep(DEADLINE).await;
        for result in scene.everybody_asks("b").await.iter().flatten() {
            assert!(asks_for_the_user(result), "{result:?}");
        }
    }
    scene.valid_tokens_are_served().await;
    let sent = scene.issuer.sent();
    assert_eq!(sent.len(), USERS);
    assert!(
        sent.values().all(|times| times.len() == 1),
        "a token was sent again"
    );
    assert_eq!(scene.issuer.reused(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reuse_safe_issuer_is_sent_each_token_once_more_and_only_after_the_deadline() {
    let scene = Scene::new(USERS, Some(UnknownOutcomePolicy::RetryOnce)).await;
    scene.issuer.mood(Mood::LosesReplies);
    assert!(scene.ask("b", 1).await.iter().flatten().all(is_unknown));
    assert_eq!(scene.issuer.requests(), USERS);
    // The deadline comes while everybody waits, one of them sends once more, and that reply is lost too.
    scene.clock.sleep(DEADLINE - Duration::from_secs(10)).await;
    let results = scene.everybody_asks("b").await;
    for result in results.iter().flatten() {
        assert!(is_unknown(result) || asks_for_the_user(result), "{result:?}");
    }
    scene.clock.sleep(DEADLINE).await;
    scene.everybody_asks("b").await;
    scene.clock.sleep(DEADLINE).await;
    scene.valid_tokens_are_served().await;
    scene.issuer.mood(Mood::Answers);
    for result in scene.everybody_asks("b").await.iter().flatten() {
        assert!(asks_for_the_user(result), "{result:?}");
    }
    let sent = scene.issuer.sent();
    assert_eq!(sent.len(), USERS);
    for times in sent.values() {
        let [first, second] = times[..] else {
            panic!("sent {} times", times.len())
        };
        assert!(
            second - first >= DEADLINE,
            "it was sent again before the deadline"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_one_resend_can_bring_the_session_back() {
    let scene = Scene::new(50, Some(UnknownOutcomePolicy::RetryOnce)).await;
    scene.issuer.mood(Mood::LosesReplies);
    let account = &scene.accounts[0];
    let first = scene.fleet[0].acquire_token_silent(["b"]).account(account).await;
    assert!(is_unknown(&first), "{first:?}");
    scene.issuer.mood(Mood::Answers);
    let results = scene.everybody_asks("b").await;
    assert!(results.iter().flatten().all(Result::is_ok));
    let sent = scene.issuer.sent();
    let resent = format!("rt-of-{}", account.account.home_account_id);
    for (token, times) in &sent {
        assert_eq!(times.len(), if *token == resent { 2 } else { 1 }, "{token}");
    }
    let times = &sent[&resent];
    assert!(times[1] - times[0] >= DEADLINE);
}
