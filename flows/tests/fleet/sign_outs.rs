//! A sign-out reaches every process that holds the account in memory: by the hint, or, where the channel is cut, within the staleness
//! bound. And a refresh that is in flight meanwhile brings nothing back.

use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::oidc_provider::{OidcProvider, Options};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::place::{Backend, Ground};
use crate::setup::Setup;
use crate::{PROCESSES, rounds};

/// How long memory is trusted: for so long that only a hint explains a refusal in a test's time, or short.
const AN_HOUR: Duration = Duration::from_secs(3600);
const A_SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_is_heard_by_all_on_sqlite() {
    heard_by_all(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_a_sign_out_holds_within_the_staleness_bound_on_sqlite() {
    within_the_staleness_bound(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_in_flight_does_not_bring_the_account_back_on_sqlite() {
    in_flight(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_is_heard_by_all_on_redis() {
    heard_by_all(Backend::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_a_sign_out_holds_within_the_staleness_bound_on_redis() {
    within_the_staleness_bound(Backend::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_in_flight_does_not_bring_the_account_back_on_redis() {
    in_flight(Backend::Redis).await;
}

async fn heard_by_all(backend: Backend) {
    let scene = Scene::new(backend, AN_HOUR, true).await;
    let mut latencies = Vec::new();
    for _ in 0..rounds(30) {
        let (at, looks) = scene.sign_out_under_all_eyes().await;
        // Refused before the one who signs out even knows that it did counts as at once.
        latencies.extend(
            looks
                .iter()
                .map(|look| Duration::from_micros(moment(look, "refused_at").saturating_sub(at))),
        );
    }
    scene.fleet.end().await;
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!(
        "{backend:?}: from the sign-out's return to the refusal in {} other processes, {} samples: p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        PROCESSES - 1,
        latencies.len(),
        at(50),
        at(99),
        at(100)
    );
}

async fn within_the_staleness_bound(backend: Backend) {
    let scene = Scene::new(backend, A_SECOND, false).await;
    for _ in 0..rounds(3).min(10) {
        let (at, looks) = scene.sign_out_under_all_eyes().await;
        for look in looks {
            let bound = at + u64::try_from(A_SECOND.as_micros()).unwrap();
            assert!(
                moment(&look, "last_served") < bound,
                "served {look} after the bound of the sign-out at {at}"
            );
        }
    }
    scene.fleet.end().await;
}

async fn in_flight(backend: Backend) {
    let scene = Scene::new(backend, AN_HOUR, true).await;
    let order = json!({ "do": "token" });
    let cache = scene.setup.cache().await;
    // All know the account before there is a token that soon expires: else the slowest of them would refresh it at once.
    scene.setup.sign_in_to(&cache, 0).await;
    scene.fleet.ask_all(order.clone()).await;
    scene.provider.set_access_token_ttl(1).await.unwrap();
    let signed_in = scene.setup.sign_in_to(&cache, 0).await;
    scene.provider.set_access_token_ttl(3600).await.unwrap();
    let account = cache.accounts().await.unwrap().accounts.remove(0);
    let key = cache.stored_key(&account.partition);
    let [refreshing, signing_out, ..] = &scene.fleet.members[..] else {
        unreachable!("a fleet of {PROCESSES}")
    };
    let clock = SystemClock;
    clock
        .sleep(signed_in.expires_on().to_millis().duration_since(clock.now()))
        .await;
    // By force: on a busy machine it may not have heard yet that the token which it remembers was replaced by one that has expired.
    let refresh = refreshing
        .order(json!({ "do": "refresh and hold the reply" }))
        .await;
    refreshing.happened("reply in hand").await;
    let signed_out = signing_out.ask(json!({ "do": "sign out" })).await;
    assert_eq!(signed_out["found"], true);

    let refused = refresh.answer().await;
    assert_eq!(refused["error"], "interaction required", "{refused}");
    for answer in scene.fleet.ask_all(order).await {
        assert_eq!(answer["error"], "interaction required", "{answer}");
    }
    assert!(cache.store().get(&key).await.unwrap().is_none());
    scene.fleet.end().await;
    let statistics = scene.provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_requests(), 1);
    assert_eq!(
        (statistics.refresh_tokens_reused, statistics.grants_revoked),
        (0, 1),
        "what came after the sign-out is let go"
    );
}

struct Scene {
    _ground: Ground,
    provider: OidcProvider,
    setup: Setup,
    fleet: Fleet,
}

impl Scene {
    async fn new(backend: Backend, max_staleness: Duration, watch: bool) -> Self {
        let provider = OidcProvider::start(Options::default()).await.unwrap();
        let ground = Ground::prepare(backend).await;
        let setup = Setup {
            max_staleness,
            watch,
            ..Setup::of_provider(&ground, &provider)
        };
        let fleet = Fleet::start(&setup, PROCESSES);
        Self {
            _ground: ground,
            provider,
            setup,
            fleet,
        }
    }

    /// Signs a user in, whom all then hold in memory, and out by one of them. Gives when that returned, and what became of the others.
    async fn sign_out_under_all_eyes(&self) -> (u64, Vec<Value>) {
        self.setup.sign_in(0).await;
        let (one, others) = self.fleet.members.split_first().unwrap();
        one.ask(json!({ "do": "token" })).await;
        for other in others {
            assert_eq!(other.ask(json!({ "do": "look" })).await["error"], Value::Null);
        }
        let signed_out = one.ask(json!({ "do": "sign out" })).await;
        assert_eq!(signed_out["found"], true);
        let mut looks = Vec::new();
        for other in others {
            let look = other.ask(json!({ "do": "looked" })).await;
            assert_eq!(look["error"], "interaction required", "{look}");
            looks.push(look);
        }
        (moment(&signed_out, "at"), looks)
    }
}

fn moment(answer: &Value, name: &str) -> u64 {
    answer[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {answer}"))
}
