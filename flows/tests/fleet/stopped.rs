//! A process that is stopped between its request and its commit, for longer than its time, and wakes with the reply in its hands.

use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::schema::PartitionKey;
use cache_core::store::Record;
use cache_core::strategy::TimeLimits;
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{Config, FakeAuthority, Grant, Lifetimes};
use cache_testkit::oidc_provider::{OidcProvider, Options};
use serde_json::{Value, json};

use crate::PROCESSES;
use crate::fleet::Fleet;
use crate::place::{Backend, Ground};
use crate::setup::Setup;

/// A marker holds for three seconds.
const LIMITS: TimeLimits = TimeLimits {
    request: Duration::from_secs(2),
    commit: Duration::from_secs(1),
    acquire: Duration::from_secs(60),
};

#[tokio::test(flavor = "multi_thread")]
async fn where_tokens_rotate_the_others_ask_the_user_and_nothing_is_overwritten_on_sqlite() {
    where_tokens_rotate(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_reuse_is_safe_another_goes_on_and_nothing_is_overwritten_on_sqlite() {
    where_reuse_is_safe(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tokens_rotate_the_others_ask_the_user_and_nothing_is_overwritten_on_redis() {
    where_tokens_rotate(Backend::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_reuse_is_safe_another_goes_on_and_nothing_is_overwritten_on_redis() {
    where_reuse_is_safe(Backend::Redis).await;
}

async fn where_tokens_rotate(backend: Backend) {
    let provider = OidcProvider::start(Options {
        access_token_ttl_seconds: 1,
    })
    .await
    .unwrap();
    let ground = Ground::prepare(backend).await;
    let setup = Setup {
        limits: LIMITS,
        ..Setup::of_provider(&ground, &provider)
    };
    let watcher = setup.cache().await;
    let signed_in = setup.sign_in_to(&watcher, 0).await;
    until_expired(&signed_in).await;
    provider.set_access_token_ttl(3600).await.unwrap();
    let stopped = Stopped::past_its_deadline(&setup, &watcher).await;
    assert_eq!(provider.statistics().await.unwrap().refresh_tokens_consumed, 1);
    for answer in &stopped.others {
        assert!(asks_the_user(answer), "{answer}");
    }

    let woken = stopped.wake(&watcher).await;
    assert!(asks_the_user(&woken), "{woken}");
    let statistics = provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 1, "the spent token was sent again");
    assert_eq!(statistics.refresh_tokens_reused, 0);
    assert_eq!(
        statistics.grants_revoked, 1,
        "what it brought is let go: nobody could use it"
    );
}

async fn where_reuse_is_safe(backend: Backend) {
    let lifetimes = |seconds| Lifetimes::default().access_token(Duration::from_secs(seconds));
    let fake = FakeAuthority::start(Config::default().lifetimes(lifetimes(1)))
        .await
        .unwrap();
    let ground = Ground::prepare(backend).await;
    let setup = Setup {
        limits: LIMITS,
        ..Setup::of_entra(&ground, &fake)
    };
    let watcher = setup.cache().await;
    let signed_in = setup.sign_in_to(&watcher, 0).await;
    until_expired(&signed_in).await;
    fake.set_lifetimes(lifetimes(3600));
    let stopped = Stopped::past_its_deadline(&setup, &watcher).await;
    let token = stopped.others[0]["token"].as_str().unwrap().to_owned();
    for answer in &stopped.others {
        assert_eq!(answer["token"], token, "{answer}");
    }
    let of_authority = |answer: &&Value| answer["source"] == "authority";
    assert_eq!(stopped.others.iter().filter(of_authority).count(), 1);

    let woken = stopped.wake(&watcher).await;
    assert_eq!(woken["token"], token, "it is served like all others: {woken}");
    assert_eq!(
        fake.grant_count(Grant::RefreshToken).requests,
        2,
        "once for the one that was stopped, once for all"
    );
}

async fn until_expired(signed_in: &flows::AuthenticationResult) {
    let clock = SystemClock;
    clock
        .sleep(signed_in.expires_on().to_millis().duration_since(clock.now()))
        .await;
}

fn asks_the_user(answer: &Value) -> bool {
    answer["error"] == "interaction required" && answer["because"] == "OutcomeUnknown"
}

/// A fleet whose first member sleeps, after the others have ended.
struct Stopped {
    fleet: Fleet,
    spending: crate::fleet::Order,
    others: Vec<Value>,
    /// What they left.
    record: Record,
}

impl Stopped {
    async fn past_its_deadline(setup: &Setup, watcher: &TokenCache) -> Self {
        let fleet = Fleet::start(setup, PROCESSES);
        let (spender, rest) = fleet.members.split_first().unwrap();
        let spending = spender.order(json!({ "do": "hold the reply" })).await;
        spender.happened("reply in hand").await;
        spender.stop();
        let began = SystemClock.monotonic();
        let order = json!({ "do": "token" });
        let others =
            futures_util::future::join_all(rest.iter().map(|member| member.ask(order.clone()))).await;
        let waited = SystemClock.monotonic() - began;
        assert!(waited < LIMITS.acquire, "they waited for {waited:?}");
        let record = record(watcher).await;
        Self {
            fleet,
            spending,
            others,
            record,
        }
    }

    /// What becomes of the spender; and of the record nothing.
    async fn wake(self, watcher: &TokenCache) -> Value {
        self.fleet.members[0].wake();
        let woken = self.spending.answer().await;
        self.fleet.end().await;
        let now = record(watcher).await;
        assert_eq!(now.version, self.record.version, "it was written again");
        assert_eq!(now.payload, self.record.payload);
        woken
    }
}

/// The account's record, as it lies in the store.
async fn record(cache: &TokenCache) -> Record {
    let account = cache.accounts().await.unwrap().accounts.remove(0);
    let key: PartitionKey = account.partition;
    let key = cache.stored_key(&key);
    cache.store().get(&key).await.unwrap().unwrap()
}
